from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import InputError, ModelError
from whyface.models.calibration import Calibration, LikelihoodRatio, calibration_from_dict, percent

PLATT = Calibration("platt", {"slope": 10.0, "intercept": -3.0}, "LFW", 3000, 3000)
ISOTONIC = Calibration("isotonic", {"scores": [0.1, 0.3, 0.5], "probabilities": [0.0, 0.5, 1.0]}, "LFW", 50, 100)
XFACE = Calibration("x-face", {"height": 1.2, "steepness": -20.0, "middle": 0.7, "base": -0.1}, "LFW", 10, 30)


def test_curves_by_hand() -> None:
    assert PLATT.probability(0.3) == pytest.approx(0.5)
    assert PLATT.probability(0.5) == pytest.approx(1 / (1 + np.exp(-2)))
    np.testing.assert_allclose(ISOTONIC.fitted([0.0, 0.1, 0.2, 0.3, 0.5, 0.9]), [0, 0, 0.25, 0.5, 1, 1])
    assert float(XFACE.fitted(0.3)) == pytest.approx(0.5)
    # The published curve may leave 0..1.
    assert (float(XFACE.fitted(-1)), float(XFACE.fitted(1))) == (0, 1)


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC, XFACE])
def test_never_surer_than_the_sample(calibration: Calibration) -> None:
    low, high = calibration.probability(-1e3, prior=0.5), calibration.probability(1e3, prior=0.5)
    assert low >= 1 / (calibration.genuine_pairs + 1) - 1e-12
    assert high <= calibration.impostor_pairs / (calibration.impostor_pairs + 1) + 1e-12


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC, XFACE])
def test_a_probability_that_the_sample_limits_is_a_bound(calibration: Calibration) -> None:
    assert calibration.bound(1e3 if calibration is not XFACE else 1.0) == "at least"
    assert calibration.bound(-1e3 if calibration is not XFACE else -1.0) == "at most"
    assert PLATT.bound(0.5) is None
    # The limit is the same at every prior, so the wording does not depend on it.
    assert percent(PLATT.probability(1e3, prior=0.01), PLATT.bound(1e3)) == "at least 96.8 %"
    assert percent(PLATT.probability(-1e3), PLATT.bound(-1e3)) == "at most 0.03 %"


QUALITY = Calibration(
    "platt-quality",
    {"slope": 10.0, "intercept": -3.0, "quality_slope": -4.0, "quality_intercept": 1.0},
    "made",
    3000,
    3000,
)


def test_quality_changes_slope_and_intercept() -> None:
    # Slope 8 and intercept -2.5 at quality 0.5; a quality that is not known counts as 1.
    assert QUALITY.probability(0.5, quality=0.5) == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert QUALITY.probability(0.5) == QUALITY.probability(0.5, quality=1.0) == PLATT.probability(0.5)
    assert PLATT.probability(0.5, quality=0.1) == PLATT.probability(0.5)
    with pytest.raises(InputError, match="quality"):
        QUALITY.probability(0.5, quality=1.5)
    assert calibration_from_dict(QUALITY.to_dict()) == QUALITY


BOUNDED = replace(QUALITY, bounds=(-1.5, 3.0))


def test_a_likelihood_ratio_has_no_prior_and_stays_within_its_bounds() -> None:
    # Equal numbers of pairs: the odds are the ratio; with a tenth of genuine pairs, it is ten times the odds.
    assert PLATT.likelihood(0.5).log10 == pytest.approx(2 * np.log10(np.e))
    rare = replace(PLATT, genuine_pairs=300, impostor_pairs=2700)
    assert rare.likelihood(0.5).log10 == pytest.approx(2 * np.log10(np.e) + np.log10(9))
    assert (PLATT.likelihood(0.5).low, PLATT.likelihood(0.5).high) == pytest.approx((-np.log10(3000), np.log10(3000)))
    assert BOUNDED.likelihood(0.5, 0.5).log10 == pytest.approx(1.5 * np.log10(np.e))
    high, low = BOUNDED.likelihood(9.0), BOUNDED.likelihood(-9.0)
    assert (high.log10, high.bound, low.log10, low.bound) == (3.0, "at least", -1.5, "at most")
    assert (BOUNDED.bound(9.0), BOUNDED.bound(-9.0), BOUNDED.bound(0.3)) == ("at least", "at most", None)
    assert BOUNDED.probability(9.0) == pytest.approx(1000 / 1001)
    assert high.source == "Platt with quality, fitted on made, 6000 pairs"
    assert LikelihoodRatio.from_dict(json.loads(json.dumps(high.to_dict()))) == high
    assert calibration_from_dict(json.loads(json.dumps(BOUNDED.to_dict()))) == BOUNDED
    assert "bounds" not in PLATT.to_dict()


