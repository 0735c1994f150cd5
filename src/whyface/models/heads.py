"""Heads behind the last spatial map: global embeddings and the xCos grid (needs the extra ``torch``).

Deng et al., "ArcFace" (2019) for the FC head; Chen et al., "MobileFaceNets" (2018) for the global depthwise head;
Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task" (2021) for the grid head.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError


class FcHead(nn.Module):
    """ArcFace's head: BN, dropout, flatten, fully connected, BN.

    Shapes: (N, C, 7, 7) -> (N, embedding_size), L2-normalised unless ``normalise`` is False.
    """

    def __init__(
        self,
        channels: int = 512,
        *,
        embedding_size: int = 512,
        cells: int = 7,
        dropout: float = 0.6,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.bn1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels * cells * cells, embedding_size)
        self.bn2 = nn.BatchNorm1d(embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 7, 7) to (N, embedding_size)."""
        y: Tensor = self.bn2(self.fc(torch.flatten(self.dropout(self.bn1(x)), 1)))
        return functional.normalize(y) if self.normalise else y


class _GlobalDepthwise(nn.Module):
    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, cells, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.depthwise(x))
        return y


class GdcHead(nn.Module):
    """MobileFaceNet's head: global depthwise convolution, 1 x 1 convolution, BN.

    Names follow the usual state-dict layout (``gdconv``, ``conv3``, ``bn``).
    Shapes: (N, C, 7, 7) -> (N, embedding_size), L2-normalised.
    """

    def __init__(self, channels: int = 512, *, embedding_size: int = 128, cells: int = 7) -> None:
        super().__init__()
        self.gdconv = _GlobalDepthwise(channels, cells)
        self.conv3 = nn.Conv2d(channels, embedding_size, 1)
        self.bn = nn.BatchNorm1d(embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 7, 7) to (N, embedding_size)."""
        return functional.normalize(self.bn(torch.flatten(self.conv3(self.gdconv(x)), 1)))


class GridHead(nn.Module):
    """xCos's head: a 1 x 1 convolution that keeps the grid (512 -> 32, so 32 x 7 x 7).

    Parameters
    ----------
    channels, grid_channels
        Channels of the last map and of the grid features.
    norm
        BatchNorm behind the convolution (the public code has it; the paper does not mention it).
    activation
        ``"prelu"`` as in the public code, or ``"none"`` as in the paper.

    Shapes
    ------
    (N, C, H, W) -> (N, grid_channels, H, W), not normalised. Flattened in (C, H, W) order and L2-normalised it is
    the identification embedding: 32 * 7 * 7 = 1568 numbers (see :func:`flatten_grid`).
    """

    def __init__(
        self,
        channels: int = 512,
        *,
        grid_channels: int = 32,
        norm: bool = True,
        activation: Literal["prelu", "none"] = "prelu",
    ) -> None:
        super().__init__()
        if activation not in {"prelu", "none"}:
            raise InputError(f"activation must be 'prelu' or 'none', got {activation!r}")
        self.conv = nn.Conv2d(channels, grid_channels, 1)
        self.bn: nn.Module = nn.BatchNorm2d(grid_channels) if norm else nn.Identity()
        self.act: nn.Module = nn.PReLU(grid_channels) if activation == "prelu" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, grid_channels, H, W)."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


def flatten_grid(grid: Tensor) -> Tensor:
    """Flatten grids (N, C, H, W) in C, H, W order to L2-normalised embeddings (N, C * H * W)."""
    return functional.normalize(torch.flatten(grid, 1))
