"""Checked reading of JSON values, and arrays that survive JSON bit for bit.

Readers raise ``ValueError`` or ``TypeError`` with a short phrase; callers add the key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")


def number(value: Any) -> float:
    """Read a finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"must be a number, not {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError("must be a finite number")
    return found


def count(value: Any) -> int:
    """Read a whole number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"must be a whole number, not {shown(value)}")
    if value < 0:
        raise ValueError(f"must not be negative, got {value}")
    return value


def text(value: Any) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise TypeError(f"must be a string, not {shown(value)}")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """Read an object with string keys."""
    if not isinstance(value, Mapping):
        raise TypeError(f"must be an object, not {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"must have strings as keys, not {shown(key)}")
    return value


def items(value: Any) -> Sequence[Any]:
    """Read a list."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"must be a list, not {shown(value)}")
    return value


def optional(read: Callable[[Any], _T], value: Any) -> _T | None:
    """Read a value that may be null."""
    return None if value is None else read(value)


def numbers(value: Any, length: int) -> tuple[float, ...]:
    """Read a list of ``length`` numbers."""
    found = tuple(number(item) for item in items(value))
    if len(found) != length:
        raise ValueError(f"must have {length} numbers, got {len(found)}")
    return found


def array_to_lists(array: NDArray[np.float32]) -> list[list[float]]:
    """Return a float32 array (H, W) as lists of the shortest decimals that read back as the same bits."""
    return [[_shortest(value) for value in row] for row in array]


def array_from_lists(value: Any) -> NDArray[np.float32]:
    """Read a float32 array (H, W) from lists of numbers."""
    rows = [[number(cell) for cell in items(row)] for row in items(value)]
    if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
        raise ValueError("must be rows of equal length")
    with np.errstate(over="ignore"):
        array = np.array(rows, np.float64).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("has a number too large for float32")
    return array


def freeze(value: Any) -> Any:
    """Return an immutable copy of a JSON value: objects become read-only mappings, lists tuples.

    Raise TypeError or ValueError if the value does not fit into JSON (a NaN, a number that is not a plain Python
    number, another type).
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in mapping(value).items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    raise TypeError(f"cannot hold {shown(value)}")


def thaw(value: Any) -> Any:
    """Return the result of :func:`freeze` as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def shown(value: Any) -> str:
    """Show a wrong value in one short line."""
    line = repr(value)
    return line if len(line) <= 40 else f"{line[:37]}..."


def _shortest(value: np.float32) -> float:
    decimal = float(str(value))
    # Reading goes through float64, so that a decimal close to the middle of two float32 values could round twice.
    return decimal if np.float32(decimal) == value else float(value)
