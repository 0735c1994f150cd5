"""The strip of a film: each track's best faces, with the name, the score and the frame that decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from whyface.errors import InputError
from whyface.figures import panels
from whyface.figures.style import BLUE, INK, MUTED, Sheet
from whyface.identify.film import TrackDecision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE: Final = 112
_GAP: Final = 14
_MARGIN: Final = 40
_NAME: Final = 300
_TOP: Final = 96
_ROW: Final = _SIDE + 46


def strip_figure(decisions: Sequence[TrackDecision]) -> Figure:
    """Draw a row for each track: who it is, and its best faces, the deciding one with a frame around it.

    Raise InputError if there are no tracks.
    """
    if not decisions:
        raise InputError("the strip needs a track; there is none")
    most = max(len(one.track.best) for one in decisions)
    width = max(2 * _MARGIN + _NAME + most * (_SIDE + _GAP), 760)
    sheet = Sheet(width, _TOP + len(decisions) * _ROW + 20)
    sheet.text(_MARGIN, 44, "Who is in the film", size=15, weight="bold")
    told = "The best faces of each track by quality, framed the one most like the person; below each its own score"
    sheet.text(_MARGIN, 68, told, size=9, color=MUTED)
    for row, one in enumerate(decisions):
        _track(sheet, one, _TOP + row * _ROW)
    return sheet.figure


def _track(sheet: Sheet, one: TrackDecision, top: float) -> None:
    found, track = one.found, one.track
    name = found.name or ("undecided" if found.verdict == "undecided" else "nobody known")
    shown = sheet.shorten(sheet.printable(name), _NAME - 20, 13)
    sheet.text(_MARGIN, top + 24, shown, size=13, weight="bold", color=INK if found.name is None else BLUE)
    lines = [f"{track.first.seconds:.1f} to {track.last.seconds:.1f} s", f"{track.used} of {track.seen} faces used"]
    if found.candidates:
        lines.insert(0, f"score {found.best.score:.3f}, threshold {found.threshold:.3f}")
    elif found.doubt:
        lines.insert(0, found.doubt)
    told = "\n".join(sheet.wrap(line, _NAME - 20, 9) for line in lines)
    sheet.text(_MARGIN, top + 48, told, size=9, color=MUTED)
    for column, seen in enumerate(track.best):
        x = _MARGIN + _NAME + column * (_SIDE + _GAP)
        axes = sheet.figure.add_axes(sheet.box(x, top, _SIDE, _SIDE))
        panels.draw_face(axes, seen.face.image, None)
        if seen is one.deciding:
            axes.set_axis_on()
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(visible=True, color=BLUE, linewidth=3)
        alone = f", {one.scores[column]:.3f}" if one.scores else ""
        sheet.text(x, top + _SIDE + 16, f"{seen.seconds:.1f} s{alone}", size=8.5, color=MUTED)
