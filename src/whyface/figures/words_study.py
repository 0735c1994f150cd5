"""The figure of the study of words: the AUC that each way of erasing leaves, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGIN, _LABEL, _ROW = 40, 260, 26
_WIDTH, _TOP, _BETWEEN, _AXIS = 1010, 176, 96, 44
_CONTROLS: Final = ("before", "random", "random places", "random, best of as many")


def words_study_figure(report: Mapping[str, Any]) -> Figure:
    """Draw the AUC after erasing, one row a method, in one panel for words and one for the comparison.

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
        panels.append(("Each word erased where it is (areas as they come)", report["words"]["arms"]))
    if "comparison" in report:
        for share, rows in report["comparison"]["shares"].items():
            panels.append((f"Everybody erases the same {100 * float(share):g} % of the face", rows))
    if not panels:
        raise InputError("the study holds no results to draw; run it first")
    height = _TOP + sum(_ROW * len(rows) + _BETWEEN + _AXIS for _, rows in panels)
    sheet = Sheet(_WIDTH, int(height))
    sheet.text(_MARGIN, 52, "Do words say what tells two people apart?", size=19, weight="bold")
    rule = (
        "Erasing what tells two people apart makes them more alike, so that impostor and genuine pairs are harder to "
        "tell and the AUC falls: further left is better. Grey rows are controls: a method has something to say only "
        "where it lies left of the control with as many tries. Bars: 95 % intervals over people."
    )
    sheet.text(_MARGIN, 84, sheet.wrap(rule, _WIDTH - 2 * _MARGIN, 10.5), size=10.5, color=MUTED)
    ends = _ends([rows for _, rows in panels])
    y: float = _TOP
    for title, rows in panels:
        sheet.text(_MARGIN, y - 12, title, size=11.5, weight="bold")
        size = _ROW * len(rows)
        axes = sheet.figure.add_axes(sheet.box(_MARGIN + _LABEL, y, _WIDTH - 2 * _MARGIN - _LABEL, size))
        axes.set_label(title)
        _draw(axes, rows, ends)
        for number, name in enumerate(rows):
            color = MUTED if name in _CONTROLS else INK
            sheet.text(_MARGIN, y + _ROW * (number + 0.5) + 4, _label(name), size=10, color=color)
        y += size + _BETWEEN + _AXIS
    return sheet.figure


def _draw(axes: Axes, rows: Mapping[str, Any], ends: tuple[float, float]) -> None:
    before = rows.get("before", {}).get("auc")
    if before is not None:
        axes.axvline(before, color=HAIRLINE, linewidth=1.2)
    for number, (name, row) in enumerate(rows.items()):
        color = "#8b949e" if name in _CONTROLS else BLUE
        low, high = row["auc_interval"]
        axes.plot([low, high], [number, number], color=color, linewidth=2, alpha=0.55, solid_capstyle="butt")
        axes.plot([row["auc"]], [number], "o", color=color, markersize=7)
        axes.annotate(
            f"{row['auc']:.4f}",
            (high, number),
            xytext=(8, 0),
            textcoords="offset points",
            size=8.5,
            color=MUTED,
            va="center",
            family=FONT,
        )
    axes.set_xlim(*ends)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.tick_params(axis="x", length=3, width=0.6, color=MUTED, labelsize=8.5, labelcolor=MUTED, labelfontfamily=FONT)
    axes.set_xlabel("AUC after erasing", size=9, color=MUTED, family=FONT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)


def _ends(panels: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    values = [value for rows in panels for row in rows.values() for value in row["auc_interval"]]
    low, high = min(values), max(values)
    air = 0.05 * max(high - low, 1e-3)
    # Room for the number behind the last bar.
    return low - air, high + 4 * air


def _label(name: str) -> str:
    names = {
        "before": "nothing erased",
        "xcos": "xCos",
        "ebp": "excitation backprop (EBP)",
        "xssab": "xSSAB",
        "words": "words, the most telling",
        "first word": "the word that is surest",
        "random": "random place",
        "random places": "random places, best of as many",
    }
    return names.get(name, name)
