"""The bench's figures: every method has its row and line, and what cannot be drawn is refused."""

import numpy as np
import pytest

from whyface.bench.summary import Curve, Merit, MethodSummary
from whyface.errors import InputError
from whyface.evaluate.intervals import Interval
from whyface.figures.bench import curves_figure, merits_figure


def summary_of(level: float, pairs: int = 100) -> MethodSummary:
    steps = np.linspace(0, 0.9, 10)
    curve = Curve(steps, level * (1 - steps), level * (1 - steps / 2))
    names = ("replacement", "deletion", "insertion", "overlap", "shift")
    merits = {name: Merit(level, Interval(level - 0.02, level + 0.02)) for name in names}
    merits["processor"] = Merit(level)
    return MethodSummary(merits, {"replacement": curve, "deletion": curve, "insertion": curve}, {}, pairs)


METHODS = {
    "xcos-guided": summary_of(0.2),
    "xssab": summary_of(0.21),
    "gradcam": summary_of(0.5),
    "random": summary_of(0.6),
}


def test_every_method_has_its_row_and_line() -> None:
    figure = merits_figure(METHODS, title="Bench", controls=frozenset({"random"}))
    texts = {text.get_text() for text in figure.texts}
    assert set(METHODS) <= texts
    assert len(figure.axes) == 6
    curves = curves_figure(METHODS, title="Bench", controls=("random",))
    assert [len(axes.get_lines()) for axes in curves.axes] == [4, 4, 4]


def test_the_best_and_its_equals_are_filled_and_controls_are_not() -> None:
    figure = merits_figure(METHODS, title="Bench", controls=frozenset({"random"}))
    filled = [line.get_markerfacecolor() != "white" for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert filled == [True, True, False, False]


def test_methods_are_ranked_by_the_first_column() -> None:
    figure = merits_figure(dict(reversed(METHODS.items())), title="Bench")
    names = [text.get_text() for text in figure.texts if text.get_text() in METHODS]
    assert names == list(METHODS)


def test_nothing_to_draw() -> None:
    empty = {"xcos": MethodSummary({}, {}, {}, 0)}
    with pytest.raises(InputError, match="nothing to draw"):
        merits_figure(empty, title="")
    with pytest.raises(InputError, match="no curves"):
        curves_figure(empty, title="")


def test_more_lines_than_can_be_told_apart() -> None:
    with pytest.raises(InputError, match="cannot be told apart"):
        curves_figure({str(number): summary_of(0.1) for number in range(13)}, title="")
