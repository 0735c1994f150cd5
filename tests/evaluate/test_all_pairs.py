"""Rates over all pairs of a set of faces."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.all_pairs import AllPairs, ScoreBlock, compare_all, points_over_all
from whyface.evaluate.rates import error_rates, threshold_at_fmr


def of_matrix(scores: NDArray[np.float64]) -> ScoreBlock:
    return lambda rows, columns: np.asarray(scores[rows, columns], np.float32)


def drawn(faces: int, people: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Draw unit vectors around a direction for each person: all cosines, and who is in each face."""
    rng = np.random.default_rng(seed)
    who = np.concatenate([np.arange(people), rng.integers(people, size=faces - people)])
    vectors = rng.normal(size=(people, 8))[who] + 0.8 * rng.normal(size=(faces, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T, who.astype(np.intp)


def test_by_hand() -> None:
    # Faces of a, a, b, c: one genuine pair and five impostor pairs.
    scores = np.zeros((4, 4))
    for (i, j), value in zip(combinations(range(4), 2), (0.9, 0.5, 0.4, 0.3, 0.2, 0.1), strict=True):
        scores[i, j] = scores[j, i] = value
    found = compare_all(of_matrix(scores), ["a", "a", "b", "c"], keep=1)
    np.testing.assert_allclose(found.genuine, [0.9])
    np.testing.assert_allclose(found.high, [0.5, 0.4, 0.3, 0.2, 0.1])
    assert found.high_faces.tolist() == [[0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert found.impostors == 5
    # One of five matches above 0.4, none above 0.5.
    assert found.threshold(0.2) == pytest.approx(0.4)
    assert found.matching(found.threshold(0.2)) == 1
    assert found.threshold(0.39) == pytest.approx(0.4)
    assert found.threshold(0.4) == pytest.approx(0.3)
    np.testing.assert_allclose(found.missed(0.95), [1, np.nan, np.nan])
    np.testing.assert_allclose(found.missed(0.4), [0, np.nan, np.nan])


@pytest.mark.parametrize("keep", [0.02, 0.3, 1.0])
def test_rates_are_those_of_a_list_of_all_pairs(keep: float) -> None:
    # More faces than a block, so that blocks on and off the diagonal meet.
    scores, people = drawn(1300, 200)
    found = compare_all(of_matrix(scores), people, keep=keep)
    first, second = np.triu_indices(len(people), 1)
    values, genuine = scores[first, second].astype(np.float32), people[first] == people[second]
    assert found.impostors == int((~genuine).sum())
    assert len(found.high) >= keep * found.impostors
    np.testing.assert_allclose(np.sort(found.genuine), np.sort(values[genuine]))
    np.testing.assert_array_equal(found.high, np.sort(values[~genuine])[::-1][: len(found.high)])
    one, other = found.high_faces.T
    np.testing.assert_array_equal(found.high, scores[one, other].astype(np.float32))
    for point in points_over_all(found, dataset="drawn", rates=(1e-2, 1e-3, 1e-4), replicates=20):
        assert point.target is not None
        assert point.threshold == pytest.approx(threshold_at_fmr(values, genuine, point.target))
        rates = error_rates(values, genuine, point.threshold)
        assert (point.fmr, point.fnmr) == pytest.approx((rates.fmr, rates.fnmr))
        assert point.fmr_interval is not None
        assert point.fmr_interval[0] <= point.fmr <= point.fmr_interval[1]


def test_rates_that_the_pairs_cannot_show_are_left_out() -> None:
    scores, people = drawn(60, 20)
    found = compare_all(of_matrix(scores), people)
    assert [point.name for point in points_over_all(found, dataset="drawn", replicates=5)] == ["FMR 1e-2", "FMR 1e-3"]
    with pytest.raises(InputError, match="cannot show an FMR of 1e-06"):
        found.threshold(1e-6)


def test_intervals_cover_about_what_they_say() -> None:
    """The rate over all people of a large population lies in most intervals of samples of these people."""
    scores, people = drawn(1500, 500, seed=1)
    first, second = np.triu_indices(len(people), 1)
    threshold = 0.75
    genuine = people[first] == people[second]
    true = error_rates(scores[first, second], genuine, threshold)
    covered = 0
    rng = np.random.default_rng(2)
    for seed in range(40):
        chosen = np.flatnonzero(np.isin(people, rng.choice(500, 60, replace=False)))
        pairs = compare_all(of_matrix(scores[np.ix_(chosen, chosen)]), people[chosen], keep=1)
        low, high = _fmr_interval(pairs, threshold, seed)
        covered += low <= true.fmr <= high
    assert covered >= 33


def _fmr_interval(pairs: AllPairs, threshold: float, seed: int) -> tuple[float, float]:
    rate = pairs.matching(threshold) / pairs.impostors
    [point] = points_over_all(pairs, dataset="drawn", rates=(rate,), replicates=200, seed=seed)
    assert point.fmr_interval is not None
    return point.fmr_interval


def test_the_same_seed_gives_the_same_intervals() -> None:
    scores, people = drawn(100, 30)
    pairs = compare_all(of_matrix(scores), people)
    one, same, other = (
        points_over_all(pairs, dataset="drawn", rates=(1e-2,), replicates=50, seed=seed)[0] for seed in (3, 3, 4)
    )
    assert one == same
    assert one.fmr_interval != other.fmr_interval


def test_bad_input() -> None:
    scores, people = drawn(30, 10)
    with pytest.raises(InputError, match="two people"):
        compare_all(of_matrix(scores), np.zeros(30))
    with pytest.raises(InputError, match="two people"):
        compare_all(of_matrix(scores), np.arange(30))
    with pytest.raises(InputError, match="two people"):
        compare_all(of_matrix(scores), [])
    with pytest.raises(InputError, match="share to keep"):
        compare_all(of_matrix(scores), people, keep=0)
    broken = scores.copy()
    broken[3, 7] = broken[7, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        compare_all(of_matrix(broken), people, keep=1)
    found = compare_all(of_matrix(scores), people, keep=0.1)
    with pytest.raises(InputError, match="were not kept"):
        found.matching(-1)
    with pytest.raises(InputError, match="were kept"):
        found.threshold(0.9)
    with pytest.raises(InputError, match="between 0 and 1"):
        found.threshold(1)
