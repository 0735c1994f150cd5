"""A threshold with its error rates: one point on the ROC curve of one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from whyface.errors import ModelError
from whyface.files.json_values import count, number, numbers, text

DEFAULT_FMR: Final = 1e-3
"""The false match rate of the default threshold."""

_PREFIX: Final = "FMR "


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """One threshold and its error rates on one data set.

    Attributes
    ----------
    name
        Such as ``"EER"``, ``"FMR 1e-2"`` or ``"FMR 1e-3"``.
    threshold
        Match iff ``score > threshold``.
    fmr, fnmr
        Error rates at the threshold, in [0, 1].
    fmr_interval, fnmr_interval
        95 % confidence intervals ``(low, high)`` with the threshold taken as fixed; None if they were not measured.
    genuine_pairs, impostor_pairs
        Number of pairs that the rates were measured on, or None.
    dataset
        Name of the data set.
    note
        A caveat, such as a sample too small for the target; often ``""``.
    """

    name: str
    threshold: float
    fmr: float
    fnmr: float
    fmr_interval: tuple[float, float] | None = None
    fnmr_interval: tuple[float, float] | None = None
    genuine_pairs: int | None = None
    impostor_pairs: int | None = None
    dataset: str
    note: str = ""

    @property
    def target(self) -> float | None:
        """The false match rate in a name such as ``"FMR 1e-3"``; None for other names."""
        try:
            rate = float(self.name.removeprefix(_PREFIX)) if self.name.startswith(_PREFIX) else 0.0
        except ValueError:
            return None
        return rate if 0 < rate < 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain numbers, strings and lists, ready for JSON; fields that are None are left out."""
        values = vars(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values if value is not None}

    @classmethod
    def from_dict(cls, data: Any, where: str = "operating point") -> OperatingPoint:
        """Build a point from the result of :meth:`to_dict`; unknown keys are ignored.

        Raise ModelError if a key is missing or a value is of the wrong kind or out of range.
        """
        if not isinstance(data, Mapping):
            raise ModelError(f"{where} must be an object; correct the file")
        missing = [key for key in ("name", "threshold", "fmr", "fnmr", "dataset") if key not in data]
        if missing:
            raise ModelError(f"{where} misses {', '.join(missing)}; correct the file")
        values = {}
        for key, read in _READERS.items():
            if key in data:
                try:
                    values[key] = read(data[key])
                except (TypeError, ValueError) as error:
                    raise ModelError(f"{where}.{key} {error}; correct the file") from error
        return cls(**values)


def _filled(value: Any) -> str:
    if not text(value).strip():
        raise ValueError("must be a text that is not empty")
    return text(value)


def _rate(value: Any) -> float:
    if not 0 <= number(value) <= 1:
        raise ValueError("must be a rate in 0..1")
    return number(value)


def _interval(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = map(_rate, numbers(value, 2))
    if low > high:
        raise ValueError("must be [low, high], rates in 0..1")
    return low, high


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "name": _filled,
    "threshold": number,
    "fmr": _rate,
    "fnmr": _rate,
    "fmr_interval": _interval,
    "fnmr_interval": _interval,
    "genuine_pairs": count,
    "impostor_pairs": count,
    "dataset": _filled,
    "note": text,
}
