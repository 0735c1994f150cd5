"""Words as shares: the split is exact, and words that mean nothing are hardly ever said."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whyface.errors import InputError, ModelError
from whyface.words.attribute_model import attribute
from whyface.words.word_shares import (
    LEVEL,
    Concepts,
    NaturalEffect,
    WordShare,
    corrected_chances,
    random_projections,
    read_concepts,
    save_concepts,
    shapley_terms,
    usual_units,
    word_shares,
)

RNG = np.random.default_rng(0)
NAMES = ("Eyeglasses", "Smiling", "Mustache")
KNOWN = NaturalEffect(-0.08, -0.1, -0.06, 500)
SIZE = 24


def concepts(count: int = 3, seed: int = 1, **changes: Any) -> Concepts:
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {
        "names": NAMES[:count] if count <= 3 else tuple(f"word {n}" for n in range(count)),
        "directions": rng.normal(size=(count, SIZE)).astype(np.float32),
        "mean": rng.normal(size=SIZE).astype(np.float32),
        "spread": np.ones((2, count), np.float32),
        "random_spread": (1.0, 1.0),
        "record": {"sha256": "0" * 64, "model": "m", "natural": {"Eyeglasses": vars(KNOWN)}},
    }
    return Concepts(**{**given, **changes})


def test_shares_are_the_shapley_values_of_the_words_parts_of_both_faces() -> None:
    directions = concepts().directions.astype(np.float64)
    x, y = RNG.normal(size=(2, 3))

    def value(members: tuple[int, ...]) -> float:
        chosen = list(members)
        return float((x[chosen] @ directions[chosen]) @ (y[chosen] @ directions[chosen]))

    expected = np.zeros(3)
    for order in permutations(range(3)):
        for place, word in enumerate(order):
            expected[word] += (value(order[: place + 1]) - value(order[:place])) / 6
    found = shapley_terms(directions @ directions.T, x[None], y[None])[0]
    assert found == pytest.approx(expected)
    assert found.sum() == pytest.approx(value((0, 1, 2)))


def test_words_and_rest_add_up_and_a_word_that_one_face_has_counts_against_it() -> None:
    found = concepts(directions=np.eye(3, SIZE, dtype=np.float32), mean=np.zeros(SIZE, np.float32))
    a, b = RNG.normal(size=(2, SIZE))
    score = float(a @ b) / 7
    read = {"Eyeglasses": (0.9, 0.1), "Smiling": (1.0, 1.0), "Mustache": (0.5, 1.0)}
    words = word_shares(found, a, b, score, read)
    terms = {word.attribute.name: word.term for word in words}
    assert terms == pytest.approx({"Eyeglasses": -0.16 / 7, "Smiling": 0.25 / 7, "Mustache": 0})
    assert [abs(word.term) for word in words] == sorted((abs(word.term) for word in words), reverse=True)


def test_a_word_along_which_two_faces_lie_far_apart_is_beyond_chance() -> None:
    natural = {name: vars(KNOWN) for name in NAMES}
    found = concepts(
        directions=np.eye(3, 400, dtype=np.float32),
        mean=np.zeros(400, np.float32),
        spread=np.full((2, 3), 0.3, np.float32),
        random_spread=(0.3, 0.3),
        record={"natural": natural},
    )
    a, b = 0.2 * RNG.normal(size=(2, 400))
    a[0], b[0] = 1.0, -1.0
    read = dict.fromkeys(NAMES, (0.9, 0.1))
    chances = {word.attribute.name: word.chance for word in word_shares(found, a, b, float(a @ b), read)}
    assert chances["Eyeglasses"] <= LEVEL < chances["Smiling"]
    turned = {word.attribute.name: word.chance for word in word_shares(found, b, a, float(a @ b), read)}
    assert turned["Eyeglasses"] > LEVEL
    unsure = word_shares(found, a, b, float(a @ b), dict.fromkeys(NAMES, (0.9, 0.5)))
    assert [word.chance for word in unsure] == [1, 1, 1]


def test_random_projections_have_the_moments_of_random_directions() -> None:
    a, b = RNG.normal(size=(2, SIZE))
    one, other = random_projections(a, b, 10, 4000, np.random.default_rng(2)).reshape(2, -1)
    assert np.cov(one, other) == pytest.approx(np.array([[a @ a, a @ b], [a @ b, b @ b]]) / SIZE, rel=0.05, abs=0.02)


def test_words_that_are_random_directions_are_beyond_chance_in_at_most_five_percent_of_pairs() -> None:
    """The false-positive rate, simulated: any of 12 words, shared or different, in 600 pairs of like faces."""
    count, size, pairs, beyond = 12, 400, 600, 0
    rng = np.random.default_rng(4)
    differ = np.arange(count) % 2 == 0
    ones = np.ones((2, count))
    for _ in range(pairs):
        a = rng.normal(size=size)
        b = 0.6 * a + 0.8 * rng.normal(size=size)
        directions = rng.normal(size=(count, size)) / np.sqrt(size)
        values = usual_units(differ, directions @ a, directions @ b, ones)
        drawn = random_projections(a, b, count, 199, rng)
        beyond += corrected_chances(values, usual_units(differ, drawn[0], drawn[1], ones)).min() <= LEVEL
    assert beyond / pairs <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / pairs)
    assert beyond / pairs >= 0.01


def test_chances_are_exact_ranks_of_the_largest_of_each_round() -> None:
    random = np.array([[1.0, -3.0], [0.0, 2.0], [1.0, -1.0]])
    assert corrected_chances(np.array([5.0, 1.5, 0.5]), random).tolist() == [1 / 4, 2 / 4, 4 / 4]


@pytest.mark.parametrize(
    ("changes", "reading", "tells"),
    [
        ({}, "A", True),
        ({"term": 0.02}, "A", False),
        ({"probability_b": 0.95, "term": 0.02}, "both", True),
        ({"probability_b": 0.95}, "both", False),
        ({"probability_b": 0.5}, "unsure", False),
        ({"probability_a": 0.05, "probability_b": 0.9}, "B", True),
        ({"probability_a": 0.05}, "neither", False),
        ({"chance": 0.06}, "A", False),
        ({"natural": None}, "A", False),
        ({"natural": NaturalEffect(-0.01, -0.03, 0.01, 120)}, "A", False),
    ],
)
def test_a_word_is_said_only_if_read_beyond_chance_of_the_right_sign_and_known_to_matter(
    changes: dict[str, Any], reading: str, tells: bool
) -> None:
    word = replace(WordShare(attribute("Eyeglasses"), -0.05, 0.97, 0.02, 0.01, KNOWN), **changes)
    assert word.reading == reading
    assert word.is_telling is tells


def test_directions_are_written_and_read_and_belong_to_one_network(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_concepts(path, concepts())
    found = read_concepts(path, "0" * 64)
    assert found.names == NAMES
    assert found.directions == pytest.approx(concepts().directions, abs=2e-3)
    assert found.natural == {"Eyeglasses": KNOWN}
    with pytest.raises(ModelError, match="belong to another network"):
        read_concepts(path, "1" * 64)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no directions of words"):
        read_concepts(path, "0" * 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("Smiling",) * 3}, "do not fit"),
        ({"directions": np.ones((2, SIZE), np.float32)}, "do not fit"),
        ({"spread": np.zeros((2, 3), np.float32)}, "positive"),
        ({"mean": np.full(SIZE, np.nan, np.float32)}, "finite"),
    ],
)
def test_directions_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        concepts(**changes)


def test_features_of_another_size_are_refused() -> None:
    with pytest.raises(InputError, match="features of 5 numbers"):
        concepts().projections(np.zeros((1, 5)))
