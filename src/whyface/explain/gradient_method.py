"""Differentiable pair scores and the base of the methods that use them (needs the extra ``torch``)."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError, ModelError
from whyface.explain.pair_method import BatchedPairMethod, PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.explain.registry import without_gradients
from whyface.faces.face import FACE_SIZE
from whyface.models.catalogue import model_entry
from whyface.models.embedder import Batch, Embedder
from whyface.models.entry import ModelEntry
from whyface.models.torch_embedder import TorchEmbedder, as_torch
from whyface.models.torch_files import open_torch_entry, torch_entry
from whyface.models.torch_layers import keep_freed_memory
from whyface.models.weights import load_safetensors
from whyface.xcos.comparison import SearchableComparison
from whyface.xcos.grid import COSINE_EPS, AttentionKind, normalise_attention
from whyface.xcos.learned import FactorisedAttention, LearnedAttention, XcosOutput
from whyface.xcos.model import read_correlated


class Arguments(NamedTuple):
    """The arguments of a score.

    ``terms`` (N, K) add up to the score. ``shares`` (N, K), without gradient, add up to 1: the fraction of the
    threshold that a term must reach to support "same person".
    """

    terms: Tensor
    shares: Tensor


class PairScore(ABC):
    """A differentiable score of pairs.

    Attributes
    ----------
    embedder
        The network.
    """

    kind: AttentionKind | None = None

    def __init__(self, embedder: TorchEmbedder) -> None:
        self.embedder = embedder

    def weighted_parts(self) -> list[nn.Module]:
        """Return the modules whose weights the score depends on, from the pixels to the score."""
        return [self.embedder.trunk, self.embedder.head]

    def cells(self, first: Tensor, second: Tensor) -> XcosOutput | None:
        """Return S, W and the score of N pairs of features; None for scores without places."""
        return None

    @abstractmethod
    def features_of(self, spatial: Tensor) -> Tensor:
        """Return the features compared, (N, ...), of the last spatial map (N, C, H, W)."""

    @abstractmethod
    def arguments(self, first: Tensor, second: Tensor) -> Arguments:
        """Return the arguments of the scores of N pairs of features."""

    @abstractmethod
    def unit_features(self, features: Tensor) -> Tensor:
        """Return the factors of the arguments, (N, K): features of unit length, as a whole or place by place."""

    def features(self, pixels: Tensor) -> Tensor:
        """Return the features of pixels (N, 3, 112, 112) in 0..255."""
        return self.features_of(self.embedder.map_of(pixels))

    def score(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the scores (N,) of N pairs of features."""
        return self.arguments(first, second).terms.sum(dim=1)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the scores (N,) of N pairs of faces, given as pixels."""
        return self.score(self.features(first), self.features(second))


class CosineScore(PairScore):
    """The cosine of two embeddings: the sum over dimensions of e_A,n * e_B,n."""

    def features_of(self, spatial: Tensor) -> Tensor:
        """Return the L2-normalised embedding (N, D) of the map."""
        return self.embedder.embedding_of(spatial)

    def unit_features(self, features: Tensor) -> Tensor:
        """Return the embedding unchanged."""
        return features

    def arguments(self, first: Tensor, second: Tensor) -> Arguments:
        """Return one term per dimension; all have the same share of the threshold."""
        terms = first * second
        return Arguments(terms, torch.full_like(terms, 1 / terms.shape[1]).detach())


class XcosScore(PairScore):
    """The xCos score: the sum over places and channels of W_ij * u_A,cij * u_B,cij, with unit vectors u.

    Learned attention makes W depend on both faces; its gradient is part of the score's.

    Parameters
    ----------
    embedder
        The network, whose last spatial map is the grid that is compared.
    attention
        The learned attention, a module that returns W (N, H, W) for two grids; or fixed weights (H, W) with sum 1.
    kind
        Kind of the attention.
    """

    def __init__(self, embedder: TorchEmbedder, attention: nn.Module | Tensor, kind: AttentionKind = "l") -> None:
        super().__init__(embedder)
        self.kind = kind
        if isinstance(attention, nn.Module):
            attention = copy.deepcopy(attention).eval().requires_grad_(False)
        self.attention = attention.to(embedder.device)

    def features_of(self, spatial: Tensor) -> Tensor:
        """Return the grid (N, C, H, W) unchanged."""
        return spatial

    def unit_features(self, features: Tensor) -> Tensor:
        """Normalise each place and flatten in C, H, W order: (N, C * H * W)."""
        return torch.flatten(functional.normalize(features, dim=1, eps=COSINE_EPS), 1)

    def arguments(self, first: Tensor, second: Tensor) -> Arguments:
        """Return one term per channel and place; a place's share of the threshold is its weight W."""
        weights = self.weights(first, second)
        one, two = (functional.normalize(grid, dim=1, eps=COSINE_EPS) for grid in (first, second))
        terms = weights[:, None] * one * two
        shares = (weights.detach() / terms.shape[1])[:, None].expand_as(terms)
        return Arguments(torch.flatten(terms, 1), torch.flatten(shares, 1))

    def weights(self, first: Tensor, second: Tensor) -> Tensor:
        """Return W (N, H, W)."""
        if isinstance(self.attention, nn.Module):
            weights: Tensor = self.attention(first, second)
            return weights
        if self.attention.shape != first.shape[2:]:
            raise ModelError(
                f"model {self.embedder.name!r}: attention {tuple(self.attention.shape)} and grid "
                f"{tuple(first.shape[2:])} differ in shape"
            )
        return self.attention.expand(len(first), -1, -1)

    def weighted_parts(self) -> list[nn.Module]:
        """Return trunk and attention: the head only flattens the grid, and the attention compares the grids."""
        return [self.embedder.trunk, *([self.attention] if isinstance(self.attention, nn.Module) else [])]

    def cells(self, first: Tensor, second: Tensor) -> XcosOutput:
        """Return S, W (N, H, W) and the score of N pairs of grids."""
        one, two = (functional.normalize(grid, dim=1, eps=COSINE_EPS) for grid in (first, second))
        similarity, weights = (one * two).sum(dim=1), self.weights(first, second)
        return XcosOutput(similarity, weights, (similarity * weights).sum(dim=(1, 2)))


