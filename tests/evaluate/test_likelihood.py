"""Likelihood ratios: their cost, what calibration costs, and the bounds that a sample supports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.evaluate.likelihood import cllr, elub, empirical_cross_entropy, pav, report_cllr, tippett

VALUES = np.array([2.0, 0.5, -1.0, -2.0, 0.0, -0.5])
GENUINE = np.array([True, True, False, False, True, False])


def sample(seed: int, genuine: int, strangers: int, middle: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = np.r_[rng.normal(middle, spread, genuine), rng.normal(-middle, spread, strangers)]
    return values, np.arange(genuine + strangers) < genuine


def test_the_cost_by_hand() -> None:
    assert cllr(np.zeros(6), GENUINE) == pytest.approx(1.0)
    # One pair of each kind with ratios 3 and 1/3: log2(1 + 1/3) each.
    assert cllr(np.log10([3, 1 / 3]), [True, False]) == pytest.approx(np.log2(4 / 3))
    assert cllr([-300.0, 300.0], [True, False]) == pytest.approx(300 * np.log2(10))
    assert cllr([9.0, -9.0], [True, False]) == pytest.approx(0, abs=1e-8)


def test_pooling_by_hand() -> None:
    # Three genuine and three other pairs; the two in the middle are the wrong way round and become one ratio of 1.
    found = pav([3.0, 2.0, -0.5, 0.5, -2.0, -3.0], [True, True, True, False, False, False])
    np.testing.assert_allclose(found, [12, 12, 0, 0, -12, -12], atol=1e-4)
    # Kinds of unequal number weigh the same: one of one against one of four is 4:1.
    assert pav([0.0, 0.0, 1.0, -1.0, -2.0], [True, False, False, False, False])[0] == pytest.approx(np.log10(2))


@given(st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=30))
def test_the_best_calibration_rises_and_costs_no_more(pairs: list[tuple[int, bool]]) -> None:
    values, genuine = np.array([value / 10 for value, _ in pairs]), np.array([kind for _, kind in pairs])
    if genuine.all() or not genuine.any():
        return
    best = pav(values, genuine)
    assert (np.diff(best[np.argsort(values, kind="stable")]) >= -1e-12).all()
    found = report_cllr(values, genuine)
    assert found.cllr_min <= found.cllr + 1e-6 and found.cllr_cal == found.cllr - found.cllr_min
    # What rises with the ratios has the same minimum.
    assert report_cllr(3 * values + 1, genuine).cllr_min == pytest.approx(found.cllr_min, abs=1e-9)


def test_pooling_agrees_with_the_library() -> None:
    isotonic = pytest.importorskip("sklearn.isotonic")
    values, genuine = sample(5, 40, 90, 1, 1.5)
    weight = np.where(genuine, 1 / genuine.sum(), 1 / (~genuine).sum())
    share = isotonic.IsotonicRegression().fit(values, genuine, sample_weight=weight).predict(values)
    ours = pav(values, genuine)
    np.testing.assert_allclose(1 / (1 + 10**-ours), np.clip(share, 1e-12, 1 - 1e-12), atol=1e-9)


@pytest.mark.parametrize(
    ("given_sample", "low", "high"),
    [
        ((0, 200, 3000, 2, 1.2), -2.01, 2.85),
        ((1, 1000, 1000, 1, 2), -0.37, 0.36),
        ((2, 50, 500, 4, 1), -1.69, 2.64),
        ((3, 300, 300, -1, 1), 0, 0),
    ],
)
def test_bounds_are_those_of_the_reference(
    given_sample: tuple[int, int, int, float, float], low: float, high: float
) -> None:
    """The expected values are those of ``lir`` 1.3.1 (Netherlands Forensic Institute), ``bayeserror.elub``."""
    values, genuine = sample(*given_sample)
    assert elub(values, genuine) == pytest.approx((low, high), abs=1e-9)


def test_pairs_of_the_same_people_share_a_vote() -> None:
    values, genuine = sample(0, 200, 3000, 2, 1.2)
    people = np.arange(len(values)).astype(str)
    once = elub(values, genuine)
    assert elub(values, genuine, people) == once
    # Ten copies of every pair are no more evidence if they count as the same people, and are if they do not.
    copies = [np.tile(part, 10) for part in (values, genuine, people)]
    assert elub(*copies) == pytest.approx(once, abs=1e-9)
    free = elub(copies[0], copies[1])
    assert free.low < once.low and free.high > once.high


def test_tippett_and_cross_entropy() -> None:
    same, strangers = tippett(VALUES, GENUINE, [-3, 0, 1, 5])
    np.testing.assert_allclose(same, [1, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(strangers, [1, 0, 0, 0])
    assert empirical_cross_entropy(VALUES, GENUINE, 0.0)[0] == pytest.approx(cllr(VALUES, GENUINE))
    # With an LR of 1, the cross-entropy is the entropy of the prior.
    prior = 1 / (1 + 10**-1.0)
    entropy = -prior * np.log2(prior) - (1 - prior) * np.log2(1 - prior)
    assert empirical_cross_entropy(np.zeros(6), GENUINE, 1.0)[0] == pytest.approx(entropy)


@pytest.mark.parametrize("function", [cllr, pav, elub, report_cllr])
def test_bad_pairs(function: object) -> None:
    for values, genuine in (([1.0], [True]), ([1.0, np.nan], [True, False]), ([1.0, 2.0], [True])):
        with pytest.raises(InputError):
            function(values, genuine)  # type: ignore[operator]
    with pytest.raises(InputError, match="people"):
        elub(VALUES, GENUINE, ["ann"])
