"""Deletion and insertion for verification: erasing what a good map ranks highest must change the verdict.

Petsiuk, Das, Saenko, "RISE", BMVC 2018, for classifiers; Lu, Xu, Deng, "Towards Visual Saliency Explanations of Face
Verification", WACV 2024, for pairs. In a genuine pair, the pixels that most support a match are erased first, in an
impostor pair those most against one; in both faces, each by its own map.
"""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, Explain, Faces, PairChunk, Subject, first_pixels, rows
from whyface.errors import InputError
from whyface.files.parts import Rows

STEPS: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9)
ErasureFill = Literal["mean", "blur", "noise"]
FILLS: Final[tuple[ErasureFill, ...]] = ("mean", "blur", "noise")
_BLUR_SIGMA: Final = 10.0
_ORDER_PURPOSE, _FILL_PURPOSE = 4, 5


def filled(faces: Faces, fill: ErasureFill, generators: list[np.random.Generator]) -> Faces:
    """Return what replaces erased pixels.

    ``mean``: each face's mean colour; ``blur``: the face, blurred with sigma 10 pixels; ``noise``: uniform noise.

    Raises
    ------
    InputError
        For an unknown fill.
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

    def __init__(self, fill: ErasureFill = "mean") -> None:
        if fill not in FILLS:
            raise InputError(f"unknown fill {fill!r}; use one of {', '.join(FILLS)}")
        self.fill: ErasureFill = fill
        self.name = "erasure" if fill == "mean" else f"erasure-{fill}"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        found = explain(chunk.first, chunk.second)
        sides = []
        for side, (faces, maps) in enumerate(((chunk.first, found.map_a), (chunk.second, found.map_b))):
            orders = subject.most_telling_first(maps, chunk.genuine, chunk.generators(_ORDER_PURPOSE + 10 * side))
            fills = filled(faces, self.fill, chunk.generators(_FILL_PURPOSE + 10 * side))
            sides.append((faces, fills, orders))
        deletion = np.empty((len(chunk), len(STEPS)))
        insertion = np.empty((len(chunk), len(STEPS)))
        for row in range(len(chunk)):
            erased, kept = zip(
                *(_sequences(faces[row], fills[row], orders[row]) for faces, fills, orders in sides), strict=True
            )
            deletion[row] = subject.scores(*erased)
            insertion[row] = subject.scores(*kept)
        return [rows("deletion", chunk, STEPS, deletion), rows("insertion", chunk, STEPS, insertion)]


def _sequences(face: NDArray[np.uint8], fill: NDArray[np.uint8], order: NDArray[np.intp]) -> tuple[Faces, Faces]:
    masks = [first_pixels(order, step) for step in STEPS]
    return (
        np.stack([np.where(mask, fill, face) for mask in masks]),
        np.stack([np.where(mask, face, fill) for mask in masks]),
    )
