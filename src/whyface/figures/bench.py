"""Figures of the bench: erasure and replacement curves, and all figures of merit by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from whyface.bench.patch_set import PatchCurve
from whyface.bench.summary import MethodSummary
from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED, Sheet, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


PANELS: Final = (
    ("replacement", "Undoing patches", "Errors (mean of FMR and FNMR), %"),
    ("deletion", "Deletion", "Accuracy, %"),
    ("insertion", "Insertion", "Accuracy, %"),
)
_COLORS: Final = (BLUE, "#b8730a", "#1b7837", RED, "#6a3d9a", INK)
_DASHES: Final[tuple[tuple[float, ...], ...]] = ((), (5, 1.6))
_CONTROL_DASHES: Final[tuple[tuple[float, ...], ...]] = ((1.4, 1.4), (6, 1.4, 1.4, 1.4), (3, 3))
_SIDE, _LEFT, _TOP, _PANEL, _GAP, _KEY = 40, 84, 116, 290, 66, 150
MOST_LINES: Final = len(_COLORS) * len(_DASHES)
"""Maximum number of distinguishable lines, not counting controls."""


def curves_figure(
    summaries: Mapping[str, MethodSummary], *, title: str, subtitle: str = "", controls: Sequence[str] = ()
) -> Figure:
    """Draw the curves of all methods on one model, one panel per test; controls are thin and grey.

    Raises
    ------
    InputError
        If nothing was measured or there are too many methods to tell apart.
    """
    panels = [panel for panel in PANELS if any(panel[0] in found.curves for found in summaries.values())]
    methods = [method for method in summaries if method not in controls]
    if not panels:
        raise InputError("the results have no curves; run the tests 'replacement' or 'erasure' of the benchmark")
    if len(methods) > MOST_LINES:
        raise InputError(f"{len(methods)} lines cannot be told apart; draw at most {MOST_LINES} methods at once")
    width = _LEFT + len(panels) * (_PANEL + _GAP) + _KEY
    height = _TOP + _PANEL + 72
    sheet = Sheet(width, height)
    sheet.text(_SIDE, 46, sheet.shorten(title, width - 2 * _SIDE, 15, "bold"), size=15, weight="bold")
    sheet.text(_SIDE, 72, sheet.shorten(subtitle, width - 2 * _SIDE, 9.5), size=9.5, color=MUTED)
    for number, (curve, heading, label) in enumerate(panels):
        x = _LEFT + number * (_PANEL + _GAP)
        sheet.text(x, _TOP - 14, heading, size=10.5, weight="bold")
        axes = sheet.figure.add_axes(sheet.box(x, _TOP, _PANEL, _PANEL))
        _draw_panel(axes, curve, label, summaries, methods, controls)
    _draw_key(sheet, _LEFT + len(panels) * (_PANEL + _GAP) - 20, methods, controls)
    return sheet.figure


def _stroke(method: str, methods: Sequence[str], controls: Sequence[str]) -> tuple[str, tuple[float, ...]]:
    if method in controls:
        return MUTED, _CONTROL_DASHES[controls.index(method) % len(_CONTROL_DASHES)]
    position = methods.index(method)
    return _COLORS[position % len(_COLORS)], _DASHES[position // len(_COLORS)]


def _draw_panel(
    axes: Axes,
    curve: str,
    label: str,
    summaries: Mapping[str, MethodSummary],
    methods: Sequence[str],
    controls: Sequence[str],
) -> None:
    for method, found in summaries.items():
        if curve not in found.curves:
            continue
        shown = found.curves[curve]
        mean = 50 * (shown.genuine + shown.impostor)
        color, dashes = _stroke(method, methods, controls)
        (line,) = axes.plot(100 * shown.steps, mean, color=color, lw=1.1 if method in controls else 1.7, label=method)
        if dashes:
            line.set_dashes(dashes)
    axes.set_xlim(0, None)
    dress(axes)
    axes.set_xlabel("Share of the pixels, %", size=10, color=INK, family=FONT, labelpad=8)
    axes.set_ylabel(label, size=10, color=INK, family=FONT, labelpad=8)


def _draw_key(sheet: Sheet, x: float, methods: Sequence[str], controls: Sequence[str]) -> None:
    _key(
        sheet,
        x,
        [
            (method, *_stroke(method, methods, controls), MUTED if method in controls else INK)
            for method in (*methods, *controls)
        ],
    )


def _key(sheet: Sheet, x: float, lines: Sequence[tuple[str, str, tuple[float, ...], str]]) -> None:
    """Draw the key: label, colour of the line, its dashes, and colour of the label."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

    y = float(_TOP + 12)
    for label, color, dashes, ink in lines:
        height = 1 - (y - 4) / sheet.height
        mark = Line2D([x / sheet.width, (x + 28) / sheet.width], [height, height], color=color, lw=2)
        if dashes:
            mark.set_dashes(dashes)
        sheet.figure.add_artist(mark)
        sheet.text(x + 38, y, label, size=10, color=ink)
        y += 22


