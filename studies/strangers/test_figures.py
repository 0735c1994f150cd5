"""Figures of uncertainty, and the measure that the study gives intervals for."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from studies.strangers.figures import uncertainty_figure, word_rises_figure
from studies.strangers.open_set import difference, mean_area
from whyface.errors import InputError
from whyface.evaluate.bootstrap import bootstrap_intervals


def bars(axes: Axes) -> list[Rectangle]:
    """List the bars in the order in which they were drawn."""
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_histograms_stand_on_either_side_of_the_axis() -> None:
    groups = {"clean": {"known": np.array([0.01, 0.02, 0.5, 0.03]), "strangers": np.array([0.99, 0.99])}}
    figure = uncertainty_figure(groups, auroc={"clean": 0.987}, caption="Made up.")
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "clean"]
    heights = [patch.get_height() for patch in bars(axes)]
    assert sum(height for height in heights if height > 0) == pytest.approx(1)
    assert sum(height for height in heights if height < 0) == pytest.approx(-1)
    assert heights[0] == 0.75
    assert "AUROC 0.987" in [text.get_text() for text in figure.texts]
    with pytest.raises(InputError, match="needs uncertainties"):
        uncertainty_figure({"clean": {"known": np.array([])}})


def test_rises_stand_beside_chance() -> None:
    words = {
        "a smile": {"photos": 9.0, "mean_rise": 0.2, "mean_rise_by_chance": 0.1},
        "a fringe": {"photos": 5.0, "mean_rise": 0.3, "mean_rise_by_chance": 0.1},
        "a hat": {"photos": 4.0, "mean_rise": 0.9, "mean_rise_by_chance": 0.1},
    }
    figure = word_rises_figure(words, title="T", subtitle="S")
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "rises"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a fringe (5)", "a smile (9)"]
    assert [patch.get_width() for patch in bars(axes)] == pytest.approx([0.3, 0.2, 0.1, 0.1])
    with pytest.raises(InputError, match="use more photos"):
        word_rises_figure(words, least=10, title="T", subtitle="S")


def test_differences_of_areas_have_intervals() -> None:
    rng = np.random.default_rng(0)
    part = {"known": rng.normal(2, 1, 60), "strangers": rng.normal(0, 1, 60)}
    worse = {"known": rng.normal(1, 1, 60), "strangers": rng.normal(0, 1, 60)}
    people = [f"p{number // 4}" for number in range(120)] * 2
    one, other = mean_area([part, part]), mean_area([worse, worse])
    weights = np.ones((1, 240))
    assert one(weights)[0] == pytest.approx(np.mean(part["known"][:, None] > part["strangers"]))
    found = bootstrap_intervals({"d": difference(one, other)}, people, people, replicates=200)["d"]
    assert found.low < one(weights)[0] - other(weights)[0] < found.high
    assert found.low > 0