def gives_gradients(embedder: Embedder) -> bool:
    """Return whether a network is a torch network, or an ONNX network of a model that has a torch network, too."""
    return as_torch(embedder) is not None or torch_entry(embedder) is not None


def pair_score(comparison: SearchableComparison, *, directory: Path | str | None = None) -> PairScore:
    """Return the differentiable form of a comparison.

    Raise ModelError if the model gives no gradients, or its attention is not available as torch tensors.

    Parameters
    ----------
    comparison
        Comparison with any :class:`~whyface.models.torch_embedder.TorchEmbedder`, or with the ONNX network of a model
        that has a torch network, too (:func:`whyface.models.torch_files.torch_entry`).
    """
    embedder, kind = as_torch(comparison.embedder), comparison.attention
    if embedder is None:
        entry = torch_entry(comparison.embedder)
        if entry is None:
            raise ModelError(
                f"model {comparison.name!r} gives no gradients; open it as a torch network (TorchEmbedder)"
            )
        return open_pair_score(entry, attention=kind, directory=directory)
    if kind is None:
        return CosineScore(embedder)
    shape = embedder.grid(np.zeros((0, 3, FACE_SIZE, FACE_SIZE), np.uint8)).shape[1:]
    weights = comparison.fixed_weights(shape)
    if weights is not None:
        return XcosScore(embedder, torch.from_numpy(weights), kind)
    if comparison.weighed:
        return XcosScore(embedder, FactorisedAttention())
    if comparison.tensors is None:
        raise ModelError(f"model {embedder.name!r}: no torch tensors of its learned attention; use u or p")
    return XcosScore(embedder, _learned(shape[0], comparison.tensors))


