"""MobileFaceNet, the small backbone of the default model (needs the extra ``torch``).

Layout of Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices"
(2018), Table 1, in the widespread variant with ReLU6 and 112 x 112 input. Module names follow the usual state-dict
layout (``conv1``, ``dw_conv``, ``features.0..14``, ``conv2``), so that published tensors load without renaming.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

# (expansion, output channels, blocks, stride of the first block)
_STAGES: Final = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU6(inplace=True))


class _DepthwiseSeparable(nn.Module):
    """Depthwise 3 x 3 and pointwise convolution, each with BN and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.depthwise(x)))
        return torch.relu(self.bn2(self.pointwise(x)))


class _InvertedResidual(nn.Module):
    """Expand, depthwise 3 x 3, linear projection; identity shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.shortcut = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            _conv_bn(channels_in, hidden, 1),
            _conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileFaceNet(nn.Module):
    """The trunk: faces to the last spatial map.

    The normalisation ``(x / 255 - mean) / std`` is part of the module, so it takes plain pixel values.

    Shapes
    ------
    input
        (N, 3, 112, 112), RGB, 0..255, float32.
    output
        (N, 512, 7, 7) float32, >= 0 (ReLU6).
    """

    out_channels: Final = 512
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)
        self.conv1 = _conv_bn(3, 64, 3, 2)
        self.dw_conv = _DepthwiseSeparable(64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, width, repeats, stride in _STAGES:
            for i in range(repeats):
                blocks.append(_InvertedResidual(channels, width, stride if i == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv_bn(channels, self.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (N, 3, 112, 112) in 0..255 to (N, 512, 7, 7)."""
        x = (x - self.mean) / self.std
        y: Tensor = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        return y
