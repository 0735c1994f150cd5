"""Natural effects and directions are found where they were put, whatever differs between people."""

import numpy as np
import pytest

from fit_word_shares import fit_directions, mismatches, natural_effects, pairs_of_people, sure, within

RNG = np.random.default_rng(0)


def test_rows_less_their_person_s_mean() -> None:
    people = np.array(["a", "b", "a"])
    assert within(np.array([[1.0], [5.0], [3.0]]), people).tolist() == [[-1], [0], [1]]


def test_directions_are_found_although_people_differ_more() -> None:
    people = np.repeat(np.arange(60), 8)
    shifts = RNG.normal(size=(2, 5))
    readings = RNG.random((480, 2))
    features = 10 * RNG.normal(size=(60, 5))[people] + readings @ shifts + 0.05 * RNG.normal(size=(480, 5))
    assert fit_directions(features, readings, people, 1e-6) == pytest.approx(shifts, abs=0.05)


def test_effects_are_found_with_intervals_that_hold_them_and_a_word_without_one_is_not_certain() -> None:
    people = np.repeat(np.arange(80), 10)
    mismatch = (RNG.random((800, 3)) < 0.3).astype(float)
    scores = RNG.normal(0.6, 0.1, 80)[people] + mismatch @ [-0.09, -0.03, 0.0] + RNG.normal(0, 0.03, 800)
    value, low, high = natural_effects(scores, mismatch, people, replicates=300)
    assert value == pytest.approx([-0.09, -0.03, 0.0], abs=0.01)
    assert (low <= value).all()
    assert (value <= high).all()
    assert (high[:2] < 0).all()
    assert low[2] < 0 < high[2]


def test_only_words_that_are_sure_in_both_photos_differ() -> None:
    words = sure(np.array([[0.9, 0.1, 0.5], [0.85, 0.95, 0.05], [0.1, 0.15, 0.9]]))
    assert mismatches(words[:1], words[1:2]).tolist() == [[0, 1, 0]]
    assert mismatches(words[1:2], words[2:]).tolist() == [[1, 1, 1]]


def test_pairs_of_people() -> None:
    first, second = pairs_of_people(np.array(["a", "b", "a", "a", "c"]), {"a", "b"})
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (0, 3), (2, 3)]
