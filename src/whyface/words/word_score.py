"""The scores of a pair after each of its words was erased: in A, in B, and in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.pair_scorer import Features, PairScorer, features_in_parts
from whyface.words.erasing import erased_faces

FloatArray = NDArray[np.floating[Any]]

BATCH: Final = 64
"""Faces in the network at once."""


@dataclass(frozen=True, eq=False)
class ErasedFace:
    """One face and its copies with places erased, as the network sees them.

    Attributes
    ----------
    features
        Of the face itself, one row.
    erased
        Of the copies, K rows.
    """

    features: Features
    erased: Features


@dataclass(frozen=True, eq=False)
class ErasedScores:
    """Scores of one pair, with K places erased one after the other.

    Attributes
    ----------
    similarity
        The pair's score with nothing erased.
    own
        (2, K): the erased A with A as it was, and the erased B with B.
    single
        (2, K): the erased A with B, and A with the erased B.
    both
        (K,): the erased A with the erased B.
    """

    similarity: float
    own: NDArray[np.float64]
    single: NDArray[np.float64]
    both: NDArray[np.float64]


def erase_in_face(
    scorer: PairScorer, face: NDArray[Any], masks: NDArray[np.bool_], eraser: str, *, seed: int = 0, batch: int = BATCH
) -> ErasedFace:
    """Run the network on a face (3, H, W) and on its copies with ``masks`` (K, H, W) erased."""
    copies = erased_faces(face, masks, eraser, seed=seed)
    features = features_in_parts(scorer, np.concatenate([face[None], copies]), batch)
    return ErasedFace(features[:1], features[1:])


def erased_scores(scorer: PairScorer, first: ErasedFace, second: ErasedFace) -> ErasedScores:
    """Score a pair with every place erased.

    Raises
    ------
    InputError
        If the two faces have different numbers of copies.
    """
    if len(first.erased) != len(second.erased):
        raise InputError(f"{len(first.erased)} copies of A do not belong to {len(second.erased)} of B")
    if not len(first.erased):
        empty = np.empty((2, 0))
        return ErasedScores(float(scorer.scores(first.features, second.features)[0]), empty, empty, empty[0])
    return ErasedScores(
        similarity=float(scorer.scores(first.features, second.features)[0]),
        own=np.stack([scorer.scores(face.erased, face.features) for face in (first, second)]).astype(np.float64),
        single=np.stack(
            [scorer.scores(first.erased, second.features), scorer.scores(first.features, second.erased)]
        ).astype(np.float64),
        both=scorer.scores(first.erased, second.erased).astype(np.float64),
    )
