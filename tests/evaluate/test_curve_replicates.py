"""Resampled error curves against the plain ones and against scikit-learn with weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from whyface.errors import InputError
from whyface.evaluate.bootstrap import percentile_interval, replicate_curves, weighted_curves
from whyface.evaluate.rates import equal_error, tar_at_fmr

TARGETS = np.array([0.01, 0.05, 0.1, 0.5, 1.0])


def sample(seed: int, *, levels: int = 40, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    genuine = rng.random(count) < 0.4
    genuine[:2] = True, False
    # Few levels, so that there are ties.
    return np.round(rng.normal(genuine * 1.5, 1.0) * levels / 8) / levels, genuine


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([4, 40, 100_000]))
def test_equal_weights_give_the_plain_curve(seed: int, levels: int) -> None:
    scores, genuine = sample(seed, levels=levels)
    found = weighted_curves(scores, genuine, np.full((2, len(scores)), 3.0), TARGETS)
    assert found.eer == pytest.approx([equal_error(scores, genuine).rate] * 2)
    plain = [1 - tar_at_fmr(scores, genuine, t, allow_unsupported=True) for t in TARGETS[:-1]]
    assert found.fnmr[0] == pytest.approx([*plain, 0.0])


@pytest.mark.parametrize("seed", range(5))
def test_weights_count_as_in_scikit_learn(seed: int) -> None:
    scores, genuine = sample(seed)
    weights = np.random.default_rng(seed + 100).multinomial(len(scores), np.full(len(scores), 1 / len(scores)), size=3)
    found = weighted_curves(scores, genuine, weights.astype(np.float64), TARGETS)
    for row in range(3):
        # drop_intermediate off: all thresholds, as here.
        fpr, tpr, _ = roc_curve(genuine, scores, sample_weight=weights[row], drop_intermediate=False)
        expected = [1 - tpr[fpr <= target + 1e-12].max() for target in TARGETS]
        assert found.fnmr[row] == pytest.approx(expected)
        line = np.linspace(0, 1, 200_001)
        gap = np.interp(line, fpr, tpr) + line - 1
        assert found.eer[row] == pytest.approx(line[np.argmax(gap >= 0)], abs=2e-5)


def test_a_replicate_without_impostors_has_no_value() -> None:
    scores, genuine = np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, True, False, False])
    weights = np.array([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    found = weighted_curves(scores, genuine, weights, TARGETS)
    assert np.isfinite(found.eer).tolist() == [True, False, False]
    assert np.isfinite(found.fnmr).all(axis=1).tolist() == [True, False, False]


def test_the_same_seed_gives_the_same_replicates() -> None:
    scores, genuine = sample(1)
    people = np.arange(len(scores)) % 30
    others = np.where(genuine, people, (people + 7) % 30)
    one, same, other = (
        replicate_curves(scores, genuine, people, others, targets=TARGETS, replicates=50, seed=seed)
        for seed in (3, 3, 4)
    )
    assert np.array_equal(one.eer, same.eer, equal_nan=True)
    assert np.array_equal(one.fnmr, same.fnmr, equal_nan=True)
    assert not np.array_equal(one.eer, other.eer, equal_nan=True)
    assert one.fnmr.shape == (50, len(TARGETS))


def test_interval_needs_half_of_the_replicates() -> None:
    values = np.linspace(0, 1, 101)
    interval = percentile_interval(values)
    assert interval == pytest.approx((0.025, 0.975))
    values[:60] = np.nan
    assert percentile_interval(values) is None


def test_people_must_fit_the_pairs() -> None:
    scores, genuine = sample(1)
    with pytest.raises(InputError, match="both people"):
        replicate_curves(scores, genuine, ["a"], ["b"], targets=TARGETS)
