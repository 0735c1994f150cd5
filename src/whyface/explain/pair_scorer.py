"""How a model scores pairs, behind one call: whatever explains or tests a verdict from outside needs no more.

The network's part is kept apart from the comparison, so that a face that is compared with a hundred changed copies of
another goes through the network once.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel

Features = NDArray[np.float32]
"""What the network makes of N faces: (N, ...), one row per face."""


@runtime_checkable
class PairScorer(Protocol):
    """A model as the scores that it gives to pairs."""

    @property
    def name(self) -> str:
        """What reports call the model."""
        ...

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights."""
        ...

    def features(self, batch: Batch) -> Features:
        """Run the network on faces (N, 3, 112, 112), RGB, 0..255."""
        ...

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Score N pairs of features; a single row on one side stands for N equal ones. Gives (N,) float32."""
        ...


class CosineScorer:
    """Scores by the cosine of embeddings."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.sha256 = embedder.name, embedder.sha256

    def features(self, batch: Batch) -> Features:
        """Embed faces: (N, D), L2-normalised."""
        return self._embedder.embed(batch)

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Give the dot products of unit vectors."""
        first, second = _matched(first, second)
        cosines: NDArray[np.float32] = np.einsum("nd,nd->n", first, second, dtype=np.float64).astype(np.float32)
        return cosines


class XcosScorer:
    """Scores by xCos, <S, W>, with one kind of attention."""

    def __init__(self, model: XcosModel, attention: AttentionKind = "l") -> None:
        model.require(attention)
        self.model = model
        self.attention: AttentionKind = attention
        self.name, self.sha256 = model.embedder.name, model.embedder.sha256

    def features(self, batch: Batch) -> Features:
        """Compute grids (N, C, H, W)."""
        return self.model.grid(batch)

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Compare grids cell by cell and weigh the cells."""
        first, second = _matched(first, second)
        return self.model.compare_grids(first, second, self.attention).score


def features_in_parts(scorer: PairScorer, batch: Batch, size: int) -> Features:
    """Run the network on at most ``size`` faces at a time, which bounds the memory.

    Raises
    ------
    InputError
        If there are no faces.
    """
    if not len(batch):
        raise InputError("there are no faces to run the network on; give at least one")
    return np.concatenate([scorer.features(batch[start : start + size]) for start in range(0, len(batch), size)])


def _matched(first: Features, second: Features) -> tuple[Features, Features]:
    count = max(len(first), len(second))
    if {len(first), len(second)} - {1, count}:
        raise InputError(f"cannot pair {len(first)} faces with {len(second)}")
    return (
        np.ascontiguousarray(np.broadcast_to(first, (count, *first.shape[1:]))),
        np.ascontiguousarray(np.broadcast_to(second, (count, *second.shape[1:]))),
    )
