"""Margin losses for the identity branch, and learning the cosine of a teacher (needs the extra ``torch``)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError
from whyface.xcos.grid import COSINE_EPS
from whyface.xcos.learned import LearnedAttention, XcosOutput

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
        """Return logits (N, K)."""
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


class PairIndices(NamedTuple):
    """Rows and columns of the pairs i < j of a batch, both (P,) int64."""

    first: Tensor
    second: Tensor


def all_pairs(count: int) -> PairIndices:
    """Return every unordered pair of ``count`` pictures."""
    first, second = torch.triu_indices(count, count, 1)
    return PairIndices(first, second)


def compare_all(grid: Tensor, attention: LearnedAttention, pairs: PairIndices) -> XcosOutput:
    """Compute S, W and <S, W> for pairs of one batch of grids (N, C, H, W) without a copy of the grids per pair."""
    unit = functional.normalize(grid, dim=1, eps=COSINE_EPS)
    cosines = torch.einsum("ichw,jchw->ijhw", unit, unit)
    similarity = cosines[pairs.first, pairs.second]
    terms = attention.first_term(grid)[pairs.first] + attention.second_term(grid)[pairs.second]
    weights = attention.finish(terms)
    return XcosOutput(similarity, weights, (similarity * weights).sum(dim=(1, 2)))


def balanced_regression(
    score: Tensor, target: Tensor, *, split: float = 0.25, floor: float = 0.05, below: float = 0.1
) -> Tensor:
    """Regress scores to the teacher's cosines, half of the loss from pairs that the teacher finds alike.

    Two departures from a plain mean of squares. In a batch of many people nearly all pairs are impostors, so the two
    groups are averaged apart (the paper samples 50/50 instead). And how unlike two strangers are carries no meaning:
    of pairs that the teacher finds unlike, a score above ``max(target, floor)`` costs its square, one below only
    ``below`` times that. ``below=1, floor=-1`` gives the plain square.

    Parameters
    ----------
    score, target
        Student's scores and teacher's cosines, (P,).
    split
        Pairs with a target above this count as alike.
    floor
        Targets of the other pairs are raised to this.
    below
        Weight of a score under its target, for the other pairs.
    """
    alike = target > split
    over = score - torch.where(alike, target, target.clamp_min(floor))
    error = torch.where(alike | (over > 0), 1.0, below) * over.square()
    groups = [error[mask].mean() for mask in (alike, ~alike) if bool(mask.any())]
    return torch.stack(groups).mean()


def tie_pair_halves(attention: LearnedAttention) -> None:
    """Make the attention independent of the order of the two faces, also during training.

    The pair convolution's halves for face A and for face B start equal and receive the mean of both gradients. The
    network stays the paper's; its weights lie in the subspace where W(A, B) = W(B, A), so that a verdict does not
    depend on which photo came first.
    """
    weight = attention.pair_conv.weight
    hidden = weight.shape[0]

    def mean_of_halves(tensor: Tensor) -> Tensor:
        half = (tensor[:, :hidden] + tensor[:, hidden:]) / 2
        return torch.cat([half, half], dim=1)

    with torch.no_grad():
        weight.copy_(mean_of_halves(weight))
    weight.register_hook(mean_of_halves)  # type: ignore[no-untyped-call]


class WeightAverage:
    """Exponential moving average of a module's floating-point state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's state; the first steps move faster so that the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if self.state[name].device != value.device:
                # The module has moved to another device since, or the state comes from a checkpoint.
                self.state[name] = self.state[name].to(value.device)
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)
