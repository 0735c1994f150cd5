"""The figure of the study of words: the effect of each way of erasing beyond chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_MARGIN, _LABEL, _GAP, _ROW = 40, 250, 70, 27
_WIDTH, _TOP, _BETWEEN = 1110, 196, 118
_PLOT = (_WIDTH - 2 * _MARGIN - _LABEL - _GAP) // 2
_CHANCE: Final = "#8b949e"


@dataclass(frozen=True)
class _Measure:
    """A column of the figure: the keys of its rows, and the name of the axis."""

    value: str
    interval: str
    title: str


_MEASURES: Final = (
    _Measure("mean_minus_control", "mean_minus_control_interval", "similarity of two people, minus chance"),
    _Measure("auc_minus_control", "auc_minus_control_interval", "AUC, minus chance"),
)


def words_study_figure(report: Mapping[str, Any]) -> Figure:
    """Draw each method's difference from chance, one row per method: mean similarity of impostor pairs, and AUC.

    Chance erases as many random places of the same area with the same eraser.

    Parameters
    ----------
    report
        The report of ``studies/words/study.py``: ``words`` with ``arms``, and ``comparison`` with ``shares``; either
        may be missing.

    Returns
    -------
    A figure tied to no window and no global state.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    panels: list[tuple[str, Mapping[str, Any]]] = []
    if "words" in report:
        panels.append(("The most telling word of each face erased; areas differ", report["words"]["arms"]))
    if "comparison" in report:
        panels += [
            (f"Every method erases the same {100 * float(share):g} % of the face", rows)
            for share, rows in report["comparison"]["shares"].items()
        ]
    if not panels:
        raise InputError("the study holds no results to draw; run it first")
    shown = [[name for name, row in rows.items() if _MEASURES[0].value in row] for _, rows in panels]
    height = _TOP + sum(_ROW * len(names) + _BETWEEN for names in shown) - 20
    sheet = Sheet(_WIDTH, int(height))
    sheet.text(_MARGIN, 52, "Do words say what tells two people apart?", size=19, weight="bold")
    rule = (
        "Erasing what tells two people apart makes them more similar, and the AUC falls. Random erasure does so too, "
        "and the best of several tries does so more. Each row is therefore the difference from its own chance, the "
        "grey line: as many random places of the same area, with the same eraser. A method does better than chance if "
        "it is right of the line on the left, and left of it on the right. Bars: 95 % intervals over people."
    )
    sheet.text(_MARGIN, 84, sheet.wrap(rule, _WIDTH - 2 * _MARGIN, 10.5), size=10.5, color=MUTED)
    y: float = _TOP
    for (title, rows), names in zip(panels, shown, strict=True):
        sheet.text(_MARGIN, y - 14, title, size=11.5, weight="bold")
        size = _ROW * len(names)
        for column, measure in enumerate(_MEASURES):
            x = _MARGIN + _LABEL + column * (_PLOT + _GAP)
            axes = sheet.figure.add_axes(sheet.box(x, y, _PLOT, size))
            axes.set_label(f"{title}: {measure.title}")
            _draw(axes, rows, names, measure)
        for number, name in enumerate(names):
            sheet.text(_MARGIN, y + _ROW * (number + 0.5) + 4, _label(name), size=10, color=INK)
        y += size + _BETWEEN
    return sheet.figure


def _draw(axes: Axes, rows: Mapping[str, Any], names: list[str], measure: _Measure) -> None:
    axes.axvline(0, color=_CHANCE, linewidth=1.4, zorder=1)
    for number, name in enumerate(names):
        row = rows[name]
        axes.plot(row[measure.interval], [number, number], color=BLUE, linewidth=2.2, alpha=0.5, zorder=2)
        axes.plot([row[measure.value]], [number], "o", color=BLUE, markersize=7, zorder=3)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.06)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(axis="x", length=3, width=0.6, color=MUTED, labelsize=8.5, labelcolor=MUTED, labelfontfamily=FONT)
    axes.set_xlabel(measure.title, size=9, color=MUTED, family=FONT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)


def _label(name: str) -> str:
    names = {
        "xcos": "xCos evidence",
        "ebp": "excitation backprop (EBP)",
        "xssab": "xSSAB",
        "words": "words, the most telling",
        "first word": "the most certain word",
    }
    return names.get(name, name)
