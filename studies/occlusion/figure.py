"""Figures of the occlusion study: accuracy by covered share, and examples of the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import CLEAN
from studies.occlusion.report import condition_name, score_name
from studies.occlusion.summary import ConditionResult
from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, INK, MUTED, RED, Sheet, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_COLORS: Final = (INK, BLUE, "#b8730a", "#1b7837", RED, "#6a3d9a")
_DASHES: Final[tuple[tuple[float, ...], ...]] = ((1.4, 1.4), (5, 1.6), (6, 1.5, 1.4, 1.5), (), (3, 1), (8, 2))
MOST_LINES: Final = len(_COLORS)
"""Scores that can be told apart in one figure."""

_SIDE, _LEFT, _TOP, _PANEL, _GAP, _LOW = 40, 92, 132, 330, 92, 88
_NARROW: Final = 200
_PANELS: Final = (
    ("accuracy", "Threshold set for covered faces", "the best possible"),
    ("kept", "Threshold kept from clean faces", "a system that is unaware of the cover"),
)
_ACCESSORIES: Final = ("sunglasses", "scarf")


def occlusion_figure(
    lines: Mapping[str, Mapping[str, ConditionResult]], *, percents: Sequence[int], pairs: int, both: bool = False
) -> Figure:
    """Draw accuracy by covered share, with 95 % bands, and beside it accuracy with sunglasses and scarf.

    Parameters
    ----------
    lines
        Results by condition of each score, named ``LABEL:KIND``; one to six.
    percents
        Covered shares, in ascending order.
    pairs, both
        Number of pairs; whether both faces of a pair were covered.

    Raises
    ------
    InputError
        If there are no scores, or too many to be distinguished.
    """
    if not 1 <= len(lines) <= MOST_LINES:
        raise InputError(f"the figure shows 1 to {MOST_LINES} scores, got {len(lines)}; choose with --draw")
    width = _LEFT + 2 * (_PANEL + _GAP) + _NARROW + 200
    sheet = Sheet(width, _TOP + _PANEL + _LOW)
    sheet.text(_SIDE, 44, "Accuracy when part of a face is covered", size=15, weight="bold")
    whose = "both faces" if both else "one of the two faces"
    subtitle = f"{pairs:,} LFW pairs; black masks on {whose} of every pair. 50 % is guessing. Bands: 95 %."
    sheet.text(_SIDE, 70, subtitle, size=9.5, color=MUTED)
    floor = _floor(lines, [f"free-{percent}" for percent in percents])
    for number, (measure, heading, small) in enumerate(_PANELS):
        x = _LEFT + number * (_PANEL + _GAP)
        axes = _panel(sheet, x, _PANEL, heading, small, floor)
        axes.set_xlim(0, max(percents))
        axes.set_xticks([0, *percents], [f"{percent} %" for percent in (0, *percents)])
        axes.set_xlabel("Share of the picture that is covered", size=10, color=INK, family=FONT, labelpad=8)
        for position, rows in enumerate(lines.values()):
            _draw(axes, rows, percents, measure, position)
    x = _LEFT + 2 * (_PANEL + _GAP)
    axes = _panel(
        sheet, x, _NARROW, "Sunglasses and scarf", "threshold kept; different scale", _floor(lines, _ACCESSORIES)
    )
    _accessories(axes, lines)
    _key(sheet, x + _NARROW + 28, list(lines))
    return sheet.figure


def examples_figure(faces: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Draw one face under every condition, in a row.

    Parameters
    ----------
    faces
        Condition -> RGB uint8 (112, 112, 3).

    Raises
    ------
    InputError
        If there are no faces.
    """
    if not faces:
        raise InputError("there are no faces to show")
    size, gap, top = 124, 10, 20
    sheet = Sheet(2 * top + len(faces) * (size + gap) - gap, top + size + 40)
    for number, (key, face) in enumerate(faces.items()):
        x = top + number * (size + gap)
        axes = sheet.figure.add_axes(sheet.box(x, top, size, size))
        axes.imshow(face, interpolation="nearest")
        axes.set_axis_off()
        label = "nothing covered" if key == CLEAN.key else condition_name(key)
        sheet.text(x + size / 2, top + size + 22, label, size=10, align="center")
    return sheet.figure


def _floor(lines: Mapping[str, Mapping[str, ConditionResult]], keys: Sequence[str]) -> float:
    """Return the multiple of 5 % below all intervals."""
    shown = [rows[key] for rows in lines.values() for key in keys]
    lowest = min(min(found.accuracy.interval.low, found.kept.interval.low) for found in shown)
    return max(0.0, float(np.floor(lowest * 20) / 20))


def _panel(sheet: Sheet, x: float, width: float, heading: str, small: str, floor: float) -> Axes:
    sheet.text(x, _TOP - 30, heading, size=10.5, weight="bold")
    sheet.text(x, _TOP - 13, small, size=9, color=MUTED)
    axes = sheet.figure.add_axes(sheet.box(x, _TOP, width, _PANEL))
    axes.set_ylim(floor, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    dress(axes)
    axes.set_ylabel("Accuracy", size=10, color=INK, family=FONT, labelpad=8)
    return axes


def _draw(
    axes: Axes, rows: Mapping[str, ConditionResult], percents: Sequence[int], measure: str, position: int
) -> None:
    rates = [getattr(rows[key], measure) for key in (CLEAN.key, *(f"free-{percent}" for percent in percents))]
    x = [0, *percents]
    color = _COLORS[position]
    axes.fill_between(
        x, [rate.interval.low for rate in rates], [rate.interval.high for rate in rates], color=color, alpha=0.10, lw=0
    )
    (line,) = axes.plot(x, [rate.value for rate in rates], color=color, lw=1.8, marker="o", ms=3.5, clip_on=False)
    if _DASHES[position]:
        line.set_dashes(_DASHES[position])


def _accessories(axes: Axes, lines: Mapping[str, Mapping[str, ConditionResult]]) -> None:
    offsets = (np.arange(len(lines)) - (len(lines) - 1) / 2) * 0.13
    for position, (rows, offset) in enumerate(zip(lines.values(), offsets, strict=True)):
        for place, key in enumerate(_ACCESSORIES):
            rate = rows[key].kept
            bar: dict[str, Any] = {"color": _COLORS[position], "capsize": 0, "fmt": "o", "ms": 5, "lw": 1.6}
            ends = [[rate.value - rate.interval.low], [rate.interval.high - rate.value]]
            axes.errorbar([place + offset], [rate.value], yerr=ends, **bar)
    axes.set_xlim(-0.5, 1.5)
    axes.set_xticks(range(2), _ACCESSORIES)
    axes.grid(visible=False, axis="x")


def _key(sheet: Sheet, x: float, names: Sequence[str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

    y = float(_TOP + 10)
    for position, name in enumerate(names):
        height = 1 - (y - 4) / sheet.height
        mark = Line2D([x / sheet.width, (x + 28) / sheet.width], [height, height], color=_COLORS[position], lw=2)
        if _DASHES[position]:
            mark.set_dashes(_DASHES[position])
        sheet.figure.add_artist(mark)
        label, _, kind = name.rpartition(":")
        text = sheet.wrap(sheet.printable(score_name(label, kind)), 130, 9.5)
        y = sheet.text(x + 38, y, text, size=9.5) + 8
