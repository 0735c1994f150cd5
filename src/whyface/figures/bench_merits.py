"""The bench at a glance: a row for each method, a column for each figure of merit, dots with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from whyface.bench.summary import MethodSummary
from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """A figure of merit as a reader meets it: its name in the summary, heading, what it asks, factor, and direction."""

    merit: str
    heading: str
    question: str
    factor: float = 100.0
    lower_is_better: bool = False
    logarithmic: bool = False


COLUMNS: Final = (
    Column("replacement", "Undoing patches", "errors left, %: less is better", lower_is_better=True),
    Column("patch lift", "Finding patches", "% beyond chance: more is better"),
    Column("deletion", "Deletion", "accuracy left, %: less is better", lower_is_better=True),
    Column("insertion", "Insertion", "accuracy back, %: more is better"),
    Column("overlap", "Pointing", "pasted part found, %: more is better"),
    Column("shift", "Steadiness", "shifted by 1 pixel: 100 = same", factor=100.0),
    Column("processor", "Time", "processor seconds a pair", factor=1.0, lower_is_better=True, logarithmic=True),
)
_LEFT, _TOP, _ROW, _SIDE, _GAP, _WIDTH = 170, 150, 30, 40, 34, 156


def merits_figure(
    summaries: Mapping[str, MethodSummary], *, title: str, subtitle: str = "", controls: frozenset[str] = frozenset()
) -> Figure:
    """Draw what the bench found for several methods on one model.

    Methods are in the order of their first column, best on top; controls are grey; in every column the best method
    that is no control, and all whose intervals reach its value, are filled.

    Parameters
    ----------
    summaries
        By method.
    title, subtitle
        What was measured.
    controls
        Names of the methods that only serve for comparison.

    Raises
    ------
    InputError
        If there are no methods or nothing was measured.
    """
    columns = [column for column in COLUMNS if any(column.merit in found.merits for found in summaries.values())]
    if not columns:
        raise InputError("the results hold nothing to draw; run at least one test of the benchmark")
    methods = _ranked(summaries, columns[0])
    width = _LEFT + len(columns) * (_WIDTH + _GAP) - _GAP + _SIDE
    height = _TOP + len(methods) * _ROW + 84
    sheet = Sheet(width, height)
    sheet.text(_SIDE, 46, sheet.shorten(title, width - 2 * _SIDE, 15, "bold"), size=15, weight="bold")
    sheet.text(_SIDE, 72, sheet.shorten(subtitle, width - 2 * _SIDE, 9.5), size=9.5, color=MUTED)
    for row, method in enumerate(methods):
        y = _TOP + (row + 0.5) * _ROW
        color = MUTED if method in controls else INK
        sheet.text(_LEFT - 14, y + 4, method, size=10.5, align="right", color=color)
    for number, column in enumerate(columns):
        x = _LEFT + number * (_WIDTH + _GAP)
        sheet.text(x, _TOP - 38, column.heading, size=10.5, weight="bold")
        sheet.text(x, _TOP - 20, sheet.wrap(column.question, _WIDTH + _GAP, 7), size=7, color=MUTED)
        axes = sheet.figure.add_axes(sheet.box(x, _TOP, _WIDTH, len(methods) * _ROW))
        _draw_column(axes, column, methods, summaries, controls)
    note = (
        "Lines: 95 % intervals, resampling people. Filled: the best method, and all whose interval reaches its value. "
        "Grey: controls that do not look at the model."
    )
    sheet.text(_SIDE, height - 26, sheet.wrap(note, width - 2 * _SIDE, 8.5), size=8.5, color=MUTED)
    return sheet.figure


def _ranked(summaries: Mapping[str, MethodSummary], column: Column) -> list[str]:
    worst = np.inf if column.lower_is_better else -np.inf

    def value(method: str) -> float:
        merit = summaries[method].merits.get(column.merit)
        return worst if merit is None else merit.value

    return sorted(summaries, key=value, reverse=not column.lower_is_better)


def _draw_column(
    axes: Axes,
    column: Column,
    methods: list[str],
    summaries: Mapping[str, MethodSummary],
    controls: frozenset[str],
) -> None:
    found = {m: summaries[m].merits[column.merit] for m in methods if column.merit in summaries[m].merits}
    contenders = [merit.value for method, merit in found.items() if method not in controls]
    best = (min if column.lower_is_better else max)(contenders) if contenders else None
    for row, method in enumerate(methods):
        axes.axhline(row, color=HAIRLINE, lw=0.6, zorder=0)
        if method not in found:
            continue
        merit = found[method]
        color = MUTED if method in controls else BLUE
        leads = best is not None and method not in controls
        if merit.interval is not None:
            low, high = merit.interval.low, merit.interval.high
            axes.plot([low * column.factor, high * column.factor], [row, row], color=color, lw=1.6, alpha=0.55)
            leads = leads and best is not None and low <= best <= high
        else:
            leads = leads and merit.value == best
        axes.plot(
            [merit.value * column.factor], [row], "o", ms=6.5, mec=color, mew=1.4, color=color if leads else "white"
        )
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks([])
    if column.logarithmic:
        axes.set_xscale("log")
        # Whole powers of ten at both ends, so that at least two of them are labelled.
        powers = np.log10([merit.value * column.factor for merit in found.values() if merit.value > 0] or [1.0])
        axes.set_xlim(10 ** np.floor(powers.min() - 0.05), 10 ** np.ceil(powers.max() + 0.05))
        axes.set_xticks([], minor=True)
    if not column.logarithmic:
        axes.margins(x=0.12)
    axes.tick_params(axis="x", which="both", length=0, labelsize=8, labelcolor=MUTED, labelfontfamily=FONT, pad=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not column.logarithmic:
        axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color=HAIRLINE, lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)
