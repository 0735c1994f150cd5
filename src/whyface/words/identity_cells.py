"""How a model sees identity place by place, in closed form: what the counterfactual maps are made of.

Two kinds of models can be looked into without gradients: xCos, whose score is a sum over places, and any network whose
embedding is affine in its last spatial map (nearly all).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.explain.cell_terms import cell_parts
from whyface.explain.linear_head import linear_head
from whyface.explain.pair_scorer import CosineScorer, Features, PairScorer, XcosScorer
from whyface.models.embedder import Batch, l2_normalise

FloatArray = NDArray[np.floating[Any]]


class IdentityCells(Protocol):
    """A model's evidence for identities, place by place.

    ``read`` gives what the other calls take, one row per face.
    """

    def read(self, batch: Batch) -> Features:
        """Run the network on faces (N, 3, 112, 112)."""
        ...

    def own(self, features: Features) -> FloatArray:
        """Give the evidence for each face's own identity, (N, H, W): its parts of the score with itself."""
        ...

    def other(self, features: Features, others: Features) -> FloatArray:
        """Give the evidence, over each face, for the identity of another, (N, H, W)."""
        ...

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Give unit embeddings (N, D)."""
        ...

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Give the evidence for directions (K, D) in each face, (N, K, H, W); its sum is the cosine."""
        ...


class XcosCells:
    """Identity in an xCos grid: what a place adds to the score, W * S; with itself, S is 1 and W is left.

    For directions, which are grids too, it is the place's part of the cosine of the flattened grids.
    """

    def __init__(self, scorer: XcosScorer) -> None:
        self._scorer = scorer

    def read(self, batch: Batch) -> Features:
        """Compute grids (N, C, H, W)."""
        return self._scorer.features(batch)

    def own(self, features: Features) -> FloatArray:
        """Give W of every face with itself."""
        return self.other(features, features)

    def other(self, features: Features, others: Features) -> FloatArray:
        """Give W * S."""
        maps = self._scorer.model.compare_grids(features, others, self._scorer.attention)
        return np.asarray(maps.similarity * maps.attention, np.float64)

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Flatten the grid and normalise it."""
        return l2_normalise(features.reshape(len(features), -1))

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Give each place's part of the cosines."""
        units = self.embedding(features).reshape(features.shape)
        return np.asarray(np.einsum("nchw,kchw->nkhw", units, weights.reshape(-1, *features.shape[1:]), optimize=True))


class LinearCells:
    """Identity in a network whose embedding is affine in its last spatial map.

    The constant belongs to no place and is left out.

    Raises
    ------
    ModelError
        If the network has no grid, or the head behind it is not affine.
    """

    def __init__(self, scorer: CosineScorer, embedder: Any) -> None:
        self._grids, self._head = linear_head(embedder)
        self._constant = np.asarray(self._head.constant, np.float64)

    def read(self, batch: Batch) -> Features:
        """Compute the last spatial map (N, C, H, W)."""
        return self._grids.grid(batch)

    def own(self, features: Features) -> FloatArray:
        """Give each place's part of the squared length."""
        return self.other(features, features)

    def other(self, features: Features, others: Features) -> FloatArray:
        """Give each place's part of the cosine with the whole other face."""
        return np.asarray(np.einsum("ndhw,nd->nhw", self._parts(features), self.embedding(others), optimize=True))

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Give the network's embedding."""
        return l2_normalise(self._head(features))

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Give each place's part of the cosines, but for the constant's."""
        return np.asarray(np.einsum("ndhw,kd->nkhw", self._parts(features), weights, optimize=True))

    def _parts(self, features: Features) -> NDArray[np.float64]:
        lengths = np.linalg.norm(self._head(features), axis=1)
        parts = cell_parts(features, self._head.weights)
        return np.asarray(parts / np.maximum(lengths, 1e-12)[:, None, None, None])


def identity_cells(scorer: PairScorer, embedder: Any = None) -> IdentityCells:
    """Look into a model's score.

    Parameters
    ----------
    scorer
        The score that decides.
    embedder
        The network behind a :class:`~whyface.explain.pair_scorer.CosineScorer`.

    Raises
    ------
    ModelError
        If the model cannot be read place by place; the message says what can.
    """
    if isinstance(scorer, XcosScorer):
        return XcosCells(scorer)
    if isinstance(scorer, CosineScorer) and embedder is not None:
        return LinearCells(scorer, embedder)
    raise ModelError(f"model {scorer.name!r} cannot be read place by place; use words without the counterfactual map")
