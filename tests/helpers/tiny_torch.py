"""Tiny torch face networks whose answers are known, for tests of gradient methods."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.models.torch_embedder import TorchEmbedder


def linear_parts(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Mean over 16 x 16 pixels, 1 x 1 convolution, flatten, fully connected: linear throughout."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.AvgPool2d(16), nn.Conv2d(3, 4, 1)), nn.Sequential(nn.Flatten(), nn.Linear(196, 6))


class CornerTrunk(nn.Module):
    """Sees the first 32 x 32 pixels and nothing else; its map is 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x[..., :32, :32] / 255))


def curved_parts(seed: int = 2) -> tuple[nn.Module, nn.Module]:
    """Convolutions, BatchNorms, PReLU, a head of depthwise kind: nothing is linear before the map."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(
        nn.Conv2d(3, 6, 8, 8), nn.BatchNorm2d(6), nn.PReLU(6), nn.Conv2d(6, 5, 2, 2, bias=False), nn.BatchNorm2d(5)
    )
    head = nn.Sequential(nn.Conv2d(5, 5, 7, groups=5), nn.Flatten(), nn.Linear(5, 6), nn.BatchNorm1d(6))
    # Pixels are up to 255; keep the activations near 1, and let the norms see faces, so that embeddings differ.
    with torch.no_grad():
        next(iter(trunk.parameters())).div_(128)
        for part in (*trunk, *head):
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = None
        head(trunk(torch.from_numpy(random_faces(16, seed=9)).float()))
    trunk.eval()
    head.eval()
    return trunk, head


def linear_embedder() -> TorchEmbedder:
    return TorchEmbedder(*linear_parts(), name="linear")


def corner_embedder() -> TorchEmbedder:
    return TorchEmbedder(CornerTrunk(), nn.Sequential(nn.Flatten(), nn.Linear(16, 5)), name="corner")


def curved_embedder() -> TorchEmbedder:
    return TorchEmbedder(*curved_parts(), name="curved")


def random_faces(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Faces of random blocks, (N, 3, 112, 112)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 3, 14, 14), np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=2).repeat(8, axis=3))