@pytest.mark.parametrize(
    ("log10", "said"),
    [
        (0.2, "log10 LR 0.2: supports neither one person nor two"),
        (0.9, "log10 LR 0.9: weak support for one person"),
        (-2.5, "log10 LR -2.5: moderately strong support for two people"),
        (3.5, "log10 LR 3.5: strong support for one person"),
        (5.0, "log10 LR 5.0: very strong support for one person"),
        (7.0, "log10 LR at least 7.0: extremely strong support for one person"),
        (-3.0, "log10 LR at most -3.0: moderately strong support for two people"),
    ],
)
def test_the_verbal_scale(log10: float, said: str) -> None:
    assert LikelihoodRatio(log10, -3.0, 7.0, "made up").describe() == said


@pytest.mark.parametrize("value", [4.0, -4.0, np.nan])
def test_a_ratio_outside_its_bounds_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="between its bounds"):
        LikelihoodRatio(value, -3.0, 3.0, "made up")
    with pytest.raises(InputError, match="bounds of a calibration"):
        replace(PLATT, bounds=(0.5, 3.0))
    for bounds in ("ab", [1], [-1, None]):
        with pytest.raises(ModelError):
            calibration_from_dict({**PLATT.to_dict(), "bounds": bounds})


def test_prior() -> None:
    assert PLATT.prior == 0.5
    assert PLATT.probability(0.3, prior=0.01) == pytest.approx(0.01)
    odds = np.exp(2) * 0.2 / 0.8
    assert PLATT.probability(0.5, prior=0.2) == pytest.approx(odds / (1 + odds))
    # The prior of a fit is its share of genuine pairs; left out, it changes nothing.
    assert ISOTONIC.prior == pytest.approx(1 / 3)
    assert ISOTONIC.probability(0.2) == pytest.approx(0.25)
    assert ISOTONIC.probability(0.2, prior=0.5) == pytest.approx(0.4)


@given(scores=st.lists(st.floats(-1, 1), min_size=2, max_size=2), prior=st.floats(0.001, 0.999))
def test_never_falls(scores: list[float], prior: float) -> None:
    low, high = sorted(scores)
    for calibration in (PLATT, ISOTONIC, XFACE):
        one, other = (calibration.probability(score, prior=prior) for score in (low, high))
        assert 0 < one <= other + 1e-12 < 1 + 1e-9


def test_words() -> None:
    assert PLATT.describe() == "Platt, fitted on LFW, 6000 pairs, prior 50 %"
    assert XFACE.describe(prior=0.001) == "x-face sigmoid, fitted on LFW, 40 pairs, prior 0.1 %"


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.5, "50.0 %"),
        (0.992, "99.2 %"),
        (0.99967, "99.97 %"),
        (0.00033, "0.03 %"),
        (0.999999, "99.9999 %"),
        (1, "100.0 %"),
    ],
)
def test_percent(probability: float, text: str) -> None:
    assert percent(probability) == text


@given(st.floats(1e-7, 1 - 1e-7))
def test_percent_never_claims_certainty(probability: float) -> None:
    assert 0 < float(percent(probability).removesuffix(" %")) < 100


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC, XFACE])
def test_round_trip(calibration: Calibration) -> None:
    assert calibration_from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


@pytest.mark.parametrize("prior", [0, 1, -0.1, 1.5, float("nan")])
def test_bad_prior(prior: float) -> None:
    with pytest.raises(InputError, match="prior"):
        PLATT.probability(0.1, prior=prior)
    with pytest.raises(InputError, match="finite"):
        PLATT.probability(float("nan"))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "beta"},
        {"parameters": {"slope": 1.0}},
        {"parameters": {"slope": 1.0, "intercept": float("nan")}},
        {"parameters": {"slope": [1.0], "intercept": 0.0}},
        {"parameters": {"slope": "steep", "intercept": 0.0}},
        {"impostor_pairs": 0},
        {"kind": "isotonic", "parameters": {"scores": [0.1, 0.1], "probabilities": [0, 1]}},
        {"kind": "isotonic", "parameters": {"scores": [0.1, 0.2], "probabilities": [1, 0]}},
        {"kind": "isotonic", "parameters": {"scores": [0.1, 0.2], "probabilities": [0, 2]}},
        {"kind": "isotonic", "parameters": {"scores": [], "probabilities": []}},
    ],
)
def test_bad_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(PLATT, **changes)
    with pytest.raises(ModelError, match="correct the file"):
        calibration_from_dict({**PLATT.to_dict(), **changes})


@pytest.mark.parametrize("values", [None, [], {}, {**PLATT.to_dict(), "more": 1}, {**PLATT.to_dict(), "dataset": 3}])
def test_bad_file(values: Any) -> None:
    with pytest.raises(ModelError, match="correct the file"):
        calibration_from_dict(values)
