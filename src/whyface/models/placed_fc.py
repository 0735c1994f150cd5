"""Grid heads for networks with an affine head, and heads whose grids carry weights (needs the extra ``torch``).

An affine head is a sum over places, so a grid head can start from one. :mod:`whyface.xcos.grid` explains weighed
grids and how two of them are compared; its plain arrays are the reference for these modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    Return the tensor (D, C, H, W): ``head(x) = sum over c, h, w of weights * x + head(0)``. Raise InputError if the
    head is not affine.

    Parameters
    ----------
    head
        In eval mode.
    shape
        (C, H, W) of the map.
    """
    origin = torch.zeros(1, *shape, requires_grad=True)

    def apart(x: Tensor) -> Tensor:
        # A copy, because a head may work in place.
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
    """A grid head with its own matrix for every place.

    Per place: project the channels (matrix of the place), gather the neighbourhood (depthwise, starting as a Gaussian),
    and keep one block of ``grid_channels`` of the projection. The blocks are tiled like a chessboard, so that each
    ``tiles x tiles`` neighbourhood holds the whole embedding. Linear except for a constant. Raise InputError if the
    neighbourhood has no middle.

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
        """Start from a global head, written as a sum over places.

        Raise InputError if the sizes differ.

        Parameters
        ----------
        weights
            (D, C, H, W): the embedding is the sum over c, h, w of weights x map, plus a constant (which
            :meth:`centre` makes up for); see :func:`whyface.models.placed_fc.place_weights`.
        sigma
            Width of the Gaussian neighbourhood in places.
        generator
            Draws the rotation of the embedding, which changes no cosine and makes all blocks carry equally much.
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

        A place's part of an embedding has a large mean that all faces share; only the sum was trained to have none.
        """
        self.bias.sub_(mean)


# As in whyface.xcos, which builds on this package.
_EPS: Final = 1e-6
_LOG_RANGE: Final = 10.0


class PlaceLogits(nn.Module):
    """u: the log weight of each place of one face.

    A 3 x 3 convolution over f, the features of length 1, and log |F|; PReLU; a 3 x 3 convolution to one channel. A
    factor times log |F| is added, and the second convolution starts at 0: an untrained module weighs places by the
    length of their features.

    Parameters
    ----------
    channels, hidden
        Channels of the grid features and inside the module.
    by_length
        Initial factor of log |F|; 0 starts with equal weights.

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
        # A change of contrast scales all features alike, which says nothing about single places.
        relative = length - length.mean(dim=(1, 2), keepdim=True)
        features = functional.normalize(grid, dim=1, eps=_EPS)
        x = torch.cat([features, relative[:, None]], dim=1)
        logits: Tensor = self.second(self.act(self.first(x)))[:, 0] + self.by_length * relative
        return logits


class WeighedHead(nn.Module):
    """A grid head and u in one module: it returns weighed grids, so that the grid is all that must be kept of a face.

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
