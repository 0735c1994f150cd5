"""The interface of face detectors, and the suppression of overlapping boxes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.files.integrity import HashedFile

Measure = Literal["union", "smaller"]
"""Divide the intersection of two boxes by the area of their union, or by that of the smaller box."""

_NOTHING: Final = 1e-12


def box_areas(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the areas of boxes (N, 4) of (x0, y0, x1, y1), shape (N,) float64; 0 for an inverted box."""
    sides = np.clip(boxes[:, 2:4] - boxes[:, 0:2], 0, None).astype(np.float64)
    return np.asarray(sides[:, 0] * sides[:, 1])


def suppress_overlaps(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], limit: float, measure: Measure = "union"
) -> NDArray[np.intp]:
    """Keep the boxes with the best scores and drop those that overlap one of them by more than ``limit``.

    Return the indices of the boxes kept, best score first (ties in the order given), shape (K,) intp.

    Parameters
    ----------
    limit
        Maximum overlap of two boxes that are kept, in [0, 1].
    """
    order = np.argsort(-scores, kind="stable")
    areas = box_areas(boxes)
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:4], boxes[order, 2:4])
        sides = np.clip(high - low, 0, None)
        shared = sides[:, 0] * sides[:, 1]
        together = areas[best] + areas[order] - shared
        whole = together if measure == "union" else np.minimum(areas[best], areas[order])
        order = order[shared <= limit * np.maximum(whole, _NOTHING)]
    return np.asarray(kept, dtype=np.intp)


Box = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in photo pixels."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A detected face.

    Attributes
    ----------
    box
        ``(x0, y0, x1, y1)`` in photo pixels; may extend beyond the photo.
    landmarks
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture: shape (5, 2) float32, photo
        pixels with pixel centres at integers.
    score
        The detector's confidence in [0, 1].
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x0, y0, x1, y1 = self.box
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)


@runtime_checkable
class Detector(Protocol):
    """Anything that finds faces with five landmarks."""

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of a photo (RGB uint8, shape (H, W, 3)), the largest box first; empty if there are none."""
        ...


def detector_files(detector: Detector) -> tuple[HashedFile, ...]:
    """Return the files behind a detector; of one that has none on record, the name of its class."""
    files: tuple[HashedFile, ...] = getattr(detector, "files", ())
    return files or (HashedFile("detector", type(detector).__name__, None),)


def largest_first(detections: Iterable[Detection]) -> list[Detection]:
    """Sort by box area, largest first; ties by score, then from left to right."""
    return sorted(detections, key=lambda found: (-found.area, -found.score, found.box))


def check_photo(photo: NDArray[np.uint8]) -> None:
    """Check that an array is a photo.

    Raise InputError if the array is not RGB uint8 of shape (H, W, 3) with at least one pixel.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise InputError(f"a photo must be H x W x 3 uint8, got {photo.shape} {photo.dtype}; convert it to RGB")
