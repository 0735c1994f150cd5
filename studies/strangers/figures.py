"""Figures of uncertainty: people in the gallery and strangers, and the words whose erasure raises it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BINS: Final = 25
# All sizes in pixels.
_LEFT, _TOP, _PANEL_WIDTH, _PANEL_HEIGHT, _GAP_X, _GAP_Y = 88, 152, 380, 190, 84, 96
_TITLES: Final[Mapping[str, str]] = {
    "clean": "Nothing covered",
    "free-30": "30 % covered, free-form",
    "sunglasses": "Sunglasses",
    "scarf": "Scarf",
}


def uncertainty_figure(
    groups: Mapping[str, Mapping[str, NDArray[Any]]], *, auroc: Mapping[str, float] | None = None, caption: str = ""
) -> Figure:
    """Draw the distribution of uncertainty over known people (upwards) and strangers (downwards) by condition.

    Parameters
    ----------
    groups
        Condition -> ``"known"`` and ``"strangers"`` -> u of each photo, in 0..1.
    auroc
        Condition -> area under the ROC curve, for the panel titles.
    caption
        Description of the measurement.

    Raises
    ------
    InputError
        If there is nothing to draw.
    """
    if not groups or any(not len(one.get(name, ())) for one in groups.values() for name in ("known", "strangers")):
        raise InputError("the figure needs uncertainties of known people and of strangers")
    rows = -(-len(groups) // 2)
    width = _LEFT + 2 * _PANEL_WIDTH + _GAP_X + 48
    sheet = Sheet(width, _TOP + rows * (_PANEL_HEIGHT + _GAP_Y) + 4)
    sheet.text(40, 44, "Uncertainty of people in the gallery and of strangers", size=15, weight="bold")
    end = sheet.text(40, 70, sheet.wrap(caption, width - 80, 9.5), size=9.5, color=MUTED)
    for x, color, name in ((40, BLUE, "people in the gallery, upwards"), (290, RED, "strangers, downwards")):
        swatch = sheet.figure.add_axes(sheet.box(x, end - 5, 12, 12))
        swatch.set_axis_off()
        swatch.add_patch(_rectangle(color))
        sheet.text(x + 20, end + 6, name, size=9.5)
    for number, (key, values) in enumerate(groups.items()):
        x = _LEFT + (number % 2) * (_PANEL_WIDTH + _GAP_X)
        y = _TOP + (number // 2) * (_PANEL_HEIGHT + _GAP_Y) + 12
        sheet.text(x, y - 12, _TITLES.get(key, key), size=11, weight="bold")
        if auroc is not None and key in auroc:
            text = f"AUROC {auroc[key]:.3f}"
            sheet.text(x + _PANEL_WIDTH, y - 12, text, size=9.5, color=MUTED, align="right")
        axes = sheet.figure.add_axes(sheet.box(x, y, _PANEL_WIDTH, _PANEL_HEIGHT))
        axes.set_label(key)
        _mirrored(axes, np.asarray(values["known"]), np.asarray(values["strangers"]))
        axes.set_xlabel("uncertainty u", size=9, color=INK, family=FONT, labelpad=5)
        if number % 2 == 0:
            axes.set_ylabel("share of photos", size=9, color=INK, family=FONT)
    return sheet.figure


def word_rises_figure(words: Mapping[str, Mapping[str, float]], *, least: int = 5, title: str, subtitle: str) -> Figure:
    """Draw the mean rise of u when each word's place is erased, and when random places of that size are.

    Parameters
    ----------
    words
        Word -> ``photos``, ``mean_rise``, ``mean_rise_by_chance``; from ``studies/words/uncertainty.py``.
    least
        Words in fewer photos are left out; of the others, the fifteen with the largest rise are drawn.
    title, subtitle
        Title and subtitle.

    Raises
    ------
    InputError
        If no word is in enough photos.
    """
    enough = {name: one for name, one in words.items() if one["photos"] >= least}
    drawn = sorted(enough.items(), key=lambda item: -item[1]["mean_rise"])[:15]
    if not drawn:
        raise InputError(f"no word is present in {least} photos or more; use more photos")
    step, top = 25, 136
    sheet = Sheet(860, top + len(drawn) * step + 70)
    sheet.text(40, 44, title, size=15, weight="bold")
    sheet.text(40, 70, sheet.wrap(subtitle, 780, 9.5), size=9.5, color=MUTED)
    for x, color, name in ((40, BLUE, "the word's place erased"), (260, "#b4bcc6", "random places of the same size")):
        swatch = sheet.figure.add_axes(sheet.box(x, top - 38, 12, 12))
        swatch.set_axis_off()
        swatch.add_patch(_rectangle(color))
        sheet.text(x + 20, top - 27, name, size=9.5)
    axes = sheet.figure.add_axes(sheet.box(230, top, 570, len(drawn) * step))
    axes.set_label("rises")
    places = np.arange(len(drawn))
    for key, color, offset in (("mean_rise", BLUE, -0.19), ("mean_rise_by_chance", "#b4bcc6", 0.19)):
        axes.barh(places + offset, [one[key] for _, one in drawn], height=0.36, color=color)
    axes.set_yticks(places, [f"{name} ({one['photos']:.0f})" for name, one in drawn])
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.set_xlabel("mean rise of u (number of photos in brackets)", size=9.5, color=INK, family=FONT, labelpad=6)
    axes.tick_params(axis="y", length=0, labelsize=9.5, labelcolor=INK, labelfontfamily=FONT, pad=6)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=MUTED, labelfontfamily=FONT, color=HAIRLINE, length=3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)
    return sheet.figure


def _mirrored(axes: Axes, known: NDArray[Any], strangers: NDArray[Any]) -> None:
    edges = np.linspace(0, 1, _BINS + 1)
    for values, color, sign in ((known, BLUE, 1), (strangers, RED, -1)):
        share = np.histogram(np.clip(values, 0, 1), edges)[0] / len(values)
        axes.bar(edges[:-1], sign * share, width=0.86 / _BINS, align="edge", color=color)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1], ["100 %", "50 %", "0", "50 %", "100 %"])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(labelsize=8.5, labelcolor=MUTED, labelfontfamily=FONT, color=HAIRLINE, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(HAIRLINE)


def _rectangle(color: str) -> Any:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    return Rectangle((0, 0), 1, 1, color=color, linewidth=0)
