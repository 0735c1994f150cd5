"""Named regions of an aligned face, derived from where alignment puts eyes, nose and mouth.

"Left" and "right" are as seen in the picture, not the person's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FACE_SIZE: Final = 112
"""Side of an aligned face in pixels."""

TEMPLATE: Final = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Positions of left eye, right eye, nose tip, left and right mouth corner in the aligned 112 x 112 crop (ArcFace)."""

REGIONS: Final = (
    "forehead",
    "left brow",
    "right brow",
    "left temple",
    "right temple",
    "left eye",
    "right eye",
    "nose bridge",
    "nose tip",
    "left cheek",
    "right cheek",
    "mouth",
    "left jaw",
    "right jaw",
    "chin",
    "left edge",
    "right edge",
)
"""All regions, from top to bottom; the edges are what lies next to the face: hair, ears, background."""

REGION_PHRASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{name: f"the {name}" for name in REGIONS},
        "left edge": "the left edge of the picture",
        "right edge": "the right edge of the picture",
    }
)
"""How a sentence names each region."""

# Bounds in face units (see _face_units). Half widths in inter-eye distances: the eyes are at 0.5, the corners of the
# mouth near 0.4, and few faces extend beyond 1.1.
_BRIDGE, _NOSE, _EYE, _MOUTH, _FACE = 0.22, 0.30, 0.78, 0.60, 1.10
# Heights in distances from the eye line (0) to the mouth line (1); the nose tip is at 0.5.
_BROW_TOP, _EYE_TOP, _EYE_BOTTOM, _NOSE_TOP, _MOUTH_TOP, _MOUTH_BOTTOM = -0.50, -0.15, 0.22, 0.30, 0.75, 1.20


def region_of_cells(height: int = 7, width: int = 7) -> NDArray[np.str_]:
    """Return the region that contains the centre of each place of a grid over the aligned face.

    Parameters
    ----------
    height, width
        Size of the grid in places; (112, 112) names each pixel.

    Returns
    -------
    (height, width) array of strings, each one of :data:`REGIONS`.

    Raises
    ------
    InputError
        If the grid has no places.
    """
    return np.asarray(REGIONS)[_region_numbers(height, width)]


def region_masks(height: int = 7, width: int = 7) -> dict[str, NDArray[np.bool_]]:
    """Return for each region, in the order of :data:`REGIONS`, the mask of its places.

    Returns
    -------
    Name -> (height, width) bool. Each place is in exactly one mask; on a coarse grid a mask may be empty.

    Raises
    ------
    InputError
        If the grid has no places.
    """
    numbers = _region_numbers(height, width)
    return {name: numbers == number for number, name in enumerate(REGIONS)}


def has_side(region: str) -> bool:
    """Return whether a region's name starts with left or right."""
    return region.startswith(("left ", "right "))


def _face_units(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of places: across in inter-eye distances from the middle, down from eye to mouth line."""
    left_eye, right_eye, _, left_corner, right_corner = np.asarray(TEMPLATE)
    eyes, mouth = (left_eye + right_eye) / 2, (left_corner + right_corner) / 2
    x = (np.arange(width) + 0.5) * FACE_SIZE / width
    y = (np.arange(height) + 0.5) * FACE_SIZE / height
    across = (x - eyes[0]) / (right_eye[0] - left_eye[0])
    down = (y - eyes[1]) / (mouth[1] - eyes[1])
    return np.broadcast_to(across, (height, width)), np.broadcast_to(down[:, None], (height, width))


def _region_numbers(height: int, width: int) -> NDArray[np.intp]:
    if height < 1 or width < 1:
        raise InputError(f"a grid needs at least one place, got {height} x {width}; give positive sizes")
    across, down = _face_units(height, width)
    away = np.abs(across)
    left = across < 0
    # The first rule that holds names the region.
    rules: list[tuple[NDArray[np.bool_], str]] = [
        (away > _FACE, "edge"),
        (down < _BROW_TOP, "forehead"),
        ((away < _BRIDGE) & (down < _NOSE_TOP), "nose bridge"),
        ((away < _NOSE) & (down < _MOUTH_TOP) & (down >= _NOSE_TOP), "nose tip"),
        (down < _EYE_TOP, "brow"),
        ((down < _EYE_BOTTOM) & (away < _EYE), "eye"),
        (down < _EYE_BOTTOM, "temple"),
        (down < _MOUTH_TOP, "cheek"),
        (away > _MOUTH, "jaw"),
        (down < _MOUTH_BOTTOM, "mouth"),
    ]
    numbers = np.full((height, width), REGIONS.index("chin"))
    for holds, name in reversed(rules):
        if name in REGIONS:
            numbers = np.where(holds, REGIONS.index(name), numbers)
        else:
            sided = np.where(left, REGIONS.index(f"left {name}"), REGIONS.index(f"right {name}"))
            numbers = np.where(holds, sided, numbers)
    return numbers
