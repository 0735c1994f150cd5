"""Frozen teachers whose cosine a student learns (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import ModelError
from whyface.models.embedder import Embedder
from whyface.models.heads import GdcHead
from whyface.models.mobilefacenet import MobileFaceNet
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.zoo import open_embedder


class Teacher(Protocol):
    """Anything that embeds faces: (N, 3, 112, 112) float32 in 0..255 -> (N, D) float32, L2-normalised."""

    def __call__(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        ...


class FrozenNetwork(nn.Module):
    """A torch network that stays in eval mode whatever is asked of it, and gives no gradients.

    The published training put the whole model into train mode, which made the teacher's BatchNorm follow the batch
    and switched its dropout on, so that the supervising cosine was noisy and drifted. Here :meth:`train` does nothing.
    """

    def __init__(self, network: nn.Module, *, half: bool = False) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.half_precision = half

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode."""
        return self

    @torch.no_grad()
    def forward(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=self.half_precision):
            embeddings = self.network(faces)
        return functional.normalize(embeddings.float())


def channels_last(module: nn.Module) -> None:
    """Lay out a module's 4-D tensors channels last, which is the faster order on a CPU."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def split_state(tensors: Mapping[str, Tensor], parts: Mapping[str, nn.Module], source: str) -> None:
    """Load a flat set of tensors into modules that share it, every tensor into exactly one.

    Raises
    ------
    ModelError
        If a tensor is missing or left over.
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


def mobilefacenet_teacher(path: Path | str, *, half: bool = False) -> FrozenNetwork:
    """Load a MobileFaceNet with its FC head from one safetensors file.

    Raises
    ------
    ModelError
        If the file is missing or its tensors are not those of the network.
    """
    backbone, head = MobileFaceNet(), GdcHead()
    split_state(read_safetensors(path), {"backbone": backbone, "head": head}, str(path))
    network = nn.Sequential(backbone, head)
    channels_last(network)
    return FrozenNetwork(network, half=half)


class OnnxTeacher:
    """Any ONNX network as a teacher; it knows no train mode and gives no gradients."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, faces: Tensor) -> Tensor:
        """Embed a batch."""
        embeddings = self.embedder.embed(faces.detach().cpu().contiguous().numpy().clip(0, 255))
        return torch.from_numpy(embeddings).to(faces.device)


def open_teacher(
    name: str, *, directory: Path | None = None, half: bool = False, threads: int | None = None
) -> Teacher:
    """Open a teacher: ``.onnx``, ``.safetensors`` of a MobileFaceNet with its FC head, or a known model.

    Parameters
    ----------
    name
        Path or name.
    directory
        Where models that do not come with whyface lie.
    half
        Run a torch network in bfloat16.
    threads
        Threads of ONNX Runtime for an ONNX network; None leaves it to ONNX Runtime.

    Raises
    ------
    ModelError
        If it is unknown or its weights are missing or do not fit: there is no teacher without weights.
    """
    path = Path(name)
    if path.suffix == ".onnx":
        return OnnxTeacher(OnnxEmbedder(path, threads=threads))
    if path.suffix == ".safetensors":
        return mobilefacenet_teacher(path, half=half)
    return OnnxTeacher(open_embedder(name, directory=directory, threads=threads))


def read_safetensors(path: Path | str) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises
    ------
    ModelError
        If the file is missing or not safetensors.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read tensors from {path}: {error}; give a .safetensors file") from error
    return tensors
