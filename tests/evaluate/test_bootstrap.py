from __future__ import annotations

import time
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from whyface.errors import InputError
from whyface.evaluate.bootstrap import (
    Measure,
    accuracy_measure,
    auc_measure,
    bootstrap_intervals,
    person_weights,
)
from whyface.evaluate.intervals import people_wilson

SCORES = np.array([0.9, 0.7, 0.4, 0.6, 0.3, 0.1])
GENUINE = np.array([True, True, True, False, False, False])


def fmr_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> Measure:
    """Give the share of impostor pairs above a threshold, by weight."""
    impostor, matched = ~np.asarray(genuine), np.asarray(scores) > threshold
    return lambda weights: (weights @ (impostor & matched)) / (weights @ impostor)


def fnmr_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> Measure:
    """Give the share of genuine pairs at or below a threshold, by weight."""
    return fmr_measure(-np.asarray(scores), ~np.asarray(genuine), np.nextafter(-threshold, -np.inf))


def test_weights_are_products_of_multiplicities() -> None:
    rng = np.random.default_rng(0)
    a = np.array([0, 1, 2, 0, 1, 0])
    b = np.array([0, 1, 2, 1, 2, 2])
    weights = np.concatenate(list(person_weights(a, b, replicates=500, rng=rng)))
    assert weights.shape == (500, 6)
    np.testing.assert_array_equal(weights[:, 3], weights[:, 0] * weights[:, 1])
    np.testing.assert_array_equal(weights[:, 4], weights[:, 1] * weights[:, 2])
    np.testing.assert_array_equal(weights[:, :3].sum(axis=1), 3.0)


def test_measures_with_weights_of_one_are_the_plain_rates() -> None:
    ones = np.ones((1, 6))
    assert fmr_measure(SCORES, GENUINE, 0.5)(ones) == pytest.approx(1 / 3)
    assert fnmr_measure(SCORES, GENUINE, 0.5)(ones) == pytest.approx(1 / 3)
    assert accuracy_measure(SCORES, GENUINE, 0.5)(ones) == pytest.approx(2 / 3)
    assert accuracy_measure(SCORES, GENUINE, np.array([0.5, 0.5, 0.3, 0.5, 0.5, 0.5]))(ones) == pytest.approx(5 / 6)
    assert auc_measure(SCORES, GENUINE)(ones) == pytest.approx(8 / 9)


def test_a_replicate_without_one_kind_of_pair_has_no_value() -> None:
    weights = np.array([[0.0, 0, 0, 1, 1, 1]])
    assert np.isnan(auc_measure(SCORES, GENUINE)(weights))


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]))
@settings(max_examples=25, deadline=None)
def test_weighted_auc_agrees_with_scikit_learn(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = rng.permutation(np.arange(30) < 12)
    scores = rng.integers(0, levels + 1, 30) / levels
    weights = rng.integers(0, 4, (3, 30)).astype(float)
    weights[:, np.argmax(genuine)] += 1
    weights[:, np.argmin(genuine)] += 1
    expected = [roc_auc_score(genuine, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(auc_measure(scores, genuine)(weights), expected)


def test_equal_seeds_give_equal_intervals() -> None:
    measures = {"fnmr": fnmr_measure(SCORES, GENUINE, 0.5)}
    people_a, people_b = list("abcaab"), list("abcbcc")
    one = bootstrap_intervals(measures, people_a, people_b, seed=5)
    assert one == bootstrap_intervals(measures, people_a, people_b, seed=5)
    assert 0 <= one["fnmr"].low <= 1 / 3 <= one["fnmr"].high <= 1


def test_bad_arguments() -> None:
    measures = {"fmr": fmr_measure(SCORES, GENUINE, 0.5)}
    with pytest.raises(InputError, match="at least 100 replicates"):
        bootstrap_intervals(measures, list("abcaab"), list("abcbcc"), replicates=5)
    with pytest.raises(InputError, match="confidence"):
        bootstrap_intervals(measures, list("abcaab"), list("abcbcc"), confidence=95)
    with pytest.raises(InputError, match="too few people"):
        bootstrap_intervals({"fmr": lambda weights: np.full(len(weights), np.nan)}, list("abcaab"), list("abcbcc"))


def test_a_thousand_replicates_of_lfw_size_take_seconds() -> None:
    rng = np.random.default_rng(1)
    genuine = np.tile(np.repeat([True, False], 300), 10)
    people_a = rng.integers(0, 4000, 6000)
    people_b = np.where(genuine, people_a, (people_a + 1 + rng.integers(0, 3999, 6000)) % 4000)
    scores = rng.normal(size=6000) + 3 * genuine
    measures = {
        "accuracy": accuracy_measure(scores, genuine, 1.5),
        "fmr": fmr_measure(scores, genuine, 1.5),
        "fnmr": fnmr_measure(scores, genuine, 1.5),
        "auc": auc_measure(scores, genuine),
    }
    started = time.process_time()
    found = bootstrap_intervals(measures, people_a, people_b)
    assert time.process_time() - started < 10
    for name, measure in measures.items():
        plain = float(measure(np.ones((1, 6000)))[0])
        assert found[name].low < plain < found[name].high


def test_coverage_where_people_matter() -> None:
    """A known false match rate of 10 %, pushed up and down by how alike each person is to everybody."""
    rng = np.random.default_rng(7)
    rate, people, pairs, runs, effect = 0.1, 60, 600, 60, 0.4
    threshold = -NormalDist().inv_cdf(rate)
    genuine = np.append(np.zeros(pairs, bool), True)
    covered = {"bootstrap": 0, "wilson": 0}
    for run in range(runs):
        first = rng.integers(0, people, pairs)
        second = (first + rng.integers(1, people, pairs)) % people
        person = effect * rng.normal(size=people)
        own = np.sqrt(1 - 2 * effect**2) * rng.normal(size=pairs)
        scores = person[first] + person[second] + own
        found = bootstrap_intervals(
            {"fmr": fmr_measure(np.append(scores, 9.0), genuine, threshold)},
            np.append(first, 0),
            np.append(second, 0),
            replicates=200,
            seed=run,
        )["fmr"]
        covered["bootstrap"] += found.low <= rate <= found.high
        other = people_wilson(scores > threshold, first, second)
        covered["wilson"] += other.low <= rate <= other.high
    # 95 % are promised; with 60 runs fewer than 51 would be far outside what chance allows.
    assert covered["bootstrap"] >= 51, covered
    assert covered["wilson"] >= 51, covered
