"""Sunglasses and a scarf as rectangles placed by the five landmarks.

The xCos paper tests on faces of the AR database with sunglasses or a scarf. That database is not freely available, so
these masks cover the same parts of any face: the glasses cover the eyes and brows, the scarf everything below the nose
tip. A. Martinez, R. Benavente, The AR face database, CVC TR 24 (1998).
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.faces.align import template
from whyface.faces.face import FACE_SIZE

Accessory = Literal["sunglasses", "scarf"]

# Half width in distances between the eyes, from the middle of the face; top and bottom in distances from the eye line
# (0) to the mouth line (1), with the nose tip at 0.5.
_BOXES: Final[dict[str, tuple[float, float, float]]] = {
    "sunglasses": (0.98, -0.32, 0.30),
    "scarf": (1.25, 0.52, 3.0),
}
# cv2 takes whole numbers; this many of their bits are after the point.
_SHIFT: Final = 6


def landmark_mask(
    accessory: Accessory, landmarks: ArrayLike | None = None, shape: tuple[int, int] = (FACE_SIZE, FACE_SIZE)
) -> NDArray[np.bool_]:
    """Return the pixels that an accessory covers.

    The rectangle rotates with the eyes and scales with the face.

    Parameters
    ----------
    accessory
        ``"sunglasses"`` or ``"scarf"``.
    landmarks
        Left eye, right eye, nose tip, left and right mouth corner as seen in the picture, (5, 2), (x, y) pixels; by
        default, those of an aligned face.
    shape
        Height and width of the picture.

    Returns
    -------
    (H, W) bool, True where covered. On an aligned face the glasses cover 15 % of the picture, the scarf 28 %.

    Raises
    ------
    InputError
        If there is no such accessory, or the landmarks are not five finite points of a face.
    """
    if accessory not in get_args(Accessory):
        raise InputError(f"unknown accessory {accessory!r}; use one of {', '.join(get_args(Accessory))}")
    points = template() if landmarks is None else np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(f"five finite landmarks are needed, shape (5, 2), got {points.shape}")
    left, right, mouth = points[0], points[1], (points[3] + points[4]) / 2
    middle, distance = (left + right) / 2, float(np.linalg.norm(right - left))
    if distance < 1:
        raise InputError("both eyes are at the same place, so there is no face; check the landmarks")
    across = (right - left) / distance
    down = np.array([-across[1], across[0]])
    height = float((mouth - middle) @ down)
    if height < 1:
        raise InputError("the mouth is not below the eyes; give left and right as seen in the picture")
    half, top, bottom = _BOXES[accessory]
    corners = [
        middle + side * half * distance * across + level * height * down
        for side, level in ((-1, top), (1, top), (1, bottom), (-1, bottom))
    ]
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(np.array(corners) * 2**_SHIFT).astype(np.int32), 1, shift=_SHIFT)
    return mask.astype(bool)
