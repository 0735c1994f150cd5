"""Sanity checks: maps must not depend on irrelevant changes, and must change with the network's weights."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, Explain, Faces, PairChunk, Subject, rows, to_pixels
from whyface.explain.pair_method import PairMaps
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

    Maps of other pairs take the place of the maps before, and are compared with the pair's own after: a map that is
    the same for all pairs is perfectly stable, and gains nothing. Measures: ``shift`` (both faces by one pixel, maps
    shifted back), ``swap`` (B, A instead of A, B) and ``seed`` (for methods with a seed: another one).
    """

    name = "stability"
    question = "clean"

    def __init__(self, *, has_seed: bool = True) -> None:
        self._has_seed = has_seed

    def brief(self) -> BenchTest:
        """Return the test without another seed, whose maps are not kept."""
        return StabilityTest(has_seed=False)

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        plain = explain(chunk.first, chunk.second)
        # In pixels, since maps of other pairs are kept so.
        before = _both(plain)
        after = _both(explain(shifted(chunk.first), shifted(chunk.second)))
        shift = _mean([rank_correlation(b[..., :-1], a[..., 1:]) for b, a in zip(before, after, strict=True)])
        turned = reversed(_both(explain(chunk.second, chunk.first)))
        swap = _mean([rank_correlation(one, other) for one, other in zip(before, turned, strict=True)])
        measured = [rows("shift", chunk, (0.0,), shift), rows("swap", chunk, (0.0,), swap)]
        if self._has_seed and subject.other_seed is not None:
            again = _both(subject.other_seed().maps(chunk.first, chunk.second))
            seed = _mean([rank_correlation(one, other) for one, other in zip(before, again, strict=True)])
            measured.append(rows("seed", chunk, (0.0,), seed))
        return measured


def _mean(values: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(values, axis=0)
    return mean


SHARES: Final = (0.05, 0.25, 0.5, 1.0)
"""Shares of the layers that are randomised, from the top."""

DRAWS: Final = 5
NOISE: Final = 12.0
"""Number of noisy copies of a face whose maps are averaged, and the noise's standard deviation in grey levels."""
BINS: Final = 100

_NOISE_PURPOSE: Final = 13


def map_entropy(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the entropy of the histogram of each map (N, H, W) over 100 equal bins, (N,), in nats."""
    counts = np.stack([np.histogram(one, bins=BINS)[0] for one in maps]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=1), np.float64)


class RandomisationTest(BenchTest):
    """Similarity of the maps before and after the network's layers are randomised from the top.

    Measures: ``similarity``, the rank correlation of the maps before and after, mean of both faces, by share of
    layers; and, with all layers random, the two variants of Hedstroem et al., "A Fresh Look at Sanity Checks for
    Saliency Maps", 2024: ``smooth similarity``, of maps averaged over noisy copies of the faces, which takes the
    maps' own noise out, and ``entropy rise``, by how much the maps became more complex, as a share of their entropy
    before. Only for methods on networks with weights that can be changed; others have no rows.
    """

    name = "randomisation"
    question = "clean"

    def __init__(self, *, is_brief: bool = False) -> None:
        self._is_brief = is_brief

    def brief(self) -> BenchTest:
        """Return the test with all layers random, and without noisy copies and entropy."""
        return RandomisationTest(is_brief=True)

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        if subject.randomised is None:
            return []
        plain = _both(explain(chunk.first, chunk.second))
        shares = SHARES[-1:] if self._is_brief else SHARES
        found = np.empty((len(chunk), len(shares)))
        for column, share in enumerate(shares):
            after = _both(subject.randomised(share)(chunk.first, chunk.second))
            found[:, column] = _mean([rank_correlation(one, other) for one, other in zip(plain, after, strict=True)])
        if self._is_brief:
            return [rows("similarity", chunk, shares, found)]
        before = [map_entropy(side) for side in plain]
        rise = _mean([(map_entropy(side) - h) / np.maximum(h, 1e-12) for side, h in zip(after, before, strict=True)])
        smooth = [_smoothed(chunk, method) for method in (subject.method.maps, subject.randomised(SHARES[-1]))]
        alike = _mean([rank_correlation(one, other) for one, other in zip(*smooth, strict=True)])
        return [
            rows("similarity", chunk, SHARES, found),
            rows("smooth similarity", chunk, (0.0,), alike),
            rows("entropy rise", chunk, (0.0,), rise),
        ]


def _both(found: PairMaps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return to_pixels(found.map_a), to_pixels(found.map_b)


def _smoothed(chunk: PairChunk, explain: Explain) -> tuple[NDArray[np.float32], ...]:
    """Return the mean maps of noisy copies of both faces; the same noise for every method and network."""
    total: list[NDArray[np.float32]] = []
    generators = chunk.generators(_NOISE_PURPOSE)
    for _ in range(DRAWS):
        noisy = []
        for faces in (chunk.first, chunk.second):
            noise = np.stack([rng.normal(0, NOISE, face.shape) for rng, face in zip(generators, faces, strict=True)])
            noisy.append((faces + noise).round().clip(0, 255).astype(np.uint8))
        maps = _both(explain(noisy[0], noisy[1]))
        total = [side + more for side, more in zip(total, maps, strict=True)] if total else list(maps)
    return tuple(total)
