"""1 x 1 convolutions, forward and backward to their input, by oneDNN (needs the extra ``torch``).

PyTorch hands 1 x 1 convolutions on the CPU to a matrix product of MKL's. On an AMD EPYC, oneDNN was two to four times
as fast at the sizes of a MobileFaceNet, and most of such a network's work is in these layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.contiguous(memory_format=torch.channels_last)
    found: Tensor = torch.mkldnn_convolution(rows, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return found


class _Product(torch.autograd.Function):
    """The gradient to the input is a 1 x 1 convolution with the transposed weights; weights get none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (transposed,) = ctx.saved_tensors
        return _product(gradients[0], transposed, None), None, None, None


class PointwiseConv2d(nn.Conv2d):
    """A frozen 1 x 1 convolution; as PyTorch does it on other devices and in a mode that watches torch's functions."""

    _transposed: tuple[Tensor, tuple[int, int]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H, W)."""
        if has_torch_function((x,)) or x.device.type != "cpu" or x.dtype != torch.float32 or not len(x):
            return super().forward(x)
        found: Tensor = _Product.apply(x, self.weight, self.bias, self._backward_weight())  # type: ignore[no-untyped-call]
        return found

    def _backward_weight(self) -> Tensor:
        # The version counts changes in place, as by load_state_dict.
        state = (self.weight.data_ptr(), self.weight._version)
        if self._transposed is None or self._transposed[1] != state:
            self._transposed = (self.weight.detach().transpose(0, 1).contiguous(), state)
        return self._transposed[0]


def with_fast_pointwise(network: nn.Module) -> nn.Module:
    """Let a network whose weights need no gradients, in place, use :class:`PointwiseConv2d` wherever it fits."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and _is_pointwise(child):
                fast = PointwiseConv2d(child.in_channels, child.out_channels, 1, bias=child.bias is not None)
                fast.weight, fast.bias = child.weight, child.bias
                setattr(module, name, fast.train(child.training))
    return network


def _is_pointwise(layer: nn.Conv2d) -> bool:
    # A hook of the layer's own would be lost.
    if layer._forward_pre_hooks or layer._forward_hooks:
        return False
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.groups)
    return shape == ((1, 1), (1, 1), (0, 0), 1) and not any(p.requires_grad for p in layer.parameters())
