"""Losses: margins for the identity branch, the cosine of a teacher, and evidence (needs the extra ``torch``).

Evidential losses, on Dirichlet concentrations: M. Sensoy, L. Kaplan, M. Kandemir, Evidential Deep Learning to Quantify
Classification Uncertainty, NeurIPS 2018, three losses (their equations 3 to 5) and the divergence that reduces
misleading evidence. With y the true person and S = sum(alpha)::

    log       log S - log alpha_y                        (type II maximum likelihood)
    digamma   psi(S) - psi(alpha_y)                      (expected cross-entropy)
    mse       sum (y_k - p_k)^2 + p_k (1 - p_k) / (S + 1), p = alpha / S     (expected squared error)

The divergence is KL[Dir(alpha~) || Dir(1)], where alpha~ is alpha with the true person's evidence removed, weighted by
min(1, epoch / 10). Here it is optional for all three losses.

The term on accuracy and uncertainty (AvU) asks for certainty where the likeliest person is right, - b p log(1 - u), and
for uncertainty where not, - (1 - b) (1 - p) log u, with p the largest expected probability and u = K / S. The balance b
rises from 0.01 to 1 over the run (Bao, Yu, Kong, Evidential Deep Learning for Open Set Action Recognition, ICCV 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError
from whyface.identify.evidential import EVIDENCE_KINDS, EXP_LIMIT, EvidenceKind
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
        ``"arcface"``: s cos(theta + m), or s (cos - m sin m) where theta + m would exceed pi;
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

    def summed_loss(self, embeddings: Tensor, labels: Tensor, *, epoch: int = 0, progress: float = 0.0) -> Tensor:
        """Return the sum of the cross entropies of N faces; it is the same throughout a run."""
        return functional.cross_entropy(self(embeddings, labels), labels, reduction="sum")


class PairIndices(NamedTuple):
    """Rows and columns of the pairs i < j of a batch, both (P,) int64."""

    first: Tensor
    second: Tensor


def all_pairs(count: int, device: torch.device | None = None) -> PairIndices:
    """Return the indices of all unordered pairs of ``count`` pictures."""
    first, second = torch.triu_indices(count, count, 1, device=device)
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
    """Return the loss between scores and the teacher's cosines, half of it from pairs that the teacher finds alike.

    It differs from a plain mean of squares in two ways. In a batch of many people nearly all pairs are impostors, so
    the two groups are averaged separately (the paper samples 50/50 instead). And how unlike two strangers are has no
    meaning: for pairs that the teacher finds unlike, the squared error counts in full where the score is above
    ``max(target, floor)``, and ``below`` times where it is below. ``below=1, floor=-1`` gives the plain square.

    Parameters
    ----------
    score, target
        Student's scores and teacher's cosines, (P,).
    split
        Pairs with a target above this count as alike.
    floor
        Targets of the other pairs are raised to this.
    below
        Weight of scores below their target, for the other pairs.
    """
    alike = target > split
    over = score - torch.where(alike, target, target.clamp_min(floor))
    error = torch.where(alike | (over > 0), 1.0, below) * over.square()
    groups = [error[mask].mean() for mask in (alike, ~alike) if bool(mask.any())]
    return torch.stack(groups).mean()


def tie_pair_halves(attention: LearnedAttention) -> None:
    """Make the attention independent of the order of the two faces, also during training.

    The pair convolution's halves for face A and for face B start equal and receive the mean of both gradients. The
    architecture is still the paper's; its weights lie in the subspace where W(A, B) = W(B, A), so that a verdict does
    not depend on which photo comes first.
    """
    weight = attention.pair_conv.weight
    hidden = weight.shape[0]

    def mean_of_halves(tensor: Tensor) -> Tensor:
        half = (tensor[:, :hidden] + tensor[:, hidden:]) / 2
        return torch.cat([half, half], dim=1)

    with torch.no_grad():
        weight.copy_(mean_of_halves(weight))
    weight.register_hook(mean_of_halves)  # type: ignore[no-untyped-call]


class Hint(nn.Module):
    """Learn from what a teacher sees: its last map, and its embedding of the map that is learnt.

    A 1 x 1 convolution predicts the teacher's map, standardised by channel. The loss is the mean squared error of the
    prediction plus one minus the cosine of the embeddings that the teacher's own head makes of both maps. Unlike the
    cosine of a pair, it says of every place of a single picture what to see there (Romero et al., "FitNets: Hints for
    Thin Deep Nets", ICLR 2015).

    Parameters
    ----------
    channels
        Channels of the network's map.
    maps
        The teacher's maps of some faces (N, C, H, W), for their mean and deviation.
    embed
        Map -> L2-normalised embedding, the teacher's head.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, maps: Tensor, embed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, maps.shape[1], 1)
        self.register_buffer("mean", maps.mean(dim=(0, 2, 3))[:, None, None].clone())
        self.register_buffer("deviation", maps.std(dim=(0, 2, 3))[:, None, None].clamp_min(1e-6))
        self.embed = embed

    def forward(self, maps: Tensor, wanted: Tensor, embeddings: Tensor) -> Tensor:
        """Return the loss for the network's maps and the teacher's maps and embeddings."""
        predicted = self.project(maps)
        distance = functional.mse_loss(predicted, (wanted - self.mean) / self.deviation)
        cosine = (self.embed(predicted * self.deviation + self.mean) * embeddings).sum(dim=1)
        loss: Tensor = distance + (1 - cosine).mean()
        return loss


class WeightAverage:
    """Exponential moving average of a module's floating-point state."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's state, faster in the first steps, so that the start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if self.state[name].device != value.device:
                # The module has moved to another device since, or the state comes from a checkpoint.
                self.state[name] = self.state[name].to(value.device)
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


LossKind = Literal["log", "digamma", "mse"]

LOSS_KINDS: Final[tuple[LossKind, ...]] = get_args(LossKind)

ANNEALING_EPOCHS: Final = 10
"""Epochs over which the divergence gains its full weight."""


def torch_evidence(logits: Tensor, kind: EvidenceKind, limit: float = EXP_LIMIT) -> Tensor:
    """Return the evidence of logits, as :func:`whyface.identify.evidential.evidence` does.

    Raise InputError if the kind does not exist.
    """
    if kind == "relu":
        return functional.relu(logits)
    if kind == "exp":
        return torch.exp(logits.clamp(-limit, limit))
    if kind == "softplus":
        return functional.softplus(logits)
    raise InputError(f"unknown evidence {kind!r}; use one of {', '.join(EVIDENCE_KINDS)}")


def log_loss(alpha: Tensor, labels: Tensor) -> Tensor:
    """Return log S - log alpha_y for concentrations (N, K) and labels (N,) int64, shape (N,)."""
    return torch.log(alpha.sum(dim=1)) - torch.log(_of_truth(alpha, labels))


def digamma_loss(alpha: Tensor, labels: Tensor) -> Tensor:
    """Return psi(S) - psi(alpha_y), the expected cross-entropy under Dir(alpha), shape (N,)."""
    return torch.digamma(alpha.sum(dim=1)) - torch.digamma(_of_truth(alpha, labels))


def mse_loss(alpha: Tensor, labels: Tensor) -> Tensor:
    """Return the expected squared error under Dir(alpha): squared bias plus variance, shape (N,)."""
    total = alpha.sum(dim=1, keepdim=True)
    mean = alpha / total
    truth = functional.one_hot(labels, alpha.shape[1]).to(alpha.dtype)
    return ((truth - mean).square() + mean * (1 - mean) / (total + 1)).sum(dim=1)


def kl_to_uniform(alpha: Tensor) -> Tensor:
    """Return KL[Dir(alpha) || Dir(1, ..., 1)] for concentrations (N, K), shape (N,); 0 where all are 1."""
    total = alpha.sum(dim=1)
    count = torch.tensor(float(alpha.shape[1]), dtype=alpha.dtype, device=alpha.device)
    spread = (alpha - 1) * (torch.digamma(alpha) - torch.digamma(total)[:, None])
    return torch.lgamma(total) - torch.lgamma(count) - torch.lgamma(alpha).sum(dim=1) + spread.sum(dim=1)


def misleading(alpha: Tensor, labels: Tensor) -> Tensor:
    """Return the concentrations (N, K) with the true person's evidence removed: only misleading evidence is left."""
    truth = functional.one_hot(labels, alpha.shape[1]).to(alpha.dtype)
    return (alpha - 1) * (1 - truth) + 1


def annealing(epoch: int) -> float:
    """Return the divergence's weight min(1, epoch / 10); epochs count from 0.

    Raise InputError if the epoch is negative.
    """
    if epoch < 0:
        raise InputError(f"epochs count from 0, got {epoch}")
    return min(1.0, epoch / ANNEALING_EPOCHS)


_LOSSES: Final = {"log": log_loss, "digamma": digamma_loss, "mse": mse_loss}


def evidential_loss(alpha: Tensor, labels: Tensor, kind: LossKind = "mse", *, kl_weight: float = 0.0) -> Tensor:
    """Return the mean loss of N faces.

    Raise InputError if the loss does not exist, the weight is negative, or labels and concentrations do not fit.

    Parameters
    ----------
    alpha
        Concentrations (N, K), at least 1.
    labels
        The true person of each face, (N,) int64.
    kind
        ``"log"``, ``"digamma"`` or ``"mse"``.
    kl_weight
        Weight of the divergence, e.g. :func:`annealing`; 0 leaves it out.

    Returns
    -------
    Scalar.
    """
    if kind not in _LOSSES:
        raise InputError(f"unknown evidential loss {kind!r}; use one of {', '.join(LOSS_KINDS)}")
    if kl_weight < 0:
        raise InputError(f"the weight of the divergence must not be negative, got {kl_weight:g}")
    if alpha.ndim != 2 or labels.shape != alpha.shape[:1] or not len(labels):
        raise InputError(f"concentrations (N, K) and labels (N,) do not fit: {alpha.shape} and {labels.shape}")
    return evidential_terms(alpha, labels, kind, kl_weight=kl_weight).mean()


def evidential_terms(alpha: Tensor, labels: Tensor, kind: LossKind, *, kl_weight: float = 0.0) -> Tensor:
    """Return the loss of each face, (N,); see :func:`evidential_loss`."""
    losses = _LOSSES[kind](alpha, labels)
    return losses + kl_weight * kl_to_uniform(misleading(alpha, labels)) if kl_weight else losses


_FIRST_BALANCE: Final = 0.01
_LEAST: Final = 1e-10


def avu_balance(progress: float) -> float:
    """Return b, from 0.01 at the start of a run to 1 at its end; progress from 0 to 1."""
    return float(_FIRST_BALANCE ** (1 - min(max(progress, 0.0), 1.0)))


def avu_terms(alpha: Tensor, labels: Tensor, balance: float) -> Tensor:
    """Return the term on accuracy and uncertainty for concentrations (N, K) and labels (N,), shape (N,)."""
    total = alpha.sum(dim=1)
    probability, likeliest = (alpha / total[:, None]).max(dim=1)
    u = alpha.shape[1] / total
    right = -balance * probability * torch.log((1 - u).clamp_min(_LEAST))
    wrong = -(1 - balance) * (1 - probability) * torch.log(u.clamp_min(_LEAST))
    return torch.where(likeliest == labels, right, wrong)


START: Final[dict[EvidenceKind, tuple[float, float]]] = {
    "relu": (40.0, -10.0),
    "exp": (20.0, -5.0),
    "softplus": (40.0, -10.0),
}
"""Scale and shift to start from: a cosine of 0.5 gives much evidence and one of 0 hardly any."""


class EvidentialLayer(nn.Module):
    """Evidence of an identity classifier: a direction for each person, and a scale and shift that are learnt, too.

    Parameters
    ----------
    embedding_size, classes
        Sizes D and K.
    loss, evidence, limit, divergence, avu
        See :class:`whyface.train.config.LossConfig`.

    Shapes
    ------
    embeddings (N, D) -> concentrations (N, K), at least 1.
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        loss: LossKind = "log",
        *,
        evidence: EvidenceKind = "exp",
        limit: float = EXP_LIMIT,
        divergence: float = 1.0,
        avu: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.evidence, self.limit, self.divergence, self.avu = loss, evidence, limit, divergence, avu
        scale, shift = START[evidence]
        self.weight = nn.Parameter(functional.normalize(torch.empty(classes, embedding_size).uniform_(-1, 1)))
        self.raw = nn.Parameter(torch.tensor([math.log(scale), shift / scale]))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return concentrations (N, K)."""
        cosine = functional.linear(functional.normalize(embeddings), functional.normalize(self.weight)).clamp(-1, 1)
        return torch_evidence(self.raw[0].exp() * (cosine + self.raw[1]), self.evidence, self.limit) + 1

    def summed_loss(self, embeddings: Tensor, labels: Tensor, *, epoch: int = 0, progress: float = 0.0) -> Tensor:
        """Return the sum of the losses of N faces; ``progress`` is the share of the run that is done."""
        alpha = self(embeddings)
        losses = evidential_terms(alpha, labels, self.kind, kl_weight=self.divergence * annealing(epoch))
        if self.avu:
            losses = losses + self.avu * avu_terms(alpha, labels, avu_balance(progress))
        return losses.sum()


def _of_truth(alpha: Tensor, labels: Tensor) -> Tensor:
    return alpha.gather(1, labels[:, None])[:, 0]
