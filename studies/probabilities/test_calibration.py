from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.probabilities.calibration import (
    FITS,
    fit_isotonic,
    fit_platt,
    fit_platt_quality,
    fit_xface,
    held_out_probabilities,
    reliability,
)
from studies.probabilities.figure import reliability_figure
from whyface.errors import InputError

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn (the extra evaluate)")


def logistic_sample(count: int = 20000, seed: int = 0) -> tuple[Any, Any]:
    """Scores whose probability is 1 / (1 + exp(-(8 s - 2)))."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-0.5, 1, count)
    return scores, rng.random(count) < 1 / (1 + np.exp(-(8 * scores - 2)))


def test_quality_changes_the_curve_as_it_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    scores, quality = rng.uniform(-0.5, 1, 40000), rng.uniform(0, 1, 40000)
    poor = 1 - quality
    genuine = rng.random(40000) < 1 / (1 + np.exp(-((8 - 4 * poor) * scores - 2 - poor)))
    found = fit_platt_quality(scores, quality, genuine, "made up").parameters
    expected = {"slope": 8, "intercept": -2, "quality_slope": -4, "quality_intercept": -1}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.4)
    with pytest.raises(InputError, match="quality between 0 and 1"):
        fit_platt_quality(scores, quality + 1, genuine, "made up")


def test_platt_finds_the_curve_that_made_the_labels() -> None:
    scores, genuine = logistic_sample()
    found = fit_platt(scores, genuine, "made up")
    assert found.parameters["slope"] == pytest.approx(8, rel=0.06)
    assert found.parameters["intercept"] == pytest.approx(-2, abs=0.15)
    # The maximum of the likelihood, by Newton's steps.
    design, beta = np.stack([scores, np.ones_like(scores)], axis=1), np.zeros(2)
    for _ in range(20):
        p = 1 / (1 + np.exp(-design @ beta))
        beta += np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design, design.T @ (genuine - p))
    np.testing.assert_allclose([found.parameters["slope"], found.parameters["intercept"]], beta, rtol=1e-4)
    assert (found.genuine_pairs, found.genuine_pairs + found.impostor_pairs) == (genuine.sum(), len(genuine))


def test_isotonic_is_scikit_learns() -> None:
    from sklearn.isotonic import IsotonicRegression

    scores, genuine = logistic_sample(500)
    found = fit_isotonic(scores, genuine, "made up")
    at = np.linspace(-1, 1.5, 300)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, genuine).predict(at)
    np.testing.assert_allclose(found.fitted(at), theirs, atol=1e-9)


def test_xface_finds_the_curve_that_made_the_labels() -> None:
    # As many genuine as impostor pairs at the middle of the curve, so that the ratio of densities is the probability.
    rng = np.random.default_rng(0)
    scores = rng.uniform(-0.5, 1, 400_000)
    genuine = rng.random(len(scores)) < 1 / (1 + np.exp(-20 * (scores - 0.25)))
    found = fit_xface(scores, genuine, "made up").parameters
    assert found["steepness"] == pytest.approx(-20, rel=0.05)
    assert found["middle"] == pytest.approx(0.75, abs=0.01)
    assert (found["height"], found["base"]) == pytest.approx((1, 0), abs=0.02)


@pytest.mark.parametrize("kind", FITS)
def test_held_out_probabilities_are_fitted_without_their_fold(kind: Any) -> None:
    scores, genuine = logistic_sample(4000)
    fold = np.arange(4000) % 4
    seen = []

    def fit(values: Any, labels: Any, dataset: str) -> Any:
        seen.append(len(values))
        return FITS[kind](values, labels, dataset)

    found = held_out_probabilities(fit, scores, genuine, fold)
    assert seen == [3000] * 4
    # Turning one fold's labels round changes nothing for that fold.
    turned = np.where(fold == 1, ~genuine, genuine)
    again = held_out_probabilities(FITS[kind], scores, turned, fold)
    np.testing.assert_array_equal(found[fold == 1], again[fold == 1])
    assert (found[fold == 0] != again[fold == 0]).any()
    if kind != "x-face":
        assert reliability(found, genuine).ece < 0.03


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({truth for _, truth in rows}) == 2
    ),
    st.integers(1, 20),
)
@settings(max_examples=60, deadline=None)
def test_reliability_against_plain_loops(rows: list[tuple[float, bool]], bins: int) -> None:
    from sklearn.metrics import brier_score_loss

    p, truth = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = reliability(p, truth, bins=bins)
    assert found.brier == pytest.approx(brier_score_loss(truth, p))
    ece = 0.0
    for number in range(bins):
        inside = [(q, t) for q, t in rows if min(int(q * bins), bins - 1) == number]
        if inside:
            ece += abs(sum(q for q, _ in inside) - sum(t for _, t in inside)) / len(rows)
    assert found.ece == pytest.approx(ece)
    assert sum(one.pairs for one in found.bins) == len(rows)
    assert all(one.interval.low <= one.observed <= one.interval.high for one in found.bins)


def test_log_loss_is_scikit_learns() -> None:
    from sklearn.metrics import log_loss

    scores, genuine = logistic_sample(300)
    p = np.clip((scores + 1) / 2, 0.01, 0.99)
    assert reliability(p, genuine).log_loss == pytest.approx(log_loss(genuine, p))


def test_known_values() -> None:
    half = reliability([0.5] * 4, [True, False, True, False])
    assert (half.brier, half.ece) == (0.25, 0)
    assert half.log_loss == pytest.approx(np.log(2))
    wrong = reliability([1.0, 0.0], [False, True])
    assert (wrong.brier, wrong.ece) == (1, 1)
    assert np.isfinite(wrong.log_loss)


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, genuine = logistic_sample(50)
    for fit in FITS.values():
        with pytest.raises(InputError, match="genuine and one impostor"):
            fit(scores, np.ones(50, np.bool_), "made up")
    with pytest.raises(InputError, match="fold"):
        held_out_probabilities(fit_platt, scores, genuine, np.zeros(50))
    with pytest.raises(InputError, match="between 0 and 1"):
        reliability([0.5, 1.5], [True, False])
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(InputError, match="pip install"):
        fit_platt(scores, genuine, "made up")


def test_figure() -> None:
    scores, genuine = logistic_sample(3000)
    results = {"raw": reliability((scores + 1) / 2, genuine), "half": reliability(np.full(3000, 0.5), genuine)}
    figure = reliability_figure(results, title="Title", subtitle="subtitle " * 40)
    texts = " ".join(text.get_text() for text in figure.texts)
    assert f"ECE {100 * results['raw'].ece:.2f} %" in texts
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "raw"]
    dots = axes.lines[-1]
    assert list(np.asarray(dots.get_ydata())) == pytest.approx([one.observed for one in results["raw"].bins])
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.canvas.get_width_height()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
    for count in (0, 5):
        with pytest.raises(InputError, match="one to four"):
            reliability_figure(dict.fromkeys(map(str, range(count)), results["raw"]), title="")
