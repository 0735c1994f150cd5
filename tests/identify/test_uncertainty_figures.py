from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from whyface.errors import InputError
from whyface.figures.words import erased_words_figure, shown


def bars(axes: Axes) -> list[Rectangle]:
    """List the bars in the order in which they were drawn."""
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


FACE = np.full((112, 112, 3), 120, np.uint8)


def test_original_has_a_colour_of_its_own() -> None:
    figure = erased_words_figure(FACE, [("a smile", 0.3), ("a fringe", 0.12)], 0.1, title="T")
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "uncertainty"]
    colors = [patch.get_facecolor() for patch in axes.patches]
    assert colors[0] != colors[1] == colors[2]
    assert [patch.get_width() for patch in bars(axes)] == pytest.approx([0.1, 0.3, 0.12])
    assert [label.get_text() for label in axes.get_yticklabels()][1] == "without a smile"
    assert axes.get_xscale() == "linear"


def test_a_sure_face_gets_a_logarithmic_axis() -> None:
    figure = erased_words_figure(FACE, [("a smile", 0.3)], 1e-5, title="T")
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "uncertainty"]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] < 1e-5
    assert [patch.get_x() + patch.get_width() for patch in bars(axes)] == pytest.approx([1e-5, 0.3])
    assert (shown(0.1234), shown(0.00012)) == ("0.123", "0.0001")


def test_too_many_words_are_refused() -> None:
    for count in (0, 13):
        with pytest.raises(InputError, match="one to twelve"):
            erased_words_figure(FACE, [("a smile", 0.3)] * count, 0.1, title="T")


def test_each_word_has_the_limit_of_its_own_test() -> None:
    words = [("a smile", 0.3), ("a fringe", 0.12)]
    figure = erased_words_figure(FACE, words, 0.1, title="T", limits=(0.2, 0.15), sentence="Most hangs on a smile.")
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "uncertainty"]
    (marks,) = [line for line in axes.lines if line.get_label() == "limit"]
    np.testing.assert_allclose(np.asarray(marks.get_xdata()), [0.2, 0.15])
    np.testing.assert_allclose(np.asarray(marks.get_ydata()), [1, 2])
    texts = [text.get_text() for text in figure.texts]
    assert "Most hangs on a smile." in texts
    assert any("must exceed" in text for text in texts)
    with pytest.raises(InputError, match="2 words need as many limits"):
        erased_words_figure(FACE, words, 0.1, title="T", limits=(0.2,))


def test_the_axis_reaches_every_limit() -> None:
    figure = erased_words_figure(FACE, [("a smile", 0.3)], 0.1, title="T", limits=(0.9,))
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "uncertainty"]
    assert axes.get_xlim()[1] > 0.9
