"""Preprocessing: how pixel values are converted to a network's input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import check_batch

ChannelOrder = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

SIDES: Final = (16, 512)
"""Smallest and largest side of a network's input."""


@dataclass(frozen=True)
class Preprocessing:
    """Reorder the channels, crop to some columns, then ``(x / divisor - mean) / std``.

    Attributes
    ----------
    mean, std
        One number per channel, in the order given by `order`, on the scale after the division.
    divisor
        1 for networks described on 0..255, 255 for those described on 0..1.
    order
        The channel order that the network was trained with.
    columns
        ``(start, stop)``: only these pixel columns are passed on, for networks with 112 x 96 input; None
        for all.
    side
        Side of the square that a network with a free input size is given, in pixels; None for 112, or what the network
        says. The aligned face is resized.

    Raises
    ------
    InputError
        On construction: a divisor or std that is not positive, values that are not finite, an unknown order,
        columns outside the face, or a side that is out of range or given together with columns.
    """

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    divisor: float = 1.0
    order: ChannelOrder = "rgb"
    columns: tuple[int, int] | None = None
    side: int | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3:
            raise InputError("preprocessing needs three values each for mean and std")
        if not np.all(np.isfinite([*self.mean, *self.std, self.divisor])):
            raise InputError("preprocessing values must be finite")
        if min(*self.std, self.divisor) <= 0:
            raise InputError("preprocessing needs a divisor and std above 0")
        if self.order not in {"rgb", "bgr"}:
            raise InputError(f"preprocessing order must be 'rgb' or 'bgr', got {self.order!r}")
        if self.columns is not None and not 0 <= self.columns[0] < self.columns[1] <= FACE_SIZE:
            raise InputError(f"preprocessing columns must lie within 0..{FACE_SIZE}, got {self.columns}")
        if self.side is not None and not SIDES[0] <= self.side <= SIDES[1]:
            raise InputError(f"a network's input must have {SIDES[0]} to {SIDES[1]} pixels a side, got {self.side}")
        if self.side is not None and self.columns is not None:
            raise InputError("preprocessing takes either columns or a side, not both")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network is given, unless the network itself says otherwise."""
        if self.side is not None:
            return self.side, self.side
        start, stop = self.columns or (0, FACE_SIZE)
        return FACE_SIZE, stop - start

    @property
    def is_raw(self) -> bool:
        """Whether pixel values pass unchanged, because the network itself normalises them."""
        return self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0) and self.divisor == 1.0

    def apply(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Prepare a batch, without resizing it.

        Parameters
        ----------
        batch
            (N, 3, 112, 112), RGB, uint8 or float32 in 0..255; never changed in place.

        Returns
        -------
        numpy.ndarray
            (N, 3, 112, W) float32, C-contiguous; W is 112, or the number of columns.

        Raises
        ------
        InputError
            The batch does not fit (see :func:`whyface.models.embedder.check_batch`).
        """
        faces = check_batch(batch)[:, :: -1 if self.order == "bgr" else 1]
        if self.columns is not None:
            faces = faces[..., slice(*self.columns)]
        out = np.array(faces, np.float32, order="C", copy=True)
        if not self.is_raw:
            # Both sides multiplied by the divisor: one subtraction and one division per pixel.
            out -= _per_channel(self.mean, self.divisor)
            out /= _per_channel(self.std, self.divisor)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; :func:`preprocessing_from_dict` reads them back."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "divisor": self.divisor,
            "order": self.order,
            "columns": list(self.columns) if self.columns else None,
            **({} if self.side is None else {"side": self.side}),
        }


def _per_channel(values: Triple, factor: float) -> NDArray[np.float32]:
    return (np.asarray(values, np.float64) * factor).astype(np.float32).reshape(1, 3, 1, 1)


def preprocessing_from_dict(values: Mapping[str, Any]) -> Preprocessing:
    """Build a preprocessing from the result of :meth:`Preprocessing.to_dict`; absent keys take their defaults.

    Raises
    ------
    InputError
        Unknown keys, or values that do not fit.
    """
    unknown = set(values) - {"mean", "std", "divisor", "order", "columns", "side"}
    if unknown:
        raise InputError(f"preprocessing has unknown keys: {', '.join(sorted(unknown))}")
    try:
        columns = values.get("columns")
        return Preprocessing(
            mean=_triple(values.get("mean", (0, 0, 0))),
            std=_triple(values.get("std", (1, 1, 1))),
            divisor=float(values.get("divisor", 1)),
            order=values.get("order", "rgb"),
            columns=None if columns is None else (int(columns[0]), int(columns[1])),
            side=None if values.get("side") is None else int(values["side"]),
        )
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(f"preprocessing values do not fit: {error}") from error


def _triple(values: Any) -> Triple:
    a, b, c = (float(value) for value in values)
    return a, b, c


RAW: Final = Preprocessing()
"""Pixel values unchanged: the network itself normalises them."""

ARCFACE: Final = Preprocessing(mean=(127.5,) * 3, std=(127.5,) * 3)
"""To [-1, 1]."""

ARCFACE_128: Final = Preprocessing(mean=(127.5,) * 3, std=(128.0,) * 3)
"""``(x - 127.5) / 128``, as in older networks of the same family."""

IMAGENET: Final = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), divisor=255.0)
"""ImageNet's mean and standard deviation on ``x / 255``."""

UNIT: Final = Preprocessing(divisor=255.0)
"""To [0, 1]."""

_RGB: Final = {"raw": RAW, "unit": UNIT, "arcface": ARCFACE, "arcface-128": ARCFACE_128, "imagenet": IMAGENET}

PRESETS: Final[Mapping[str, Preprocessing]] = MappingProxyType(
    _RGB | {f"{name}-bgr": replace(preset, order="bgr") for name, preset in _RGB.items()}
)
"""What networks commonly expect, by the names of ``--pixels``."""


def as_preprocessing(value: Preprocessing | str | None) -> Preprocessing | None:
    """Return a preprocessing by the name of a preset; anything else as it is.

    Raises
    ------
    InputError
        If there is no preset of that name.
    """
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise InputError(f"unknown preprocessing {value!r}; use one of: {', '.join(PRESETS)}")
    return PRESETS[value]