def open_pair_score(
    model: str | ModelEntry, *, attention: AttentionKind | None = None, directory: Path | str | None = None
) -> PairScore:
    """Open the differentiable score of a known model, or of a model folder's entry.

    Raise ModelError if the model is unknown, has no torch version, lacks that attention, or its file is unusable.

    Parameters
    ----------
    attention
        ``"u"``, ``"p"`` or ``"l"`` for xCos; None: the default on record for an xCos model, and the cosine for any
        other. ``"u"`` works with all models.
    """
    entry = model_entry(model) if isinstance(model, str) else model
    embedder = open_torch_entry(entry, directory=directory)
    is_xcos = entry.kind == "xcos"
    if attention is None and not is_xcos:
        return CosineScore(embedder)
    kind = attention or entry.default_attention
    shape = entry.grid.shape if entry.grid else (0, 7, 7)
    if kind == "u":
        return XcosScore(embedder, torch.full(shape[1:], 1 / (shape[1] * shape[2])), "u")
    if not is_xcos:
        raise ModelError(f"model {entry.name!r} has no attention {kind!r}; it has u (uniform)")
    path = entry.locate("safetensors", directory=directory)
    if kind == "p":
        correlated = read_correlated(path)
        if correlated is None:
            raise ModelError(f"{path}: no correlated attention; use u or l")
        return XcosScore(embedder, torch.from_numpy(normalise_attention(correlated)), "p")
    if entry.grid is not None and entry.grid.weighed:
        return XcosScore(embedder, FactorisedAttention())
    return XcosScore(embedder, _learned(shape[0], path))


def _learned(channels: int, path: Path) -> LearnedAttention:
    learned = LearnedAttention(channels)
    load_safetensors(learned, path, prefix="xcos.attention.")
    return learned


class GradientMethod(BatchedPairMethod):
    """A method that needs gradients of a torch network.

    Raise ModelError if the embedder gives no gradients; the message names the methods that work with it. Raise
    InputError if the score belongs to another embedder or the batch size is too small.

    Parameters
    ----------
    embedder
        A :class:`~whyface.models.torch_embedder.TorchEmbedder`.
    threshold, source
        See :class:`~whyface.explain.pair_method.PairMethod`.
    batch_size
        Maximum number of faces in the network at once, at least 2; half as many pairs.
    score
        The score to explain; the cosine of the embeddings by default. It must belong to ``embedder``.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        self.network: TorchEmbedder = require_torch(embedder, self.name)
        if batch_size < 2:
            raise InputError(f"method {self.name!r} takes both faces together; the batch size must be at least 2")
        if score is not None and score.embedder is not embedder:
            raise InputError("the score to explain belongs to another embedder; make it from the one given")
        self.score = CosineScore(self.network) if score is None else score
        keep_freed_memory()

    @abstractmethod
    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain at most ``batch_size // 2`` pairs of pixels (N, 3, 112, 112), 0..255."""

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of faces by their pixels."""
        # A caller's inference mode would prevent the backward pass.
        with torch.inference_mode(False):
            return self.pair_maps(self.network.pixels(first), self.network.pixels(second))


def require_torch(embedder: Embedder, method: str) -> TorchEmbedder:
    """Return the embedder if it gives gradients.

    Raise ModelError if it gives none, e.g. because it runs on ONNX Runtime; the message names the methods that work
    with it.
    """
    found = as_torch(embedder)
    if found is not None:
        return found
    raise ModelError(
        f"method {method!r} needs gradients, which model {embedder.name!r} does not give (ONNX Runtime only runs "
        f"forward); open it as a torch network, or use one of {without_gradients()}"
    )


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """Return a tensor as a float32 array."""
    array: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return array
