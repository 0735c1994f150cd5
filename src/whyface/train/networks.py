"""Build networks from their configuration, and load their initial tensors (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from whyface.errors import ModelError, reason
from whyface.files.guarded import check_plain
from whyface.models.backbones import IResNet, LargeMobileFaceNet, MobileFaceNet
from whyface.models.heads import AffineHead, FcHead, GdcHead, GridHead, PlacedGridHead
from whyface.train.config import NetworkConfig
from whyface.train.losses import tie_pair_halves
from whyface.xcos.learned import LearnedAttention, XcosNetwork


def channels_last(module: nn.Module) -> None:
    """Convert a module's 4-D tensors to channels last, the faster order on a CPU."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def split_state(tensors: Mapping[str, Tensor], parts: Mapping[str, nn.Module], source: str) -> None:
    """Load a flat set of tensors into modules that share it, every tensor into exactly one.

    Raise ModelError if a tensor is missing or left over.
    """
    left = dict(tensors)
    for name, module in parts.items():
        own = {key: left.pop(key) for key in module.state_dict() if key in left}
        missing = module.state_dict().keys() - own.keys()
        if missing:
            raise ModelError(f"{source} lacks {len(missing)} tensors of the {name}, e.g. {min(missing)}")
        module.load_state_dict(own)
    if left:
        raise ModelError(f"{source} has {len(left)} tensors that no part takes, e.g. {min(left)}")


def read_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file. Raise ModelError if the file is missing or not safetensors."""
    try:
        check_plain(path)
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"cannot read tensors from {path}: {reason(error)}; give a .safetensors file") from error
    return tensors


class ScaledPixels(nn.Module):
    """An IResNet that takes plain pixels: (x - 127.5) / divisor comes first, so that all backbones take 0..255."""

    def __init__(self, trunk: IResNet, divisor: float = 127.5) -> None:
        super().__init__()
        self.trunk = trunk
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (N, 3, 112, 112) in 0..255 to (N, 512, 7, 7)."""
        y: Tensor = self.trunk(x / self.divisor - 127.5 / self.divisor)
        return y

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """Return the layers up to the second stage, and those after it."""
        stages = self.trunk.stages
        return nn.ModuleList([self.trunk.stem, stages[:2]]), nn.ModuleList([stages[2:]])


class FcNetwork(nn.Module):
    """The baseline: backbone and global head, compared by cosine. Unlike an xCos network it has no metric to learn."""

    kind: Final = "cosine"
    output: Final = "embedding"
    xcos: None = None

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def features(self, faces: Tensor) -> Tensor:
        """Return what is compared: embeddings (N, D), L2-normalised, of faces (N, 3, 112, 112) in 0..255."""
        embeddings: Tensor = self.head(self.backbone(faces))
        return embeddings

    def scores(self, first: Tensor, second: Tensor) -> Tensor:
        """Score N pairs of embeddings: (N,)."""
        return (first * second).sum(dim=1)

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces."""
        return self.features(faces)


Network = XcosNetwork | FcNetwork


def build_network(config: NetworkConfig) -> Network:
    """Return a network with random weights (seed torch before)."""
    backbone, fc, channels = _backbone(config)
    if config.head == "fc":
        return FcNetwork(backbone, fc)
    head: nn.Module = PlacedGridHead()
    if config.head == "grid":
        head = GridHead(channels, norm=config.grid_norm, activation=config.activation)
    network = XcosNetwork(backbone, head, LearnedAttention())
    if config.symmetric:
        tie_pair_halves(network.xcos.attention)
    return network


def _backbone(config: NetworkConfig) -> tuple[nn.Module, nn.Module, int]:
    """Return a backbone for pixels in 0..255, the FC head that belongs to it, and the channels of its last map."""
    if config.backbone == "mobilefacenet":
        return MobileFaceNet(), GdcHead(), MobileFaceNet.out_channels
    if config.backbone == "mobilefacenet-large":
        large = LargeMobileFaceNet()
        return large, AffineHead(large.out_channels), large.out_channels
    depth = int(config.backbone.removeprefix("iresnet"))
    trunk = IResNet(depth, se=config.se, insightface=config.units == "insightface")
    return ScaledPixels(trunk, config.pixels), FcHead(), trunk.out_channels


def load_initial(network: Network, config: NetworkConfig, *, seed: int) -> None:
    """Load the initial tensors, if any: of the whole network, of its trunk, or of trunk and FC head.

    A placed head takes over the FC head. Grid and attention stay random if the file lacks them. Raise ModelError if the
    file cannot be read or does not fit.
    """
    if config.init is None:
        return
    tensors = read_safetensors(config.init)
    own = network.state_dict()
    if set(own) <= set(tensors) | {name for name in own if name.endswith("num_batches_tracked")}:
        network.load_state_dict({name: tensors[name] for name in own if name in tensors}, strict=False)
        return
    if {f"backbone.{name}" for name in network.backbone.state_dict()} <= set(tensors):
        # Another network of ours with the same backbone, such as the baseline.
        load_part(network.backbone, {name.removeprefix("backbone."): t for name, t in tensors.items()}, config.init)
        return
    load_part(cast("nn.Module", getattr(network.backbone, "trunk", network.backbone)), tensors, config.init)
    if config.head == "fc":
        load_part(network.head, tensors, config.init)
    elif config.head == "placed":
        head = GdcHead().eval()
        load_part(head, tensors, config.init)
        generator = torch.Generator().manual_seed(seed)
        cast("PlacedGridHead", network.head).take_over(head, sigma=config.sigma, generator=generator)


@torch.no_grad()
def settle(network: Network, faces: Tensor) -> None:
    """Centre a placed head, and give fresh BatchNorms of head and attention the statistics of real faces.

    The baseline is left unchanged.

    Parameters
    ----------
    network
        In eval mode, and left in it.
    """
    xcos = network.xcos
    if xcos is None:
        return
    maps = torch.cat([network.backbone(part) for part in torch.split(faces, 64)])
    centre: Callable[[Tensor], None] | None = getattr(network.head, "centre", None)
    if centre is not None:
        centre(network.head(maps).mean(dim=0))
    norms = [m for m in [*network.head.modules(), *xcos.modules()] if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        # In sequence: each sees the output of those before it, with their new statistics.
        norm.momentum = 1.0
        norm.train()
        grid = network.head(maps)
        xcos(grid, grid.roll(1, 0))
        norm.eval()
        norm.momentum = 0.1


def split_trunk(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split a backbone into an early and a late half, for training that leaves the early one unchanged.

    Of other backbones than this package's own, all layers count as early.
    """
    halves: Callable[[], tuple[nn.Module, nn.Module]] | None = getattr(backbone, "halves", None)
    return (backbone, nn.ModuleList()) if halves is None else halves()


def load_part(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load those tensors that belong to a module, and ignore the others.

    Raise ModelError if a tensor is missing or has another size.
    """
    own = {name: tensors[name] for name in module.state_dict() if name in tensors}
    missing = {name for name in module.state_dict() if name not in own and not name.endswith("num_batches_tracked")}
    if missing:
        raise ModelError(f"{source}: lacks {len(missing)} tensors of {type(module).__name__}, e.g. {min(missing)}")
    try:
        module.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{source}: tensors of another size than {type(module).__name__} needs") from error
