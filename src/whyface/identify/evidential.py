"""Evidence, the Dirichlet distribution that it makes, and the uncertainty that is left.

A classifier of K people gives each of them evidence e_k >= 0. Their Dirichlet distribution has the concentrations
alpha_k = e_k + 1; its mean is the expected probability of each person, and u = K / sum(alpha) is the share of belief
that no evidence has claimed: 1 without any evidence, near 0 with much of it.

M. Sensoy, L. Kaplan, M. Kandemir, Evidential Deep Learning to Quantify Classification Uncertainty, NeurIPS 2018,
section 3. The losses that teach such evidence are in :mod:`whyface.train.evidential_losses`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]
EvidenceKind = Literal["relu", "exp", "softplus"]

EVIDENCE_KINDS: Final[tuple[EvidenceKind, ...]] = get_args(EvidenceKind)

EXP_LIMIT: Final = 20.0
"""Logits are held in -20..20 before the exponential is taken, so that one of them cannot overflow the sum.

The published code takes 10, where u cannot fall below K / (K + 22026): most photos of known people reach that floor,
and what is erased from such a face leaves no trace in u."""


def evidence(logits: FloatArray, kind: EvidenceKind) -> NDArray[np.float64]:
    """Turn logits into evidence.

    Parameters
    ----------
    logits
        Any shape.
    kind
        ``"relu"``: max(z, 0); ``"exp"``: exp(z) with z held in -20..20; ``"softplus"``: log(1 + exp(z)).

    Returns
    -------
    float64 of the same shape, >= 0.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    z = np.asarray(logits, np.float64)
    if kind == "relu":
        return np.maximum(z, 0.0)
    if kind == "exp":
        return np.exp(np.clip(z, -EXP_LIMIT, EXP_LIMIT))
    if kind == "softplus":
        return np.logaddexp(0.0, z)
    raise InputError(f"unknown evidence {kind!r}; use one of {', '.join(EVIDENCE_KINDS)}")


def concentration(given: FloatArray) -> NDArray[np.float64]:
    """Return the Dirichlet concentrations alpha = evidence + 1 for evidence (..., K).

    Raises
    ------
    InputError
        If evidence is negative or not finite, or there is nobody to give it to.
    """
    values = np.asarray(given, np.float64)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise InputError(f"evidence needs a last axis of K >= 1 people, got the shape {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError("evidence must be finite and not negative")
    return values + 1.0


def uncertainty(alpha: FloatArray) -> NDArray[np.float64]:
    """Return u = K / sum(alpha) for concentrations (..., K), shape (...).

    In (0, 1]: 1 where nobody has evidence. With one person only (K = 1) it says how much evidence there is, but there
    is nobody else whom the face could be taken for, so it is no answer to "who".

    Raises
    ------
    InputError
        If a concentration is below 1.
    """
    checked = _checked(alpha)
    return np.asarray(checked.shape[-1] / checked.sum(axis=-1))


def expected_probability(alpha: FloatArray) -> NDArray[np.float64]:
    """Return the Dirichlet's mean alpha / sum(alpha) for concentrations (..., K), same shape.

    Raises
    ------
    InputError
        If a concentration is below 1.
    """
    checked = _checked(alpha)
    return np.asarray(checked / checked.sum(axis=-1, keepdims=True))


def _checked(alpha: FloatArray) -> NDArray[np.float64]:
    values = np.asarray(alpha, np.float64)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise InputError(f"concentrations need a last axis of K >= 1 people, got the shape {values.shape}")
    if not np.isfinite(values).all() or (values < 1).any():
        raise InputError("concentrations must be finite and at least 1; they are evidence + 1")
    return values
