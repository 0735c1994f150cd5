"""Erase places of a face, and score the pair with each word erased in A, in B and in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import Fill, fill_picture
from whyface.xcos.comparison import Comparison, Features, features_in_parts

ERASERS: Final[Mapping[str, Fill]] = MappingProxyType(
    {"black": 0.0, "white": 255.0, "mean": "mean", "random": "noise", "blur": "blur"}
)
"""Eraser -> fill: black, white, the face's mean colour, seeded uniform noise, or the face, strongly blurred."""


def eraser_fill(eraser: str) -> Fill:
    """Return the fill of an eraser.

    Raises
    ------
    InputError
        If the eraser is unknown.
    """
    if eraser not in ERASERS:
        raise InputError(f"unknown eraser {eraser!r}; use one of {', '.join(ERASERS)}")
    return ERASERS[eraser]


def erased_faces(face: NDArray[Any], masks: NDArray[np.bool_], eraser: str, *, seed: int = 0) -> NDArray[Any]:
    """Return copies of a face with different places erased.

    Parameters
    ----------
    face
        (3, H, W), RGB, 0..255.
    masks
        (N, H, W) bool: True is erased.
    eraser
        See :data:`ERASERS`.
    seed
        Seed for ``"random"``; all copies of a face share the noise.

    Returns
    -------
    (N, 3, H, W), of the face's dtype; pixels that are not erased are unchanged.

    Raises
    ------
    InputError
        If the shapes differ or the eraser is unknown.
    """
    if face.ndim != 3 or masks.ndim != 3 or masks.shape[1:] != face.shape[1:]:
        raise InputError(f"masks {masks.shape} do not fit the face {face.shape}; expected (N, H, W) and (3, H, W)")
    paint = fill_picture(face, eraser_fill(eraser), seed)
    return np.where(masks[:, None], paint, face)


FloatArray = NDArray[np.floating[Any]]

BATCH: Final = 64
"""Maximum number of faces in the network at once."""


@dataclass(frozen=True, eq=False)
class ErasedFace:
    """Features of a face and of its copies with places erased.

    Attributes
    ----------
    features
        Features of the face, one row.
    erased
        Features of the copies, K rows.
    """

    features: Features
    erased: Features


@dataclass(frozen=True, eq=False)
class ErasedScores:
    """Scores of a pair with each of K places erased.

    Attributes
    ----------
    similarity
        The score with nothing erased.
    own
        (2, K): erased A with A, and erased B with B.
    single
        (2, K): erased A with B, and A with erased B.
    both
        (K,): erased A with erased B.
    """

    similarity: float
    own: NDArray[np.float64]
    single: NDArray[np.float64]
    both: NDArray[np.float64]


def erase_in_face(
    comparison: Comparison,
    face: NDArray[Any],
    masks: NDArray[np.bool_],
    eraser: str,
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> ErasedFace:
    """Return the features of a face (3, H, W) and of its copies with ``masks`` (K, H, W) erased."""
    copies = erased_faces(face, masks, eraser, seed=seed)
    features = features_in_parts(comparison, np.concatenate([face[None], copies]), batch)
    return ErasedFace(features[:1], features[1:])


def erased_scores(comparison: Comparison, first: ErasedFace, second: ErasedFace) -> ErasedScores:
    """Score a pair with each place erased.

    Raises
    ------
    InputError
        If the faces have different numbers of copies.
    """
    if len(first.erased) != len(second.erased):
        raise InputError(f"{len(first.erased)} copies of A do not belong to {len(second.erased)} of B")
    if not len(first.erased):
        empty = np.empty((2, 0))
        return ErasedScores(float(comparison.scores(first.features, second.features)[0]), empty, empty, empty[0])
    return ErasedScores(
        similarity=float(comparison.scores(first.features, second.features)[0]),
        own=np.stack([comparison.scores(face.erased, face.features) for face in (first, second)]).astype(np.float64),
        single=np.stack(
            [comparison.scores(first.erased, second.features), comparison.scores(first.features, second.erased)]
        ).astype(np.float64),
        both=comparison.scores(first.erased, second.erased).astype(np.float64),
    )
