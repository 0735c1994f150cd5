"""What counts as more than chance: rates that must hold where nothing is to be found, and effects that are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.page_examples import QUALITY
from whyface.errors import InputError
from whyface.faces.face import Face
from whyface.words.attribute_model import AttributeEvidence
from whyface.words.noise_floor import FEWEST_DRAWS, LEVEL, NoiseFloor, noise_floor, random_blobs
from whyface.words.special_attribute import SpecialAttributes, special_attributes
from whyface.words.word_report import WordSettings

SURE = 1e-9
"""How often a test below fails by luck, for seeds not chosen."""


@pytest.mark.parametrize("area", [0, 1, 700, 112 * 112])
def test_blobs_have_the_area_asked_for(area: int) -> None:
    blobs = random_blobs(area, 3, np.random.default_rng(0))
    assert blobs.sum(axis=(1, 2)).tolist() == [area] * 3


def test_blobs_differ_and_hang_together() -> None:
    blobs = random_blobs(1200, 20, np.random.default_rng(0))
    assert len({blob.tobytes() for blob in blobs}) == 20
    # Compact: few of the pixels are at an edge of the blob.
    edges = (blobs[:, 1:] != blobs[:, :-1]).sum(axis=(1, 2))
    assert edges.max() < 250
    with pytest.raises(InputError, match="an area must be between"):
        random_blobs(-1, 1, np.random.default_rng(0))


def test_the_rank_is_what_counting_by_hand_gives() -> None:
    """Nineteen rounds and the words' own; each value measured by the mean and spread of the others of its word."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 20)) * [[1.0], [5.0], [0.2]] + [[0.0], [9.0], [-1.0]]
    values[1, 0] = 40.0
    standard = np.empty_like(values)
    for row in range(3):
        for column in range(20):
            others = np.delete(values[row], column)
            standard[row, column] = (values[row, column] - others.mean()) / others.std()
    largest = standard[:, 1:].max(axis=0)
    found = noise_floor(values[:, 0], values[:, 1:])
    np.testing.assert_allclose(found.chance, [(1 + (largest >= one).sum()) / 20 for one in standard[:, 0]])
    np.testing.assert_allclose(found.mean, values[:, 1:].mean(axis=1))
    np.testing.assert_allclose(found.limit, found.mean + values[:, 1:].std(axis=1) * largest.max())
    assert found.chance[1] == LEVEL
    np.testing.assert_array_equal(values[:, 0] > found.limit, found.chance <= LEVEL)


def test_no_spread_and_no_effect_is_no_finding() -> None:
    floor = noise_floor(np.zeros(3), np.zeros((3, 40)))
    assert floor.chance.tolist() == [1, 1, 1]
    assert floor.limit.tolist() == [0, 0, 0]


@pytest.mark.parametrize("draws", [FEWEST_DRAWS, 20, 40, 99])
@pytest.mark.parametrize("words", [1, 10, 60])
def test_the_level_can_be_reached_whatever_the_number_of_words(draws: int, words: int) -> None:
    rng = np.random.default_rng(draws)
    changes = np.zeros(words)
    changes[-1] = 100.0
    found = noise_floor(changes, rng.standard_normal((words, draws)))
    assert found.chance[-1] == 1 / (draws + 1) <= LEVEL


def test_words_that_mean_something_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    changes = np.r_[np.linspace(8, 12, 6), np.zeros(6)]
    found = noise_floor(changes, rng.standard_normal((12, 40)))
    assert (found.chance <= LEVEL).tolist() == [True] * 6 + [False] * 6


def test_too_few_rounds_or_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="at least 19"):
        noise_floor(np.zeros(2), np.zeros((2, 18)))
    with pytest.raises(InputError, match="at least 99"):
        noise_floor(np.zeros(2), np.zeros((2, 40)), level=0.01)
    with pytest.raises(InputError, match="do not fit"):
        noise_floor(np.zeros(3), np.zeros((2, 40)))


@pytest.mark.parametrize("draws", [20, 40])
@pytest.mark.parametrize("words", [1, 4, 20])
@pytest.mark.parametrize("noise", ["normal", "heavy tails", "skewed"])
def test_noise_is_called_telling_as_often_as_it_says(words: int, draws: int, noise: str) -> None:
    """The family-wise rate is the level itself, up to the grain of 1 / (draws + 1): not above it, nor far below."""
    trials, rng = 1500, np.random.default_rng((words, draws))
    hits = 0
    for _ in range(trials):
        values = _noise(rng, noise, (words, draws + 1)) * rng.uniform(0.2, 5, (words, 1)) + rng.normal(size=(words, 1))
        hits += _names_one(noise_floor(values[:, 0], values[:, 1:]))
    low, high = _bounds(trials, int(LEVEL * (draws + 1)) / (draws + 1))
    assert low <= hits <= high


