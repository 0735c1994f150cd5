"""Networks of other projects from their published names and shapes: random tensors, and what is computed from them.

The functions use tensors by name and torch's functions only, so that they share nothing with the package.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
WIDTHS = (64, 128, 256, 512)
RESIDUAL = 0.3
"""Size of what a unit adds. With 1, as nobody trains them, signals grow with every unit: at depth 50 rounding shows
as 6e-4 in S, and W has a single place. In double precision both graphs agree to 4e-12 even so."""


class Made:
    """Random tensors of a network, by name."""

    def __init__(self, seed: int) -> None:
        self.state: State = {}
        self._generator = torch.Generator().manual_seed(seed)

    def conv(self, name: str, channels_in: int, channels_out: int, side: int, *, bias: bool = False) -> None:
        scale = (2 / (channels_in * side * side)) ** 0.5
        self.state[f"{name}.weight"] = scale * self._normal(channels_out, channels_in, side, side)
        if bias:
            self.state[f"{name}.bias"] = 0.1 * self._normal(channels_out)

    def norm(self, name: str, channels: int, *, scale: float = 1.0) -> None:
        self.state[f"{name}.weight"] = scale * (1 + 0.1 * self._normal(channels))
        self.state[f"{name}.bias"] = 0.1 * self._normal(channels)
        self.state[f"{name}.running_mean"] = 0.1 * self._normal(channels)
        self.state[f"{name}.running_var"] = 1 + 0.1 * self._normal(channels).abs()
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def slopes(self, name: str, channels: int) -> None:
        self.state[f"{name}.weight"] = 0.25 + 0.05 * self._normal(channels)

    def linear(self, name: str, size_in: int, size_out: int) -> None:
        self.state[f"{name}.weight"] = self._normal(size_out, size_in) / size_in**0.5
        self.state[f"{name}.bias"] = 0.1 * self._normal(size_out)

    def _normal(self, *size: int) -> Tensor:
        return torch.randn(*size, generator=self._generator)


def ir_tensors(made: Made, units: tuple[int, ...], *, prefix: str, se: bool) -> None:
    """Add the backbone of InsightFace_Pytorch with its FC head."""
    made.conv(f"{prefix}input_layer.0", 3, 64, 3)
    made.norm(f"{prefix}input_layer.1", 64)
    made.slopes(f"{prefix}input_layer.2", 64)
    number, channels = 0, 64
    for width, count in zip(WIDTHS, units, strict=True):
        for _ in range(count):
            unit = f"{prefix}body.{number}"
            if channels != width:
                made.conv(f"{unit}.shortcut_layer.0", channels, width, 1)
                made.norm(f"{unit}.shortcut_layer.1", width)
            made.norm(f"{unit}.res_layer.0", channels)
            made.conv(f"{unit}.res_layer.1", channels, width, 3)
            made.slopes(f"{unit}.res_layer.2", width)
            made.conv(f"{unit}.res_layer.3", width, width, 3)
            made.norm(f"{unit}.res_layer.4", width, scale=RESIDUAL)
            if se:
                made.conv(f"{unit}.res_layer.5.fc1", width, width // 16, 1)
                made.conv(f"{unit}.res_layer.5.fc2", width // 16, width, 1)
            number, channels = number + 1, width
    made.norm(f"{prefix}output_layer.0", 512)
    made.linear(f"{prefix}output_layer.3", 512 * 49, 512)
    made.norm(f"{prefix}output_layer.4", 512)


def xcos_tensors(units: tuple[int, ...], *, seed: int = 0) -> State:
    """Return a checkpoint of the xCos authors: backbone, attention and the teacher, without the classifier."""
    made = Made(seed)
    ir_tensors(made, units, prefix="backbone.", se=True)
    made.conv("backbone.conv1x1.0", 512, 32, 1, bias=True)
    made.norm("backbone.conv1x1.1", 32)
    made.slopes("backbone.conv1x1.2", 32)
    made.conv("attention.embedding_net.0", 32, 16, 3, bias=True)
    made.norm("attention.embedding_net.1", 16)
    made.slopes("attention.embedding_net.2", 1)
    made.conv("attention.attention.0", 32, 16, 3, bias=True)
    made.norm("attention.attention.1", 16)
    made.slopes("attention.attention.2", 1)
    made.conv("attention.attention.3", 16, 1, 3, bias=True)
    made.norm("attention.attention.4", 1)
    made.slopes("attention.attention.5", 1)
    ir_tensors(made, units, prefix="backbone_target.", se=True)
    return made.state


def iresnet_tensors(units: tuple[int, ...], *, seed: int = 0) -> State:
    """Return an iresnet of insightface."""
    made = Made(seed)
    made.conv("conv1", 3, 64, 3)
    made.norm("bn1", 64)
    made.slopes("prelu", 64)
    channels = 64
    for stage, (width, count) in enumerate(zip(WIDTHS, units, strict=True), start=1):
        for number in range(count):
            unit = f"layer{stage}.{number}"
            made.norm(f"{unit}.bn1", channels)
            made.conv(f"{unit}.conv1", channels, width, 3)
            made.norm(f"{unit}.bn2", width)
            made.slopes(f"{unit}.prelu", width)
            made.conv(f"{unit}.conv2", width, width, 3)
            made.norm(f"{unit}.bn3", width, scale=RESIDUAL)
            if number == 0:
                made.conv(f"{unit}.downsample.0", channels, width, 1)
                made.norm(f"{unit}.downsample.1", width)
            channels = width
    made.norm("bn2", 512)
    made.linear("fc", 512 * 49, 512)
    made.norm("features", 512)
    return made.state


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])


def _conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return functional.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)


def _slopes(state: State, name: str, x: Tensor) -> Tensor:
    return functional.prelu(x, state[f"{name}.weight"])


def ir_map(state: State, prefix: str, pixels: Tensor) -> Tensor:
    """Return the last map of scaled pixels (N, 3, 112, 112) in -1..1."""
    x = _conv(state, f"{prefix}input_layer.0", pixels)
    x = _slopes(state, f"{prefix}input_layer.2", _norm(state, f"{prefix}input_layer.1", x))
    number, width = 0, 0
    while f"{prefix}body.{number}.res_layer.0.weight" in state:
        unit = f"{prefix}body.{number}"
        out = state[f"{unit}.res_layer.1.weight"].shape[0]
        stride = 2 if out != width else 1
        y = _conv(state, f"{unit}.res_layer.1", _norm(state, f"{unit}.res_layer.0", x))
        y = _conv(state, f"{unit}.res_layer.3", _slopes(state, f"{unit}.res_layer.2", y), stride)
        y = _norm(state, f"{unit}.res_layer.4", y)
        if f"{unit}.res_layer.5.fc1.weight" in state:
            gate = torch.relu(_conv(state, f"{unit}.res_layer.5.fc1", y.mean(dim=(2, 3), keepdim=True)))
            y = y * torch.sigmoid(_conv(state, f"{unit}.res_layer.5.fc2", gate))
        short = x[:, :, ::stride, ::stride]
        if f"{unit}.shortcut_layer.0.weight" in state:
            short = _norm(state, f"{unit}.shortcut_layer.1", _conv(state, f"{unit}.shortcut_layer.0", x, stride))
        x, number, width = y + short, number + 1, out
    return x


def ir_embedding(state: State, prefix: str, pixels: Tensor) -> Tensor:
    """Return embeddings (N, 512) of length 1."""
    x = torch.flatten(_norm(state, f"{prefix}output_layer.0", ir_map(state, prefix, pixels)), 1)
    x = functional.linear(x, state[f"{prefix}output_layer.3.weight"], state[f"{prefix}output_layer.3.bias"])
    return functional.normalize(_norm(state, f"{prefix}output_layer.4", x))


def xcos_maps(state: State, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return S, W (N, 7, 7) and the score (N,) of scaled pixels."""

    def grid(pixels: Tensor) -> Tensor:
        x = _norm(state, "backbone.conv1x1.1", _conv(state, "backbone.conv1x1.0", ir_map(state, "backbone.", pixels)))
        return _slopes(state, "backbone.conv1x1.2", x)

    def embed(x: Tensor) -> Tensor:
        x = _norm(state, "attention.embedding_net.1", _conv(state, "attention.embedding_net.0", x))
        return _slopes(state, "attention.embedding_net.2", x)

    a, b = grid(first), grid(second)
    x = _conv(state, "attention.attention.0", torch.cat([embed(a), embed(b)], dim=1))
    x = _slopes(state, "attention.attention.2", _norm(state, "attention.attention.1", x))
    x = _norm(state, "attention.attention.4", _conv(state, "attention.attention.3", x))
    x = _slopes(state, "attention.attention.5", x)
    weights = torch.softmax(torch.flatten(x, 1), dim=1).view(-1, 7, 7)
    similarity = (functional.normalize(a) * functional.normalize(b)).sum(dim=1)
    return similarity, weights, (similarity * weights).sum(dim=(1, 2))


def iresnet_embedding(state: State, pixels: Tensor) -> Tensor:
    """Return embeddings (N, 512) of length 1 of an iresnet of insightface."""
    x = _slopes(state, "prelu", _norm(state, "bn1", _conv(state, "conv1", pixels)))
    for stage in range(1, 5):
        number = 0
        while f"layer{stage}.{number}.conv1.weight" in state:
            unit, stride = f"layer{stage}.{number}", 2 if number == 0 else 1
            y = _norm(state, f"{unit}.bn2", _conv(state, f"{unit}.conv1", _norm(state, f"{unit}.bn1", x)))
            y = _norm(state, f"{unit}.bn3", _conv(state, f"{unit}.conv2", _slopes(state, f"{unit}.prelu", y), stride))
            if number == 0:
                x = _norm(state, f"{unit}.downsample.1", _conv(state, f"{unit}.downsample.0", x, stride))
            x, number = x + y, number + 1
    x = functional.linear(torch.flatten(_norm(state, "bn2", x), 1), state["fc.weight"], state["fc.bias"])
    return functional.normalize(_norm(state, "features", x))
