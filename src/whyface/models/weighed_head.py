"""Heads that give weighed grids: each place's feature as long as the face says the place is worth (extra ``torch``).

What such a grid means, and how two of them are compared, is in :mod:`whyface.xcos.factorised`, whose plain arrays are
the reference that these modules are tested against.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

# As in whyface.xcos, which builds on this package.
_EPS: Final = 1e-6
_LOG_RANGE: Final = 10.0


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
        length = torch.log(lengths(grid).clamp_min(_EPS))
        # Another contrast scales all features alike, which says nothing about one place or another.
        relative = length - length.mean(dim=(1, 2), keepdim=True)
        features = functional.normalize(grid, dim=1, eps=_EPS)
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


class WeighedNetwork(nn.Module):
    """Trunk and head in one: faces (N, 3, 112, 112) in 0..255 -> weighed grids (N, C, H, W).

    Parameters
    ----------
    backbone
        Faces -> map.
    head
        Map -> weighed grid.
    """

    def __init__(self, backbone: nn.Module, head: WeighedHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, faces: Tensor) -> Tensor:
        """Compute weighed grids."""
        grids: Tensor = self.head(self.backbone(faces))
        return grids


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
    raised = (flat - flat.amax(dim=1, keepdim=True)).clamp_min(-_LOG_RANGE).exp()
    weights = functional.normalize(raised, dim=1).view_as(logits)
    return functional.normalize(grid, dim=1, eps=_EPS) * weights[:, None]
