"""The exact split of the deployed cosine into cells, for networks whose head is linear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from whyface.explain.batched_method import BatchedPairMethod
from whyface.explain.cell_terms import CellTerms, cell_parts, cell_terms, spread_constant
from whyface.explain.linear_head import linear_head
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder


class CellsMethod(BatchedPairMethod):
    """What every cell of a face adds to the cosine, exactly.

    Behind the last spatial map F, most face networks are affine, so that an embedding is a sum over cells, and the
    deployed cosine, computed as it always was, splits into terms of cells: A's cell against the whole of e_B
    (``map_a``), B's cell against e_A (``map_b``). Nothing is trained and nothing approximated: each map adds up to the
    score. The constant's part (from BatchNorms and biases) belongs to no cell; it is spread evenly over all, which
    changes no order of cells.

    Assumed: a cell speaks for its place. Its receptive field is larger, and a network's cells share a large common part
    that only their sum has none of, so small terms mean little. ``details`` also gives the same-place part, A's cell
    against B's at the same place, and what is left, the comparisons across places. Where that rest is large, the
    network cannot be read place by place without retraining, as xCos does.

    Works without gradients: on torch networks, and on ONNX networks whose grid is named.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.

    Raises
    ------
    ModelError
        If the embedder has no grid, or the head behind it is not affine.

    References
    ----------
    Ours. For a mean and a fully connected layer it is Zhou et al., "Learning Deep Features for Discriminative
    Localization" (CAM), CVPR 2016, with e_B in the place of a class's weights.
    """

    name: ClassVar[str] = "cells"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        self._grids, self.head = linear_head(embedder)

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of pairs."""
        parts = cell_parts(self._grids.grid(np.concatenate([first, second])), self.head.weights)
        terms = cell_terms(parts[: len(first)], parts[len(first) :], self.head.constant)
        return PairMaps(
            score=terms.score.astype(np.float32),
            map_a=spread_constant(terms.first, terms.constant_first),
            map_b=spread_constant(terms.second, terms.constant_second),
            forward=2,
            details=tuple(_details(terms, row) for row in range(len(terms.score))),
        )


def _details(terms: CellTerms, row: int) -> Mapping[str, Any]:
    return {
        "same_place": terms.same_place[row].tolist(),
        "cross_place": float(terms.cross_place[row]),
        "constant": float(terms.constant[row]),
        "constant_a": float(terms.constant_first[row]),
        "constant_b": float(terms.constant_second[row]),
    }
