"""Backbones: MobileFaceNet, mobilefacenet-large, and the ArcFace IR and IR-SE residual networks (extra ``torch``)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from whyface.errors import InputError

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

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """Return the layers up to the fifth block, and those after it."""
        early = nn.ModuleList([self.conv1, self.dw_conv, self.features[:5]])
        return early, nn.ModuleList([self.features[5:], self.conv2])


def _conv_prelu(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1, *, after: bool = False
) -> nn.Sequential:
    """Convolution and PReLU; ``after`` pads a stride of 2 as TensorFlow does: only below and to the right."""
    layers: list[nn.Module] = []
    padding = kernel // 2
    if after and stride > 1:
        layers, padding = [nn.ZeroPad2d((0, padding, 0, padding))], 0
    layers.append(nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups))
    return nn.Sequential(*layers, nn.PReLU(channels_out))


class _PreluBlock(nn.Module):
    """Pointwise, depthwise 3 x 3 and linear pointwise convolution with PReLUs; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, hidden: int, channels_out: int, stride: int, *, after: bool = False) -> None:
        super().__init__()
        self.shortcut = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            _conv_prelu(channels_in, hidden, 1),
            _conv_prelu(hidden, hidden, 3, stride, groups=hidden, after=after),
            nn.Conv2d(hidden, channels_out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class PreluMobileFaceNet(nn.Module):
    """A MobileFaceNet with PReLUs, whose BatchNorms are folded into its convolutions.

    The normalisation ``(x - 127.5) / divisor`` is part of the module, so it takes plain pixel values.

    Shapes: (N, 3, 112, 112), RGB, 0..255, float32 -> (N, out_channels, 7, 7) float32.
    """

    out_channels: int
    divisor: float
    stem: nn.Sequential
    blocks: nn.Sequential
    last: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (N, 3, 112, 112) in 0..255 to (N, out_channels, 7, 7)."""
        y: Tensor = self.last(self.blocks(self.stem((x - 127.5) / self.divisor)))
        return y


class LargeMobileFaceNet(PreluMobileFaceNet):
    """The trunk of mobilefacenet-large, "MBF" of espressif/esp-dl (human_face_feat_mbf); 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels, self.divisor = 64, 127.5
        self.stem = nn.Sequential(_conv_prelu(3, 128, 3, 2), _conv_prelu(128, 128, 3, groups=128))
        blocks: list[nn.Module] = []
        channels = 128
        # (hidden channels, output channels, stride, blocks)
        for hidden, width, stride, repeats in (
            (128, 128, 2, 1),
            (128, 128, 1, 4),
            (256, 256, 2, 1),
            (256, 256, 1, 6),
            (512, 256, 2, 1),
            (256, 256, 1, 2),
        ):
            for _ in range(repeats):
                blocks.append(_PreluBlock(channels, hidden, width, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(_conv_prelu(channels, 512, 1), _conv_prelu(512, self.out_channels, 1))


class SmallMobileFaceNet(PreluMobileFaceNet):
    """The trunk of mobilefacenet192, of sirius-ai/MobileFaceNet_TF; 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels, self.divisor = 512, 128.0
        # A pointwise convolution without activation behind the stem, as published.
        self.stem = nn.Sequential(
            _conv_prelu(3, 64, 3, 2, after=True), _conv_prelu(64, 64, 3, groups=64), nn.Conv2d(64, 64, 1)
        )
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, width, repeats, stride in _STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(_PreluBlock(channels, channels * expansion, width, step, after=True))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(_conv_prelu(channels, self.out_channels, 1))


# Units per stage.
_UNITS: Final = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    152: (3, 8, 36, 3),
}
_WIDTHS: Final = (64, 128, 256, 512)
DEPTHS: Final = tuple(_UNITS)
"""The depths that :class:`IResNet` supports."""


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the averages of all channels.

    Shapes: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, *, ratio: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // ratio, 1, bias=False)
        self.excite = nn.Conv2d(channels // ratio, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (N, C, H, W)."""
        gate = torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.excite(gate))


class IRUnit(nn.Module):
    """The improved residual unit: BN, 3 x 3, PReLU, 3 x 3, BN, optionally SE, plus a shortcut.

    Nothing follows the sum. The units of ``insightface`` have a BN behind the first convolution too, and a convolution
    in the shortcut wherever the size changes.
    Shapes: (N, channels_in, H, W) -> (N, channels_out, H / stride, W / stride).
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, *, se: bool, insightface: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.BatchNorm2d(channels_in),
            nn.Conv2d(channels_in, channels_out, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(channels_out)] if insightface else []),
            nn.PReLU(channels_out),
            nn.Conv2d(channels_out, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        ]
        if se:
            layers.append(SqueezeExcite(channels_out))
        self.residual = nn.Sequential(*layers)
        self.shortcut: nn.Module
        if channels_in != channels_out or (insightface and stride > 1):
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        elif stride > 1:
            # A pool of one pixel only skips pixels; the networks of this family have no weights here.
            self.shortcut = nn.MaxPool2d(1, stride)
        else:
            self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y


class IResNet(nn.Module):
    """The trunk: faces to the last spatial map.

    Raise InputError if there is no such depth.

    Parameters
    ----------
    depth
        18, 34, 50, 100 or 152.
    se
        Squeeze-and-excitation in every unit (ratio 16).
    insightface
        Units as in insightface's networks; see :class:`IRUnit`.

    Shapes
    ------
    input
        (N, 3, 112, 112), RGB, in [-1, 1] (:data:`whyface.models.preprocessing.ARCFACE`), float32.
    output
        (N, 512, 7, 7) float32.
    """

    out_channels: Final = _WIDTHS[-1]

    def __init__(self, depth: int, *, se: bool = False, insightface: bool = False) -> None:
        super().__init__()
        if depth not in _UNITS:
            raise InputError(f"no IResNet of depth {depth}; choose one of {', '.join(map(str, DEPTHS))}")
        self.depth = depth
        self.se = se
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        stages: list[nn.Module] = []
        channels = 64
        for width, units in zip(_WIDTHS, _UNITS[depth], strict=True):
            stages.append(_stage(channels, width, units, se, insightface))
            channels = width
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (N, 3, 112, 112) in [-1, 1] to (N, 512, 7, 7)."""
        y: Tensor = self.stages(self.stem(x))
        return y


def _stage(channels: int, width: int, units: int, se: bool, insightface: bool) -> nn.Sequential:
    first = IRUnit(channels, width, 2, se=se, insightface=insightface)
    return nn.Sequential(first, *(IRUnit(width, width, 1, se=se, insightface=insightface) for _ in range(units - 1)))


def iresnet18(*, se: bool = False) -> IResNet:
    """Return the trunk of depth 18."""
    return IResNet(18, se=se)


def iresnet34(*, se: bool = False) -> IResNet:
    """Return the trunk of depth 34."""
    return IResNet(34, se=se)


def iresnet50(*, se: bool = False) -> IResNet:
    """Return the trunk of depth 50; with `se`, the trunk that xCos uses."""
    return IResNet(50, se=se)


def iresnet100(*, se: bool = False) -> IResNet:
    """Return the trunk of depth 100."""
    return IResNet(100, se=se)


def iresnet152(*, se: bool = False) -> IResNet:
    """Return the trunk of depth 152."""
    return IResNet(152, se=se)
