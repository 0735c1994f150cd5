"""Planted parts show whether a map points at what was put into one face, be it against a match or for one.

A stranger's eye, nose or mouth in a genuine pair, and painted sunglasses, scarf, beard and eyebrows, speak against a
match; a part of the second person's own face in an impostor pair speaks for one.

Shuffled AUC: Zhang et al., "SUN", Journal of Vision 8 (2008): the negatives are where the thing looked for lies in
other pictures, so that a map of where such things usually lie scores one half. Information gain: Kuemmerer, Wallis and
Bethge, "Information-theoretic model comparison unifies saliency metrics", PNAS 112 (2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import PIXELS, BenchTest, Explain, Faces, PairChunk, Subject, descending, first_pixels, rows
from whyface.bench.base import to_pixels as enlarged
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import TEMPLATE, region_masks
from whyface.files.parts import Rows

PASTED: Final = (("left eye", "left brow"), ("right eye", "right brow"), ("nose bridge", "nose tip"), ("mouth",))
"""The parts to paste, in turn."""

PAINTED: Final = ("sunglasses", "scarf", "beard", "eyebrows")
"""What is painted on a face, in turn."""

_FEATHER: Final = 2.0
_POINTING_PURPOSE, _PAINT_PURPOSE = 6, 11
Masks = NDArray[np.bool_]


def part_masks() -> Masks:
    """Return the parts of :data:`PASTED`, (4, 112, 112) bool."""
    known = region_masks(FACE_SIZE, FACE_SIZE)
    return np.stack([np.logical_or.reduce([known[name] for name in names]) for names in PASTED])


def painted_masks() -> Masks:
    """Return where the things of :data:`PAINTED` lie, (4, 112, 112) bool."""
    known = region_masks(FACE_SIZE, FACE_SIZE)
    row = np.arange(FACE_SIZE)[:, None].repeat(FACE_SIZE, axis=1)
    glasses, brows = (np.zeros((FACE_SIZE, FACE_SIZE), np.uint8) for _ in range(2))
    for x, y in TEMPLATE[:2]:
        cv2.ellipse(glasses, (round(x), round(y) + 1), (16, 11), 0, 0, 360, 1, -1)
        cv2.rectangle(brows, (round(x) - 15, round(y) - 16), (round(x) + 15, round(y) - 10), 1, -1)
    cv2.line(glasses, (48, 48), (64, 48), 1, 4)
    mouth = known["mouth"] & (row > TEMPLATE[3][1] - 5)
    beard = (known["left jaw"] | known["right jaw"] | known["chin"] | known["mouth"]) & ~mouth
    scarf = row >= (TEMPLATE[2][1] + TEMPLATE[3][1]) / 2
    return np.stack([glasses.astype(np.bool_), scarf, beard, brows.astype(np.bool_)])


def parts_in_turn(numbers: NDArray[np.intp]) -> Masks:
    """Return the part of the face that each pair gets, (N, 112, 112) bool; the parts of :data:`PASTED` take turns."""
    return part_masks()[numbers % len(PASTED)]


def pasted_faces(chunk: PairChunk) -> tuple[Faces, Masks]:
    """Paste one part of the ``other`` face into each first face, at the same place, with a soft edge of 2 pixels.

    Return the faces, and where the pasted part is (N, 112, 112) bool.
    """
    masks = parts_in_turn(chunk.numbers)
    return _blended(chunk.first, chunk.other.astype(np.float32), masks), masks


def painted_faces(chunk: PairChunk) -> tuple[Faces, Masks]:
    """Paint sunglasses, a scarf, a beard or eyebrows on each first face, in turn, in a colour drawn at random.

    Return the faces, and where the paint is (N, 112, 112) bool.
    """
    masks = painted_masks()[chunk.numbers % len(PAINTED)]
    paint = np.stack([_paint(int(n) % len(PAINTED), rng) for n, rng in _drawn(chunk)])
    return _blended(chunk.first, paint, masks), masks


def _drawn(chunk: PairChunk) -> list[tuple[int, np.random.Generator]]:
    return list(zip(chunk.numbers.tolist(), chunk.generators(_PAINT_PURPOSE), strict=True))


def _paint(kind: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a sheet of paint (3, 112, 112): dark glass, woven cloth or hair."""
    shape = (FACE_SIZE, FACE_SIZE)
    if PAINTED[kind] == "sunglasses":
        return np.full((3, *shape), rng.uniform(5, 45), np.float32)
    if PAINTED[kind] == "scarf":
        rows_, columns = np.indices(shape)
        weave = 20 * np.sin(rows_ / rng.uniform(1.5, 4)) + 20 * np.sin(columns / rng.uniform(1.5, 4))
        colour = rng.uniform(40, 215, 3)
        return np.asarray(colour[:, None, None] + weave[None], np.float32)
    # Hair runs downwards: noise that is blurred along the columns.
    hair = cv2.GaussianBlur(rng.normal(0, 60, shape).astype(np.float32), (1, 9), 0)
    colour = rng.uniform(20, 90) * np.array([1.0, 0.8, 0.65])
    return np.asarray(colour[:, None, None] + hair[None], np.float32)


