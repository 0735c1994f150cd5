"""What a covered place of a face shows instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

Fill = float | str
"""A grey level in 0..255, or one of :data:`FILL_NAMES`."""

FILL_NAMES: Final = ("mean", "blur", "noise")
"""The face's own mean colour; the face blurred beyond recognition; seeded uniform noise."""

_BLUR_SIGMA: Final = 12.0


def check_fill(fill: Fill) -> Fill:
    """Return the fill as it is.

    Raises
    ------
    InputError
        If it is neither a grey level nor a known name.
    """
    if isinstance(fill, str):
        if fill not in FILL_NAMES:
            raise InputError(f"unknown fill {fill!r}; use a grey level in 0..255 or one of {', '.join(FILL_NAMES)}")
    elif not 0 <= fill <= 255:
        raise InputError(f"a fill must be a grey level in 0..255, got {fill:g}")
    return fill


def fill_picture(face: NDArray[Any], fill: Fill, seed: int = 0) -> NDArray[Any]:
    """Make the picture that shows wherever a face is covered.

    Parameters
    ----------
    face
        (3, H, W), RGB, uint8 or float32 in 0..255.
    fill
        See :data:`Fill`.
    seed
        For ``"noise"``.

    Returns
    -------
    Picture of the same shape and dtype.
    """
    check_fill(fill)
    if not isinstance(fill, str):
        return np.full_like(face, _as(face, np.asarray(fill)))
    make: dict[str, Callable[[], NDArray[Any]]] = {
        "mean": lambda: np.broadcast_to(face.mean(axis=(1, 2), dtype=np.float64, keepdims=True), face.shape),
        "blur": lambda: np.stack([cv2.GaussianBlur(plane, (0, 0), _BLUR_SIGMA) for plane in face]),
        "noise": lambda: np.random.default_rng(seed).uniform(0, 255, face.shape),
    }
    return _as(face, make[fill]())


def _as(face: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    return (np.rint(values) if face.dtype == np.uint8 else values).astype(face.dtype)
