"""The exact split of the deployed cosine into cells, for networks whose head is linear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from whyface.explain.cell_terms import CellTerms, cell_parts, cell_terms, spread_constant
from whyface.explain.linear_head import linear_head
from whyface.explain.pair_method import PairMaps, PairMethod, check_pairing
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder


class CellsMethod(PairMethod):
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

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain N pairs of aligned faces, (N, 3, 112, 112) each.

        Raises
        ------
        InputError
            If there are no pairs or the numbers differ.
        """
        check_pairing(first, second)
        step = max(1, self.batch_size // 2)
        parts = [
            self._terms(first[start : start + step], second[start : start + step])
            for start in range(0, len(first), step)
        ]
        return PairMaps(
            score=np.concatenate([part.score for part in parts]).astype(np.float32),
            map_a=np.concatenate([spread_constant(part.first, part.constant_first) for part in parts]),
            map_b=np.concatenate([spread_constant(part.second, part.constant_second) for part in parts]),
            forward=2,
            details=tuple(_details(part, row) for part in parts for row in range(len(part.score))),
        )

    def _terms(self, first: Batch, second: Batch) -> CellTerms:
        maps = self._grids.grid(np.concatenate([first, second]))
        parts = cell_parts(maps, self.head.weights)
        return cell_terms(parts[: len(first)], parts[len(first) :], self.head.constant)


def _details(terms: CellTerms, row: int) -> Mapping[str, Any]:
    return {
        "same_place": [[float(value) for value in line] for line in terms.same_place[row]],
        "cross_place": float(terms.cross_place[row]),
        "constant": float(terms.constant[row]),
        "constant_a": float(terms.constant_first[row]),
        "constant_b": float(terms.constant_second[row]),
    }