def _blended(faces: Faces, paint: NDArray[np.float32], masks: Masks) -> Faces:
    alpha = np.stack([cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _FEATHER) for mask in masks])[:, None]
    mixed = alpha * paint + (1 - alpha) * faces
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def shuffled_auc(values: NDArray[np.floating], mask: Masks, elsewhere: NDArray[np.floating]) -> float:
    """Return the chance that a pixel of a part has a higher value than one of where parts lie in other pairs.

    Ties count one half, and so does everything if there is nothing elsewhere.

    Parameters
    ----------
    values
        A map, any shape.
    mask
        The part, of the same shape.
    elsewhere
        How often other pairs' parts cover each pixel; pixels of the part itself do not count.
    """
    weights = np.where(mask, 0.0, elsewhere)
    chosen = weights > 0
    if not chosen.any() or not mask.any():
        return 0.5
    order = np.argsort(values[chosen], kind="stable")
    negatives, heights = values[chosen][order], np.concatenate(([0.0], np.cumsum(weights[chosen][order])))
    below = heights[np.searchsorted(negatives, values[mask], side="left")]
    at_most = heights[np.searchsorted(negatives, values[mask], side="right")]
    return float(((below + at_most) / 2).mean() / heights[-1])


def bits_at(values: NDArray[np.floating], mask: Masks) -> float:
    """Return the mean over a part of log2(eps + P), P being the positive values made a distribution.

    eps is the density of a map that says nothing, 1 / 12544, which bounds what one wrong pixel can cost. The
    information gain over a prior is the difference of two such numbers.
    """
    positive = np.maximum(np.asarray(values, np.float64), 0)
    total = positive.sum()
    density = positive / total if total > 0 else np.full(positive.shape, 1 / positive.size)
    return float(np.log2(1 / PIXELS + density[mask]).mean())


Plant = Callable[[PairChunk], tuple[Faces, Masks]]


class PointingTest(BenchTest):
    """How well the map of the changed face points at what was planted in it.

    Measures: ``negative share`` (share of the map's mass of the right sign inside the part, 0 if it has none),
    ``overlap`` (share of the part among the equally many pixels that come first), ``auc`` (:func:`shuffled_auc`),
    ``bits`` (:func:`bits_at`), ``area`` (the part's share of the face: the chance level of the first two) and ``drop``
    (by how much the score moved the way it should).

    Parameters
    ----------
    kind
        ``pointing``: a stranger's eye, nose or mouth, which speaks against a match; ``painting``: things painted on a
        face, likewise; both in genuine pairs. ``partner``: a part of another picture of the second person, in an
        impostor pair, which speaks for a match.
    """

    def __init__(self, kind: str = "pointing") -> None:
        self.name = kind
        self.question = kind
        self._wants_genuine = kind != "partner"
        self._plant: Plant = painted_faces if kind == "painting" else pasted_faces
        self._known = painted_masks() if kind == "painting" else part_masks()

    def asked(self, chunk: PairChunk) -> tuple[PairChunk, Faces, Faces]:
        """Return the pairs of the kind that is used, and their changed first faces."""
        part = chunk.only(chunk.genuine == self._wants_genuine)
        return part, self._plant(part)[0] if len(part) else part.first, part.second

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        part, changed, second = self.asked(chunk)
        if not len(part):
            return []
        kinds = part.numbers % len(self._known)
        masks = self._known[kinds]
        found = enlarged(explain(changed, second).map_a)
        # Evidence of the sign that the part should have.
        sought = -found if self._wants_genuine and not subject.is_unsigned else found
        positive = np.maximum(sought, 0)
        total = positive.sum(axis=(1, 2), dtype=np.float64)
        inside = (positive * masks).sum(axis=(1, 2), dtype=np.float64)
        share = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
        overlap, auc, bits = np.empty((3, len(part)))
        elsewhere = self._known.sum(axis=0)
        for row, rng in enumerate(part.generators(_POINTING_PURPOSE)):
            mask = masks[row]
            overlap[row] = mask[first_pixels(descending(sought[row], rng), float(mask.mean()))].mean()
            auc[row] = shuffled_auc(sought[row], mask, elsewhere - mask)
            bits[row] = bits_at(sought[row], mask)
        moved = subject.scores(part.first, second) - subject.scores(changed, second)
        drop = moved if self._wants_genuine else -moved
        measured = {"negative share": share, "overlap": overlap, "auc": auc, "bits": bits, "drop": drop}
        measured["area"] = masks.mean(axis=(1, 2))
        return [rows(measure, part, (0.0,), values) for measure, values in measured.items()]
