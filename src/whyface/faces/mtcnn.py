"""MTCNN: a cascade of three small networks that detects faces with five landmarks.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks, IEEE Signal Processing Letters 23 (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.faces.align import warp
from whyface.faces.detection import Detection, check_photo, largest_first, suppress_overlaps
from whyface.faces.mtcnn_networks import Networks, Tensor

_WINDOW: Final = 12
_STRIDE: Final = 2
_BATCH: Final = 64


@dataclass(frozen=True)
class CascadeSettings:
    """Search settings.

    Attributes
    ----------
    smallest_face
        Side of the smallest face to look for, in pixels of the picture searched.
    longest_side
        Larger photos are searched at this size; the faces are cropped from the original.
    step
        Ratio of successive scales of the image pyramid.
    thresholds
        Minimum probability at each of the three stages.
    """

    smallest_face: int = 20
    longest_side: int = 1000
    step: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)


class MtcnnDetector:
    """The cascade with given weights."""

    def __init__(self, networks: Networks, settings: CascadeSettings | None = None) -> None:
        self._networks = networks
        self._settings = settings if settings is not None else CascadeSettings()

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of a photo (RGB uint8, shape (H, W, 3)), the largest box first."""
        check_photo(photo)
        boxes = _squares(self._propose(photo))
        boxes = _squares(self._refine(photo, boxes))
        return largest_first(self._finish(photo, boxes))

    def _propose(self, photo: NDArray[np.uint8]) -> Tensor:
        settings = self._settings
        found: list[Tensor] = [np.empty((0, 5), np.float32)]
        height, width = photo.shape[:2]
        scale = min(1.0, settings.longest_side / max(height, width)) * _WINDOW / settings.smallest_face
        while min(height, width) * scale >= _WINDOW:
            size = (max(_WINDOW, round(width * scale)), max(_WINDOW, round(height * scale)))
            resized = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            probability, offsets = self._networks.propose(_normalised(np.asarray(resized, dtype=np.uint8))[None])
            rows, columns = np.nonzero(probability > settings.thresholds[0])
            corner = _STRIDE * np.stack([columns, rows], axis=1).astype(np.float32)
            boxes = np.concatenate([corner, corner + _WINDOW], axis=1) + _WINDOW * offsets[rows, columns]
            # Width and height are rounded to whole pixels, so their scales differ slightly.
            boxes /= np.array([size[0] / width, size[1] / height] * 2, np.float32)
            scores = probability[rows, columns]
            keep = suppress_overlaps(boxes, scores, 0.5)
            found.append(np.concatenate([boxes[keep], scores[keep, None]], axis=1))
            scale *= settings.step
        boxes = np.concatenate(found)
        return boxes[suppress_overlaps(boxes[:, :4], boxes[:, 4], 0.7)]

    def _refine(self, photo: NDArray[np.uint8], boxes: Tensor) -> Tensor:
        refined: list[Tensor] = [np.empty((0, 5), np.float32)]
        for start in range(0, len(boxes), _BATCH):
            part = boxes[start : start + _BATCH]
            probability, offsets = self._networks.refine(_patches(photo, part, 24))
            moved = np.concatenate([_moved(part, offsets), probability[:, None]], axis=1)
            refined.append(moved[probability > self._settings.thresholds[1]])
        boxes = np.concatenate(refined)
        return boxes[suppress_overlaps(boxes[:, :4], boxes[:, 4], 0.7)]

    def _finish(self, photo: NDArray[np.uint8], boxes: Tensor) -> list[Detection]:
        found: list[Detection] = []
        for start in range(0, len(boxes), _BATCH):
            part = boxes[start : start + _BATCH]
            probability, offsets, shares = self._networks.finish(_patches(photo, part, 48))
            landmarks = part[:, None, :2] + shares * (part[:, None, 2:4] - part[:, None, :2])
            moved = _moved(part, offsets)
            found += [
                Detection((float(box[0]), float(box[1]), float(box[2]), float(box[3])), points, float(score))
                for box, points, score in zip(moved, landmarks.astype(np.float32), probability, strict=True)
                if score > self._settings.thresholds[2]
            ]
        if not found:
            return []
        boxes = np.array([face.box for face in found])
        return [found[k] for k in suppress_overlaps(boxes, np.array([face.score for face in found]), 0.7, "smaller")]


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    return (pixels.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    sides = boxes[:, 2:4] - boxes[:, :2]
    return np.asarray(boxes[:, :4] + offsets * np.concatenate([sides, sides], axis=1), dtype=np.float32)


def _squares(boxes: Tensor) -> Tensor:
    """Enlarge each box to a square around its centre."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _patches(photo: NDArray[np.uint8], boxes: Tensor, size: int) -> Tensor:
    """Cut squares out of the photo, black outside, and resize them: (N, size, size, 3)."""
    patches = np.zeros((len(boxes), size, size, 3), np.uint8)
    for patch, (x0, y0, x1, _) in zip(patches, boxes.astype(np.float64), strict=True):
        zoom = size / max(float(x1 - x0), 1.0)
        # Align edges: the first pixel's centre lies half a pixel inside the box, and inside the patch.
        shift = [(0.5 - x0) * zoom - 0.5, (0.5 - y0) * zoom - 0.5]
        patch[...] = warp(photo, np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]]), size)
    return _normalised(patches)
