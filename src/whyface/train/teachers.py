"""The frozen teachers of a training run (needs the extra ``torch``)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import ModelError
from whyface.models.backbones import DEPTHS, MobileFaceNet
from whyface.models.catalogue import DESCRIPTION, open_embedder, read_entry
from whyface.models.embedder import Embedder
from whyface.models.heads import GdcHead
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.train.config import NetworkConfig
from whyface.train.networks import build_network, channels_last, load_part, read_safetensors, split_state
from whyface.train.run_files import is_trained, load_trained

_COUNTER: Final = "num_batches_tracked"


class Teacher(Protocol):
    """Anything that embeds faces: (N, 3, 112, 112) float32 in 0..255 -> (N, D) float32, L2-normalised."""

    def __call__(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        ...


class Seen(NamedTuple):
    """What a torch teacher sees in N faces: embeddings (N, D), L2-normalised, and last maps (N, C, H, W); float32."""

    embeddings: Tensor
    maps: Tensor


class FrozenNetwork(nn.Module):
    """A torch network that always stays in eval mode and has no gradients.

    The published training put the whole model into train mode. The teacher's BatchNorm then followed the batch and its
    dropout was on, so that the supervising cosine was noisy and drifted. Here :meth:`train` does nothing.

    Parameters
    ----------
    backbone
        Faces (N, 3, 112, 112) in 0..255 -> last map.
    head
        Map -> embedding or grid, which is flattened; whether it L2-normalises does not matter.
    half
        Run the backbone in bfloat16.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, *, half: bool = False) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False)
        self.head = head.eval().requires_grad_(False)
        self.half_precision = half
        channels_last(self.backbone)

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode."""
        return self

    @torch.no_grad()
    def see(self, faces: Tensor) -> Seen:
        """Return embeddings and last maps."""
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=self.half_precision):
            maps = self.backbone(faces)
        maps = maps.float()
        return Seen(self.embed_maps(maps), maps)

    def embed_maps(self, maps: Tensor) -> Tensor:
        """Embed last maps; differentiable."""
        return functional.normalize(torch.flatten(self.head(maps), 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        return self.see(faces).embeddings


class OnnxTeacher:
    """Any ONNX network as a teacher; it has no train mode and no gradients."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        embeddings = self.embedder.embed(faces.detach().cpu().contiguous().numpy().clip(0, 255))
        return torch.from_numpy(embeddings).to(faces.device)


def open_teacher(
    name: str, *, directory: Path | None = None, half: bool = False, threads: int | None = None
) -> Teacher:
    """Open a teacher; there is none without weights.

    Raise ModelError if it is unknown, or its weights are missing or do not fit.

    Parameters
    ----------
    name
        An ``.onnx`` file; the folder or ``.safetensors`` file of a network that ``whyface train`` or ``whyface import``
        wrote; a ``.safetensors`` file of any backbone with its FC head; a model folder; or a known model.
    half
        Run a torch network in bfloat16.
    """
    path = Path(name)
    if path.suffix == ".onnx":
        return OnnxTeacher(OnnxEmbedder(path, threads=threads))
    if is_trained(path):
        network, _ = load_trained(path)
        return FrozenNetwork(network.backbone, network.head, half=half)
    if path.suffix == ".safetensors":
        return plain_teacher(path, half=half)
    entry = read_entry(path) if (path / DESCRIPTION).is_file() else name
    return OnnxTeacher(open_embedder(entry, directory=directory, threads=threads))


def plain_teacher(path: Path | str, *, half: bool = False) -> FrozenNetwork:
    """Load a backbone with its FC head from a safetensors file that names neither; names and shapes of tensors tell.

    Names are those of our networks, those of the trunk and of the head side by side, or as ``whyface train`` writes
    them. Raise ModelError if the file is missing, or no backbone has these tensors.
    """
    tensors = read_safetensors(path)
    own = {re.sub(r"^(backbone\.|head\.)(trunk\.)?", "", name): tensor for name, tensor in tensors.items()}
    own = {name: tensor for name, tensor in own.items() if not name.endswith(_COUNTER)}
    shapes = {name: tensor.shape for name, tensor in own.items()}
    for config in _plain_networks():
        with torch.device("meta"):
            network = build_network(config)
        trunk, head = getattr(network.backbone, "trunk", network.backbone), network.head
        wanted = {name: t.shape for part in (trunk, head) for name, t in part.state_dict().items()}
        if shapes == {name: shape for name, shape in wanted.items() if not name.endswith(_COUNTER)}:
            network = build_network(config)
            for part in (getattr(network.backbone, "trunk", network.backbone), network.head):
                load_part(part, own, Path(path))
            return FrozenNetwork(network.backbone, network.head, half=half)
    raise ModelError(
        f"{path}: its {len(own)} tensors are not those of a known backbone with its FC head; whyface import makes a "
        "teacher of other projects' checkpoints, and an .onnx file works, too"
    )


def _plain_networks() -> Iterator[NetworkConfig]:
    """Yield every backbone with its FC head."""
    for backbone in ("mobilefacenet", "mobilefacenet-large"):
        yield NetworkConfig(backbone=backbone, head="fc")
    for depth in DEPTHS:
        for se, units in itertools.product((False, True), ("ir", "insightface")):
            yield NetworkConfig.model_validate({"backbone": f"iresnet{depth}", "se": se, "units": units, "head": "fc"})


def mobilefacenet_teacher(path: Path | str, *, half: bool = False) -> FrozenNetwork:
    """Load a MobileFaceNet with its FC head from one safetensors file.

    Raise ModelError if the file is missing or its tensors are not those of the network.
    """
    backbone, head = MobileFaceNet(), GdcHead()
    split_state(read_safetensors(path), {"backbone": backbone, "head": head}, str(path))
    return FrozenNetwork(backbone, head, half=half)
