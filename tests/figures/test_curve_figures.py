"""ROC and DET figures: what is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.summary import Summary, summarise
from whyface.figures.error_curves import det_figure, probit, roc_figure


def made_up(apart: float) -> Summary:
    rng = np.random.default_rng(3)
    genuine = np.arange(800) % 2 == 0
    first = rng.integers(0, 90, 800)
    second = np.where(genuine, first, (first + 1) % 90).astype(str)
    return summarise(
        rng.normal(apart * genuine, 1.0), genuine, np.arange(800) % 10, first.astype(str), second, replicates=100
    )


@pytest.fixture(scope="module")
def summary() -> Summary:
    return made_up(2.0)


def texts(figure: Any) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def line(figure: Any, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    (found,) = [one for one in figure.axes[0].lines if one.get_label() == label]
    return found.get_xdata(), found.get_ydata()


def test_roc_shows_the_curve(summary: Summary) -> None:
    figure = roc_figure({"cosine": summary}, title="ROC: a on b", subtitle="800 pairs")
    far, tar = line(figure, "cosine")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == pytest.approx((1 / 400, 1))
    assert (far[-1], tar[-1]) == (1, 1)
    for rate in summary.at_fmr[:2]:
        assert tar[far <= rate.target + 1e-12].max() == pytest.approx(rate.tar)
        assert f"TAR {100 * (rate.tar or 0):.2f} % at FMR {100 * rate.target:g} %" in texts(figure)
    assert axes.get_ylim()[0] <= tar.min()
    assert f"AUC {100 * summary.auc:.3f} %" in texts(figure)


def test_det_has_the_equal_error_rate_on_its_diagonal(summary: Summary) -> None:
    figure = det_figure({"l": summary, "u": made_up(1.5)}, title="DET: a on b")
    axes = figure.axes[0]
    assert axes.get_xlim() == pytest.approx(axes.get_ylim())
    dots = [one for one in axes.lines if one.get_marker() == "o"]
    expected = NormalDist().inv_cdf(summary.eer)
    assert np.concatenate((dots[0].get_xdata(), dots[0].get_ydata())) == pytest.approx([expected, expected])
    fmr, fnmr = line(figure, "l")
    measured = (summary.roc.fmr > 0.01) & (summary.roc.tar < 0.99)
    drawn = (fmr > probit(0.01)) & (fnmr > probit(0.01))
    assert fmr[drawn] == pytest.approx(probit(summary.roc.fmr[measured]))
    assert fnmr[drawn] == pytest.approx(probit(1 - summary.roc.tar[measured]))
    assert f"EER {100 * summary.eer:.2f} %" in texts(figure)
    assert "Uniform (U)" in texts(figure)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "1", "2", "5", "10", "20", "40"]


@pytest.mark.parametrize("draw", [roc_figure, det_figure])
def test_curves_begin_at_their_value_on_the_edge(draw: Any, summary: Summary) -> None:
    """The step at one false match lies on the edge of both figures and must not show as a stub along it."""
    figure = draw({"cosine": summary}, title="edge")
    x, y = line(figure, "cosine")
    edge = figure.axes[0].get_xlim()[0]
    assert x[0] == pytest.approx(edge)
    assert (x[1:] > edge + 1e-9).all()
    best = summary.roc.tar[summary.roc.fmr <= (1 + 1e-9) / 400].max()
    assert best > summary.roc.tar[summary.roc.fmr == 0].max()
    assert y[0] == pytest.approx(best if draw is roc_figure else NormalDist().inv_cdf(1 - best))


def test_a_weak_model_stays_in_the_frame() -> None:
    weak = made_up(0.0)
    axes = det_figure({"cosine": weak}, title="DET").axes[0]
    assert axes.get_xlim()[1] > NormalDist().inv_cdf(weak.eer)
    assert roc_figure({"cosine": weak}, title="ROC").axes[0].get_ylim()[0] == 0


def test_probit() -> None:
    assert probit([[0.5, 0.0], [1.0, 0.975]]).tolist() == [[0, -np.inf], [np.inf, pytest.approx(1.959964)]]


@pytest.mark.parametrize("draw", [roc_figure, det_figure])
def test_figures_without_a_band_or_with_perfect_scores(draw: Any, summary: Summary) -> None:
    assert draw({"cosine": replace(summary, band=None)}, title="no band").axes
    assert draw({"cosine": made_up(50.0)}, title="perfect").axes


@pytest.mark.parametrize("draw", [roc_figure, det_figure])
@pytest.mark.parametrize("count", [0, 5])
def test_number_of_curves(draw: Any, count: int, summary: Summary) -> None:
    with pytest.raises(InputError, match="1 to 4 curves"):
        draw({f"curve {i}": summary for i in range(count)}, title="too many")


def test_lines_differ_in_more_than_colour(summary: Summary) -> None:
    figure = roc_figure(dict.fromkeys(("u", "p", "l"), summary), title="three")
    looks = {
        (one.get_color(), one.get_linestyle(), str(vars(one)["_unscaled_dash_pattern"])) for one in figure.axes[0].lines
    }
    assert len(looks) == 3


def test_separable_pairs_are_said_to_be_so(summary: Summary) -> None:
    perfect = made_up(50.0)
    said = [text.get_text() for text in det_figure({"cosine": perfect}, title="DET").axes[0].texts]
    assert "separates all\n400 genuine from all 400 impostor pairs" in said[0]
    both = [text.get_text() for text in det_figure({"l": summary, "u": perfect}, title="DET").axes[0].texts]
    assert len(both) == 1
    assert both[0].count(":") == 2
    assert not det_figure({"cosine": summary}, title="DET").axes[0].texts
