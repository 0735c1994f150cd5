"""The search's inner loop: probes against all records, in blocks that stay in the processor's cache.

NumPy and its BLAS alone. Per pair a learned attention costs one addition, two PReLUs, one matrix product, a softmax
over the cells and one dot product per cell; ``benchmarks/gallery_speed.py`` compares this with ONNX Runtime, PyTorch
and compiled loops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whyface.xcos.separable import SeparableAttention, prelu

BLOCK: Final = 256
"""Records per step: terms, cells and products of so many faces fit a core's second-level cache."""

_STRETCH: Final = 64 * BLOCK


@dataclass(frozen=True, eq=False)
class Probes:
    """What P probes bring along.

    Attributes
    ----------
    cells
        Unit vectors, cells first: (P, K, C); an embedding is one cell.
    terms
        First faces' terms (P, T) where attention is learned, else None.
    weights
        Fixed attention (K,), where it is not.
    """

    cells: NDArray[np.float32]
    terms: NDArray[np.float32] | None
    weights: NDArray[np.float32] | None


def score_records(
    records: NDArray[Any],
    probes: Probes,
    attention: SeparableAttention | None,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Score P probes against N records: (P, N) float32.

    Parameters
    ----------
    records
        As :mod:`whyface.gallery.layout` describes them.
    probes
        The probes.
    attention
        The learned attention, None for a fixed one.
    threads
        Cores to use; all by default.
    progress
        Called with the records done and N.
    """
    scores = np.empty((len(probes.cells), len(records)), np.float32)
    stretches = [(start, min(start + _STRETCH, len(records))) for start in range(0, len(records), _STRETCH)]

    def work(stretch: tuple[int, int]) -> int:
        for start, stop in _blocks(*stretch):
            part = records[start:stop]
            if attention is None:
                scores[:, start:stop] = _fixed(part, probes)
            else:
                scores[:, start:stop] = _learned(part, probes, attention)
        return stretch[1] - stretch[0]

    count = threads or usable_cores()
    done = 0
    # Threads of ours over blocks use the cache better than BLAS's own threads within one small product.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(count) as pool:
        for size in pool.map(work, stretches):
            done += size
            if progress is not None:
                progress(done, len(records))
    return scores


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def explain_records(
    records: NDArray[Any], probe: Probes, attention: SeparableAttention | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give S and W, (N, K) each, of one probe against N records."""
    cells = _cells(records, probe.cells.shape[1])
    similarity = np.clip(np.einsum("nkc,kc->nk", cells, probe.cells[0]) * records["unit_scale"][:, None], -1, 1)
    if attention is None or probe.terms is None:
        fixed = np.ones(similarity.shape[1], np.float32) if probe.weights is None else probe.weights
        return similarity.astype(np.float32), np.broadcast_to(fixed, similarity.shape).astype(np.float32)
    terms = records["terms"].astype(np.float32) * records["term_scale"][:, None]
    return similarity.astype(np.float32), attention.weights(probe.terms[:1], terms)


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + BLOCK, stop)) for first in range(start, stop, BLOCK))


def _cells(records: NDArray[Any], cells: int) -> NDArray[np.float32]:
    """Give the unit vectors, not scaled yet: (n, K, C), cells first."""
    return np.asarray(records["unit"], np.float32).reshape(len(records), cells, -1)


def _fixed(records: NDArray[Any], probes: Probes) -> NDArray[np.float32]:
    """With weights that do not depend on the pair, the score is one dot product of all cells at once."""
    weighted = probes.cells if probes.weights is None else probes.cells * probes.weights[:, None]
    flat = np.asarray(records["unit"], np.float32)
    return np.asarray((weighted.reshape(len(weighted), -1) @ flat.T) * records["unit_scale"])


def _learned(records: NDArray[Any], probes: Probes, attention: SeparableAttention) -> NDArray[np.float32]:
    assert probes.terms is not None
    cells = _cells(records, probes.cells.shape[1])
    terms = records["terms"].astype(np.float32)
    terms *= records["term_scale"][:, None]
    pair, spare = np.empty_like(terms), np.empty_like(terms)
    logits = np.empty((len(records), cells.shape[1]), np.float32)
    found = np.empty((len(probes.cells), len(records)), np.float32)
    by_cell = cells.transpose(1, 0, 2)
    for row, (probe, first) in enumerate(zip(probes.cells, probes.terms, strict=True)):
        np.add(terms, first, out=pair)
        prelu(pair, attention.pair_slope, spare)
        np.matmul(pair, attention.out, out=logits)
        weights = attention.finish(logits, spare[:, : logits.shape[1]])
        similarity = np.matmul(by_cell, probe[:, :, None])[:, :, 0]
        np.einsum("nk,kn->n", weights, similarity, out=found[row])
    found *= records["unit_scale"]
    return found
