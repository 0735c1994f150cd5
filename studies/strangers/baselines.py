"""The baselines of evidential heads, and the heads to try (needs the extra ``torch``)."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from whyface.identify.evidential import EVIDENCE_KINDS
from whyface.train.evidential_fit import EvidentialSettings
from whyface.train.losses import LOSS_KINDS

PUBLISHED: Final = "free relu {} at scale 200"
"""Name of the published setting with a loss."""


def candidate_heads() -> dict[str, EvidentialSettings]:
    """Return the heads that the study tries: every way of fitting, evidence and loss, and the published setting."""
    tried = {}
    for directions, kind, loss, divergence in product(("prototypes", "free"), EVIDENCE_KINDS, LOSS_KINDS, (0.0, 1.0)):
        name = f"{directions} {kind} {loss}{' + KL' if divergence else ''}"
        tried[name] = EvidentialSettings(
            loss=loss,
            evidence=kind,
            divergence=divergence,
            directions="free" if directions == "free" else "prototypes",
            epochs=200 if directions == "prototypes" else 100,
        )
    for loss in LOSS_KINDS:
        tried[PUBLISHED.format(loss)] = EvidentialSettings(
            loss=loss, evidence="relu", divergence=0.0, directions="free", scale=200.0, shift=0.0, epochs=100
        )
    return tried


def fit_softmax(
    x: NDArray[np.float32], y: NDArray[np.int64], means: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Fit an ordinary softmax classifier by cross-entropy, in the same way as free heads.

    Parameters
    ----------
    x, y
        Features (N, D) of unit length and labels (N,).
    means
        Initial directions of the K people, (K, D).

    Returns
    -------
    directions, scale
        (K, D) float64 of unit length; the logit is scale * cosine.
    """
    directions = torch.from_numpy(means).float().requires_grad_()
    raw = torch.tensor(np.log(20.0), dtype=torch.float32, requires_grad=True)
    groups: list[dict[str, Any]] = [{"params": [directions], "lr": 0.003}, {"params": [raw]}]
    optimizer = torch.optim.Adam(groups, lr=0.03)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(100):
        logits = raw.exp() * (inputs @ torch.nn.functional.normalize(directions).T)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    unit = torch.nn.functional.normalize(directions).detach().double().numpy()
    return unit, float(raw.detach().exp())


def softmax_peak(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the largest softmax probability, (N,): the same order, without ties at 1."""
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(-np.log(np.exp(logits - top).sum(axis=1)))
