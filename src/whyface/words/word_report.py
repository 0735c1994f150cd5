"""The settings of words, and what words say about a pair: the result that sentences, JSON and figures are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.provenance import FaceInfo, ModelInfo, ThresholdSource
from whyface.words.attribute_names import Attribute
from whyface.words.erasing import ErasedScores, eraser_fill
from whyface.words.noise_floor import FEWEST_DRAWS, LEVEL
from whyface.words.word_maps import KINDS, LEAST, THRESHOLD, Direction, Kind

Identity = Literal["similarity", "topk", "threshold"]
IDENTITIES: Final[tuple[Identity, ...]] = get_args(Identity)


@dataclass(frozen=True)
class WordSettings:
    """Settings of words.

    Attributes
    ----------
    identity
        What the counterfactual map is made of: ``"similarity"`` needs no classifier and serves strangers; ``"topk"``
        and ``"threshold"`` need one, see :func:`whyface.words.identity_evidence.chosen_classes`.
    k, share
        For these.
    kind
        See :func:`whyface.words.word_maps.joint_maps`.
    anywhere
        Let a word erase what goes with it elsewhere on the face too, as published, see
        :mod:`whyface.words.word_maps`.
    threshold, least
        Pixels of a joint map above the threshold are erased, and at least this share of the word's own places.
    eraser
        See :data:`whyface.words.erasing.ERASERS`.
    sensitive
        Let words about gender, age and race into sentences.
    names
        Only these attributes, present or not, learnt or not; None: those that are present, learnt and allowed.
    draws
        Random erasures for each word, see :func:`whyface.words.noise_floor.noise_floor`; at least 19.
    seed
        Of everything random.

    Raises
    ------
    InputError
        If a setting is unknown or out of range.
    """

    identity: Identity = "similarity"
    k: int = 1
    share: float = 0.4
    kind: Kind = "joint"
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
        if not 0 <= self.threshold <= 1 or not 0 <= self.least <= 1:
            raise InputError(
                f"the joint map's threshold and the least share lie in 0..1, got {self.threshold:g} and {self.least:g}"
            )
        if self.draws < FEWEST_DRAWS:
            raise InputError(
                f"at least {FEWEST_DRAWS} draws are needed, since no word can be told from chance with fewer; "
                f"got {self.draws}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = asdict(self)
        plain["names"] = None if self.names is None else list(self.names)
        return plain


Where = Literal["A", "B", "both"]
SIDES: Final[tuple[Where, ...]] = ("A", "B", "both")

SMALLEST_CHANGE: Final = 0.01
"""A word that moves the score by less is never telling, however sure it is that it moves it."""


@dataclass(frozen=True)
class Word:
    """One attribute, erased in one way.

    Attributes
    ----------
    attribute
        The word.
    where
        Erased in ``"A"``, in ``"B"`` or in ``"both"``.
    probability_a, probability_b
        That each face has the attribute, as the attribute model sees it.
    area_a, area_b
        Share of each face's pixels that is erased; 0 where nothing is.
    similarity
        The score after it.
    change
        How far that is in the telling direction: up for a pair that does not match, down for one that does.
    by_chance
        The score after erasing as much at random, on average.
    limit
        The score that the word has to pass to count, see :func:`whyface.words.noise_floor.noise_floor`.
    chance
        p-value, corrected for the choice among all words.
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
        """Whether erasing it does more than noise, and enough to speak of."""
        return self.change >= SMALLEST_CHANGE and self.chance <= LEVEL


@dataclass(frozen=True, eq=False)
class WordReport:
    """Words about one pair.

    Attributes
    ----------
    similarity, threshold, threshold_source
        Of the verdict.
    words
        All that were judged, the most telling first.
    names
        The K attributes of the model.
    logits, probabilities, present
        (2, K) each: face A and face B.
    scores
        After erasing every attribute, whether it is judged or not.
    masks
        (2, K, 112, 112) bool: what was erased.
    counterfactual
        (2, h, w) float32: D of A against B and of B against A.
    classes
        The people that A and B were taken for, with classes; otherwise empty.
    model, attributes
        The network that decides, and the one that reads attributes.
    """

    similarity: float
    threshold: float
    threshold_source: ThresholdSource
    words: tuple[Word, ...]
    names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    present: NDArray[np.bool_]
    scores: ErasedScores
    masks: NDArray[np.bool_]
    counterfactual: NDArray[np.float32]
    model: ModelInfo
    attributes: ModelInfo
    settings: WordSettings
    versions: Mapping[str, str]
    faces: tuple[FaceInfo, FaceInfo] | None = None
    classes: tuple[tuple[str, ...], tuple[str, ...]] = field(default=((), ()))

    @property
    def is_match(self) -> bool:
        """Whether the model takes both for the same person."""
        return self.similarity > self.threshold

    @property
    def direction(self) -> Direction:
        """Which words are looked for: what makes them different, or, of a match, what makes them alike."""
        return "alike" if self.is_match else "different"

    @property
    def telling(self) -> tuple[Word, ...]:
        """Words that do more than noise, the most telling first."""
        return tuple(word for word in self.words if word.is_telling)

    def best_of(self, where: Where, count: int = 5) -> tuple[Word, ...]:
        """Give the words that move the score most when erased there, telling or not."""
        return tuple(word for word in self.words if word.where == where)[:count]