def test_words_that_overlap_are_not_named_more_often() -> None:
    """Random places are independent of each other; words on one face are not, which must not cost errors."""
    trials, rng = 1500, np.random.default_rng(7)
    hits = 0
    for _ in range(trials):
        values = rng.standard_normal((10, 41))
        values[:, 0] = 0.8**0.5 * rng.standard_normal() + 0.2**0.5 * values[:, 0]
        hits += _names_one(noise_floor(values[:, 0], values[:, 1:]))
    assert hits <= _bounds(trials, LEVEL)[1]


@pytest.mark.parametrize("others", [10, 20, 40])
@pytest.mark.parametrize("words", [2, 5])
def test_nothing_special_is_named_as_often_as_it_says(others: int, words: int) -> None:
    """Words at random places, through the whole of ``special_attributes``."""
    trials, hits = 40, 0
    for seed in range(trials):
        found = _special(np.random.default_rng((others, words, seed)), others, words)
        hits += any(word.is_special for word in found.words)
        assert all(word.is_special == (word.change > word.limit) for word in found.words)
    assert hits <= _bounds(trials, LEVEL)[1]


@pytest.mark.parametrize("others", [10, 40])
def test_what_is_special_is_found(others: int) -> None:
    """A word whose place is the one that the network looks at; places of other words may lie there by chance."""
    hits = 0
    for seed in range(10):
        found = _special(np.random.default_rng((others, seed)), others, 3, planted=True)
        hits += found.words[0].name == "Bald" and found.words[0].is_special
    assert hits >= 8


def _names_one(floor: NoiseFloor) -> bool:
    return bool((floor.chance <= LEVEL).any())


def _noise(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    if kind == "normal":
        return rng.standard_normal(shape)
    return rng.standard_t(3, shape) if kind == "heavy tails" else rng.exponential(size=shape)


def _bounds(trials: int, rate: float) -> tuple[int, int]:
    """Give the numbers of hits that a binomial count lies between, but for one in ``1 / SURE``."""
    logs = np.cumsum(np.log(np.r_[1.0, np.arange(1, trials + 1)]))
    counts = np.arange(trials + 1)
    chance = np.exp(logs[-1] - logs - logs[::-1] + counts * np.log(rate) + (trials - counts) * np.log1p(-rate))
    below, above = np.cumsum(chance), np.cumsum(chance[::-1])[::-1]
    return int(np.argmax(below > SURE)), int(len(above) - 1 - np.argmax(above[::-1] > SURE))


def _special(rng: np.random.Generator, others: int, words: int, *, planted: bool = False) -> SpecialAttributes:
    """Ask for what is special with words at random places, or the first where the network looks at the probe."""
    names = ("Bald", "Bangs", "Chubby", "Goatee", "Smiling", "Mustache")[:words]
    areas = rng.integers(300, 2500, words)
    areas[:] = 400 if planted else areas
    masks = np.concatenate([random_blobs(int(area), 1, rng) for area in areas])
    # Every other face is a direction of its own, and all have much in common.
    looks = rng.standard_normal((14, 14)) + 0.5 * rng.standard_normal((others, 14, 14))
    if planted:
        looks = 0.1 * looks - 5 * masks[0][4::8, 4::8]
    explainer: Any = SimpleNamespace(
        settings=WordSettings(draws=40 if planted else FEWEST_DRAWS),
        comparison=_LinearScorer(),
        attributes=_AllPresent(words),
        allowed=np.ones(words, bool),
        names=names,
        threshold=1e9,
        accept_poor=True,
        counterfactual=lambda first, second, direction: (np.ones((2, 7, 7), np.float32), ((), ())),
        masks_of=lambda evidence, counterfactual, numbers: masks[numbers],
    )
    # An other's directions travel as its picture: brightness about the middle grey.
    pictures = np.clip(128 + 8 * looks, 0, 255).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    # With a quality, which says nothing here, no face has to be measured.
    faces = [Face(np.repeat(picture[..., None], 3, axis=2), quality=QUALITY) for picture in pictures]
    return special_attributes(explainer, Face(np.full((112, 112, 3), 200, np.uint8), quality=QUALITY), faces)


class _LinearScorer:
    """Scores by the product of both faces' brightness about the middle grey, at 14 x 14 places."""

    name, sha256 = "linear", "0" * 64

    def features(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return batch[:, 0, 4::8, 4::8].reshape(len(batch), -1).astype(np.float32) - 128

    def scores(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((first * second).mean(axis=1), np.float32)


class _AllPresent:
    """An attribute model that sees every word."""

    network = _LinearScorer()

    def __init__(self, words: int) -> None:
        self._words = words

    def __call__(self, batch: NDArray[np.uint8]) -> AttributeEvidence:
        maps = np.zeros((len(batch), self._words, 7, 7), np.float32)
        return AttributeEvidence(maps, np.full((len(batch), self._words), 3.0, np.float32))
