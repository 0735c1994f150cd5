"""The figure of the study of words: what each way of erasing leaves, beside what chance leaves."""

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
    """What a column of the figure shows: keys of a row, and the axis's name."""

    value: str
    interval: str
    title: str


_MEASURES: Final = (
    _Measure("mean_impostor_score", "mean_impostor_score_interval", "mean similarity of two people"),
    _Measure("auc", "auc_interval", "AUC, genuine against impostor pairs"),
)


def words_study_figure(report: Mapping[str, Any]) -> Figure:
    """Draw the impostor pairs' mean similarity and the AUC after erasing, one row a method.

    A blue dot with its interval is a method, the hollow grey one on its row is chance: random places of the same area,
    as many of them, with the same eraser. The grey line is the state before anything was erased.

    Parameters
    ----------
    report
        What ``scripts/words_study.py`` wrote: ``words`` with ``arms``, and ``comparison`` with ``shares``; either may
        be missing.

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
        panels.append(("The most telling word of a face erased, areas as they come", report["words"]["arms"]))
    if "comparison" in report:
        panels += [
            (f"Every method erases the same {100 * float(share):g} % of the face", rows)
            for share, rows in report["comparison"]["shares"].items()
        ]
    if not panels:
        raise InputError("the study holds no results to draw; run it first")
    shown = [[name for name in rows if _is_method(name)] for _, rows in panels]
    height = _TOP + sum(_ROW * len(names) + _BETWEEN for names in shown) - 20
    sheet = Sheet(_WIDTH, int(height))
    sheet.text(_MARGIN, 52, "Do words say what tells two people apart?", size=19, weight="bold")
    rule = (
        "Erasing what tells two people apart makes them more alike: their similarity rises (further right), and the "
        "AUC falls (further left). Erasing at random does so too, and the best of several tries more. So a method has "
        "something to say only where its blue dot is beyond the hollow grey one on its row: chance with the same area, "
        "the same number of tries and the same eraser. Bars: 95 % intervals over people."
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
    if "before" in rows:
        axes.axvline(rows["before"][measure.value], color=HAIRLINE, linewidth=1.4, zorder=1)
    for number, name in enumerate(names):
        row = rows[name]
        axes.plot(row[measure.interval], [number, number], color=BLUE, linewidth=2.2, alpha=0.5, zorder=2)
        axes.plot([row[measure.value]], [number], "o", color=BLUE, markersize=7, zorder=4)
        chance = rows.get(row.get("control") or "")
        if chance is not None:
            style: dict[str, Any] = {"color": "white", "markeredgecolor": _CHANCE, "markeredgewidth": 1.6}
            axes.plot([chance[measure.value]], [number], "o", markersize=7, zorder=3, **style)
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


def _is_method(name: str) -> bool:
    return name != "before" and not name.startswith("random")


def _label(name: str) -> str:
    names = {
        "xcos": "xCos evidence",
        "ebp": "excitation backprop (EBP)",
        "xssab": "xSSAB",
        "words": "words, the most telling",
        "first word": "the word that is surest",
    }
    return names.get(name, name)
