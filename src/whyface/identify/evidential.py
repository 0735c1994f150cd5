"""Evidence, its Dirichlet distribution, and the uncertainty.

A classifier of K people assigns evidence e_k >= 0 to each. The Dirichlet distribution has the concentrations
alpha_k = e_k + 1; its mean is the expected probability of each person, and u = K / sum(alpha) is the share of belief
not assigned to anyone: 1 without any evidence, near 0 with much evidence.

M. Sensoy, L. Kaplan, M. Kandemir, Evidential Deep Learning to Quantify Classification Uncertainty, NeurIPS 2018,
section 3. The losses that train such evidence are in :mod:`whyface.train.losses`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import write_atomic

FloatArray = NDArray[np.floating[Any]]
EvidenceKind = Literal["relu", "exp", "softplus"]

EVIDENCE_KINDS: Final[tuple[EvidenceKind, ...]] = get_args(EvidenceKind)

EXP_LIMIT: Final = 20.0
"""Logits are clipped to -20..20 before the exponential, so that none can overflow the sum.

The published code uses 10, where u cannot fall below K / (K + 22026): most photos of known people reach that floor,
and erasing parts of such a face does not change u."""


def evidence(logits: FloatArray, kind: EvidenceKind, limit: float = EXP_LIMIT) -> NDArray[np.float64]:
    """Return the evidence for logits.

    Raise InputError if there is no such kind.

    Parameters
    ----------
    logits
        Any shape.
    kind
        ``"relu"``: max(z, 0); ``"exp"``: exp(z) with z clipped to -limit..limit; ``"softplus"``: log(1 + exp(z)).

    Returns
    -------
    float64 of the same shape, >= 0.
    """
    z = np.asarray(logits, np.float64)
    if kind == "relu":
        return np.maximum(z, 0.0)
    if kind == "exp":
        return np.exp(np.clip(z, -limit, limit))
    if kind == "softplus":
        return np.logaddexp(0.0, z)
    raise InputError(f"unknown evidence {kind!r}; use one of {', '.join(EVIDENCE_KINDS)}")


def concentration(given: FloatArray) -> NDArray[np.float64]:
    """Return the Dirichlet concentrations alpha = evidence + 1 for evidence (..., K).

    Raise InputError if evidence is negative or not finite, or there are no people.
    """
    values = np.asarray(given, np.float64)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise InputError(f"evidence needs a last axis of K >= 1 people, got the shape {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError("evidence must be finite and not negative")
    return values + 1.0


def uncertainty(alpha: FloatArray) -> NDArray[np.float64]:
    """Return u = K / sum(alpha) for concentrations (..., K), shape (...).

    In (0, 1]: 1 if there is no evidence. With only one person (K = 1) it shows the amount of evidence, but does not
    answer "who", since there is no other choice. Raise InputError if a concentration is below 1.
    """
    checked = _checked(alpha)
    return np.asarray(checked.shape[-1] / checked.sum(axis=-1))


def expected_probability(alpha: FloatArray) -> NDArray[np.float64]:
    """Return the Dirichlet's mean alpha / sum(alpha) for concentrations (..., K), same shape.

    Raise InputError if a concentration is below 1.
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


