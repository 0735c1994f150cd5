"""Erase places of a face: what stands there instead, and the copies of a face that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.fills import Fill, fill_picture

ERASERS: Final[Mapping[str, Fill]] = MappingProxyType(
    {"black": 0.0, "white": 255.0, "mean": "mean", "random": "noise", "blur": "blur"}
)
"""Name of an eraser -> what it paints: black, white, the face's own mean colour, uniform noise (seeded), or the face
blurred beyond recognition."""


def eraser_fill(eraser: str) -> Fill:
    """Return what an eraser paints.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if eraser not in ERASERS:
        raise InputError(f"unknown eraser {eraser!r}; use one of {', '.join(ERASERS)}")
    return ERASERS[eraser]


def erased_faces(face: NDArray[Any], masks: NDArray[np.bool_], eraser: str, *, seed: int = 0) -> NDArray[Any]:
    """Make copies of a face, each with other places erased.

    Parameters
    ----------
    face
        (3, H, W), RGB, 0..255.
    masks
        (N, H, W): True is erased.
    eraser
        See :data:`ERASERS`.
    seed
        For ``"random"``; all copies of a face share the noise.

    Returns
    -------
    (N, 3, H, W), of the face's dtype; a copy with nothing erased is the face itself, bit for bit.

    Raises
    ------
    InputError
        If the shapes differ or the eraser is unknown.
    """
    if face.ndim != 3 or masks.ndim != 3 or masks.shape[1:] != face.shape[1:]:
        raise InputError(f"masks {masks.shape} do not fit the face {face.shape}; expected (N, H, W) and (3, H, W)")
    paint = fill_picture(face, eraser_fill(eraser), seed)
    return np.where(masks[:, None], paint, face)
