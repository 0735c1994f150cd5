"""A grid head that starts from any head whose embedding is a sum over places (needs the extra ``torch``).

:class:`~whyface.models.heads.PlacedGridHead` does this for MobileFaceNet's depthwise head. Most networks end otherwise:
flatten and fully connected, or mean and fully connected. All of them are affine, so all are ``sum over places of P x +
b`` with a matrix P for every place, and that is what this head starts from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from whyface.errors import InputError
from whyface.models.heads import gaussian_kernel


class PlacedFcHead(nn.Module):
    """A grid head with a matrix of its own for every place.

    Per place: project the channels (matrix of the place), gather the neighbourhood (depthwise, starting as a
    Gaussian), and keep one block of ``grid_channels`` of the projection, the blocks tiled like a chess board, so that
    each ``tiles x tiles`` neighbourhood together holds the whole embedding. Linear but for a constant.

    Parameters
    ----------
    channels
        Channels C of the map.
    cells
        Its height and width (H, W).
    embedding_size
        Numbers D per embedding of the head that is taken over.
    grid_channels
        Channels of the grid features.
    context
        Side of the neighbourhood, odd.

    Shapes
    ------
    (N, C, H, W) -> (N, grid_channels, H, W), not normalised.

    Raises
    ------
    InputError
        For a neighbourhood without a middle.
    """

    tiling: Tensor

    def __init__(
        self,
        channels: int,
        cells: tuple[int, int],
        embedding_size: int,
        *,
        grid_channels: int = 32,
        context: int = 7,
    ) -> None:
        super().__init__()
        if context % 2 == 0:
            raise InputError(f"the neighbourhood needs a middle, so its side must be odd, got {context}")
        height, width = cells
        tiles = max(1, math.ceil(math.sqrt(embedding_size / grid_channels)))
        # Where the embedding does not fill the blocks, a rotation spreads it over all of them.
        size = tiles * tiles * grid_channels
        self.cells = (height, width)
        self.embedding_size = embedding_size
        self.grid_channels = grid_channels
        self.place = nn.Parameter(torch.empty(height * width, channels, size))
        nn.init.xavier_uniform_(self.place)
        self.context = nn.Conv2d(size, size, context, padding=context // 2, groups=size, bias=False)
        self.bias = nn.Parameter(torch.zeros(grid_channels, height, width))
        row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        block = (row % tiles) * tiles + column % tiles
        tiling = torch.stack([(block == index).float() for index in range(tiles * tiles)])
        self.register_buffer("tiling", tiling.view(tiles * tiles, 1, height, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, grid_channels, H, W)."""
        parts = torch.bmm(torch.flatten(x, 2).permute(2, 0, 1), self.place)
        y = self.context(parts.permute(1, 2, 0).reshape(-1, self.place.shape[2], *self.cells))
        grid: Tensor = (y.unflatten(1, (-1, self.grid_channels)) * self.tiling).sum(dim=1) + self.bias
        return grid

    @torch.no_grad()
    def take_over(self, weights: Tensor, *, sigma: float, generator: torch.Generator) -> None:
        """Start from a global head that is written as a sum over places.

        Parameters
        ----------
        weights
            (D, C, H, W): the embedding is the sum over c, h, w of weights x map, plus a constant (which
            :meth:`centre` makes up for); see :func:`whyface.models.affine_head.place_weights`.
        sigma
            Width of the Gaussian neighbourhood in cells.
        generator
            Draws the rotation of the embedding, which no cosine notices and which makes all blocks carry alike.

        Raises
        ------
        InputError
            If the sizes differ.
        """
        channels, size = self.place.shape[1:]
        expected = (self.embedding_size, channels, *self.cells)
        if tuple(weights.shape) != expected:
            raise InputError(f"the weights to take over must have the shape {expected}, got {tuple(weights.shape)}")
        rotation = torch.linalg.qr(torch.randn(size, size, generator=generator))[0][:, : self.embedding_size]
        self.place.copy_(torch.einsum("sd,dchw->hwcs", rotation, weights.float()).flatten(0, 1))
        self.context.weight.copy_(gaussian_kernel(self.context.kernel_size[0], sigma).expand_as(self.context.weight))
        self.bias.zero_()

    @torch.no_grad()
    def centre(self, mean: Tensor) -> None:
        """Take the mean grid (grid_channels, H, W) of many faces off, so that two strangers' cosine is about 0.

        A place's part of an embedding has a large mean that all faces share; only their sum was trained to have none.
        """
        self.bias.sub_(mean)
