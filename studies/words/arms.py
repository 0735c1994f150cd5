"""Score many pairs with their words erased, under different settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.words.method_comparison import PairSide, candidate_words, score_copies
from whyface.words.noise_floor import random_blobs
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import ERASERS, Direction, erased_faces
from whyface.words.word_report import WordSettings


@dataclass(frozen=True)
class WordArm:
    """One way of making and erasing words.

    Attributes
    ----------
    name
        Name of the arm in reports.
    settings
        See :class:`~whyface.words.word_report.WordSettings`.
    is_random
        Whether to erase random places of the words' areas instead of the words.
    with_genuine
        Whether to erase in genuine pairs as well, namely what makes them alike.
    control
        Name of the arm that erases random places of the same areas with the same eraser; None if there is none.
    """

    name: str
    settings: WordSettings
    is_random: bool = False
    with_genuine: bool = False
    control: str | None = None


def word_arms() -> list[WordArm]:
    """Return the arms of the study: the default, the ablations, the erasers, the strategies, and chance."""
    plain = WordSettings()
    arms = [
        WordArm("words", plain, with_genuine=True, control="random places"),
        WordArm("random places", plain, is_random=True, with_genuine=True),
        *_with_chance("without attribute map", replace(plain, kind="no attribute")),
        *_with_chance("without counterfactual map", replace(plain, kind="no counterfactual")),
        *_with_chance("words anywhere", replace(plain, anywhere=True)),
        *_with_chance("top 1 person", replace(plain, identity="topk", k=1)),
        *_with_chance("top 9 people", replace(plain, identity="topk", k=9)),
        *_with_chance("people up to 0.4", replace(plain, identity="threshold", share=0.4)),
    ]
    for name in ERASERS:
        if name != plain.eraser:
            arms += _with_chance(f"eraser {name}", replace(plain, eraser=name))
    return arms


def _with_chance(name: str, settings: WordSettings) -> list[WordArm]:
    chance = f"random, as {name}"
    return [WordArm(name, settings, control=chance), WordArm(chance, settings, is_random=True)]


@dataclass(frozen=True, eq=False)
class ArmScores:
    """Results of an arm for N pairs and K words; NaN if a face has no such word.

    Attributes
    ----------
    score
        (N, 2, K): the score with the word erased in the first face, and in the second.
    area
        (N, 2, K): share of the pixels that were erased.
    """

    score: NDArray[np.float32]
    area: NDArray[np.float32]


def arm_scores(
    explainer: WordExplainer,
    arm: WordArm,
    sides: tuple[PairSide, PairSide],
    numbers: NDArray[np.intp],
    direction: Direction,
    *,
    seed: int = 0,
) -> ArmScores:
    """Erase all words of N pairs under one arm.

    Parameters
    ----------
    explainer
        The explainer, opened with the arm's settings.
    arm
        The arm.
    sides
        First and second faces.
    numbers
        The pairs' numbers (N,), used as seeds.
    direction
        Direction of the counterfactual map.
    seed
        Seed of random places.

    Raises
    ------
    InputError
        If the sides differ in length.
    """
    count, words = len(numbers), len(explainer.names)
    if not len(sides[0].batch) == len(sides[1].batch) == count:
        raise InputError("both sides need a face for every pair")
    score = np.full((count, 2, words), np.nan, np.float32)
    area = np.full((count, 2, words), np.nan, np.float32)
    wanted = [candidate_words(explainer, side) for side in sides]
    if arm.settings.kind == "no attribute":
        # The map is the same for all words, so that one is enough.
        wanted = [np.zeros_like(one) for one in wanted]
        for one in wanted:
            one[:, 0] = True
    copies: list[NDArray[Any]] = []
    places: list[tuple[int, int, int]] = []
    for row in range(count):
        pair = [side.batch[row : row + 1] for side in sides]
        identity = np.concatenate([side.identity[row : row + 1] for side in sides])
        maps, _ = explainer.counterfactual_of(identity, direction)
        for side in (0, 1):
            chosen = np.flatnonzero(wanted[side][row])
            if not len(chosen):
                continue
            evidence = sides[side].evidence.maps[row][chosen]
            masks = explainer.masks_of(evidence, maps[side], chosen)
            if arm.is_random:
                rng = np.random.default_rng((seed, int(numbers[row]), side))
                masks = np.concatenate([random_blobs(int(mask.sum()), 1, rng) for mask in masks])
            copies.append(erased_faces(pair[side][0], masks, arm.settings.eraser, seed=seed))
            places += [(row, side, int(word)) for word in chosen]
            area[row, side, chosen] = masks.mean(axis=(1, 2))
    if places:
        found = score_copies(explainer.comparison, copies, [(row, side) for row, side, _ in places], sides)
        for (row, side, word), value in zip(places, found, strict=True):
            score[row, side, word] = value
    return ArmScores(score, area)
