"""Evidence by place: the exact split of a cosine for linear heads, and the xCos evidence as a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.pair_method import BatchedPairMethod, PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.explain.shares import margin_shares
from whyface.explain.usual import UsualSimilarity
from whyface.models.embedder import Batch, Embedder
from whyface.models.linear_head import linear_head
from whyface.xcos.comparison import Comparison

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CellTerms:
    """The cosines of N pairs, decomposed in three ways; each adds up to the cosine.

    Attributes
    ----------
    score
        (N,): the cosine.
    first, second
        (N, H, W) each: the term of each place of A with the whole e_B, and of each place of B with e_A. With the
        term of the constant, ``constant_first`` or ``constant_second`` (N,), each adds up to the score.
    same_place
        (N, H, W): each place of A with the same place of B.
    cross_place
        (N,): all places of A with the other places of B.
    constant
        (N,): all terms of the constant b. ``same_place``, ``cross_place`` and this add up to the score.
    """

    score: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    constant_first: NDArray[np.float64]
    constant_second: NDArray[np.float64]
    same_place: NDArray[np.float64]
    cross_place: NDArray[np.float64]
    constant: NDArray[np.float64]


def cell_parts(maps: FloatArray, weights: FloatArray) -> NDArray[np.float64]:
    """Split embeddings into the parts of their places.

    Return p_ij F_ij, (N, D, H, W) float64. Raise InputError if the shapes do not fit.

    Parameters
    ----------
    maps
        Last spatial maps F, (N, C, H, W).
    weights
        P, (D, C, H, W).
    """
    if maps.ndim != 4 or maps.shape[1:] != weights.shape[1:]:
        raise InputError(f"maps {maps.shape} and weights {weights.shape} do not fit; both are (., C, H, W)")
    count, channels, height, width = maps.shape
    # One matrix product per place is fastest.
    cells = maps.reshape(count, channels, -1).transpose(2, 0, 1).astype(np.float64)
    matrices = weights.reshape(len(weights), channels, -1).transpose(2, 1, 0).astype(np.float64)
    return np.ascontiguousarray((cells @ matrices).transpose(1, 2, 0)).reshape(count, -1, height, width)


def cell_terms(parts_a: FloatArray, parts_b: FloatArray, constant: FloatArray) -> CellTerms:
    """Split the cosines of N pairs.

    Raise InputError if the shapes do not fit, or an embedding is zero and has no cosine.

    Parameters
    ----------
    parts_a, parts_b
        From :func:`cell_parts`, (N, D, H, W) each.
    constant
        b, (D,).
    """
    if parts_a.shape != parts_b.shape or parts_a.ndim != 4 or constant.shape != parts_a.shape[1:2]:
        raise InputError(f"parts {parts_a.shape}, {parts_b.shape} and constant {constant.shape} do not fit")
    sum_a, sum_b = parts_a.sum(axis=(2, 3)), parts_b.sum(axis=(2, 3))
    norm_a, norm_b = (np.linalg.norm(total + constant, axis=1) for total in (sum_a, sum_b))
    if not (np.all(norm_a > 0) and np.all(norm_b > 0)):
        raise InputError("an embedding is all zeros, so it has no cosine; the picture was not usable")
    norms = norm_a * norm_b
    whole_a, whole_b = sum_a + constant, sum_b + constant
    per_cell = (norms[:, None, None], norms)
    first = np.einsum("ndhw,nd->nhw", parts_a, whole_b) / per_cell[0]
    second = np.einsum("ndhw,nd->nhw", parts_b, whole_a) / per_cell[0]
    same = np.einsum("ndhw,ndhw->nhw", parts_a, parts_b) / per_cell[0]
    all_places = np.einsum("nd,nd->n", sum_a, sum_b) / norms
    score = np.einsum("nd,nd->n", whole_a, whole_b) / norms
    return CellTerms(
        score=score,
        first=first,
        second=second,
        constant_first=whole_b @ constant / norms,
        constant_second=whole_a @ constant / norms,
        same_place=same,
        cross_place=all_places - same.sum(axis=(1, 2)),
        constant=score - all_places,
    )


def spread_constant(terms: NDArray[np.float64], constant: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spread a constant (N,) evenly over maps (N, H, W), so that each map adds up to the score."""
    cells = terms.shape[1] * terms.shape[2]
    return np.asarray(terms + (constant / cells)[:, None, None], np.float32)


class CellsMethod(BatchedPairMethod):
    """The exact contribution of each place of a face to the cosine.

    Behind the last spatial map F, most face networks are affine, so an embedding is a sum over places. The deployed
    cosine, unchanged, then splits into terms of places: a place of A with the whole e_B (``map_a``), a place of B with
    e_A (``map_b``). Nothing is trained or approximated: each map adds up to the score. The term of the constant (from
    batch normalisation and biases) belongs to no place; it is spread evenly, which does not change the ranking.

    Assumption: a feature vector describes its place. Its receptive field is larger, and the places of a network share a
    large common part that cancels only in their sum, so small terms mean little. ``details`` also has the same-place
    terms, a place of A with the same place of B, and the rest, the terms across places. If that rest is large, the
    network cannot be explained place by place without retraining, as xCos does.

    Works without gradients: on torch networks, and on ONNX networks whose grid is named. Raise ModelError if the
    embedder has no grid, or the head after it is not affine.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.

    References
    ----------
    Ours. For average pooling and a fully connected layer it is Zhou et al., "Learning Deep Features for Discriminative
    Localization" (CAM), CVPR 2016, with e_B instead of the weights of a class.
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


class XcosEvidenceMethod(BatchedPairMethod):
    """The share of each place in the margin, score - threshold: S less what is neutral there, times W.

    S * W adds up to the score, but is rarely negative, so its zero says nothing about the verdict. Neutral is what is
    as common among strangers as among genuine pairs at that place, or else the threshold everywhere; the shares still
    add up to the margin (:func:`whyface.explain.shares.margin_shares`). The map compares the two faces, so it is the
    same for both. Raise ModelError if the comparison has no places.

    Parameters
    ----------
    comparison
        How the model compares faces, with attention.
    threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.
    excess
        False: S * W instead, which adds up to the score.
    usual
        What similarity is usual at each place; None: the threshold is neutral everywhere.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    name: ClassVar[str] = "xcos"

    def __init__(
        self,
        comparison: Comparison,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
        excess: bool = True,
        usual: UsualSimilarity | None = None,
    ) -> None:
        super().__init__(comparison.embedder, threshold=threshold, source=source, batch_size=batch_size)
        if comparison.attention is None:
            raise ModelError(f"method {self.name!r} needs an xCos score; open the model with an attention")
        self.comparison = comparison
        self.excess = excess
        self.usual = usual

    @property
    def settings(self) -> Mapping[str, Any]:
        """The attention, whether what is neutral is subtracted, and whether that is on record for each place."""
        usual = None if self.usual is None else self.usual.source
        return {"attention": self.comparison.attention, "excess": self.excess, "usual": usual}

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of pairs."""
        features = self.comparison.features(np.concatenate([first, second]))
        found = self.comparison.maps(features[: len(first)], features[len(first) :])
        assert found is not None
        neutral = 0.0 if self.usual is None else self.usual.middle
        pairs = zip(found.similarity, found.attention, strict=True)
        shares = [margin_shares(s, w, self.threshold, neutral) if self.excess else s * w for s, w in pairs]
        evidence = np.array(shares, np.float32)
        return PairMaps(found.score, evidence, evidence.copy(), forward=2)
