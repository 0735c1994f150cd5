"""Losses that teach evidence, on Dirichlet concentrations (needs the extra ``torch``).

M. Sensoy, L. Kaplan, M. Kandemir, Evidential Deep Learning to Quantify Classification Uncertainty, NeurIPS 2018: three
losses (their equations 3 to 5) and the divergence that takes misleading evidence away. With y the true person and
S = sum(alpha)::

    log       log S - log alpha_y                        (type II maximum likelihood)
    digamma   psi(S) - psi(alpha_y)                      (expected cross-entropy)
    mse       sum (y_k - p_k)^2 + p_k (1 - p_k) / (S + 1), p = alpha / S     (expected squared error)

The divergence is KL[Dir(alpha~) || Dir(1)], alpha~ = alpha with the true person's evidence removed, weighed by
min(1, epoch / 10). It is an option for all three losses here.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from whyface.errors import InputError
from whyface.identify.evidential import EVIDENCE_KINDS, EXP_LIMIT, EvidenceKind

LossKind = Literal["log", "digamma", "mse"]

LOSS_KINDS: Final[tuple[LossKind, ...]] = get_args(LossKind)

ANNEALING_EPOCHS: Final = 10
"""Epochs over which the divergence gains its full weight."""


def torch_evidence(logits: Tensor, kind: EvidenceKind) -> Tensor:
    """Turn logits into evidence, as :func:`whyface.identify.evidential.evidence` does.

    Raises
    ------
    InputError
        If the kind does not exist.
    """
    if kind == "relu":
        return functional.relu(logits)
    if kind == "exp":
        return torch.exp(logits.clamp(-EXP_LIMIT, EXP_LIMIT))
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
    """Return the concentrations (N, K) with the true person's evidence removed, so that only the misleading is left."""
    truth = functional.one_hot(labels, alpha.shape[1]).to(alpha.dtype)
    return (alpha - 1) * (1 - truth) + 1


def annealing(epoch: int) -> float:
    """Return the divergence's weight min(1, epoch / 10); epochs count from 0.

    Raises
    ------
    InputError
        If the epoch is negative.
    """
    if epoch < 0:
        raise InputError(f"epochs count from 0, got {epoch}")
    return min(1.0, epoch / ANNEALING_EPOCHS)


_LOSSES: Final = {"log": log_loss, "digamma": digamma_loss, "mse": mse_loss}


def evidential_loss(alpha: Tensor, labels: Tensor, kind: LossKind = "mse", *, kl_weight: float = 0.0) -> Tensor:
    """Return the mean loss of N faces.

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

    Raises
    ------
    InputError
        If the loss does not exist, the weight is negative, or labels and concentrations do not fit.
    """
    if kind not in _LOSSES:
        raise InputError(f"unknown evidential loss {kind!r}; use one of {', '.join(LOSS_KINDS)}")
    if kl_weight < 0:
        raise InputError(f"the weight of the divergence must not be negative, got {kl_weight:g}")
    if alpha.ndim != 2 or labels.shape != alpha.shape[:1] or not len(labels):
        raise InputError(f"concentrations (N, K) and labels (N,) do not fit: {alpha.shape} and {labels.shape}")
    losses = _LOSSES[kind](alpha, labels)
    if kl_weight:
        losses = losses + kl_weight * kl_to_uniform(misleading(alpha, labels))
    return losses.mean()


def _of_truth(alpha: Tensor, labels: Tensor) -> Tensor:
    return alpha.gather(1, labels[:, None])[:, 0]
