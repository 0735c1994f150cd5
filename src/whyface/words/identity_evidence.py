"""Evidence for identity by place, and a cosine classifier of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.cells import cell_parts
from whyface.models.embedder import Batch, Embedder, l2_normalise
from whyface.models.linear_head import linear_head
from whyface.words.word_maps import Heatmap, class_activation, weighted_channels
from whyface.xcos.comparison import Comparison, Features

FloatArray = NDArray[np.floating[Any]]


class IdentityCells(Protocol):
    """A model's evidence for identities by place."""

    def read(self, batch: Batch) -> Features:
        """Return the features of faces (N, 3, 112, 112), which the other methods take."""
        ...

    def own(self, features: Features) -> FloatArray:
        """Return the evidence for each face's own identity, (N, H, W): the terms of its score with itself."""
        ...

    def other(self, features: Features, others: Features) -> FloatArray:
        """Return the evidence in each face for the identity of another, (N, H, W)."""
        ...

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Return unit embeddings (N, D)."""
        ...

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the evidence in each face for directions (K, D), (N, K, H, W); its sum is the cosine."""
        ...

    def slopes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the gradients of the cosines with directions (K, D), with respect to features: (N, K, C, H, W)."""
        ...


class XcosCells:
    """Identity in an xCos grid: the contribution of a place, W * S. A face with itself has S = 1, which leaves W.

    A direction is a grid, too; its evidence is the place's term of the cosine of the flattened grids.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def read(self, batch: Batch) -> Features:
        """Return grids (N, C, H, W)."""
        return self._comparison.features(batch)

    def own(self, features: Features) -> FloatArray:
        """Return W of each face with itself."""
        return self.other(features, features)

    def other(self, features: Features, others: Features) -> FloatArray:
        """Return W * S."""
        maps = self._comparison.maps(features, others)
        assert maps is not None
        return np.asarray(maps.similarity * maps.attention, np.float64)

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Return the flattened, normalised grids."""
        return l2_normalise(features.reshape(len(features), -1))

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the terms of the cosines by place."""
        units = self.embedding(features).reshape(features.shape)
        return np.asarray(np.einsum("nchw,kchw->nkhw", units, weights.reshape(-1, *features.shape[1:]), optimize=True))

    def slopes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the gradients of the cosines."""
        flat = features.reshape(len(features), -1)
        return _cosine_slopes(flat, weights).reshape(len(flat), len(weights), *features.shape[1:])


class LinearCells:
    """Identity in a network whose embedding is affine in its last spatial map; the constant is left out.

    Raise ModelError if the network has no grid, or the head behind it is not affine.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._grids, self._head = linear_head(embedder)
        self._constant = np.asarray(self._head.constant, np.float64)

    def read(self, batch: Batch) -> Features:
        """Return the last spatial map (N, C, H, W)."""
        return self._grids.grid(batch)

    def own(self, features: Features) -> FloatArray:
        """Return the terms of the squared length by place."""
        return self.other(features, features)

    def other(self, features: Features, others: Features) -> FloatArray:
        """Return the terms of the cosine with the whole other face by place."""
        return np.asarray(np.einsum("ndhw,nd->nhw", self._parts(features), self.embedding(others), optimize=True))

    def embedding(self, features: Features) -> NDArray[np.float32]:
        """Return the network's embeddings."""
        return l2_normalise(self._head(features))

    def of_classes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the terms of the cosines by place, without the constant."""
        return np.asarray(np.einsum("ndhw,kd->nkhw", self._parts(features), weights, optimize=True))

    def slopes(self, features: Features, weights: NDArray[np.float32]) -> FloatArray:
        """Return the gradients of the cosines."""
        slopes = _cosine_slopes(self._head(features), weights)
        return np.asarray(np.einsum("nkd,dchw->nkchw", slopes, self._head.weights, optimize=True))

    def _parts(self, features: Features) -> NDArray[np.float64]:
        lengths = np.linalg.norm(self._head(features), axis=1)
        parts = cell_parts(features, self._head.weights)
        return np.asarray(parts / np.maximum(lengths, 1e-12)[:, None, None, None])


def identity_cells(comparison: Comparison) -> IdentityCells:
    """Return the evidence for identities of a model's comparison.

    Raise ModelError if the score does not split by place.
    """
    if comparison.attention is not None:
        return XcosCells(comparison)
    try:
        return LinearCells(comparison.embedder)
    except ModelError as error:
        raise ModelError(f"{error}; or use words without the counterfactual map") from error


def mean_class_map(
    cells: IdentityCells,
    features: Features,
    weights: NDArray[np.float32],
    heatmap: Heatmap = "evidence",
    *,
    average_maps: bool = False,
) -> FloatArray:
    """Return a heat map of one face, from features (1, ...), averaged over directions (K, D): (H, W).

    With ``average_maps``, the maps are cut at 0 and rescaled to 0..1 before they are averaged.
    """
    if heatmap == "evidence":
        maps = cells.of_classes(features, weights)[0]
    else:
        maps = weighted_channels(features, cells.slopes(features, weights), heatmap)[0]
    return np.asarray((class_activation(maps) if average_maps else maps).mean(axis=0))


Strategy = Literal["topk", "threshold"]

SCALE: Final = 32.0
"""Scale of the cosines before the softmax (s in CosFace and ArcFace)."""

_STEPS: Final = 60
_PENALTY: Final = 1e-3


@dataclass(frozen=True, eq=False)
class IdentityClasses:
    """A cosine classifier of K people.

    Attributes
    ----------
    names
        The people.
    weights
        w, (K, D) float32 of unit length.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or len(self.weights) != len(self.names) or len(self.names) < 2:
            raise InputError(f"a classifier needs at least two people, one row each, got {self.weights.shape}")

    def chances(self, embeddings: FloatArray) -> NDArray[np.float64]:
        """Return the softmax over people, (N, K), of unit embeddings (N, D)."""
        logits = SCALE * embeddings.astype(np.float64) @ self.weights.T.astype(np.float64)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_classes(embeddings: FloatArray, people: Sequence[str], *, least: int = 2) -> IdentityClasses:
    """Fit a classifier of people.

    The directions start from each person's mean embedding and are refined by gradient descent on the cross entropy.
    Raise InputError if fewer than two people are left.

    Parameters
    ----------
    least
        People with fewer pictures are left out.
    """
    owners = np.asarray(people, str)
    names, number, counts = np.unique(owners, return_inverse=True, return_counts=True)
    enough = counts >= least
    if enough.sum() < 2:
        raise InputError(
            f"an identity classifier needs at least two people with {least} or more pictures each, got "
            f"{int(enough.sum())}; add pictures"
        )
    rows = enough[number]
    names = names[enough]
    target = np.unique(owners[rows], return_inverse=True)[1]
    units = embeddings[rows].astype(np.float64)
    means = np.stack([units[target == k].mean(axis=0) for k in range(len(names))])
    truth = np.eye(len(names))[target] / np.bincount(target)[target][:, None] / len(names)
    weights = _unit(means)
    for _ in range(_STEPS):
        logits = SCALE * units @ weights.T
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance = raised / raised.sum(axis=1, keepdims=True)
        # All people have the same weight, whatever the number of their pictures.
        slope = (chance * truth.sum(axis=1, keepdims=True) - truth).T @ units
        weights = _unit(weights - slope + _PENALTY * means)
    return IdentityClasses(tuple(str(name) for name in names), weights.astype(np.float32))


