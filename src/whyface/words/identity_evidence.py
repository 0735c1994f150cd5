"""How a model sees identity place by place, and which people of a group a face is taken for."""

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
from whyface.xcos.comparison import Comparison, Features

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

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def read(self, batch: Batch) -> Features:
        """Compute grids (N, C, H, W)."""
        return self._comparison.features(batch)

    def own(self, features: Features) -> FloatArray:
        """Give W of every face with itself."""
        return self.other(features, features)

    def other(self, features: Features, others: Features) -> FloatArray:
        """Give W * S."""
        maps = self._comparison.maps(features, others)
        assert maps is not None
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

    def __init__(self, embedder: Embedder) -> None:
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


def identity_cells(comparison: Comparison) -> IdentityCells:
    """Look into a model's score, place by place.

    Raises
    ------
    ModelError
        If the model cannot be read place by place.
    """
    if comparison.attention is not None:
        return XcosCells(comparison)
    try:
        return LinearCells(comparison.embedder)
    except ModelError as error:
        raise ModelError(f"{error}; or use words without the counterfactual map") from error


Strategy = Literal["topk", "threshold"]

SCALE: Final = 32.0
"""What the cosines are multiplied by before the softmax (CosFace's and ArcFace's s)."""

_STEPS: Final = 60
_PENALTY: Final = 1e-3


@dataclass(frozen=True, eq=False)
class IdentityClasses:
    """A cosine classifier of K people.

    Attributes
    ----------
    names
        Who they are.
    weights
        w, (K, D) float32 of unit length.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or len(self.weights) != len(self.names) or len(self.names) < 2:
            raise InputError(f"a classifier needs at least two people, one row each, got {self.weights.shape}")

    def chances(self, embeddings: FloatArray) -> NDArray[np.float64]:
        """Give the softmax over people of unit embeddings (N, D), (N, K)."""
        logits = SCALE * embeddings.astype(np.float64) @ self.weights.T.astype(np.float64)
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_classes(embeddings: FloatArray, people: Sequence[str], *, least: int = 2) -> IdentityClasses:
    """Fit a classifier to people at hand.

    Starts from each person's mean embedding and refines the directions by gradient descent on the cross entropy.

    Parameters
    ----------
    embeddings, people
        (N, D) of unit length, and who each is of.
    least
        People with fewer pictures are left out.

    Raises
    ------
    InputError
        If fewer than two people are left.
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
        # Every person counts alike, however many pictures there are.
        slope = (chance * truth.sum(axis=1, keepdims=True) - truth).T @ units
        weights = _unit(weights - slope + _PENALTY * means)
    return IdentityClasses(tuple(str(name) for name in names), weights.astype(np.float32))


def chosen_classes(chances: FloatArray, strategy: Strategy, *, k: int = 1, share: float = 0.4) -> list[list[int]]:
    """Choose the people that stand for each face's identity.

    Parameters
    ----------
    chances
        (N, K), softmax.
    strategy
        ``"topk"``: the ``k`` most likely; ``"threshold"``: as few as together exceed ``share``.
    k, share
        See there.

    Returns
    -------
    For each face the classes, the most likely first.

    Raises
    ------
    InputError
        If the strategy is unknown or its number is out of range.
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


def _unit(rows: FloatArray) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)
