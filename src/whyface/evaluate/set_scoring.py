"""Scores of pairs of picture sets, by one of two rules.

``"grids"``: the features of each set are averaged, and the two means are compared. Embeddings have unit length before
and after. Grids are averaged without normalisation, since learned attention was trained on such grids and a blurred
face, with shorter features, counts less.

``"scores"``: all n x m pairs of pictures are compared, and their scores are averaged. If a score is linear in the
features of both sides (cosine; uniform and correlated attention, with weights independent of the pair), this equals the
comparison of the means of all unit features and costs no more than the other rule. Learned attention is not linear and
is computed for every pair of pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyface.data.video_sets import SetProtocol
from whyface.errors import InputError
from whyface.evaluate.scoring import embed_all, mirrored, read_all
from whyface.faces.pictures import PictureSource
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch, l2_normalise
from whyface.xcos.comparison import COSINE, Comparison, SearchableComparison
from whyface.xcos.grid import normalise_cells
from whyface.xcos.open_model import OpenedModel

Aggregation = Literal["grids", "scores"]
AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)

CACHE_BYTES: Final = 2**30
"""Maximum size of the cached grids."""

_BATCH: Final = 64
_CHUNK: Final = 1000

Rows = NDArray[np.float32]


class SetMean:
    """The mean features of a set, to which pictures are added in parts; memory holds their sum alone."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | None = None
        self._weight = 0.0

    def add(self, features: Rows, weight: float = 1.0) -> None:
        """Add pictures, (N, ...), all with the same weight."""
        part = weight * features.sum(axis=0, dtype=np.float64)
        self._sum = part if self._sum is None else self._sum + part
        self._weight += weight * len(features)

    @property
    def value(self) -> NDArray[np.float64]:
        """The mean, (...). Raise InputError if nothing was added."""
        if self._sum is None or self._weight <= 0:
            raise InputError("a set needs a picture with a weight above 0")
        return np.asarray(self._sum / self._weight)


