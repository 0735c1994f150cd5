"""Attention that factorises as torch modules, over weighed grids (needs the extra ``torch``).

The same maths in plain arrays, and the reference that these are tested against, is in :mod:`whyface.xcos.factorised`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.models.weighed_head import lengths
from whyface.xcos.grid import COSINE_EPS
from whyface.xcos.learned import XcosOutput


class FactorisedAttention(nn.Module):
    """W_k = a_k b_k / sum_j a_j b_j of weighed grids; nothing in it is trained.

    It takes the place of :class:`~whyface.xcos.learned.LearnedAttention`.
    """

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> Tensor:
        """Weigh the places of N pairs: two (N, C, H, W) -> (N, H, W), each map adding up to 1."""
        product = lengths(grid_a) * lengths(grid_b)
        # A uniform trifle: two faces that weigh no place in common get all places alike instead of 0 / 0.
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
        """Compare all with all by two matrix products: (N, C, H, W), (M, C, H, W) -> (N, M)."""
        total = torch.flatten(lengths(grids_a), 1) @ torch.flatten(lengths(grids_b), 1).T
        product = torch.flatten(grids_a, 1) @ torch.flatten(grids_b, 1).T
        scores: Tensor = product / total.clamp_min(torch.finfo(total.dtype).tiny)
        return scores
