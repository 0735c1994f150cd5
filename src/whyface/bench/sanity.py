"""Sanity checks: maps must not depend on irrelevant changes, and must change with the network's weights."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, Explain, Faces, PairChunk, Subject, rows, to_pixels
from whyface.files.parts import Rows


def rank_correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of N pairs of maps (N, H, W); 0 if a map is flat.

    Equal values get their mean rank. C. Spearman, 1904.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - an extra, slow to import

    first, second = (rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (one, other))
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    spread = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    found: NDArray[np.float64] = np.divide(
        (first * second).sum(axis=1), spread, out=np.zeros(len(first)), where=spread > 0
    )
    return found


def shifted(faces: Faces) -> Faces:
    """Shift faces (N, 3, 112, 112) one pixel to the right, repeating the left edge."""
    return np.concatenate([faces[..., :1], faces[..., :-1]], axis=-1)


class StabilityTest(BenchTest):
    """Mean rank correlation of both faces' maps before and after an irrelevant change.

    Measures: ``shift`` (both faces by one pixel, maps shifted back), ``swap`` (B, A instead of A, B) and ``seed`` (for
    methods with a seed: another one).
    """

    name = "stability"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        plain = explain(chunk.first, chunk.second)
        before = [to_pixels(maps) for maps in (plain.map_a, plain.map_b)]
        moved = explain(shifted(chunk.first), shifted(chunk.second))
        after = [to_pixels(maps) for maps in (moved.map_a, moved.map_b)]
        shift = _mean([rank_correlation(b[..., :-1], a[..., 1:]) for b, a in zip(before, after, strict=True)])
        turned = explain(chunk.second, chunk.first)
        swap = _mean([rank_correlation(plain.map_a, turned.map_b), rank_correlation(plain.map_b, turned.map_a)])
        measured = [rows("shift", chunk, (0.0,), shift), rows("swap", chunk, (0.0,), swap)]
        if subject.other_seed is not None:
            again = subject.other_seed().maps(chunk.first, chunk.second)
            seed = _mean([rank_correlation(plain.map_a, again.map_a), rank_correlation(plain.map_b, again.map_b)])
            measured.append(rows("seed", chunk, (0.0,), seed))
        return measured


def _mean(values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(values, axis=0)
    return mean


SHARES: Final = (0.05, 0.25, 0.5, 1.0)
"""Shares of the layers that are randomised, from the top."""


class RandomisationTest(BenchTest):
    """Similarity of the maps before and after the network's layers are randomised from the top.

    Measures: ``similarity``, the rank correlation of the maps before and after, mean of both faces, by share of
    layers. Only for methods on networks with weights that can be changed; others have no rows.
    """

    name = "randomisation"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        if subject.randomised is None:
            return []
        plain = explain(chunk.first, chunk.second)
        found = np.empty((len(chunk), len(SHARES)))
        for column, share in enumerate(SHARES):
            after = subject.randomised(share).maps(chunk.first, chunk.second)
            sides = ((plain.map_a, after.map_a), (plain.map_b, after.map_b))
            found[:, column] = np.mean(
                [rank_correlation(to_pixels(one), to_pixels(other)) for one, other in sides], axis=0
            )
        return [rows("similarity", chunk, SHARES, found)]