def set_features(comparison: Comparison, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is compared of the means of sets, (V, ...): embeddings have unit length again, grids stay."""
    return np.asarray(l2_normalise(means), np.float64) if comparison.kind == COSINE else means


def score_sets(
    model: OpenedModel,
    source: PictureSource,
    protocol: SetProtocol,
    *,
    aggregation: Aggregation = "grids",
    mirror: bool = False,
    progress: ProgressCallback | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> dict[str, NDArray[np.float64]]:
    """Score all pairs of sets, (P,) float64 for each of the model's kinds.

    Memory holds one batch of pictures, the means of all sets and, for the scores of learned attention, ``cache_bytes``
    of grids. The cost of learned attention grows with n x m: choose few pictures of each set
    (:meth:`SetProtocol.at_most`). Raise InputError if there is no such aggregation, and DataError if a picture is
    missing or damaged, and ModelError if the network's output is invalid.

    Parameters
    ----------
    aggregation
        ``"grids"`` or ``"scores"``, see this module's documentation.
    cache_bytes
        Maximum size of the grids cached for comparing all pictures.
    """
    if aggregation not in AGGREGATIONS:
        raise InputError(f"aggregation must be one of {', '.join(AGGREGATIONS)}, got {aggregation!r}")
    pairs = protocol.pairs
    comparisons = model.comparisons
    if COSINE in comparisons:
        embedder = comparisons[COSINE].embedder

        def embeddings(names: Sequence[str]) -> Rows:
            return embed_all(embedder, source, names, batch=_BATCH, mirror=mirror)

        means = _means(embeddings, protocol, np.asarray, progress)
        unit = set_features(comparisons[COSINE], means) if aggregation == "grids" else means
        return {COSINE: np.einsum("pd,pd->p", unit[pairs.left], unit[pairs.right])}
    network = next(iter(comparisons.values())).features
    views: list[Callable[[Batch], Rows]] = [network]
    if mirror:
        views.append(lambda batch: network(mirrored(batch)))
    found = [_score_grids(view, comparisons, source, protocol, aggregation, progress, cache_bytes) for view in views]
    return {kind: np.mean([scores[kind] for scores in found], axis=0) for kind in comparisons}


def _score_grids(
    network: Callable[[Batch], Rows],
    comparisons: Mapping[str, SearchableComparison],
    source: PictureSource,
    protocol: SetProtocol,
    aggregation: Aggregation,
    progress: ProgressCallback | None,
    cache_bytes: int,
) -> dict[str, NDArray[np.float64]]:
    def grids(names: Sequence[str]) -> Rows:
        return read_all(network, source, names, batch=_BATCH)

    if aggregation == "grids":
        means = _means(grids, protocol, np.asarray, progress).astype(np.float32)
        return {kind: _compare(one, means, means, protocol) for kind, one in comparisons.items()}
    scores: dict[str, NDArray[np.float64]] = {}
    cells: NDArray[np.float64] | None = None
    for kind, comparison in comparisons.items():
        if kind == "l":
            scores[kind] = _learned_scores(comparison, grids, protocol, progress, cache_bytes)
            continue
        if cells is None:
            cells = _means(grids, protocol, normalise_cells, progress)
        weights = comparison.fixed_weights(cells.shape[1:])
        assert weights is not None
        scores[kind] = _fixed_scores(cells, protocol, weights.astype(np.float64))
    return scores


def _means(
    read: Callable[[Sequence[str]], Rows],
    protocol: SetProtocol,
    prepare: Callable[[Rows], Rows],
    progress: ProgressCallback | None,
) -> NDArray[np.float64]:
    """Return the mean features of each set, (V, ...) float64, computed in batches of pictures."""
    means: list[NDArray[np.float64]] = []
    done, total = 0, protocol.count
    for names in protocol.frames:
        mean = SetMean()
        for start in range(0, len(names), _BATCH):
            mean.add(prepare(read(names[start : start + _BATCH])))
            done += len(names[start : start + _BATCH])
            if progress is not None:
                progress(done, total)
        means.append(mean.value)
    return np.stack(means)


def _compare(comparison: Comparison, left: Rows, right: Rows, protocol: SetProtocol) -> NDArray[np.float64]:
    pairs = protocol.pairs
    parts = [
        comparison.scores(left[pairs.left[i : i + _CHUNK]], right[pairs.right[i : i + _CHUNK]])
        for i in range(0, len(pairs.left), _CHUNK)
    ]
    return np.concatenate(parts).astype(np.float64)


def _fixed_scores(
    cells: NDArray[np.float64], protocol: SetProtocol, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return scores of mean unit vectors (V, C, H, W) with the same weights (H, W) for all pairs."""
    pairs = protocol.pairs
    return np.array(
        [
            np.einsum("chw,chw,hw->", cells[left], cells[right], weights)
            for left, right in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
        ]
    )


def _learned_scores(
    comparison: Comparison,
    grids: Callable[[Sequence[str]], Rows],
    protocol: SetProtocol,
    progress: ProgressCallback | None,
    cache_bytes: int,
) -> NDArray[np.float64]:
    """Return the mean scores of all n x m pairs of pictures."""
    pairs = protocol.pairs
    kept: OrderedDict[int, Rows] = OrderedDict()

    def of_set(number: int) -> Rows:
        if number in kept:
            kept.move_to_end(number)
        else:
            kept[number] = grids(protocol.frames[number])
            while len(kept) > 1 and sum(rows.nbytes for rows in kept.values()) > cache_bytes:
                kept.popitem(last=False)
        return kept[number]

    scores = np.empty(len(pairs.left))
    for row, (left, right) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
        first, second = of_set(left), of_set(right)
        total = 0.0
        for grid in first:
            for start in range(0, len(second), _CHUNK):
                part = second[start : start + _CHUNK]
                total += float(comparison.scores(grid[None], part).sum(dtype=np.float64))
        scores[row] = total / (len(first) * len(second))
        if progress is not None:
            progress(row + 1, len(pairs.left))
    return scores
