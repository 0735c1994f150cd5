"""The evidential head: a face's features in, evidence for every known person and the uncertainty out, without torch.

Each person has a direction; the logit is ``scale * cosine + shift`` with one scale and one shift for all, so that a
head says as much of the person with two photos as of the one with twenty, and a stranger's small cosines give no
evidence. :mod:`whyface.train.evidential_fit` makes one; a ``.safetensors`` file keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from whyface.errors import InputError, ModelError
from whyface.identify.evidential import (
    EVIDENCE_KINDS,
    EvidenceKind,
    FloatArray,
    concentration,
    evidence,
    expected_probability,
    uncertainty,
)
from whyface.models.atomic_write import write_atomic

FORMAT: Final = "whyface/evidential-head/1"
_RECORD: Final = "whyface"
_UNIT: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Belief:
    """What a head believes of N faces among K people.

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
    evidence
        How a logit becomes evidence, see :func:`whyface.identify.evidential.evidence`.
    record
        Where it comes from: model, its SHA-256, loss, pictures, seed, versions. Plain values.

    Raises
    ------
    InputError
        If these do not fit each other.
    """

    people: tuple[str, ...]
    directions: NDArray[np.float32]
    scale: float
    shift: float
    evidence: EvidenceKind
    record: Mapping[str, Any] = field(default_factory=dict)

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
        if self.evidence not in EVIDENCE_KINDS:
            raise InputError(f"unknown evidence {self.evidence!r}; use one of {', '.join(EVIDENCE_KINDS)}")

    def __call__(self, features: FloatArray) -> Belief:
        """Weigh the evidence in N faces' features (N, D), rows of unit length.

        Raises
        ------
        InputError
            If they are not of the size that the head was fitted to, or not finite.
        """
        if features.ndim != 2 or features.shape[1] != self.directions.shape[1]:
            raise InputError(
                f"this head was fitted to features of {self.directions.shape[1]} numbers, got the shape "
                f"{features.shape}; use the model that it was fitted with"
            )
        if not np.isfinite(features).all():
            raise InputError("features must be finite")
        cosine = features.astype(np.float64) @ self.directions.T.astype(np.float64)
        alpha = concentration(evidence(self.scale * cosine + self.shift, self.evidence))
        return Belief(alpha, expected_probability(alpha), uncertainty(alpha))

    def save(self, path: Path | str) -> None:
        """Write the head to a ``.safetensors`` file, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written there.
        """
        header = {
            "format": FORMAT,
            "people": list(self.people),
            "scale": self.scale,
            "shift": self.shift,
            "evidence": self.evidence,
            "record": dict(self.record),
        }
        tensors = {"directions": np.ascontiguousarray(self.directions, np.float32)}
        write_atomic(path, save(tensors, {_RECORD: json.dumps(header)}))

    def require_model(self, sha256: str, path: Path | str) -> None:
        """Refuse a head that was fitted with another model.

        Raises
        ------
        ModelError
            Its record names another hash.
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
        If the file is missing, broken, or another file than an evidential head's.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_RECORD, "null"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ModelError(f"{path}: not an evidential head ({FORMAT}); fit one anew")
            directions = np.asarray(file.get_tensor("directions"), np.float32)
        return EvidentialHead(
            people=tuple(str(name) for name in header["people"]),
            directions=directions,
            scale=float(header["scale"]),
            shift=float(header["shift"]),
            evidence=header["evidence"],
            record=dict(header["record"]),
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, InputError) as error:
        raise ModelError(f"{path}: cannot read the evidential head ({error}); fit it anew") from error
