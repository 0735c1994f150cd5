from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as reference_roc

from whyface.errors import InputError
from whyface.evaluate.rates import (
    auc,
    equal_error,
    error_rates,
    roc_curve,
    supports_fmr,
    tar_at_fmr,
    threshold_at_fmr,
)

# Genuine 0.9 0.7 0.4, impostor 0.6 0.3 0.1: one of the nine comparisons (0.4 against 0.6) goes wrong.
SCORES = np.array([0.9, 0.7, 0.4, 0.6, 0.3, 0.1])
GENUINE = np.array([True, True, True, False, False, False])

Pairs = tuple[NDArray[np.float64], NDArray[np.bool_]]


@st.composite
def pairs(draw: st.DrawFn) -> Pairs:
    """Draw scores with none to very many ties."""
    size = draw(st.integers(2, 60))
    levels = draw(st.sampled_from([1, 2, 5, 1000]))
    scores = draw(st.lists(st.integers(-levels, levels), min_size=size, max_size=size))
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(any(labels) and not all(labels))
    return np.array(scores) / levels, np.array(labels)


def test_error_rates_by_hand() -> None:
    assert error_rates(SCORES, GENUINE, 0.5) == (1 / 3, 1 / 3)
    assert error_rates(SCORES, GENUINE, 0.65) == (0.0, 1 / 3)


def test_a_score_at_the_threshold_does_not_match() -> None:
    assert error_rates(SCORES, GENUINE, 0.6).fmr == 0.0
    assert error_rates(SCORES, GENUINE, 0.4).fnmr == 1 / 3


def test_roc_by_hand() -> None:
    curve = roc_curve(SCORES, GENUINE)
    np.testing.assert_allclose(curve.thresholds[:-1], [0.9, 0.7, 0.6, 0.4, 0.3, 0.1])
    np.testing.assert_allclose(curve.fmr, np.array([0, 0, 0, 1, 1, 2, 3]) / 3)
    np.testing.assert_allclose(curve.tar, np.array([0, 1, 2, 2, 3, 3, 3]) / 3)


def test_auc_by_hand() -> None:
    assert auc(SCORES, GENUINE) == pytest.approx(8 / 9)
    assert auc(np.zeros(6), GENUINE) == 0.5


def test_equal_error_by_hand() -> None:
    found = equal_error(SCORES, GENUINE)
    assert found.rate == pytest.approx(1 / 3)
    assert found.threshold == 0.4


def test_equal_error_between_two_thresholds() -> None:
    # One step takes FMR from 0 to 1/2 and FNMR from 1 to 0; the straight line crosses FMR = FNMR at 1/3.
    found = equal_error([1.0, 1.0, 1.0, 0.0], [True, True, False, False])
    assert found.rate == pytest.approx(1 / 3)
    assert found.threshold == 0.0


def test_equal_error_of_perfect_and_reversed_scores() -> None:
    assert equal_error([2.0, 1.0], [True, False]) == (0.0, 1.0)
    assert equal_error([1.0, 2.0], [True, False]).rate == 1.0


def test_threshold_at_fmr_is_lowest_and_conservative() -> None:
    assert threshold_at_fmr(SCORES, GENUINE, 0.34) == 0.3
    # One of three would be 0.333...; two tied impostors at the top leave none allowed.
    assert threshold_at_fmr([0.9, 0.5, 0.5, 0.1], [True, False, False, False], 0.4) == 0.5


def test_threshold_at_fmr_counts_exactly() -> None:
    scores = np.append(np.arange(100.0), 1000.0)
    genuine = np.append(np.zeros(100, bool), True)
    for allowed in range(1, 100):
        threshold = threshold_at_fmr(scores, genuine, allowed / 100)
        assert error_rates(scores, genuine, threshold).fmr == allowed / 100


def test_too_small_a_sample_is_refused_unless_allowed() -> None:
    with pytest.raises(InputError, match=r"3 impostor pairs cannot show an FMR of 0\.01; use at least 100"):
        threshold_at_fmr(SCORES, GENUINE, 0.01)
    with pytest.raises(InputError, match="cannot show"):
        tar_at_fmr(SCORES, GENUINE, 0.01)
    assert threshold_at_fmr(SCORES, GENUINE, 0.01, allow_unsupported=True) == 0.6
    assert tar_at_fmr(SCORES, GENUINE, 0.01, allow_unsupported=True) == pytest.approx(2 / 3)
    assert supports_fmr(1000, 1e-3)
    assert not supports_fmr(999, 1e-3)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, float("nan")])
def test_targets_outside_the_unit_interval_are_refused(target: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        threshold_at_fmr(SCORES, GENUINE, target)


@pytest.mark.parametrize(
    ("scores", "genuine", "message"),
    [
        ([0.1, 0.2], [True], "must both have shape"),
        ([[0.1, 0.2]], [[True, False]], "must both have shape"),
        ([0.1, float("nan")], [True, False], "1 of 2 scores are not finite"),
        ([0.1, 0.2], [True, True], "at least one genuine and one impostor"),
        ([0.1, 0.2], [False, False], "at least one genuine and one impostor"),
        ([], [], "at least one genuine and one impostor"),
        ([0.1, 0.2], [1, -1], "booleans, or 0 and 1"),
    ],
)
def test_bad_pairs_are_refused(scores: list[float], genuine: list[bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        roc_curve(scores, genuine)


def test_labels_may_be_zeros_and_ones() -> None:
    assert auc(SCORES, GENUINE.astype(int)) == auc(SCORES, GENUINE)


@given(pairs())
@settings(max_examples=80, deadline=None)
def test_roc_and_auc_agree_with_scikit_learn(data: Pairs) -> None:
    scores, genuine = data
    curve = roc_curve(scores, genuine)
    fmr, tar, _ = reference_roc(genuine, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.fmr, fmr)
    np.testing.assert_allclose(curve.tar, tar)
    assert auc(scores, genuine) == pytest.approx(roc_auc_score(genuine, scores))


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_roc_points_are_the_rates_at_their_thresholds(data: Pairs) -> None:
    curve = roc_curve(*data)
    for threshold, fmr, tar in zip(curve.thresholds, curve.fmr, curve.tar, strict=True):
        assert error_rates(*data, threshold) == pytest.approx((fmr, 1 - tar))


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_equal_error_lies_on_the_reference_curve(data: Pairs) -> None:
    scores, genuine = data
    fmr, tar, _ = reference_roc(genuine, scores, drop_intermediate=False)
    # Where the polyline meets FMR = 1 - TAR; the sum rises strictly along the curve, so it can be inverted.
    expected = np.interp(1.0, fmr + tar, fmr)
    assert equal_error(scores, genuine).rate == pytest.approx(expected)


@given(pairs(), st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_tar_at_far_agrees_with_scikit_learn(data: Pairs, target: float) -> None:
    scores, genuine = data
    fmr, tar, _ = reference_roc(genuine, scores, drop_intermediate=False)
    assert tar_at_fmr(scores, genuine, target, allow_unsupported=True) == pytest.approx(tar[fmr <= target].max())


@given(pairs(), st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_no_lower_threshold_meets_the_target(data: Pairs, target: float) -> None:
    threshold = threshold_at_fmr(*data, target, allow_unsupported=True)
    assert error_rates(*data, threshold).fmr <= target
    assert error_rates(*data, np.nextafter(threshold, -np.inf)).fmr > target
