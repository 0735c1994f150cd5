"""Networks from their description, with their initial tensors (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from whyface.errors import ModelError
from whyface.models.heads import FcHead, GdcHead, GridHead, PlacedGridHead
from whyface.models.iresnet import IResNet
from whyface.models.mobilefacenet import MobileFaceNet
from whyface.models.placed_fc import PlacedFcHead
from whyface.train.config import NetworkConfig
from whyface.train.distillation import tie_pair_halves
from whyface.train.teachers import read_safetensors
from whyface.xcos.learned import LearnedAttention, XcosNetwork


class ScaledPixels(nn.Module):
    """An IResNet that takes plain pixels: (x - 127.5) / 127.5 in front, so that all backbones take 0..255."""

    def __init__(self, trunk: IResNet) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """Map faces (N, 3, 112, 112) in 0..255 to (N, 512, 7, 7)."""
        y: Tensor = self.trunk(x / 127.5 - 1)
        return y


class FcNetwork(nn.Module):
    """The baseline: backbone and global head, compared by cosine."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, faces: Tensor) -> Tensor:
        """Embed faces (N, 3, 112, 112) in 0..255: (N, D), L2-normalised."""
        embeddings: Tensor = self.head(self.backbone(faces))
        return embeddings


Network = XcosNetwork | FcNetwork


def build_network(config: NetworkConfig) -> Network:
    """Build a network with fresh tensors (seed torch before)."""
    backbone: nn.Module = MobileFaceNet()
    if config.backbone != "mobilefacenet":
        backbone = ScaledPixels(IResNet(int(config.backbone.removeprefix("iresnet")), se=config.se))
    if config.head == "fc":
        return FcNetwork(backbone, GdcHead() if config.backbone == "mobilefacenet" else FcHead())
    head = PlacedGridHead() if config.head == "placed" else GridHead(activation=config.activation)
    network = XcosNetwork(backbone, head, LearnedAttention())
    if config.symmetric:
        tie_pair_halves(network.xcos.attention)
    return network


def load_initial(network: Network, config: NetworkConfig, *, seed: int) -> None:
    """Load the initial tensors, if any: of the whole network, of its trunk, or of trunk and FC head.

    A placed head takes the FC head over. Grid and attention that the file lacks stay fresh.

    Raises
    ------
    ModelError
        If the file cannot be read or does not fit.
    """
    if config.init is None:
        return
    tensors = read_safetensors(config.init)
    own = network.state_dict()
    if set(own) <= set(tensors) | {name for name in own if name.endswith("num_batches_tracked")}:
        network.load_state_dict({name: tensors[name] for name in own if name in tensors}, strict=False)
        return
    trunk = network.backbone.trunk if isinstance(network.backbone, ScaledPixels) else network.backbone
    assert isinstance(trunk, nn.Module)
    load_part(trunk, tensors, config.init)
    if config.head == "fc":
        load_part(network.head, tensors, config.init)
    elif isinstance(network.head, PlacedGridHead):
        head = GdcHead().eval()
        load_part(head, tensors, config.init)
        generator = torch.Generator().manual_seed(seed)
        network.head.take_over(head, sigma=config.sigma, generator=generator)


@torch.no_grad()
def settle(network: XcosNetwork, faces: Tensor) -> None:
    """Centre a placed head, and give fresh BatchNorms of head and attention the statistics of real faces.

    Parameters
    ----------
    network
        In eval mode, and left in it.
    faces
        (N, 3, 112, 112) float32 in 0..255, a few hundred.
    """
    maps = torch.cat([network.backbone(part) for part in torch.split(faces, 64)])
    if isinstance(network.head, PlacedGridHead | PlacedFcHead):
        network.head.centre(network.head(maps).mean(dim=0))
    norms = [m for m in [*network.head.modules(), *network.xcos.modules()] if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        # One after the other: each sees what those before it, settled, make of the faces.
        norm.momentum = 1.0
        norm.train()
        grid = network.head(maps)
        network.xcos(grid, grid.roll(1, 0))
        norm.eval()
        norm.momentum = 0.1


def split_trunk(backbone: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Cut a backbone into an early and a late half, for training that leaves the early one alone.

    Of a backbone that is not this package's own nothing is known, so all of it counts as early.
    """
    if isinstance(backbone, MobileFaceNet):
        early = nn.ModuleList([backbone.conv1, backbone.dw_conv, backbone.features[:5]])
        return early, nn.ModuleList([backbone.features[5:], backbone.conv2])
    if not isinstance(backbone, ScaledPixels):
        return backbone, nn.ModuleList()
    stages = backbone.trunk.stages
    return nn.ModuleList([backbone.trunk.stem, stages[:2]]), nn.ModuleList([stages[2:]])


def load_part(module: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Load those tensors that are a module's; others are left alone.

    Raises
    ------
    ModelError
        If one is missing or of another size.
    """
    own = {name: tensors[name] for name in module.state_dict() if name in tensors}
    missing = {name for name in module.state_dict() if name not in own and not name.endswith("num_batches_tracked")}
    if missing:
        raise ModelError(f"{source}: lacks {len(missing)} tensors of {type(module).__name__}, e.g. {min(missing)}")
    try:
        module.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{source}: tensors of another size than {type(module).__name__} needs") from error
