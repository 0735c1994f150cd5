"""Heads after the last spatial map: global embeddings and the xCos grid (needs the extra ``torch``).

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


class AffineHead(nn.Module):
    """The head of mobilefacenet-large: one fully connected layer over the whole map.

    Shapes: (N, C, 7, 7) -> (N, embedding_size), L2-normalised.
    """

    def __init__(self, channels: int, *, embedding_size: int = 512, cells: int = 7) -> None:
        super().__init__()
        self.fc = nn.Linear(channels * cells * cells, embedding_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, 7, 7) to (N, embedding_size)."""
        return functional.normalize(self.fc(torch.flatten(x, 1)))


class GridHead(nn.Module):
    """xCos's head: a 1 x 1 convolution that keeps the grid (512 -> 32, so 32 x 7 x 7).

    Parameters
    ----------
    channels, grid_channels
        Channels of the last map and of the grid features.
    norm
        BatchNorm after the convolution (the public code has it; the paper does not mention it).
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


class PlacedGridHead(nn.Module):
    """A grid head with its own weights for every place, which can take over what a global head has learnt.

    A shared 1 x 1 convolution treats all places alike, while the global head that the backbone was trained with weights
    every channel at every place differently. This head keeps those weights. Per place: scale the channels, project
    them (shared), gather the neighbourhood (depthwise, learnt, starting as a Gaussian), and keep one block of
    ``grid_channels`` of the projection. The blocks are tiled like a chessboard, so that each ``tiles x tiles``
    neighbourhood holds the whole embedding. Everything is linear, and the grid is the only output.

    Parameters
    ----------
    channels, grid_channels
        Channels of the last map and of the grid features.
    cells
        Side of the grid.
    tiles
        Side of the tiling; ``tiles ** 2 * grid_channels`` is the size of the projection.
    context
        Side of the neighbourhood, odd.

    Shapes
    ------
    (N, channels, cells, cells) -> (N, grid_channels, cells, cells), not normalised.
    """

    tiling: Tensor

    def __init__(
        self, channels: int = 512, *, grid_channels: int = 32, cells: int = 7, tiles: int = 2, context: int = 5
    ) -> None:
        super().__init__()
        if context % 2 == 0:
            raise InputError(f"the neighbourhood needs a middle, so its side must be odd, got {context}")
        blocks, width = tiles * tiles, tiles * tiles * grid_channels
        self.grid_channels = grid_channels
        self.scale = nn.Parameter(torch.ones(channels, cells, cells))
        self.project = nn.Conv2d(channels, width, 1, bias=False)
        self.context = nn.Conv2d(width, width, context, padding=context // 2, groups=width, bias=False)
        self.bias = nn.Parameter(torch.zeros(grid_channels, cells, cells))
        row, column = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        block = (row % tiles) * tiles + column % tiles
        tiling = torch.stack([(block == index).float() for index in range(blocks)]).view(blocks, 1, cells, cells)
        self.register_buffer("tiling", tiling, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, cells, cells) to (N, grid_channels, cells, cells)."""
        y = self.context(self.project(x * self.scale))
        blocks = y.unflatten(1, (-1, self.grid_channels))
        grid: Tensor = (blocks * self.tiling).sum(dim=1) + self.bias
        return grid

    @torch.no_grad()
    def take_over(self, head: GdcHead, *, sigma: float, generator: torch.Generator) -> None:
        """Start from a trained global head, whose embedding is a sum over places.

        The embedding's part of every place is gathered over a Gaussian neighbourhood and rotated at random (which
        changes no cosine), so that all blocks carry equally much. An infinitely wide neighbourhood would give every
        place the whole embedding. Call :meth:`centre` afterwards. Raise InputError if the head is too
        large.

        Parameters
        ----------
        head
            In eval mode; its embedding size must be at most ``tiles ** 2 * grid_channels``.
        sigma
            Width of the Gaussian in places.
        """
        inner, _ = _scale_and_shift(head.gdconv.bn)
        outer, _ = _scale_and_shift(head.bn)
        scale = head.gdconv.depthwise.weight[:, 0] * inner[:, None, None]
        self.take_over_factors(scale, outer[:, None] * head.conv3.weight[:, :, 0, 0], sigma=sigma, generator=generator)

    @torch.no_grad()
    def take_over_factors(self, scale: Tensor, matrix: Tensor, *, sigma: float, generator: torch.Generator) -> None:
        """Start from a global head given as its two factors; see :meth:`take_over`.

        Parameters
        ----------
        scale
            (C, cells, cells): the depthwise weights.
        matrix
            (D, C): the projection; D may be smaller than that of the grid head, over which the rotation spreads it.
        sigma
            Width of the Gaussian in places.
        """
        width = self.project.out_channels
        if len(matrix) > width:
            raise InputError(f"a head of {len(matrix)} numbers does not fit into a projection of {width}")
        rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0][:, : len(matrix)]
        self.scale.copy_(scale)
        self.project.weight.copy_((rotation @ matrix)[:, :, None, None])
        self.context.weight.copy_(gaussian_kernel(self.context.kernel_size[0], sigma).expand_as(self.context.weight))
        self.bias.zero_()

    @torch.no_grad()
    def centre(self, mean: Tensor) -> None:
        """Subtract the mean grid (grid_channels, cells, cells) of many faces, so that two strangers' cosine is about 0.

        A place's part of an embedding has a large mean that all faces share; only the sum was trained to have none.
        """
        self.bias.sub_(mean)


def _scale_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the scale and shift of a BatchNorm in eval mode: x * scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def flatten_grid(grid: Tensor) -> Tensor:
    """Flatten grids (N, C, H, W) in C, H, W order to L2-normalised embeddings (N, C * H * W)."""
    return functional.normalize(torch.flatten(grid, 1))


def gaussian_kernel(size: int, sigma: float) -> Tensor:
    """Return weights (size, size) of a Gaussian, 1 in the middle; sigma in places."""
    reach = torch.arange(size) - size // 2
    return torch.exp(-(reach[:, None].square() + reach.square()) / (2 * sigma**2))