FORMAT: Final = "whyface/evidential-head/1"
_RECORD: Final = "whyface"
_UNIT: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Belief:
    """A head's output for N faces and K people.

    Attributes
    ----------
    alpha
        Dirichlet concentrations, (N, K) float64, at least 1.
    probability
        Expected probability of each person, (N, K) float64; rows sum to 1.
    uncertainty
        u = K / sum(alpha), (N,) float64 in (0, 1].
    """

    alpha: NDArray[np.float64]
    probability: NDArray[np.float64]
    uncertainty: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvidentialHead:
    """A direction for each person, one scale, one shift and a kind of evidence.

    Attributes
    ----------
    people
        K distinct names.
    directions
        (K, D) float32, rows of unit length.
    scale, shift
        Logit = scale * cosine + shift.
    evidence, limit
        Kind of evidence, see :func:`whyface.identify.evidential.evidence`.
    record
        Provenance: model, its SHA-256, loss, pictures, seed, versions. Plain values.

    Raises
    ------
    InputError
        If these do not match.
    """

    people: tuple[str, ...]
    directions: NDArray[np.float32]
    scale: float
    shift: float
    evidence: EvidenceKind
    record: Mapping[str, Any] = field(default_factory=dict)
    limit: float = EXP_LIMIT

    def __post_init__(self) -> None:
        if self.directions.ndim != 2 or len(self.directions) != len(self.people) or not self.people:
            raise InputError(
                f"an evidential head needs a direction for each of its people, got the shape "
                f"{self.directions.shape} for {len(self.people)} people"
            )
        if len(set(self.people)) != len(self.people):
            raise InputError("an evidential head's people must have distinct names")
        norms = np.linalg.norm(self.directions.astype(np.float64), axis=1)
        if not np.isfinite(norms).all() or np.abs(norms - 1).max() > _UNIT:
            raise InputError("an evidential head's directions must be finite and of unit length")
        if not (np.isfinite(self.scale) and np.isfinite(self.shift) and self.scale > 0):
            raise InputError(f"scale must be positive and shift finite, got {self.scale:g} and {self.shift:g}")
        if not self.limit > 0:
            raise InputError(f"the limit of logits must be positive, got {self.limit:g}")
        if self.evidence not in EVIDENCE_KINDS:
            raise InputError(f"unknown evidence {self.evidence!r}; use one of {', '.join(EVIDENCE_KINDS)}")

    def __call__(self, features: FloatArray) -> Belief:
        """Return the belief for features (N, D), rows of unit length.

        Raises
        ------
        InputError
            If they have another size than the head was fitted to, or are not finite.
        """
        if features.ndim != 2 or features.shape[1] != self.directions.shape[1]:
            raise InputError(
                f"this head was fitted to features of {self.directions.shape[1]} numbers, got the shape "
                f"{features.shape}; use the model that it was fitted with"
            )
        if not np.isfinite(features).all():
            raise InputError("features must be finite")
        cosine = features.astype(np.float64) @ self.directions.T.astype(np.float64)
        alpha = concentration(evidence(self.scale * cosine + self.shift, self.evidence, self.limit))
        return Belief(alpha, expected_probability(alpha), uncertainty(alpha))

    def save(self, path: Path | str) -> None:
        """Write the head to a ``.safetensors`` file atomically.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        header = {
            "format": FORMAT,
            "people": list(self.people),
            "scale": self.scale,
            "shift": self.shift,
            "evidence": self.evidence,
            **({} if self.limit == EXP_LIMIT else {"limit": self.limit}),
            "record": dict(self.record),
        }
        tensors = {"directions": np.ascontiguousarray(self.directions, np.float32)}
        write_atomic(path, save(tensors, {_RECORD: json.dumps(header)}))

    def require_model(self, sha256: str, path: Path | str) -> None:
        """Check that the head was fitted with this model.

        Raises
        ------
        ModelError
            If its record has another hash.
        """
        own = self.record.get("model_sha256")
        if own is not None and own != sha256:
            raise ModelError(
                f"{path}: this uncertainty was fitted with another model ({str(own)[:12]}..., not {sha256[:12]}...); "
                "fit it again with this one"
            )


def load_evidential_head(path: Path | str) -> EvidentialHead:
    """Read a head from its file.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not an evidential head.
    """
    try:
        tensors, metadata = read_tensors(path, ("directions",))
        header = parse_json(metadata.get(_RECORD, "null"))
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ModelError(f"{path}: not an evidential head ({FORMAT}); fit one anew")
        directions = np.asarray(tensors["directions"], np.float32)
        return EvidentialHead(
            people=tuple(str(name) for name in header["people"]),
            directions=directions,
            scale=float(header["scale"]),
            shift=float(header["shift"]),
            evidence=header["evidence"],
            record=dict(header["record"]),
            limit=float(header.get("limit", EXP_LIMIT)),
        )
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise ModelError(f"{path}: cannot read the evidential head ({reason(error)}); fit it anew") from error
