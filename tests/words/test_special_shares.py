"""One face against many, as shares: exact sums, and words that mean nothing are hardly ever said."""

from __future__ import annotations

import numpy as np
import pytest

from whyface.words.special_shares import special_words
from whyface.words.word_shares import LEVEL, Concepts, NaturalEffect

NAMES = ("Eyeglasses", "Smiling", "Mustache")
KNOWN = NaturalEffect(-0.08, -0.1, -0.06, 500)


def concepts(directions: np.ndarray, names: tuple[str, ...] = NAMES, spread: float = 1.0) -> Concepts:
    count, size = directions.shape
    record = {"sha256": "0" * 64, "model": "m", "natural": {name: vars(KNOWN) for name in names}}
    return Concepts(
        names[:count],
        directions.astype(np.float32),
        np.zeros(size, np.float32),
        np.full((2, count), spread, np.float32),
        (spread, spread),
        record,
    )


def test_the_mean_score_is_the_mean_shares_and_a_rest() -> None:
    rng = np.random.default_rng(0)
    found = concepts(np.eye(3, 20))
    probe, others = rng.normal(size=20), rng.normal(size=(4, 20))
    scores = others @ probe / 7
    read = np.array([[0.9, 0.9, 0.5], [0.1, 0.9, 0.9], [0.1, 0.1, 0.9], [0.05, 0.5, 0.9], [0.9, 0.9, 0.9]])
    words = {word.attribute.name: word for word in special_words(found, probe, others, scores, read)}
    # Shares of a pair are x_k y_k / Z with orthonormal directions.
    expected = ((read[0] - 0.5) * (read[1:] - 0.5)).mean(axis=0) / 7
    assert [words[name].term for name in NAMES] == pytest.approx(expected)
    assert [words[name].unlike for name in NAMES] == [3, 1, 0]
    # Only what most others surely lack is tried.
    assert words["Smiling"].chance == words["Mustache"].chance == 1
    assert [abs(word.term) for word in words.values()] == sorted((abs(w.term) for w in words.values()), reverse=True)


def test_a_word_along_which_the_face_lies_apart_is_said_whichever_side_has_it() -> None:
    rng = np.random.default_rng(1)
    found = concepts(np.eye(3, 400), spread=0.3)
    probe, others = 0.2 * rng.normal(size=400), 0.2 * rng.normal(size=(5, 400))
    probe[0], others[:, 0] = 1.0, -1.0
    has = np.array([[0.95, 0.5, 0.5], *[[0.05, 0.5, 0.5]] * 5])
    # The score has the sign of the products, of which Z is made.
    scores = others @ probe / 100
    told = [word for word in special_words(found, probe, others, scores, has) if word.is_telling]
    assert [word.attribute.name for word in told] == ["Eyeglasses"]
    lacks = 1 - has
    assert not any(word.is_telling for word in special_words(found, probe, others, scores, lacks))
    turned = special_words(found, -probe, -others, scores, lacks)
    assert [word.attribute.name for word in turned if word.is_telling] == ["Eyeglasses"]


def test_words_that_are_random_directions_are_beyond_chance_in_at_most_five_percent_of_faces() -> None:
    rng = np.random.default_rng(2)
    count, size, faces, beyond = 12, 300, 300, 0
    more = ("Goatee", "Bald", "Bangs", "Chubby", "Big_Nose", "Big_Lips", "Sideburns", "Blurry", "Wearing_Hat")
    read = np.concatenate([np.full((1, count), 0.95), np.full((6, count), 0.05)])
    for seed in range(faces):
        probe, others = rng.normal(size=size), rng.normal(size=(6, size))
        found = concepts(rng.normal(size=(count, size)) / np.sqrt(size), NAMES + more)
        words = special_words(found, probe, others, np.full(6, 0.1), read, seed=seed)
        beyond += min(word.chance for word in words) <= LEVEL
    assert beyond / faces <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / faces)
    assert beyond / faces >= 0.01
