"""ROC and DET figures with confidence bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval
from whyface.evaluate.report import KIND_NAMES
from whyface.evaluate.summary import FEW_FALSE_MATCHES, Summary
from whyface.figures.style import BLUE, FONT, INK, MUTED, Sheet, dress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_WIDTH: Final = 960
_HEIGHT: Final = 724
_MARGIN, _LEFT, _TOP, _SIDE = 40, 104, 108, 528
_KEY = 672

OCHRE: Final = "#b8730a"
_SHADE: Final = "#eef0f3"
_BAND_OPACITY: Final = 0.13


@dataclass(frozen=True)
class Stroke:
    """Colour and dashes of a line; dashes tell lines apart without colours."""

    color: str
    dashes: tuple[float, ...] = ()


_STROKES: Final = (
    Stroke(BLUE),
    Stroke(OCHRE, (5, 1.6)),
    Stroke(INK, (1.4, 1.4)),
    Stroke(MUTED, (6, 1.5, 1.4, 1.5)),
)
# The model's own score stands out; uniform attention is the baseline.
_BY_KIND: Final[Mapping[str, Stroke]] = {
    "cosine": _STROKES[0],
    "l": _STROKES[0],
    "p": _STROKES[1],
    "u": _STROKES[2],
}


def strokes(summaries: Mapping[str, Summary]) -> dict[str, Stroke]:
    """Choose a stroke for each line: a fixed one for each kind of attention, otherwise in order.

    Raise InputError if there are no lines or more than four.
    """
    if not 1 <= len(summaries) <= len(_STROKES):
        raise InputError(f"a figure shows 1 to {len(_STROKES)} curves, got {len(summaries)}")
    if set(summaries) <= set(_BY_KIND) and not {"cosine", "l"} <= set(summaries):
        return {kind: _BY_KIND[kind] for kind in summaries}
    return dict(zip(summaries, _STROKES, strict=False))


class CurveSheet:
    """A sheet with one square panel for curves and their key on the right.

    Raise InputError if there are no curves or more than four.

    Parameters
    ----------
    summaries
        Results by kind of score, one to four.
    title, subtitle
        Title and subtitle.

    Attributes
    ----------
    sheet, axes
        The sheet and its panel.
    summaries
        The results.
    strokes
        Stroke by kind of score.
    impostors, genuine
        Number of pairs of the smallest sample.
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
        """FMR below which rates rest on too few impostor pairs."""
        return FEW_FALSE_MATCHES / self.impostors

    def shade(self, start: float, end: float) -> None:
        """Shade an interval of the horizontal axis, in its own units."""
        self.axes.axvspan(start, end, color=_SHADE, lw=0, zorder=0)

    def draw(self, kind: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Draw a step curve: there are no rates between two thresholds."""
        stroke = self.strokes[kind]
        (line,) = self.axes.plot(x, y, color=stroke.color, lw=1.8, drawstyle="steps-post", label=kind)
        if stroke.dashes:
            line.set_dashes(stroke.dashes)

    def fill(self, kind: str, x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """Fill the band of a curve."""
        self.axes.fill_between(x, low, high, color=self.strokes[kind].color, alpha=_BAND_OPACITY, lw=0)

    def name_axes(self, x: str, y: str) -> None:
        """Name both axes."""
        self.axes.set_xlabel(x, size=10, color=INK, family=FONT, labelpad=8)
        self.axes.set_ylabel(y, size=10, color=INK, family=FONT, labelpad=8)

    def draw_key(self, values: Mapping[str, list[str]], note: str) -> None:
        """Draw the key to the right of the axes, with numbers for each curve and a note below.

        Parameters
        ----------
        note
            Meaning of the bands, dots and shading.
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
    """Cut a step curve at the left edge of its axis, so that it starts with its value there.

    Otherwise a step on the edge would be drawn along it.

    Parameters
    ----------
    fmr, value
        The curve from FMR 0 upwards, shape (K,); of points with the same FMR, the last counts.
    """
    # A rate that should equal the edge may differ from it in the last bit.
    beyond = fmr > edge * (1 + 1e-9)
    return np.concatenate(([edge], fmr[beyond])), np.concatenate((value[~beyond][-1:], value[beyond]))


def with_interval(label: str, value: float, interval: Interval | None, digits: int = 2) -> list[str]:
    """Format a rate in percent, with its interval on a separate line."""
    lines = [f"{label} {100 * value:.{digits}f} %"]
    if interval is not None:
        lines.append(f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}")
    return lines


def roc_figure(summaries: Mapping[str, Summary], *, title: str, subtitle: str = "") -> Figure:
    """Draw ROC curves with a logarithmic FMR axis, since verifiers work at low FMR.

    The axis starts at one false match in the sample.

    Parameters
    ----------
    summaries
        Results by kind of score, one to four.
    title, subtitle
        Title and subtitle.

    Raises
    ------
    InputError
        If there are no curves or more than four.
    """
    page = CurveSheet(summaries, title, subtitle)
    axes, least = page.axes, 1.0 / page.impostors
    if least < page.rough < 1:
        page.shade(least, page.rough)
    # The lowest curve determines the lower end of the axis; at least the top 5 % are shown.
    floor = 1.0
    for kind, summary in summaries.items():
        if summary.band is not None:
            band = summary.band
            page.fill(kind, band.fmr, 1 - band.high, 1 - band.low)
            floor = min(floor, 1 - float(band.high.max()))
        fmr, tar = from_edge(summary.roc.fmr, summary.roc.tar, least)
        page.draw(kind, fmr, tar)
        floor = min(floor, float(tar[0]))
    axes.set_xscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(max(0.0, min(0.95, np.floor(floor * 20) / 20)), 1)
    ticks = [10.0**power for power in range(-8, 1) if 10.0**power >= least * (1 - 1e-9)]
    axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    page.name_axes("False match rate, FMR (logarithmic)", "True accept rate, TAR = 1 - FNMR")
    values = {}
    for kind, summary in summaries.items():
        values[kind] = with_interval("AUC", summary.auc, summary.auc_interval, 3)
        for rate in summary.at_fmr:
            if rate.tar is not None:
                values[kind].append(f"TAR {100 * rate.tar:.2f} % at FMR {100 * rate.target:g} %")
    page.draw_key(
        values,
        f"Bands and ranges: 95 %, resampling people. Grey: fewer than {FEW_FALSE_MATCHES} of the {page.impostors} "
        "impostor pairs match, so the rates are rough.",
    )
    return page.sheet.figure


_TICKS: Final = (0.00001, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_HIGHEST, _HIGHEST_WEAK, _WEAK_EER = 0.4, 0.8, 0.25


def probit(rates: ArrayLike) -> NDArray[np.float64]:
    """Map rates in (0, 1) to normal deviates; 0 and 1 become -inf and inf."""
    quantile = NormalDist().inv_cdf
    values = np.asarray(rates, np.float64)
    # A curve has few distinct rates, each many times.
    distinct, place = np.unique(values, return_inverse=True)
    mapped = [quantile(rate) if 0 < rate < 1 else (-np.inf if rate <= 0 else np.inf) for rate in distinct.tolist()]
    return np.asarray(mapped, np.float64)[place].reshape(values.shape)


def det_figure(summaries: Mapping[str, Summary], *, title: str, subtitle: str = "") -> Figure:
    """Draw DET curves; the dots are the equal error rates (EER).

    Parameters
    ----------
    summaries
        Results by kind of score, one to four.
    title, subtitle
        Title and subtitle.

    Raises
    ------
    InputError
        If there are no curves or more than four.
    """
    page = CurveSheet(summaries, title, subtitle)
    axes = page.axes
    # One scale for both axes, from one error in the larger sample, so that FMR = FNMR is the diagonal.
    lowest = min(0.1, 1.0 / max(page.impostors, page.genuine))
    weak = any(summary.eer > _WEAK_EER for summary in summaries.values())
    highest = _HIGHEST_WEAK if weak else _HIGHEST
    ends = probit([lowest, highest])
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    rough = min(highest, page.rough)
    if rough > lowest:
        page.shade(float(ends[0]), float(probit([rough])[0]))
    axes.plot(ends, ends, color=MUTED, lw=0.8)
    for kind, summary in summaries.items():
        _draw(page, kind, summary, lowest)
    separable = [KIND_NAMES.get(kind, kind) for kind, summary in summaries.items() if summary.eer == 0]
    if separable:
        which = "" if len(separable) == len(summaries) else f"{', '.join(separable)}:\n"
        axes.text(
            *(0.5, 0.5),
            f"{which}a threshold separates all\n{page.genuine} genuine from all {page.impostors} impostor pairs,\n"
            "so there is no curve: both rates are 0 there",
            transform=axes.transAxes,
            size=10,
            color=INK,
            family=FONT,
            ha="center",
            va="center",
            linespacing=1.6,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 6},
        )
    ticks = [tick for tick in _TICKS if lowest <= tick <= highest]
    labels = [f"{100 * tick:g}" for tick in ticks]
    axes.set_xticks(probit(ticks), labels)
    axes.set_yticks(probit(ticks), labels)
    page.name_axes("False match rate, FMR, % (normal deviates)", "False non-match rate, FNMR, % (normal deviates)")
    values = {kind: with_interval("EER", summary.eer, summary.eer_interval) for kind, summary in summaries.items()}
    for kind, summary in summaries.items():
        for rate in summary.at_fmr:
            if rate.fnmr is not None:
                values[kind].append(f"FNMR {100 * rate.fnmr:.2f} % at FMR {100 * rate.target:g} %")
    page.draw_key(
        values,
        f"Dots: equal error rates. Bands and ranges: 95 %, resampling people. Grey: fewer than {FEW_FALSE_MATCHES} of "
        f"the {page.impostors} impostor pairs match, so the rates are rough.",
    )
    return page.sheet.figure


def _draw(page: CurveSheet, kind: str, summary: Summary, lowest: float) -> None:
    # Rates of 0 are at infinity; a point beyond the edge of the frame is far enough.
    beyond = lowest / 4
    if summary.band is not None:
        band = summary.band
        inside = band.fmr < 1
        low, high = (probit(np.clip(end[inside], beyond, 1 - beyond)) for end in (band.low, band.high))
        page.fill(kind, probit(band.fmr[inside]), low, high)
    fmr, fnmr = from_edge(summary.roc.fmr, 1 - summary.roc.tar, lowest)
    page.draw(kind, probit(np.clip(fmr, beyond, 1 - beyond)), probit(np.clip(fnmr, beyond, 1 - beyond)))
    if summary.eer > lowest:
        point = probit([summary.eer])
        page.axes.plot(point, point, "o", ms=6, color=page.strokes[kind].color, mec="white", mew=1.2, zorder=4)
