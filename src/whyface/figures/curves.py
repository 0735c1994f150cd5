"""What ROC and DET figures have in common: lines by kind of score, their key, and the frame around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval
from whyface.evaluate.report import KIND_NAMES
from whyface.evaluate.summary import FEW_FALSE_MATCHES, Summary
from whyface.figures.style import BLUE, FONT, INK, MUTED, Sheet, dress

_WIDTH: Final = 960
_HEIGHT: Final = 724
_MARGIN, _LEFT, _TOP, _SIDE = 40, 104, 108, 528
_KEY = 672

OCHRE: Final = "#b8730a"
_SHADE: Final = "#eef0f3"
_BAND_OPACITY: Final = 0.13


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn; dashes tell lines apart where colours cannot."""

    color: str
    dashes: tuple[float, ...] = ()


_STROKES: Final = (
    Stroke(BLUE),
    Stroke(OCHRE, (5, 1.6)),
    Stroke(INK, (1.4, 1.4)),
    Stroke(MUTED, (6, 1.5, 1.4, 1.5)),
)
# The model's own score stands out; uniform attention is what the others are measured against.
_BY_KIND: Final[Mapping[str, Stroke]] = {
    "cosine": _STROKES[0],
    "l": _STROKES[0],
    "p": _STROKES[1],
    "u": _STROKES[2],
}


def strokes(summaries: Mapping[str, Summary]) -> dict[str, Stroke]:
    """Choose a stroke for each line: one of its own for each kind of attention, in turn for anything else.

    Raises
    ------
    InputError
        If there are no lines or more than can be told apart.
    """
    if not 1 <= len(summaries) <= len(_STROKES):
        raise InputError(f"a figure shows 1 to {len(_STROKES)} curves, got {len(summaries)}")
    if set(summaries) <= set(_BY_KIND) and not {"cosine", "l"} <= set(summaries):
        return {kind: _BY_KIND[kind] for kind in summaries}
    return dict(zip(summaries, _STROKES, strict=False))


class CurveSheet:
    """A sheet with one square panel for curves, and room for their key on the right.

    Parameters
    ----------
    summaries
        Results by kind of score, one to four.
    title, subtitle
        What the curves are of.

    Attributes
    ----------
    sheet, axes
        What is drawn on.
    summaries
        As given.
    strokes
        How the line of each kind is drawn.
    impostors, genuine
        Pairs of the smallest sample.

    Raises
    ------
    InputError
        If there are no curves or more than can be told apart.
    """

    def __init__(self, summaries: Mapping[str, Summary], title: str, subtitle: str) -> None:
        self.summaries = summaries
        self.strokes = strokes(summaries)
        self.impostors = min(summary.impostor_pairs for summary in summaries.values())
        self.genuine = min(summary.genuine_pairs for summary in summaries.values())
        self.sheet = Sheet(_WIDTH, _HEIGHT)
        width = _WIDTH - 2 * _MARGIN
        self.sheet.text(_MARGIN, 46, self.sheet.shorten(title, width, 15, "bold"), size=15, weight="bold")
        self.sheet.text(_MARGIN, 72, self.sheet.shorten(subtitle, width, 9.5), size=9.5, color=MUTED)
        self.axes = self.sheet.figure.add_axes(self.sheet.box(_LEFT, _TOP, _SIDE, _SIDE))
        dress(self.axes)

    @property
    def rough(self) -> float:
        """FMR below which it rests on too few impostor pairs."""
        return FEW_FALSE_MATCHES / self.impostors

    def shade(self, start: float, end: float) -> None:
        """Shade from one place of the horizontal axis to another, in its own units."""
        self.axes.axvspan(start, end, color=_SHADE, lw=0, zorder=0)

    def draw(self, kind: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Draw a curve in steps, not slopes: between two thresholds there is nothing to be had."""
        stroke = self.strokes[kind]
        (line,) = self.axes.plot(x, y, color=stroke.color, lw=1.8, drawstyle="steps-post", label=kind)
        if stroke.dashes:
            line.set_dashes(stroke.dashes)

    def fill(self, kind: str, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Fill a curve's band."""
        self.axes.fill_between(x, low, high, color=self.strokes[kind].color, alpha=_BAND_OPACITY, lw=0)

    def name_axes(self, x: str, y: str) -> None:
        """Name both axes."""
        self.axes.set_xlabel(x, size=10, color=INK, family=FONT, labelpad=8)
        self.axes.set_ylabel(y, size=10, color=INK, family=FONT, labelpad=8)

    def draw_key(self, values: Mapping[str, list[str]], note: str) -> None:
        """List the curves to the right of the axes with their figures, and small print under them.

        Parameters
        ----------
        values
            Lines of text for each kind.
        note
            What the bands, dots and shades mean.
        """
        from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

        y = float(_TOP + 14)
        for kind, stroke in self.strokes.items():
            height = 1 - (y - 4) / _HEIGHT
            mark = Line2D([_KEY / _WIDTH, (_KEY + 30) / _WIDTH], [height, height], color=stroke.color, lw=2)
            if stroke.dashes:
                mark.set_dashes(stroke.dashes)
            self.sheet.figure.add_artist(mark)
            name = self.sheet.shorten(KIND_NAMES.get(kind, kind), _WIDTH - _MARGIN - _KEY - 40, 10.5, "bold")
            y = self.sheet.text(_KEY + 40, y, name, size=10.5, weight="bold")
            y = self.sheet.text(_KEY + 40, y, "\n".join(values[kind]), size=9, color=MUTED) + 12
        self.sheet.text(_KEY, y + 4, self.sheet.wrap(note, _WIDTH - _MARGIN - _KEY, 8.5), size=8.5, color=MUTED)


def from_edge(
    fmr: NDArray[np.float64], value: NDArray[np.float64], edge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut a step curve at the left edge of its axis, so that it begins at its value there.

    Otherwise a step that lies on the edge would show as a stub along it.

    Parameters
    ----------
    fmr, value
        The curve from FMR 0 upwards, shape (K,); of points with one FMR the last one counts.
    edge
        FMR at the edge.
    """
    # A rate that should equal the edge may differ from it in its last bit.
    beyond = fmr > edge * (1 + 1e-9)
    return np.concatenate(([edge], fmr[beyond])), np.concatenate((value[~beyond][-1:], value[beyond]))


def with_interval(label: str, value: float, interval: Interval | None, digits: int = 2) -> list[str]:
    """Write a rate in percent, with its interval on a line of its own."""
    lines = [f"{label} {100 * value:.{digits}f} %"]
    if interval is not None:
        lines.append(f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}")
    return lines
