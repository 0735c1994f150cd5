"""Named regions of an aligned face, derived from where alignment puts eyes, nose and mouth.

A grid that is too coarse for them has halves, quarters or thirds of the picture instead.

"Left" and "right" are as seen in the picture, not the person's.
"""

from __future__ import annotations

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
"""All regions of a fine grid, from top to bottom; the edges are what lies next to the face: hair, ears, background."""

# Bounds in face units (see _face_units). Half widths in inter-eye distances: the eyes are at 0.5, the corners of the
# mouth near 0.4, and few faces extend beyond 1.1.
_BRIDGE, _NOSE, _EYE, _MOUTH, _FACE = 0.22, 0.30, 0.78, 0.60, 1.10
# Heights in distances from the eye line (0) to the mouth line (1); the nose tip is at 0.5.
_BROW_TOP, _EYE_TOP, _EYE_BOTTOM, _NOSE_TOP, _MOUTH_TOP, _MOUTH_BOTTOM = -0.50, -0.15, 0.22, 0.30, 0.75, 1.20


def region_of_cells(height: int = 7, width: int = 7) -> NDArray[np.str_]:
    """Return the region that contains the centre of each place of a grid over the aligned face.

    Raise InputError if the grid has no places.

    Parameters
    ----------
    height, width
        Size of the grid in places; (112, 112) names each pixel.

    Returns
    -------
    (height, width) array of strings: :data:`REGIONS` if each of them contains the centre of a place, as from 7 x 7 on,
    otherwise parts of the picture such as ``"upper left quarter"``.
    """
    names, numbers = _named_places(height, width)
    return np.asarray(names)[numbers]


def region_masks(height: int = 7, width: int = 7) -> dict[str, NDArray[np.bool_]]:
    """Return for each region, from top to bottom, the mask of its places.

    Raise InputError if the grid has no places.

    Returns
    -------
    Name -> (height, width) bool. Each place is in exactly one mask, and no mask is empty.
    """
    names, numbers = _named_places(height, width)
    return {name: numbers == number for number, name in enumerate(names)}


def region_phrase(region: str) -> str:
    """Return how a sentence names a region, such as ``"the nose tip"``."""
    return f"the {region} of the picture" if region.endswith("edge") else f"the {region}"


def has_side(region: str) -> bool:
    """Return whether a region's name says left or right."""
    return not {"left", "right"}.isdisjoint(region.split(" "))


def _named_places(height: int, width: int) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Return the names of a grid's regions, and for each place the number of its name."""
    if height < 1 or width < 1:
        raise InputError(f"a grid needs at least one place, got {height} x {width}; give positive sizes")
    numbers = _region_numbers(height, width)
    if len(np.unique(numbers)) == len(REGIONS):
        return REGIONS, numbers
    rows, columns = _parts(height), _parts(width)
    names = tuple(_part_name(rows, row, columns, column) for row in range(rows) for column in range(columns))
    return names, _part_of(height, rows)[:, None] * columns + _part_of(width, columns)


def _parts(places: int) -> int:
    """Return into how many equal parts a row of places is named: four places are two halves."""
    return {1: 1, 2: 2, 4: 2}.get(places, 3)


def _part_of(places: int, parts: int) -> NDArray[np.intp]:
    return np.asarray((np.arange(places) + 0.5) * parts / places, np.intp)


def _part_name(rows: int, row: int, columns: int, column: int) -> str:
    down = {1: (), 2: ("upper", "lower"), 3: ("upper", "middle", "lower")}[rows]
    across = {1: (), 2: ("left", "right"), 3: ("left", "middle", "right")}[columns]
    words = [*down[row : row + 1], *across[column : column + 1]]
    if words == ["middle", "middle"]:
        return "centre"
    whole = {(1, 1): "whole face", (2, 2): "quarter"}
    return " ".join([*words, whole.get((rows, columns), {2: "half", 3: "third"}.get(rows * columns, "part"))])


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
