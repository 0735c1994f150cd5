"""The nearest neighbours of faces: all compared with all, or with those that an approximate index names for each.

With an index every score is exact, too, but a neighbour may be missed; how often is in ``docs/studies/clusters.md``.
Memory then holds the index and the pairs, not the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import Layout
from whyface.gallery.kernel import Probes, score_records
from whyface.gallery.shortlist import Recipe, empty_index, faiss_module

NEIGHBOURS: Final = 24
"""Pairs that each face brings: enough for groups to meet, whatever their size."""

_PROBES: Final = 64
_ADDED_AT_ONCE: Final = 8192
_RESCORED: Final = 8192
"""Pairs that are compared exactly at once; with grids of 32 x 7 x 7 both sides take 100 MB."""
_TRAINED_PER_LIST: Final = 48
_VISITED: Final = 80
"""Lists that a search visits. Of 30,000 generated faces, 10 found 95.7 % of a person's other pictures, 80 99.8 %."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of N faces.

    Attributes
    ----------
    pairs
        (E, 2) int64, the lower number first, each pair once, in descending order of the scores.
    scores
        (E,) float32.
    nearest
        For each face the most alike other one, (N,) int64; -1 where there is none.
    nearest_scores
        (N,) float32.
    """

    pairs: NDArray[np.int64]
    scores: NDArray[np.float32]
    nearest: NDArray[np.int64]
    nearest_scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ChosenRecords:
    """Some records of a gallery, read when they are asked for, so that memory need not hold them all."""

    records: NDArray[Any]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.numbers)

    def __getitem__(self, which: Any) -> NDArray[Any]:
        """Return records by their place among the chosen ones."""
        found: NDArray[Any] = self.records[self.numbers[which]]
        return found


Records = NDArray[Any] | ChosenRecords


def as_probes(records: NDArray[Any], layout: Layout) -> Probes:
    """Return faces of a gallery as probes, so that they can be compared with all others.

    Where attention factorises, and for embeddings, scores are those of a search. Records of other grids do not hold
    what learned attention needs of a probe: they are compared with uniform attention.
    """
    unit = np.asarray(records["unit"], np.float32) * records["unit_scale"][:, None]
    places = int(np.prod(layout.shape[1:])) if layout.kind == "grid" else 1
    cells = unit.reshape(len(records), places, -1)
    if layout.weighed:
        return Probes(cells, np.asarray(records["terms"], np.float32) * records["term_scale"][:, None], None, True)
    return Probes(cells, None, np.full(places, 1 / places, np.float32) if layout.kind == "grid" else None)


def paired_scores(first: Probes, second: Probes) -> NDArray[np.float32]:
    """Return the score of each face with the one in the same row, (N,)."""
    weights = 1.0 if first.weights is None else first.weights[:, None]
    product = np.einsum("nkc,nkc->n", first.cells * weights, second.cells)
    if first.terms is not None and second.terms is not None:
        product = product / np.maximum(np.einsum("nk,nk->n", first.terms, second.terms), 1e-30)
    return np.asarray(product, np.float32)


def find_neighbours(
    records: Records,
    layout: Layout,
    least: float,
    *,
    neighbours: int = NEIGHBOURS,
    shortlist: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Neighbours:
    """Keep for each face its nearest neighbours above a score.

    Parameters
    ----------
    records, layout
        The records of a gallery, all intact.
    least
        Pairs with lower scores are not kept.
    neighbours
        Maximum number of pairs that each face brings.
    shortlist
        Compare each face with this many others that an index names (extra ``ann``); by default with all.
    seed
        Seed of the index.
    progress
        Called with the number of faces done and the total.

    Raises
    ------
    InputError
        If the shortlist names nobody, or FAISS is not installed.
    """
    count = len(records)
    nearest, nearest_scores = np.full(count, -1, np.int64), np.full(count, -np.inf, np.float32)
    kept: list[NDArray[np.int64]] = []
    kept_scores: list[NDArray[np.float32]] = []
    if shortlist is None:
        blocks = _compared_with_all(records, layout, min(neighbours, count - 1), threads)
    else:
        blocks = _compared_with_few(records, layout, neighbours, shortlist, seed, threads)
    for start, best, values in blocks if count > 1 else ():
        stop = start + len(best)
        rows = np.arange(len(best))
        first = values.argmax(axis=1)
        nearest[start:stop], nearest_scores[start:stop] = best[rows, first], values[rows, first]
        row, column = np.nonzero(values >= least)
        own, others = row + start, best[row, column]
        kept.append(np.minimum(own, others) * count + np.maximum(own, others))
        kept_scores.append(values[row, column])
        if progress is not None:
            progress(stop, count)
    nearest[~np.isfinite(nearest_scores)] = -1
    keys, where = np.unique(np.concatenate([np.zeros(0, np.int64), *kept]), return_index=True)
    scores = np.concatenate([np.zeros(0, np.float32), *kept_scores])[where]
    order = np.argsort(-scores, kind="stable")
    return Neighbours(np.stack(np.divmod(keys[order], max(count, 1)), axis=1), scores[order], nearest, nearest_scores)


_Block = tuple[int, NDArray[np.int64], NDArray[np.float32]]
"""The first face of a block, the numbers of the others that are best for each of its faces, and their scores."""


def _compared_with_all(records: Records, layout: Layout, wanted: int, threads: int | None) -> Iterator[_Block]:
    every = records[:]
    for start in range(0, len(every), _PROBES):
        stop = min(start + _PROBES, len(every))
        scores = score_records(every, as_probes(every[start:stop], layout), None, threads=threads)
        scores[~np.isfinite(scores)] = -np.inf
        scores[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        best = np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted]
        yield start, best, np.take_along_axis(scores, best, axis=1)


def _compared_with_few(
    records: Records, layout: Layout, wanted: int, shortlist: int, seed: int, threads: int | None
) -> Iterator[_Block]:
    if shortlist < 1:
        raise InputError(f"a shortlist names at least one face, got {shortlist}")
    count = len(records)
    named = min(shortlist, count - 1)
    index = _index_of(records, layout, seed, threads)
    at_once = max(1, _RESCORED // named)
    for start in range(0, count, _ADDED_AT_ONCE):
        stop = min(start + _ADDED_AT_ONCE, count)
        found = np.asarray(index.search(_vectors(records[start:stop], layout), named + 1)[1], np.int64)
        for first in range(start, stop, at_once):
            others = found[first - start : min(first + at_once, stop) - start]
            own = np.arange(first, first + len(others))
            scores: NDArray[np.float32] = np.full((len(others), named + 1), -np.inf, np.float32)
            row, column = np.nonzero((others >= 0) & (others != own[:, None]))
            probes = as_probes(records[own], layout)
            terms = None if probes.terms is None else probes.terms[row]
            mine = replace(probes, cells=probes.cells[row], terms=terms)
            scores[row, column] = paired_scores(mine, as_probes(records[others[row, column]], layout))
            scores[~np.isfinite(scores)] = -np.inf
            best = np.argpartition(-scores, min(wanted, named) - 1, axis=1)[:, :wanted]
            yield first, np.take_along_axis(others, best, axis=1), np.take_along_axis(scores, best, axis=1)


def _index_of(records: Records, layout: Layout, seed: int, threads: int | None) -> Any:
    """Build an index of all faces in memory: in one list where there are few, else in lists by centres."""
    faiss = faiss_module()
    if threads is not None:
        faiss.omp_set_num_threads(threads)
    count = len(records)
    # Genuine neighbours are near: some lists are enough, unlike for the best of strangers.
    lists = 1 if count < 20_000 else min(4096, int(2 * count**0.5))
    # Axes take a second to find, which comparing a few faces in full does not.
    axes = 128 if count >= 4 * layout.values else 0
    recipe = Recipe(dimensions=axes, lists=lists, visited=min(lists, _VISITED))
    wanted = min(count, max(4 * layout.values, _TRAINED_PER_LIST * lists))
    chosen = np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))
    index = empty_index(_vectors(records[chosen], layout), recipe, seed)
    for start in range(0, count, _ADDED_AT_ONCE):
        index.add(_vectors(records[start : start + _ADDED_AT_ONCE], layout))
    if lists > 1:
        faiss.extract_index_ivf(index).nprobe = recipe.visited
    return index


def _vectors(records: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    return np.ascontiguousarray(as_probes(records, layout).cells.reshape(len(records), -1))