def chosen_classes(chances: FloatArray, strategy: Strategy, *, k: int = 1, share: float = 0.4) -> list[list[int]]:
    """Choose the people that represent each face's identity.

    Return for each face the classes, most likely first. Raise InputError if the strategy is unknown or its number is
    out of range.

    Parameters
    ----------
    chances
        (N, K), softmax.
    strategy
        ``"topk"``: the ``k`` most likely; ``"threshold"``: the fewest whose probabilities together exceed ``share``.
    k, share
        See ``strategy``.
    """
    order = np.argsort(-chances, axis=1, kind="stable")
    if strategy == "topk":
        if not 1 <= k <= chances.shape[1]:
            raise InputError(f"k must be from 1 to the number of people ({chances.shape[1]}), got {k}")
        return [[int(number) for number in row[:k]] for row in order]
    if strategy != "threshold":
        raise InputError(f"strategy must be 'topk' or 'threshold', got {strategy!r}")
    if not 0 < share < 1:
        raise InputError(f"the share of the softmax must lie between 0 and 1, got {share:g}")
    sums = np.cumsum(np.take_along_axis(chances, order, axis=1), axis=1)
    counts = np.minimum((sums <= share).sum(axis=1) + 1, chances.shape[1])
    return [[int(number) for number in row[:count]] for row, count in zip(order, counts, strict=True)]


def _cosine_slopes(rows: FloatArray, weights: FloatArray) -> NDArray[np.float64]:
    """Return the gradients of the cosines of rows (N, D) with unit directions (K, D), with respect to the rows."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12).astype(np.float64)
    units = rows / lengths
    return np.asarray((weights[None] - (units @ weights.T)[..., None] * units[:, None]) / lengths[..., None])


def _unit(rows: FloatArray) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)
