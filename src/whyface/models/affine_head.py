"""Read any affine head as a sum over places by measuring it (needs the extra ``torch``).

Flatten and fully connected, global depthwise convolution, mean and fully connected, with BatchNorms in eval mode
anywhere between: whatever a head is made of, if it is affine, its Jacobian says all about it but a constant. So heads
need not be known by their class or their file format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError
from whyface.models.heads import FcHead, GdcHead

_TOLERANCE: Final = 1e-3
_CHUNK: Final = 256

Head = Callable[[Tensor], Tensor]
"""Map (N, C, H, W) -> embedding (N, D), before any L2 normalisation."""


def unnormalised(head: nn.Module) -> Head:
    """Give a head without the L2 normalisation that this package's own heads end with."""
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


@torch.no_grad()
def probe_weights(head: Head, shape: tuple[int, int, int]) -> Tensor:
    """Measure an affine head that gives no gradients, such as a part of an ONNX network; see :func:`place_weights`.

    It is run once for every number of the map.
    """
    size = shape[0] * shape[1] * shape[2]
    constant = torch.flatten(head(torch.zeros(1, *shape)), 1)
    columns = []
    for part in torch.split(torch.arange(size), _CHUNK):
        units = functional.one_hot(part, size).float().view(-1, *shape)
        columns.append(torch.flatten(head(units), 1) - constant)
    weights = torch.cat(columns).T.reshape(-1, *shape).contiguous()
    _check_affine(head, weights)
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
