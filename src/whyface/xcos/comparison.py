"""One protocol for comparing faces: features of faces, scores of pairs, maps of pairs.

Verification, explanation, search and evaluation need nothing else. The network is separate from the comparison, so that
a face that is compared with a hundred changed copies of another passes through the network only once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.models.embedder import Batch, Embedder, l2_normalise
from whyface.xcos.grid import AttentionKind, uniform_attention
from whyface.xcos.model import XcosMaps, XcosModel
from whyface.xcos.separable import SeparableAttention, separable_attention, unit_cells

COSINE: Final = "cosine"
"""The kind of a comparison of embeddings; the other kinds are those of attention."""

Features = NDArray[np.float32]
"""Features of N faces: (N, ...), one row per face."""

FaceModel = XcosModel | Embedder
"""An xCos model, which compares grids place by place, or any network, which compares embeddings."""


@runtime_checkable
class Comparison(Protocol):
    """One way of comparing faces: features once per face, scores and maps for pairs of features."""

    @property
    def embedder(self) -> Embedder:
        """The network behind the features."""
        ...

    @property
    def attention(self) -> AttentionKind | None:
        """How places are weighted; None for embeddings, which have no places."""
        ...

    @property
    def kind(self) -> str:
        """The attention, or ``"cosine"``."""
        ...

    @property
    def name(self) -> str:
        """Name of the model in reports."""
        ...

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights."""
        ...

    def features(self, batch: Batch) -> Features:
        """Run the network on faces (N, 3, 112, 112), RGB, 0..255."""
        ...

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Return the scores of N pairs, (N,) float32; a single row on one side is repeated."""
        ...

    def maps(self, first: Features, second: Features) -> XcosMaps | None:
        """Return S, W and score of N pairs; None for embeddings."""
        ...


class SearchableComparison(Comparison, Protocol):
    """A comparison with features that a gallery can store per face, and with gradients."""

    @property
    def tensors(self) -> Path | None:
        """The file with the tensors of learned attention, or None."""
        ...

    @property
    def weighed(self) -> bool:
        """Whether the lengths of the features are each face's own weights (:mod:`whyface.xcos.grid`)."""
        ...

    def cells(self, features: Features) -> NDArray[np.float32]:
        """Return the unit vectors of every place, (N, P, C); an embedding is one place."""
        ...

    def fixed_weights(self, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Return W (H, W) if it is the same for all pairs of features of this shape (C, H, W), else None."""
        ...

    def separable(self) -> SeparableAttention | None:
        """Return learned attention split by face, for a search, or None."""
        ...


class CosineComparison:
    """Compare embeddings by their cosine.

    Parameters
    ----------
    embedder
        Any network.
    """

    kind: str = COSINE
    attention: AttentionKind | None = None
    tensors: Path | None = None
    weighed: bool = False

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.name, self.sha256 = embedder.name, embedder.sha256

    def features(self, batch: Batch) -> Features:
        """Return embeddings (N, D), L2-normalised."""
        return self.embedder.embed(batch)

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Return the dot products of unit vectors."""
        first, second = _matched(first, second)
        return _bounded(np.einsum("nd,nd->n", first, second, dtype=np.float64))

    def maps(self, first: Features, second: Features) -> XcosMaps | None:
        """Return None: embeddings have no places."""
        return None

    def cells(self, features: Features) -> NDArray[np.float32]:
        """Return the unit embedding as the only place, (N, 1, D)."""
        return l2_normalise(features)[:, None, :]

    def fixed_weights(self, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Return None: there is one place."""
        return None

    def separable(self) -> SeparableAttention | None:
        """Return None: there is no attention."""
        return None


class XcosComparison:
    """Compare grids place by place and weight the places: the xCos score <S, W>.

    Parameters
    ----------
    model
        The xCos model.
    attention
        ``"u"``, ``"p"`` or ``"l"``.

    Raises
    ------
    ModelError
        If the model lacks this attention.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    def __init__(self, model: XcosModel, attention: AttentionKind = "l") -> None:
        model.require(attention)
        self.model = model
        self.attention: AttentionKind | None = attention
        self._kind = attention
        self.tensors = model.tensors
        self.weighed = model.weighed and attention == "l"
        self.name, self.sha256 = model.embedder.name, model.embedder.sha256

    @property
    def embedder(self) -> Embedder:
        """The network behind the grids."""
        return self.model.embedder

    @property
    def kind(self) -> str:
        """The kind of attention."""
        return self._kind

    def features(self, batch: Batch) -> Features:
        """Return grids (N, C, H, W), not normalised."""
        return self.model.grid(batch)

    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Return the scores <S, W> of N pairs of grids."""
        return self.maps(first, second).score

    def maps(self, first: Features, second: Features) -> XcosMaps:
        """Return S, W and score of N pairs."""
        found = self.model.compare_grids(*_matched(first, second), self._kind)
        return replace(found, score=_bounded(found.score))

    def cells(self, features: Features) -> NDArray[np.float32]:
        """Return the unit vectors of every place, (N, H * W, C)."""
        return unit_cells(features)

    def fixed_weights(self, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Return uniform or correlated W (H, W); None for learned attention."""
        if self._kind == "l":
            return None
        return self.model.correlated if self._kind == "p" else uniform_attention(*shape[1:])

    def separable(self) -> SeparableAttention | None:
        """Return learned attention split by face; None for the other kinds, and for weighed grids."""
        return separable_attention(self.model) if self._kind == "l" and not self.weighed else None


def comparisons(model: FaceModel) -> dict[str, SearchableComparison]:
    """Return all comparisons of a model by kind; all use the same features.

    Parameters
    ----------
    model
        An xCos model, which has a comparison per attention, or any network, which has ``"cosine"``.
    """
    if isinstance(model, XcosModel):
        return {kind: XcosComparison(model, kind) for kind in model.attentions}
    return {COSINE: CosineComparison(model)}


def unit_vectors(comparison: SearchableComparison, features: Features) -> NDArray[np.float32]:
    """Return one unit vector per face, (N, D): the dot product of two is the score with uniform weights.

    Parameters
    ----------
    comparison
        The comparison that computed the features; for embeddings these are the embeddings.
    """
    cells = comparison.cells(features)
    return np.asarray(cells.reshape(len(cells), -1) / np.sqrt(cells.shape[1]), np.float32)


def file_hashes(model: FaceModel) -> dict[str, str]:
    """Return SHA-256 of the files that determine a model's scores, by role."""
    pair = getattr(model, "pair", None)
    hashes = {"onnx": next(iter(comparisons(model).values())).sha256}
    return hashes if pair is None else {**hashes, "pair": pair.sha256}


def features_in_parts(comparison: Comparison, batch: Batch, size: int) -> Features:
    """Run the network on at most ``size`` faces at a time, to limit memory. Raise InputError if there are no faces."""
    if not len(batch):
        raise InputError("there are no faces to run the network on; give at least one")
    return np.concatenate([comparison.features(batch[start : start + size]) for start in range(0, len(batch), size)])


def _bounded(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Clip scores to [-1, 1]: with rounding, a face and itself once scored 1.0000001."""
    return np.asarray(np.clip(scores, -1, 1), np.float32)


def _matched(first: Features, second: Features) -> tuple[Features, Features]:
    count = max(len(first), len(second))
    if {len(first), len(second)} - {1, count}:
        raise InputError(f"cannot pair {len(first)} faces with {len(second)}")
    return (
        np.ascontiguousarray(np.broadcast_to(first, (count, *first.shape[1:]))),
        np.ascontiguousarray(np.broadcast_to(second, (count, *second.shape[1:]))),
    )
