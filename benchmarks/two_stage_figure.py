"""The figure of cost and recall of two-stage search, by the size of the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WAYS: Final = (
    ("exhaustive", "exhaustive", RED, "o"),
    ("shortlist of 500", "two stages, 500 compared", MUTED, "s"),
    ("shortlist of 100", "two stages, 100 compared", BLUE, "^"),
)
SHIPPED: Final = "the probe's attention to itself"
"""The weights of a probe's cells in the index."""

_WIDTH: Final = 1180
_HEIGHT: Final = 500
_TINTS: Final = ("#9ecae1", "#6baed6", "#2171b5", "#08306b")


def two_stage_figure(record: Mapping[str, Any]) -> Figure:
    """Draw milliseconds per probe against the number of faces, and recall@10 against the shortlist's size.

    Parameters
    ----------
    record
        The record that ``benchmarks/two_stage.py`` writes.

    Raises
    ------
    InputError
        If it holds no gallery.
    """
    sizes: Mapping[str, Any] = record["faces"]
    if not sizes:
        raise InputError("there is no gallery to draw")
    sheet = Sheet(_WIDTH, _HEIGHT)
    sheet.text(40, 38, "Two-stage search: what it costs and what it misses", size=15, weight="bold")
    # One probe at a time, so that the curves are waiting times.
    threads = record["threads"]
    sheet.text(
        40,
        62,
        f"{record['probes']} probes, learned attention, {threads} core{'' if threads == 1 else 's'}; "
        f"LFW and, from {record['real_faces']:,} faces on, distractors mixed from real faces",
        size=10.5,
        color=MUTED,
    )
    cost = _axes(sheet, 90, "Milliseconds per probe (median, quartiles)", "faces in the gallery")
    faces = [int(size) for size in sizes]
    for key, label, color, marker in _WAYS:
        times = [found["milliseconds"][key] for found in sizes.values()]
        median = [time["median"] for time in times]
        cost.plot(faces, median, color=color, marker=marker, label=label, linewidth=2)
        cost.vlines(faces, *zip(*(time["quartiles"] for time in times), strict=True), color=color, linewidth=1)
    cost.set_xscale("log")
    cost.set_yscale("log")
    _legend(cost, "upper left")
    recall = _axes(sheet, 680, "Recall@10: part of the exhaustive ten best on the shortlist", "length of the shortlist")
    for tint, (size, found) in zip(_TINTS[-len(sizes) :], list(sizes.items())[-len(_TINTS) :], strict=True):
        points = found["by_stand_in_for_learned_attention"][SHIPPED]["recall@10"]
        recall.plot(
            [int(length) for length in points],
            list(points.values()),
            color=tint,
            marker="o",
            markersize=4,
            label=f"{int(size):,} faces",
            linewidth=2,
        )
    recall.set_xscale("log")
    recall.set_ylim(top=1.01)
    _legend(recall, "lower right")
    return sheet.figure


def _axes(sheet: Sheet, left: float, title: str, horizontal: str) -> Axes:
    axes = sheet.figure.add_axes(sheet.box(left, 130, 450, 300))
    axes.set_title(title, fontsize=11, color=INK, family=FONT, loc="left")
    axes.set_xlabel(horizontal, fontsize=10, color=INK, family=FONT)
    axes.grid(color=HAIRLINE, linewidth=0.7)
    axes.tick_params(labelsize=9, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _legend(axes: Axes, place: Literal["upper left", "lower right"]) -> None:
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - slow to import

    axes.legend(loc=place, frameon=False, prop=FontProperties(family=FONT, size=9.5))
