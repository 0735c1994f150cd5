"""From a map of any size to an order of pixels: all that the bench asks of a map, the same for all methods."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE

PIXELS: Final = FACE_SIZE * FACE_SIZE


def to_pixels(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring maps (N, H, W) to (N, 112, 112), bilinearly.

    Raises
    ------
    InputError
        If the array has another number of dimensions, is empty, or has values that are not finite.
    """
    if maps.ndim != 3 or maps.size == 0:
        raise InputError(f"maps must be (N, H, W) with cells, got {maps.shape}; give one map per face")
    if not np.isfinite(maps).all():
        raise InputError("a map has values that are not finite; the method failed on this pair")
    if maps.shape[1:] == (FACE_SIZE, FACE_SIZE):
        return maps
    size = (FACE_SIZE, FACE_SIZE)
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in maps]).astype(np.float32)


def descending(pixel_map: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.intp]:
    """Order the pixels of a map (112, 112) from highest to lowest, (12544,) flat indices; ties fall at random."""
    return np.lexsort((rng.permutation(pixel_map.size), -pixel_map.reshape(-1))).astype(np.intp)


def first_pixels(order: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """Mark the first floor(share * 12544) pixels of an order, (112, 112) bool."""
    mask = np.zeros(PIXELS, np.bool_)
    mask[order[: int(share * PIXELS + 1e-9)]] = True
    return mask.reshape(FACE_SIZE, FACE_SIZE)
