"""Tests that change pictures: erase what a map ranks highest, and undo patches that mislead the network.

Deletion and insertion: Petsiuk, Das, Saenko, "RISE", BMVC 2018, for classifiers; Lu, Xu, Deng, "Towards Visual Saliency
Explanations of Face Verification", WACV 2024, for pairs. In a genuine pair, the pixels that most support a match are
erased first; in an impostor pair, those most against one; in both faces, each by its own map. SaCo: Wu et al., "On the
Faithfulness of Vision Transformer Explanations", CVPR 2024 (arXiv 2404.01415).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, Explain, Faces, PairChunk, Subject, first_pixels, rows, to_pixels
from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE
from whyface.files.parts import Rows

ERASED_SHARES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9)
ErasureFill = Literal["mean", "blur", "noise"]
FILLS: Final[tuple[ErasureFill, ...]] = ("mean", "blur", "noise")
_BLUR_SIGMA: Final = 10.0
_ORDER_PURPOSE, _FILL_PURPOSE = 4, 5


def filled(faces: Faces, fill: ErasureFill, generators: list[np.random.Generator]) -> Faces:
    """Return what replaces erased pixels.

    ``mean``: each face's mean colour; ``blur``: the face, blurred with sigma 10 pixels; ``noise``: uniform noise. Raise
    InputError if the fill is unknown.
    """
    if fill == "mean":
        return np.broadcast_to(faces.mean(axis=(2, 3), keepdims=True).round().astype(np.uint8), faces.shape).copy()
    if fill == "blur":
        planes = [cv2.GaussianBlur(face.transpose(1, 2, 0), (0, 0), _BLUR_SIGMA) for face in faces]
        return np.ascontiguousarray(np.stack(planes).transpose(0, 3, 1, 2))
    if fill == "noise":
        return np.stack([rng.integers(0, 256, faces.shape[1:], np.uint8) for rng in generators])
    raise InputError(f"unknown fill {fill!r}; use one of {', '.join(FILLS)}")


class ErasureTest(BenchTest):
    """Scores while pixels of both faces are erased (deletion) or restored (insertion).

    Measures: ``deletion`` and ``insertion``, the score by share of pixels erased or restored.

    Parameters
    ----------
    fill
        What replaces erased pixels, see :func:`filled`. It is part of the test's name, except for the mean
        colour: ``erasure``, ``erasure-blur``, ``erasure-noise``.
    """

    question = "clean"

    def __init__(self, fill: ErasureFill = "mean", *, shares: Sequence[float] = ERASED_SHARES) -> None:
        if fill not in FILLS:
            raise InputError(f"unknown fill {fill!r}; use one of {', '.join(FILLS)}")
        self.fill: ErasureFill = fill
        self.shares = tuple(shares)
        self.name = "erasure" if fill == "mean" else f"erasure-{fill}"

    def brief(self) -> BenchTest:
        """Return the test with four of the eight shares."""
        return ErasureTest(self.fill, shares=(0.0, 0.1, 0.3, 0.65))

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        found = explain(chunk.first, chunk.second)
        sides = []
        for side, (faces, maps) in enumerate(((chunk.first, found.map_a), (chunk.second, found.map_b))):
            orders = subject.most_telling_first(maps, chunk.genuine, chunk.generators(_ORDER_PURPOSE + 10 * side))
            fills = filled(faces, self.fill, chunk.generators(_FILL_PURPOSE + 10 * side))
            sides.append((faces, fills, orders))
        deletion, insertion = np.empty((2, len(chunk), len(self.shares)))
        for row in range(len(chunk)):
            erased, kept = zip(
                *(_sequences(faces[row], fills[row], orders[row], self.shares) for faces, fills, orders in sides),
                strict=True,
            )
            deletion[row] = subject.scores(*erased)
            insertion[row] = subject.scores(*kept)
        return [rows("deletion", chunk, self.shares, deletion), rows("insertion", chunk, self.shares, insertion)]


def _sequences(
    face: NDArray[np.uint8], fill: NDArray[np.uint8], order: NDArray[np.intp], shares: Sequence[float]
) -> tuple[Faces, Faces]:
    masks = [first_pixels(order, share) for share in shares]
    return (
        np.stack([np.where(mask, fill, face) for mask in masks]),
        np.stack([np.where(mask, face, fill) for mask in masks]),
    )


PATCHES: Final = 27
PATCH_SIDE: Final = 16
_PURPOSE: Final = 2


def patch_mask(rng: np.random.Generator, *, patches: int = PATCHES, side: int = PATCH_SIDE) -> NDArray[np.bool_]:
    """Return a mask of random square patches, which may overlap; (112, 112) bool, True inside a patch.

    Raise InputError if a patch is larger than the face.
    """
    mask = np.zeros((FACE_SIZE, FACE_SIZE), np.bool_)
    for top, left in _corners(rng, patches, side):
        mask[top : top + side, left : left + side] = True
    return mask


def patch_corners(chunk: PairChunk) -> list[NDArray[np.intp]]:
    """Return for each pair the top left corners (row, column) of the patches of :func:`patched_faces`, (27, 2)."""
    return [_corners(rng, PATCHES, PATCH_SIDE) for rng in chunk.generators(_PURPOSE)]


def _corners(rng: np.random.Generator, patches: int, side: int) -> NDArray[np.intp]:
    if not 1 <= side <= FACE_SIZE or patches < 0:
        raise InputError(f"{patches} patches of {side} x {side} do not fit a face of {FACE_SIZE} x {FACE_SIZE}")
    return rng.integers(0, FACE_SIZE - side + 1, (patches, 2))


def patch_chance(*, patches: int = PATCHES, side: int = PATCH_SIDE) -> NDArray[np.float64]:
    """Return each pixel's probability of being under a patch, (112, 112).

    It is the same for all pixels except in a border as wide as a patch, which fewer patch positions cover. A map that
    merely prefers the middle finds more patches than its share of pixels, and must be compared with this.
    """
    places = FACE_SIZE - side + 1
    starts = np.arange(FACE_SIZE)
    reached = np.minimum(starts, places - 1) - np.maximum(starts - side + 1, 0) + 1
    chance: NDArray[np.float64] = 1 - (1 - np.outer(reached, reached) / places**2) ** patches
    return chance


def patched_faces(chunk: PairChunk) -> tuple[Faces, NDArray[np.bool_]]:
    """Patch the first face of every pair, so that the score moves to the wrong side.

    An impostor pair's patches come from the second face, a genuine pair's from a third person, at the same positions.
    Return the patched faces, and the masks (N, 112, 112) bool.
    """
    masks = np.stack([patch_mask(rng) for rng in chunk.generators(_PURPOSE)])
    source = np.where(chunk.genuine[:, None, None, None], chunk.other, chunk.second)
    return np.where(masks[:, None], source, chunk.first), masks


STEPS: Final = tuple(round(0.05 * step, 2) for step in range(20))
POINTED: Final = 0.1
"""Share of the pixels that is searched for patches."""

_REPLACEMENT_PURPOSE, _TRUTH_PURPOSE = 3, 7


def replaced_scores(
    chunk: PairChunk, patched: Faces, maps: NDArray[np.float32], subject: Subject, shares: Sequence[float]
) -> tuple[NDArray[np.float64], list[Faces]]:
    """Put original pixels back into patched first faces, those first that a method's maps call most telling.

    A match gives up the pixels most for it, any other pair those most against it. Return the scores (N, 1 + S), without
    replacement first, and the replaced faces of each pair, (S, 3, 112, 112).

    Parameters
    ----------
    patched
        The patched first faces.
    maps
        The method's maps of them.
    shares
        Shares of the pixels.
    """
    values = np.empty((len(chunk), 1 + len(shares)))
    values[:, 0] = subject.scores(patched, chunk.second)
    orders = subject.most_telling_first(maps, values[:, 0] > subject.threshold, chunk.generators(_REPLACEMENT_PURPOSE))
    faces = []
    for row, order in enumerate(orders):
        masks = [first_pixels(order, share) for share in shares]
        faces.append(np.stack([np.where(mask, chunk.first[row], patched[row]) for mask in masks]))
        values[row, 1:] = subject.scores(faces[-1], chunk.second[row : row + 1])
    return values, faces


class ReplacementTest(BenchTest):
    """Scores along the replacement curve, 0 to 95 % of the pixels, and whether the map finds the patches.

    Regardless of the verdict, a stranger's patches on a genuine pair must count against a match, and the second face's
    patches on an impostor pair must count for one. Measures: ``score`` (by step; step 0 is the patched pair), ``clean``
    (the unpatched pair), ``patch precision`` (share of patch among the 10 % of pixels with the most such evidence) and
    ``patch chance`` (its expected value for newly drawn patches).
    """

    name = "replacement"
    question = "patched"

    def __init__(self, steps: Sequence[float] = STEPS) -> None:
        self.steps = tuple(steps)

    def asked(self, chunk: PairChunk) -> tuple[PairChunk, Faces, Faces]:
        """Return all pairs, with their patched first faces."""
        return chunk, patched_faces(chunk)[0], chunk.second

    def brief(self) -> BenchTest:
        """Return the test with five of the twenty steps: most pairs turn over in the first half."""
        return ReplacementTest((0.0, 0.1, 0.25, 0.5, 0.75))

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        patched, masks = patched_faces(chunk)
        found = explain(patched, chunk.second)
        values, _ = replaced_scores(chunk, patched, found.map_a, subject, self.steps[1:])
        truth = subject.most_telling_first(found.map_a, ~chunk.genuine, chunk.generators(_TRUTH_PURPOSE))
        pointed = np.stack([first_pixels(order, POINTED) for order in truth])
        precision, chance = ((where * pointed).sum(axis=(1, 2)) / pointed[0].sum() for where in (masks, patch_chance()))
        clean = subject.scores(chunk.first, chunk.second)
        return [
            rows("score", chunk, self.steps, values),
            rows("clean", chunk, (0.0,), clean),
            rows("patch precision", chunk, (POINTED,), precision),
            rows("patch chance", chunk, (POINTED,), chance),
        ]


SUBSETS: Final = 10
"""Number of equally large subsets of the pixels whose salience is compared with their effect."""


def salience_faithfulness(salience: NDArray[np.floating], effect: NDArray[np.floating]) -> float:
    """Return the salience-guided faithfulness coefficient of K subsets, from -1 to 1.

    For any two subsets, the difference of their saliences counts for the map if the one with more salience has no
    smaller effect, and against it otherwise; 0 if all are equally salient.
    """
    order = np.argsort(-salience, kind="stable")
    said, done = np.asarray(salience, np.float64)[order], np.asarray(effect, np.float64)[order]
    first, second = np.triu_indices(len(said), 1)
    weights = said[first] - said[second]
    total = float(weights.sum())
    return float(np.where(done[first] >= done[second], weights, -weights).sum() / total) if total > 0 else 0.0


class SaCoTest(BenchTest):
    """Whether what a map gives more salience has more effect: ``saco``, see :func:`salience_faithfulness`.

    The pixels of both faces, each by its own map, are divided into ten subsets from the most telling to the least; each
    subset alone is replaced by the mean colour, and the effect is how far the score moves against the label.
    """

    name = "saco"
    question = "clean"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        found = explain(chunk.first, chunk.second)
        salience = np.zeros((len(chunk), SUBSETS))
        sides: list[list[Faces]] = []
        for side, (faces, maps) in enumerate(((chunk.first, found.map_a), (chunk.second, found.map_b))):
            orders = subject.most_telling_first(maps, chunk.genuine, chunk.generators(_SACO_PURPOSE + side))
            fills, values = filled(faces, "mean", []), to_pixels(maps).reshape(len(faces), -1).astype(np.float64)
            if not subject.is_unsigned:
                values = np.where(chunk.genuine[:, None], values, -values)
            pictures = []
            for row, order in enumerate(orders):
                parts = np.array_split(order, SUBSETS)
                # Each face's map has a unit of its own.
                scale = np.abs(values[row]).sum() or 1.0
                salience[row] += [values[row, part].sum() / scale for part in parts]
                pictures.append(np.stack([_without(faces[row], fills[row], part) for part in parts]))
            sides.append(pictures)
        before = subject.scores(chunk.first, chunk.second)
        measured = np.empty(len(chunk))
        for row, (one, other) in enumerate(zip(*sides, strict=True)):
            drop = before[row] - subject.scores(one, other)
            measured[row] = salience_faithfulness(salience[row], drop if chunk.genuine[row] else -drop)
        return [rows("saco", chunk, (0.0,), measured)]


_SACO_PURPOSE: Final = 12


def _without(face: NDArray[np.uint8], fill: NDArray[np.uint8], part: NDArray[np.intp]) -> NDArray[np.uint8]:
    left = face.reshape(3, -1).copy()
    left[:, part] = fill.reshape(3, -1)[:, part]
    return left.reshape(face.shape)
