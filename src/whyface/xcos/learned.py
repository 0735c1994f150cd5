"""xCos as torch modules: learned attention, and attention that factorises (needs the extra ``torch``).

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3, and the
sizes of the authors' public release. The same metrics in plain arrays are in :mod:`whyface.xcos.grid` and
:mod:`whyface.xcos.grid`; both forms are tested against each other.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError
from whyface.models.placed_fc import lengths
from whyface.xcos.grid import COSINE_EPS

Normaliser = Literal["softmax", "shift"]


class XcosOutput(NamedTuple):
    """Maps and score of N pairs: ``similarity`` (N, H, W), ``attention`` (N, H, W), ``score`` (N,)."""

    similarity: Tensor
    attention: Tensor
    score: Tensor


class LearnedAttention(nn.Module):
    """Attention "L": a weight for every cell from the grid features of both faces.

    Each face alone: conv 3x3 (C -> 16), BN, PReLU. Both: concatenate, conv 3x3 (32 -> 16), BN, PReLU, conv 3x3 (16 ->
    1), BN, PReLU, normalise over the cells. The convolution over the concatenation is computed as a sum of two
    convolutions, which gives the same result and lets one face's term be reused for many pairs. Raise InputError if the
    temperature is not positive or the normaliser is unknown.

    Parameters
    ----------
    channels, hidden
        Channels of the grid features and inside the module.
    normaliser
        ``"softmax"`` of x / temperature, or ``"shift"``: (x - min) / sum(x - min).
    temperature
        Softmax temperature, > 0. Larger is flatter.
    """

    def __init__(
        self,
        channels: int = 32,
        *,
        hidden: int = 16,
        normaliser: Normaliser = "softmax",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f"the softmax temperature must be positive, got {temperature}")
        if normaliser not in {"softmax", "shift"}:
            raise InputError(f"normaliser must be 'softmax' or 'shift', got {normaliser!r}")
        self.normaliser = normaliser
        self.temperature = temperature
        self.embed = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.PReLU())
        self.pair_conv = nn.Conv2d(2 * hidden, hidden, 3, padding=1)
        self.pair_act = nn.Sequential(nn.BatchNorm2d(hidden), nn.PReLU())
        self.out = nn.Sequential(nn.Conv2d(hidden, 1, 3, padding=1), nn.BatchNorm2d(1), nn.PReLU())

    def first_term(self, grid: Tensor) -> Tensor:
        """Return the part of the pair convolution that depends on face A only, with its bias: (N, hidden, H, W)."""
        hidden = self.pair_conv.out_channels
        return functional.conv2d(self.embed(grid), self.pair_conv.weight[:, :hidden], self.pair_conv.bias, padding=1)

    def second_term(self, grid: Tensor) -> Tensor:
        """Return the part of the pair convolution that depends on face B only: (N, hidden, H, W)."""
        hidden = self.pair_conv.out_channels
        return functional.conv2d(self.embed(grid), self.pair_conv.weight[:, hidden:], padding=1)

    def finish(self, terms: Tensor) -> Tensor:
        """Return the attention maps (N, H, W), each summing to 1, of summed terms (N, hidden, H, W)."""
        logits = self.out(self.pair_act(terms))[:, 0]
        flat = torch.flatten(logits, 1)
        if self.normaliser == "softmax":
            weights = torch.softmax(flat / self.temperature, dim=1)
        else:
            shifted = flat - flat.amin(dim=1, keepdim=True)
            total = shifted.sum(dim=1, keepdim=True)
            # A flat map has no preference: weight it uniformly instead of dividing by zero.
            weights = torch.where(total > 0, shifted / total.clamp_min(1e-12), torch.full_like(flat, 1 / flat.shape[1]))
        return weights.view_as(logits)

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> Tensor:
        """Return the weights of the cells of N pairs: two (N, C, H, W) -> (N, H, W), each map summing to 1."""
        return self.finish(self.first_term(grid_a) + self.second_term(grid_b))


def grid_cosine(grid_a: Tensor, grid_b: Tensor) -> Tensor:
    """Cosine similarity per cell: two (N, C, H, W) -> S (N, H, W) in [-1, 1]."""
    return functional.cosine_similarity(grid_a, grid_b, dim=1, eps=COSINE_EPS)


class Xcos(nn.Module):
    """The metric with learned attention: grids of both faces -> S, W and the score <S, W>."""

    def __init__(self, attention: LearnedAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> XcosOutput:
        """Compare N pairs of grids (N, C, H, W)."""
        similarity = grid_cosine(grid_a, grid_b)
        weights = self.attention(grid_a, grid_b)
        return XcosOutput(similarity, weights, (similarity * weights).sum(dim=(1, 2)))


class XcosNetwork(nn.Module):
    """Backbone, grid head and metric in one module.

    Parameters
    ----------
    backbone
        Faces (N, 3, 112, 112) -> spatial map (N, C, H, W).
    head
        Spatial map -> grid features, e.g. :class:`whyface.models.heads.GridHead`.
    attention
        The learned attention.
    """

    kind: Final = "xcos"
    output: Final = "grid"

    def __init__(self, backbone: nn.Module, head: nn.Module, attention: LearnedAttention) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.xcos = Xcos(attention)

    def features(self, faces: Tensor) -> Tensor:
        """Return what is compared: grids (N, C, H, W) of faces (N, 3, 112, 112)."""
        grids: Tensor = self.head(self.backbone(faces))
        return grids

    def scores(self, first: Tensor, second: Tensor) -> Tensor:
        """Score N pairs of grids (N, C, H, W): (N,)."""
        scores: Tensor = self.xcos(first, second).score
        return scores

    def forward(self, faces_a: Tensor, faces_b: Tensor) -> XcosOutput:
        """Compare N pairs of faces."""
        output: XcosOutput = self.xcos(self.features(faces_a), self.features(faces_b))
        return output


class FactorisedAttention(nn.Module):
    """W_k = a_k b_k / sum_j a_j b_j of weighed grids; nothing in it is trained.

    It replaces :class:`~whyface.xcos.learned.LearnedAttention`.
    """

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> Tensor:
        """Return the weights of the places of N pairs: two (N, C, H, W) -> (N, H, W), each map summing to 1."""
        product = lengths(grid_a) * lengths(grid_b)
        # A tiny uniform term: two faces without a weighted place in common get equal weights instead of 0 / 0.
        product = product + torch.finfo(product.dtype).tiny
        weights: Tensor = product / product.sum(dim=(1, 2), keepdim=True)
        return weights


class FactorisedXcos(nn.Module):
    """The metric over weighed grids of both faces: S, W and the score <S, W>."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = FactorisedAttention()

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> XcosOutput:
        """Compare N pairs of weighed grids (N, C, H, W)."""
        similarity = functional.cosine_similarity(grid_a, grid_b, dim=1, eps=COSINE_EPS)
        weights = self.attention(grid_a, grid_b)
        return XcosOutput(similarity, weights, (similarity * weights).sum(dim=(1, 2)))

    def scores(self, grids_a: Tensor, grids_b: Tensor) -> Tensor:
        """Return the scores of all pairs, by two matrix products: (N, C, H, W), (M, C, H, W) -> (N, M)."""
        total = torch.flatten(lengths(grids_a), 1) @ torch.flatten(lengths(grids_b), 1).T
        product = torch.flatten(grids_a, 1) @ torch.flatten(grids_b, 1).T
        scores: Tensor = product / total.clamp_min(torch.finfo(total.dtype).tiny)
        return scores