def patch_figure(curves: Sequence[PatchCurve]) -> Figure:
    """Draw FMR and FNMR while patched pixels are replaced: a method's order solid, a random order dashed.

    Raises
    ------
    InputError
        If there are no curves, or too many to tell apart.
    """
    methods = list(dict.fromkeys((one.model, one.method) for one in curves if one.strategy != "random"))
    models = list(dict.fromkeys(one.model for one in curves))
    if not curves or len(methods) > len(_COLORS) or len(models) > len(_COLORS):
        raise InputError(f"draw 1 to {len(_COLORS)} curves of methods at once, got {len(methods)}")
    strokes: list[tuple[str, str, tuple[float, ...], str]] = []
    for one in curves:
        if one.strategy == "random":
            strokes.append((f"random, {one.model}", _COLORS[models.index(one.model)], (3, 2), MUTED))
        else:
            name = one.method if len(models) == 1 else f"{one.method}, {one.model}"
            strokes.append((name, _COLORS[methods.index((one.model, one.method))], (), INK))
    width = _LEFT + 2 * (_PANEL + _GAP) + _KEY + 100
    sheet = Sheet(width, max(_TOP + _PANEL + 72, _TOP + 22 * len(curves) + 40))
    sheet.text(_SIDE, 46, "Undoing patches", size=15, weight="bold")
    subtitle = f"{curves[0].protocol}, {curves[0].pairs:,} pairs; solid: in the order of a method, dashed: at random"
    sheet.text(_SIDE, 72, subtitle, size=9.5, color=MUTED)
    for number, name in enumerate(("FMR", "FNMR")):
        x = _LEFT + number * (_PANEL + _GAP)
        axes = sheet.figure.add_axes(sheet.box(x, _TOP, _PANEL, _PANEL))
        axes.set_label(name)
        for one, (label, color, dashes, _) in zip(curves, strokes, strict=True):
            rates = one.fmr if name == "FMR" else one.fnmr
            (line,) = axes.plot(100 * np.array(one.shares), 100 * np.array(rates), color=color, lw=1.7, label=label)
            if dashes:
                line.set_dashes(dashes)
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        dress(axes)
        axes.set_xlabel("Share of the pixels replaced, %", size=10, color=INK, family=FONT, labelpad=8)
        axes.set_ylabel(f"{name}, %", size=10, color=INK, family=FONT, labelpad=8)
    _key(sheet, _LEFT + 2 * (_PANEL + _GAP) - 20, strokes)
    return sheet.figure


@dataclass(frozen=True)
class Column:
    """A figure of merit: its name in the summary, heading, meaning, factor and direction."""

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
    Column("shift", "Stability", "shifted by 1 pixel: 100 = same", factor=100.0),
    Column("processor", "Time", "CPU seconds per pair", factor=1.0, lower_is_better=True, logarithmic=True),
)
_BENCH_MERITS_LEFT, _BENCH_MERITS_TOP, _ROW, _BENCH_MERITS_SIDE, _BENCH_MERITS_GAP, _WIDTH = 170, 150, 30, 40, 34, 156


def merits_figure(
    summaries: Mapping[str, MethodSummary], *, title: str, subtitle: str = "", controls: frozenset[str] = frozenset()
) -> Figure:
    """Draw the figures of merit of several methods on one model.

    Methods are sorted by the first column, best on top. Controls are grey. In each column, the best method other than
    a control, and all methods whose intervals include its value, are filled.

    Parameters
    ----------
    summaries
        Results by method.
    title, subtitle
        Title and subtitle.
    controls
        Names of the methods that are controls.

    Raises
    ------
    InputError
        If there are no methods or nothing was measured.
    """
    columns = [column for column in COLUMNS if any(column.merit in found.merits for found in summaries.values())]
    if not columns:
        raise InputError("the results have nothing to draw; run at least one test of the benchmark")
    methods = _ranked(summaries, columns[0])
    width = _BENCH_MERITS_LEFT + len(columns) * (_WIDTH + _BENCH_MERITS_GAP) - _BENCH_MERITS_GAP + _BENCH_MERITS_SIDE
    height = _BENCH_MERITS_TOP + len(methods) * _ROW + 84
    sheet = Sheet(width, height)
    sheet.text(
        _BENCH_MERITS_SIDE, 46, sheet.shorten(title, width - 2 * _BENCH_MERITS_SIDE, 15, "bold"), size=15, weight="bold"
    )
    sheet.text(
        _BENCH_MERITS_SIDE, 72, sheet.shorten(subtitle, width - 2 * _BENCH_MERITS_SIDE, 9.5), size=9.5, color=MUTED
    )
    for row, method in enumerate(methods):
        y = _BENCH_MERITS_TOP + (row + 0.5) * _ROW
        color = MUTED if method in controls else INK
        sheet.text(_BENCH_MERITS_LEFT - 14, y + 4, method, size=10.5, align="right", color=color)
    for number, column in enumerate(columns):
        x = _BENCH_MERITS_LEFT + number * (_WIDTH + _BENCH_MERITS_GAP)
        sheet.text(x, _BENCH_MERITS_TOP - 38, column.heading, size=10.5, weight="bold")
        sheet.text(
            x, _BENCH_MERITS_TOP - 20, sheet.wrap(column.question, _WIDTH + _BENCH_MERITS_GAP, 7), size=7, color=MUTED
        )
        axes = sheet.figure.add_axes(sheet.box(x, _BENCH_MERITS_TOP, _WIDTH, len(methods) * _ROW))
        _draw_column(axes, column, methods, summaries, controls)
    note = (
        "Lines: 95 % intervals, resampling people. Filled: the best method, and all whose interval includes its value. "
        "Grey: controls that ignore the model."
    )
    sheet.text(
        _BENCH_MERITS_SIDE, height - 26, sheet.wrap(note, width - 2 * _BENCH_MERITS_SIDE, 8.5), size=8.5, color=MUTED
    )
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
