"""Attention that factorises as torch modules (needs the extra ``torch``).

The same maths in plain arrays, and the reference that these are tested against, is in :mod:`whyface.xcos.factorised`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.xcos.factorised import LOG_RANGE
from whyface.xcos.grid import COSINE_EPS
from whyface.xcos.learned import XcosOutput


class PlaceLogits(nn.Module):
    """u: how much each place of one face is worth, as a log weight.

    A 3 x 3 convolution over f, the features of length 1, and log |F|; PReLU; a 3 x 3 convolution to one channel. A
    factor times log |F| is added, and the second convolution starts at 0: an untrained module weighs places by the
    length of their features.

    Parameters
    ----------
    channels, hidden
        Channels of the grid features and inside the module.
    by_length
        The factor that log |F| starts with; 0 starts with all places alike.

    Shapes
    ------
    (N, C, H, W) -> (N, H, W).
    """

    def __init__(self, channels: int = 32, *, hidden: int = 16, by_length: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels + 1, hidden, 3, padding=1)
        self.act = nn.PReLU(hidden)
        self.second = nn.Conv2d(hidden, 1, 3, padding=1)
        for tensor in self.second.parameters():
            nn.init.zeros_(tensor)
        self.by_length = nn.Parameter(torch.tensor(float(by_length)))

    def forward(self, grid: Tensor) -> Tensor:
        """Return the log weights of the places of N faces."""
        length = torch.log(lengths(grid).clamp_min(COSINE_EPS))
        # Another contrast scales all features alike, which says nothing about one place or another.
        relative = length - length.mean(dim=(1, 2), keepdim=True)
        features = functional.normalize(grid, dim=1, eps=COSINE_EPS)
        x = torch.cat([features, relative[:, None]], dim=1)
        logits: Tensor = self.second(self.act(self.first(x)))[:, 0] + self.by_length * relative
        return logits


class WeighedHead(nn.Module):
    """A grid head and u in one: it gives weighed grids, so that its grid is all that has to be kept of a face.

    Parameters
    ----------
    head
        Spatial map -> grid (N, C, H, W).
    logits
        Grid -> log weights (N, H, W).
    """

    def __init__(self, head: nn.Module, logits: PlaceLogits) -> None:
        super().__init__()
        self.head = head
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ..., H, W) to weighed grids (N, C, H, W)."""
        grid = self.head(x)
        return weigh_grid(grid, self.logits(grid))


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


def lengths(grid: Tensor) -> Tensor:
    """Return the length of every place's feature: (N, C, H, W) -> (N, H, W); its gradient at length 0 is 0."""
    length: Tensor = torch.linalg.vector_norm(grid, dim=1)
    return length


def weigh_grid(grid: Tensor, logits: Tensor) -> Tensor:
    """Scale every place's feature to length exp(u); a face's squared lengths add up to 1.

    Parameters
    ----------
    grid
        (N, C, H, W); only directions count.
    logits
        u, (N, H, W).
    """
    flat = torch.flatten(logits, 1)
    raised = (flat - flat.amax(dim=1, keepdim=True)).clamp_min(-LOG_RANGE).exp()
    weights = functional.normalize(raised, dim=1).view_as(logits)
    return functional.normalize(grid, dim=1, eps=COSINE_EPS) * weights[:, None]
