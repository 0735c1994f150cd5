"""Pointing with known truth: a stranger's eye, nose or mouth in a genuine pair must be what speaks against a match."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.bench_test import BenchTest, Explain, Rows, Subject, rows
from whyface.bench.pair_chunk import Faces, PairChunk
from whyface.bench.pixel_ranking import descending, first_pixels, to_pixels
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import region_masks

PASTED: Final = (("left eye", "left brow"), ("right eye", "right brow"), ("nose bridge", "nose tip"), ("mouth",))
"""The parts that are pasted, in turn."""

_FEATHER: Final = 2.0
_PURPOSE: Final = 6


def pasted_faces(chunk: PairChunk) -> tuple[Faces, NDArray[np.bool_]]:
    """Give each first face one part of somebody else's face, at the same place, with a soft edge of 2 pixels.

    Returns
    -------
    The faces, and where the pasted part is (N, 112, 112) bool.
    """
    known = region_masks(FACE_SIZE, FACE_SIZE)
    parts = [np.logical_or.reduce([known[name] for name in names]) for names in PASTED]
    masks = np.stack([parts[int(number) % len(parts)] for number in chunk.numbers])
    alpha = np.stack([cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _FEATHER) for mask in masks])[:, None]
    blended = alpha * chunk.other + (1 - alpha) * chunk.first
    return blended.round().clip(0, 255).astype(np.uint8), masks


class PointingTest(BenchTest):
    """How well the map of the pasted face points at the pasted part; genuine pairs only.

    Measures: ``negative share`` (share of the map's negative mass inside the part, 0 if it has none), ``overlap``
    (share of the part among the equally many lowest pixels), ``area`` (the part's share of the face: what chance
    gives for both) and ``drop`` (by how much the score fell).
    """

    name = "pointing"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        part = chunk.only(chunk.genuine)
        if not len(part):
            return []
        pasted, masks = pasted_faces(part)
        found = to_pixels(explain(pasted, part.second).map_a)
        low = -found if not subject.is_unsigned else found
        negative = np.maximum(low, 0)
        total = negative.sum(axis=(1, 2), dtype=np.float64)
        inside = (negative * masks).sum(axis=(1, 2), dtype=np.float64)
        share = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
        area = masks.mean(axis=(1, 2))
        overlap = np.array(
            [
                mask[first_pixels(descending(one, rng), float(mask.mean()))].mean()
                for one, mask, rng in zip(low, masks, part.generators(_PURPOSE), strict=True)
            ]
        )
        drop = subject.scores(part.first, part.second) - subject.scores(pasted, part.second)
        measured = (("negative share", share), ("overlap", overlap), ("area", area), ("drop", drop))
        return [rows(measure, part, (0.0,), values) for measure, values in measured]
