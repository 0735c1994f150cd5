"""The inpainting game: whether a map finds the part that, painted over, makes a face somebody else.

Williford, May, Byrne, "Explainable Face Recognition", ECCV 2020. A probe and a mate are painted over at the same part
of the face; to a network that can tell, the painted mate is a "non-mate": somebody else who differs in that part alone.
The map says what in the probe speaks for the mate rather than for the non-mate: the method's own triplet, or else the
difference of two pairs' maps. Its pixels, the most telling first, are replaced in the probe by those of the painted
probe. A good map turns the probe into the non-mate before it touches anything outside the part.

The authors painted with a network; here OpenCV fills the part in from its border (Telea, "An Image Inpainting Technique
Based on the Fast Marching Method", 2004), which smooths rather than invents. So rates are not comparable with theirs.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import PIXELS, BenchTest, Explain, Faces, PairChunk, Subject, descending, rows, to_pixels
from whyface.bench.pointing import parts_in_turn
from whyface.errors import InputError
from whyface.explain.pair_method import PairMethod
from whyface.faces.face import FACE_SIZE
from whyface.files.parts import Rows

FALSE_ALARMS: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the pixels outside the part that may be replaced."""

_RADIUS: Final = 3.0
_PURPOSE: Final = 8


def inpainted(faces: Faces, masks: NDArray[np.bool_]) -> Faces:
    """Paint a part of each face over from its border; faces (N, 3, 112, 112), masks (N, 112, 112).

    Raise InputError if the shapes differ.
    """
    if faces.shape[:1] + faces.shape[2:] != masks.shape:
        raise InputError(f"masks {masks.shape} do not fit faces {faces.shape}")
    painted = [
        cv2.inpaint(np.ascontiguousarray(face.transpose(1, 2, 0)), mask.astype(np.uint8), _RADIUS, cv2.INPAINT_TELEA)
        for face, mask in zip(faces, masks, strict=True)
    ]
    return np.ascontiguousarray(np.stack(painted).transpose(0, 3, 1, 2))


class InpaintingTest(BenchTest):
    """The inpainting game; genuine pairs only, of which the network tells the painted faces from the others.

    Measures: ``non-mate rate`` (by share of false alarms: whether the probe has become the non-mate), ``game`` (the
    area under it: more is better) and ``playable`` (whether the network can tell, for every genuine pair).
    """

    name = "inpainting"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        part = chunk.only(chunk.genuine)
        if not len(part):
            return []
        masks = parts_in_turn(part.numbers)
        probes, mates = (inpainted(faces, masks) for faces in (part.first, part.second))
        can_tell = (subject.scores(probes, mates) > subject.scores(probes, part.second)) & (
            subject.scores(part.first, part.second) > subject.scores(part.first, mates)
        )
        playable = rows("playable", part, (0.0,), can_tell.astype(np.float64))
        if not can_tell.any():
            return [playable]
        part, masks, probes, mates = part.only(can_tell), masks[can_tell], probes[can_tell], mates[can_tell]
        maps = _for_the_mate(subject, explain, part.first, part.second, mates)
        rates = np.empty((len(part), len(FALSE_ALARMS)))
        for row, (one, rng) in enumerate(zip(to_pixels(maps), part.generators(_PURPOSE), strict=True)):
            steps = _first_pixels(descending(one, rng), masks[row])
            replaced = np.stack([np.where(step, probes[row], part.first[row]) for step in steps])
            as_mate, as_other = (
                subject.scores(replaced, np.broadcast_to(face, replaced.shape))
                for face in (part.second[row], mates[row])
            )
            rates[row] = as_other > as_mate
        shares = np.array(FALSE_ALARMS)
        area = ((rates[:, 1:] + rates[:, :-1]) / 2 * np.diff(shares)).sum(axis=1)
        return [
            playable,
            rows("non-mate rate", part, FALSE_ALARMS, rates),
            rows("game", part, (0.0,), area),
        ]


def _for_the_mate(
    subject: Subject, explain: Explain, probes: Faces, mates: Faces, others: Faces
) -> NDArray[np.float32]:
    """Return maps of what speaks for the mate rather than for the non-mate."""
    if not subject.is_unsigned and type(subject.method).triplet is not PairMethod.triplet:
        return subject.method.triplet(probes, mates, others)
    # The maps of the pair are there from other tests.
    maps = explain(probes, mates).map_a
    return maps if subject.is_unsigned else maps - explain(probes, others).map_a


def _first_pixels(order: NDArray[np.intp], mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return for each share of false alarms the pixels that come first in an order, (112, 112) bool each."""
    outside = ~mask.reshape(-1)[order]
    alarms = np.cumsum(outside)
    found = []
    for share in FALSE_ALARMS:
        count = int(np.searchsorted(alarms, int(share * outside.sum() + 1e-9), side="right"))
        chosen = np.zeros(PIXELS, np.bool_)
        chosen[order[:count]] = True
        found.append(chosen.reshape(FACE_SIZE, FACE_SIZE))
    return found
