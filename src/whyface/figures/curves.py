"""What ROC and DET figures have in common: lines by kind of score, their key, and the frame around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval
from whyface.evaluate.summary import Summary
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH: Final = 960
HEIGHT: Final = 724
_MARGIN, _LEFT, _TOP, _SIDE = 40, 104, 108, 528
_KEY = 672

OCHRE: Final = "#b8730a"


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


def framed_axes(sheet: Sheet, title: str, subtitle: str) -> Axes:
    """Set the title and return axes in the house style, square, with room for the key on the right."""
    width = WIDTH - 2 * _MARGIN
    sheet.text(_MARGIN, 46, sheet.shorten(title, width, 15, "bold"), size=15, weight="bold")
    sheet.text(_MARGIN, 72, sheet.shorten(subtitle, width, 9.5), size=9.5, color=MUTED)
    axes = sheet.figure.add_axes(sheet.box(_LEFT, _TOP, _SIDE, _SIDE))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.grid(color=HAIRLINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=INK, labelfontfamily=FONT, pad=6)
    return axes


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Name both axes."""
    axes.set_xlabel(x, size=10, color=INK, family=FONT, labelpad=8)
    axes.set_ylabel(y, size=10, color=INK, family=FONT, labelpad=8)


def draw_key(
    sheet: Sheet, lines: Mapping[str, Stroke], names: Mapping[str, str], values: Mapping[str, list[str]]
) -> float:
    """List the lines to the right of the axes with their figures, and return where the next text may stand."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

    y = float(_TOP + 14)
    for kind, stroke in lines.items():
        height = 1 - (y - 4) / sheet.height
        mark = Line2D([_KEY / sheet.width, (_KEY + 30) / sheet.width], [height, height], color=stroke.color, lw=2)
        if stroke.dashes:
            mark.set_dashes(stroke.dashes)
        sheet.figure.add_artist(mark)
        name = sheet.shorten(names.get(kind, kind), WIDTH - _MARGIN - _KEY - 40, 10.5, "bold")
        y = sheet.text(_KEY + 40, y, name, size=10.5, weight="bold")
        y = sheet.text(_KEY + 40, y, "\n".join(values[kind]), size=9, color=MUTED) + 12
    return y


def draw_note(sheet: Sheet, y: float, note: str) -> None:
    """Set small print under the key."""
    sheet.text(_KEY, y, sheet.wrap(note, WIDTH - _MARGIN - _KEY, 8.5), size=8.5, color=MUTED)


def with_interval(label: str, value: float, interval: Interval | None, digits: int = 2) -> list[str]:
    """Write a rate in percent, with its interval on a line of its own."""
    lines = [f"{label} {100 * value:.{digits}f} %"]
    if interval is not None:
        lines.append(f"{100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f}")
    return lines
