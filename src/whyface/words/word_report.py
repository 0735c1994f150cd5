"""The settings of words, and the report about a pair that sentences, JSON and figures are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.provenance import FaceInfo, ModelInfo, ThresholdSource
from whyface.words.attribute_model import Attribute
from whyface.words.noise_floor import FEWEST_DRAWS, LEVEL
from whyface.words.word_maps import (
    HEATMAPS,
    KINDS,
    LEAST,
    THRESHOLD,
    Direction,
    ErasedScores,
    Heatmap,
    Kind,
    eraser_fill,
)

Identity = Literal["similarity", "topk", "threshold"]
IDENTITIES: Final[tuple[Identity, ...]] = get_args(Identity)


@dataclass(frozen=True)
class WordSettings:
    """Settings of words.

    Attributes
    ----------
    identity
        Source of the counterfactual map: ``"similarity"`` needs no classifier and works for any two people; ``"topk"``
        and ``"threshold"`` need one, see :func:`whyface.words.identity_evidence.chosen_classes`.
    k, share
        Parameters of these strategies.
    kind
        See :func:`whyface.words.word_maps.joint_maps`.
    heatmap
        Map of words and of classes: ``"evidence"``, exact; ``"gradcam"`` or ``"gradcam++"``, as published, see
        :func:`whyface.words.word_maps.weighted_channels`. With ``"similarity"``, the counterfactual map stays exact,
        since a face has no slope towards itself.
    average_maps
        With several people, average their maps in 0..1, as published, instead of their evidence.
    fine
        Form D at the picture's resolution, as published, instead of the grid's.
    anywhere
        Allow a word to be erased outside its own places, as published, see :data:`whyface.words.word_maps.PLACES`.
    threshold, least
        Pixels of a joint map above the threshold are erased, and at least this share of the word's own places.
    eraser
        See :data:`whyface.words.word_maps.ERASERS`.
    sensitive
        Include words about gender, age and race in sentences.
    names
        Only these attributes, whether or not present and learnt; None: those that are present, learnt and allowed.
    draws
        Random erasures for each word, at least 19, see :func:`whyface.words.noise_floor.noise_floor`.
    seed
        Seed of all random draws.

    Raises
    ------
    InputError
        If a setting is unknown or out of range.
    """

    identity: Identity = "similarity"
    k: int = 1
    share: float = 0.4
    kind: Kind = "joint"
    heatmap: Heatmap = "evidence"
    average_maps: bool = False
    fine: bool = False
    anywhere: bool = False
    threshold: float = THRESHOLD
    least: float = LEAST
    eraser: str = "black"
    sensitive: bool = False
    names: tuple[str, ...] | None = None
    draws: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        eraser_fill(self.eraser)
        if self.identity not in IDENTITIES:
            raise InputError(f"identity must be one of {', '.join(IDENTITIES)}, got {self.identity!r}")
        if self.kind not in KINDS:
            raise InputError(f"kind of map must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.heatmap not in HEATMAPS:
            raise InputError(f"heat map must be one of {', '.join(HEATMAPS)}, got {self.heatmap!r}")
        if not 0 <= self.threshold <= 1 or not 0 <= self.least <= 1:
            raise InputError(
                f"the threshold and the least share must be in 0..1, got {self.threshold:g} and {self.least:g}"
            )
        if not FEWEST_DRAWS <= self.draws < math.inf:
            raise InputError(f"at least {FEWEST_DRAWS} draws are needed to tell a word from chance, got {self.draws}")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = asdict(self)
        plain["names"] = None if self.names is None else list(self.names)
        return plain


Where = Literal["A", "B", "both"]
SIDES: Final[tuple[Where, ...]] = ("A", "B", "both")

SMALLEST_CHANGE: Final = 0.01
"""Minimum change of the score by a telling word, even if a smaller change is significant."""


@dataclass(frozen=True)
class Word:
    """One attribute, erased in A, in B or in both.

    Attributes
    ----------
    attribute
        The word.
    where
        Erased in ``"A"``, ``"B"`` or ``"both"``.
    probability_a, probability_b
        Probability that each face has the attribute, by the attribute model.
    area_a, area_b
        Share of each face's pixels that is erased; 0 if none.
    similarity
        The score with the word erased.
    change
        Change of the score in the telling direction: up for a pair that does not match, down for one that does.
    by_chance
        Mean score with random places of that size erased.
    limit
        The score that the word must pass to count, see :func:`whyface.words.noise_floor.noise_floor`.
    chance
        p-value, corrected for the selection among all words.
    """

    attribute: Attribute
    where: Where
    probability_a: float
    probability_b: float
    area_a: float
    area_b: float
    similarity: float
    change: float
    by_chance: float
    limit: float
    chance: float

    @property
    def is_telling(self) -> bool:
        """Whether erasing it has an effect beyond chance of at least ``SMALLEST_CHANGE``."""
        return self.change >= SMALLEST_CHANGE and self.chance <= LEVEL


@dataclass(frozen=True, eq=False, kw_only=True)
class PairReport:
    """What every report about a pair begins with.

    Attributes
    ----------
    similarity, threshold, threshold_source
        Score, threshold and its origin.
    model, attributes
        The network behind the score, and the one behind the attributes.
    versions
        Versions of the software.
    faces
        Where the faces come from, if known.
    doubt
        Why the faces cannot support a verdict, if poor faces were accepted; else None.
    """

    similarity: float
    threshold: float
    threshold_source: ThresholdSource
    model: ModelInfo
    attributes: ModelInfo
    versions: Mapping[str, str]
    faces: tuple[FaceInfo, FaceInfo] | None = None
    doubt: str | None = None

    @property
    def is_match(self) -> bool:
        """Whether the faces match: similarity > threshold, strictly."""
        return self.similarity > self.threshold

    def head(self, schema: str, sentences: Sequence[str]) -> dict[str, Any]:
        """Return what all reports share, as JSON values."""
        return {
            "schema": schema,
            "verdict": "match" if self.is_match else "no match",
            "similarity": self.similarity,
            "threshold": self.threshold,
            "threshold_source": self.threshold_source.to_dict(),
            "doubt": self.doubt,
            "sentences": list(sentences),
            "model": self.model.to_dict(),
            "attribute_model": self.attributes.to_dict(),
            "faces": None if self.faces is None else [face.to_dict() for face in self.faces],
            "versions": dict(self.versions),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class WordReport(PairReport):
    """Words about one pair.

    Attributes
    ----------
    words
        All words tested, the most telling first.
    names
        The K attributes of the model.
    probabilities, present
        (2, K) each: face A and face B.
    scores
        Scores with each attribute erased, tested or not.
    masks
        (2, K, 112, 112) bool: the pixels erased.
    counterfactual
        (2, h, w) float32: D of A against B and of B against A.
    settings
        How words were tested.
    classes
        The people that represent A and B, if there is a classifier; otherwise empty.
    """

    words: tuple[Word, ...]
    names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    present: NDArray[np.bool_]
    scores: ErasedScores
    masks: NDArray[np.bool_]
    counterfactual: NDArray[np.float32]
    settings: WordSettings
    classes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def direction(self) -> Direction:
        """The kind of words sought: what makes the faces different or, for a match, alike."""
        return "alike" if self.is_match else "different"

    @property
    def telling(self) -> tuple[Word, ...]:
        """Words with an effect beyond chance, the most telling first."""
        return tuple(word for word in self.words if word.is_telling)

    def best_of(self, where: Where, count: int = 5) -> tuple[Word, ...]:
        """Return the first ``count`` words erased there, the most telling first, telling or not."""
        return tuple(word for word in self.words if word.where == where)[:count]
