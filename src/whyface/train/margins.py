"""Margin losses for the identification branch (needs the extra ``torch``).

Wang et al., "CosFace: Large Margin Cosine Loss" (CVPR 2018); Deng et al., "ArcFace: Additive Angular Margin Loss"
(CVPR 2019).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError

MarginKind = Literal["arcface", "cosface", "softmax"]


class MarginHead(nn.Module):
    """Logits of an identity classifier with a margin on the true class.

    Parameters
    ----------
    embedding_size, classes
        Sizes D and K.
    kind
        ``"arcface"``: s cos(theta + m), falling back to s (cos - m sin m) where theta + m would pass pi;
        ``"cosface"``: s (cos - m); ``"softmax"``: s cos, without a margin.
    margin, scale
        m and s. Defaults as published: ArcFace 0.5, 64; CosFace 0.35, 30; softmax 0, 30.

    Shapes
    ------
    embeddings (N, D), labels (N,) int64 -> logits (N, K) for a cross-entropy.
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        kind: MarginKind = "cosface",
        *,
        margin: float | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        defaults = {"arcface": (0.5, 64.0), "cosface": (0.35, 30.0), "softmax": (0.0, 30.0)}
        if kind not in defaults:
            raise InputError(f"margin kind must be one of {', '.join(defaults)}, got {kind!r}")
        self.kind = kind
        self.margin = defaults[kind][0] if margin is None else margin
        self.scale = defaults[kind][1] if scale is None else scale
        self.weight = nn.Parameter(functional.normalize(torch.empty(classes, embedding_size).uniform_(-1, 1)))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Give logits (N, K)."""
        cosine = functional.linear(functional.normalize(embeddings), functional.normalize(self.weight)).clamp(-1, 1)
        if self.kind == "softmax" or self.margin == 0:
            return self.scale * cosine
        true = cosine.gather(1, labels[:, None])
        if self.kind == "cosface":
            target = true - self.margin
        else:
            sine = (1 - true.square()).clamp_min(1e-12).sqrt()
            rotated = true * math.cos(self.margin) - sine * math.sin(self.margin)
            fallback = true - self.margin * math.sin(self.margin)
            target = torch.where(true > math.cos(math.pi - self.margin), rotated, fallback)
        return self.scale * cosine.scatter(1, labels[:, None], target)
