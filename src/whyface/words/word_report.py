"""What words say about a pair: the result that sentences, JSON and figures are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.explain.provenance import FaceInfo, ModelInfo, ThresholdSource
from whyface.words.attribute_names import Attribute
from whyface.words.counterfactual import Direction
from whyface.words.word_score import ErasedScores
from whyface.words.word_settings import WordSettings

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
        The score that the word has to pass to count: so far the best of as many random erasures as there are words
        goes in one of 20 tries.
    chance
        How often the best of as many random erasures, each measured by its own kind's spread, does at least as well.
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
        return self.change >= SMALLEST_CHANGE and self.chance <= 0.05


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
