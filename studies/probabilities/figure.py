"""The reliability diagram: the share of genuine pairs by predicted probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from studies.probabilities.calibration import ReliabilityDiagram
from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# All sizes in pixels.
_SIDE, _GAP, _MARGIN, _TOP, _COUNTS = 280, 82, 78, 130, 70
_BETWEEN, _LEFT = 58, 40


def reliability_figure(results: Mapping[str, ReliabilityDiagram], *, title: str, subtitle: str = "") -> Figure:
    """Draw one diagram for each way of making probabilities.

    Above: the share of genuine pairs in each bin of probability with its 95 % interval, and the diagonal, where a
    trustworthy probability lies. Below: the number of pairs in each bin on a logarithmic scale, since nearly all are at
    the ends.

    Parameters
    ----------
    results
        One to four, by name.
    title, subtitle
        Title and subtitle.

    Raises
    ------
    InputError
        If there are none or more than four.
    """
    if not 1 <= len(results) <= 4:
        raise InputError(f"the figure shows one to four results, got {len(results)}")
    width = max(_MARGIN + _LEFT + len(results) * _SIDE + (len(results) - 1) * _GAP, 760)
    sheet = Sheet(width, _TOP + _SIDE + _BETWEEN + _COUNTS + 84)
    sheet.text(_LEFT, 42, title, size=15, weight="bold")
    sheet.text(_LEFT, 68, sheet.wrap(subtitle, width - 2 * _LEFT, 10), size=10, color=MUTED)
    most = max(one.pairs for result in results.values() for one in result.bins)
    for column, (name, result) in enumerate(results.items()):
        _diagram(sheet, _MARGIN + column * (_SIDE + _GAP), name, result, most)
    return sheet.figure


def _diagram(sheet: Sheet, x: float, name: str, result: ReliabilityDiagram, most: int) -> None:
    sheet.text(x, _TOP - 14, name, size=11, weight="bold")
    errors = f"ECE {100 * result.ece:.2f} %, Brier {result.brier:.4f}, log loss {result.log_loss:.4f}"
    axes = sheet.figure.add_axes(sheet.box(x, _TOP, _SIDE, _SIDE))
    axes.set_label(name)
    axes.plot([0, 1], [0, 1], color=HAIRLINE, linewidth=1.4, zorder=1)
    for one in result.bins:
        axes.plot([one.predicted] * 2, one.interval, color=BLUE, alpha=0.45, linewidth=1.6, zorder=2)
    x_values, y_values = ([getattr(one, key) for one in result.bins] for key in ("predicted", "observed"))
    axes.plot(x_values, y_values, "o", color=BLUE, markersize=5.5, markeredgecolor="white", zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    counts = sheet.figure.add_axes(sheet.box(x, _TOP + _SIDE + _BETWEEN, _SIDE, _COUNTS))
    counts.set_label(f"{name} pairs")
    for one in result.bins:
        counts.bar(one.low, one.pairs, width=(one.high - one.low) * 0.86, align="edge", color=MUTED, alpha=0.55)
    counts.set_yscale("log")
    counts.set_xlim(-0.02, 1.02)
    counts.set_ylim(0.7, 2 * most)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    for one_axes in (axes, counts):
        one_axes.set_xticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
        one_axes.tick_params(labelsize=8, labelcolor=MUTED, labelfontfamily=FONT, color=HAIRLINE, length=3)
        one_axes.spines[["top", "right"]].set_visible(False)
        one_axes.spines[["left", "bottom"]].set_color(HAIRLINE)
    axes.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
    counts.minorticks_off()
    powers = [10**power for power in range(0, 9, 1 if most < 100 else 3) if 10**power <= 2 * most]
    counts.set_yticks(powers, [str(power) for power in powers])
    axes.set_ylabel("share of genuine pairs", size=8.5, color=INK, family=FONT)
    axes.set_xlabel("predicted probability", size=8.5, color=INK, family=FONT)
    counts.set_ylabel("pairs", size=8.5, color=INK, family=FONT)
    sheet.text(x, _TOP + _SIDE + _BETWEEN + _COUNTS + 44, errors, size=8.5)
