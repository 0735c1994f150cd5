"""Curves of the bench: errors while patches are undone, accuracy while pixels go or come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from whyface.bench.summary import MethodSummary
from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, INK, MUTED, RED, Sheet, dress

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
"""Lines that can be told apart, controls not counted."""


def curves_figure(
    summaries: Mapping[str, MethodSummary], *, title: str, subtitle: str = "", controls: Sequence[str] = ()
) -> Figure:
    """Draw the curves of all methods on one model, a panel for each test; controls are thin and grey.

    Raises
    ------
    InputError
        If nothing was measured or there are more methods than can be told apart.
    """
    panels = [panel for panel in PANELS if any(panel[0] in found.curves for found in summaries.values())]
    methods = [method for method in summaries if method not in controls]
    if not panels:
        raise InputError("the results hold no curves; run the tests 'replacement' or 'erasure' of the benchmark")
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
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

    y = float(_TOP + 12)
    for method in (*methods, *controls):
        color, dashes = _stroke(method, methods, controls)
        height = 1 - (y - 4) / sheet.height
        mark = Line2D([x / sheet.width, (x + 28) / sheet.width], [height, height], color=color, lw=2)
        if dashes:
            mark.set_dashes(dashes)
        sheet.figure.add_artist(mark)
        sheet.text(x + 38, y, method, size=10, color=MUTED if method in controls else INK)
        y += 22
