"""Affine heads as sums over places, and a grid head that starts from one (needs the extra ``torch``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from whyface.errors import InputError
from whyface.models.heads import FcHead, GdcHead, gaussian_kernel

_TOLERANCE: Final = 1e-3

Head = Callable[[Tensor], Tensor]
"""Map (N, C, H, W) -> embedding (N, D), before any L2 normalisation."""


def unnormalised(head: nn.Module) -> Head:
    """Return a head without the L2 normalisation that this package's own heads end with."""
    if isinstance(head, GdcHead):
        return lambda x: head.bn(torch.flatten(head.conv3(head.gdconv(x)), 1))
    if isinstance(head, FcHead):
        return lambda x: head.bn2(head.fc(torch.flatten(head.bn1(x), 1)))
    return head


def place_weights(head: Head, shape: tuple[int, int, int]) -> Tensor:
    """Measure an affine torch head by its Jacobian.

    Parameters
    ----------
    head
        In eval mode.
    shape
        (C, H, W) of the map.

    Returns
    -------
    Tensor (D, C, H, W): ``head(x) = sum over c, h, w of weights * x + head(0)``.

    Raises
    ------
    InputError
        If the head is not affine.
    """
    origin = torch.zeros(1, *shape, requires_grad=True)

    def apart(x: Tensor) -> Tensor:
        # A copy: a head may work in place.
        return head(x.clone())

    with torch.enable_grad():
        output = torch.flatten(apart(origin), 1)
        # One backward pass per number of the embedding: only the head is passed, so this is cheap.
        rows = [
            torch.autograd.grad(output[0, i], origin, retain_graph=True, materialize_grads=True)[0][0]
            for i in range(output.shape[1])
        ]
    weights = torch.stack(rows)
    with torch.no_grad():
        _check_affine(apart, weights)
    return weights


def _check_affine(head: Head, weights: Tensor) -> None:
    shape = tuple(weights.shape[1:])
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    constant = torch.flatten(head(torch.zeros(1, *shape)), 1)
    measured = torch.flatten(head(x), 1) - constant
    expected = torch.flatten(x, 1) @ torch.flatten(weights, 1).T
    error, scale = (measured - expected).norm(), measured.norm()
    if not bool(torch.isfinite(error)) or error > _TOLERANCE * scale or not scale > 0:
        raise InputError(
            "the head is not a sum over places (it must be affine: no activation and no L2 normalisation at its end), "
            "so a grid cannot take it over; give the head without these, or ask for a shared 1 x 1 convolution"
        )


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
        Size D of the embedding of the original head.
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
            :meth:`centre` makes up for); see :func:`whyface.models.placed_fc.place_weights`.
        sigma
            Width of the Gaussian neighbourhood in places.
        generator
            Draws the rotation of the embedding, which changes no cosine and makes all blocks carry equally much.

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
        """Subtract the mean grid (grid_channels, H, W) of many faces, so that two strangers' cosine is about 0.

        A place's part of an embedding has a large mean that all faces share; only their sum was trained to have none.
        """
        self.bias.sub_(mean)
