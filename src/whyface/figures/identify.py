"""Figures of identification: the best two candidates compared, erased words, and the boxes of a group photo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE
from whyface.figures import panels
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED, Sheet
from whyface.identify.group import GroupIdentification
from whyface.identify.identification import Identification, contributions
from whyface.identify.identity_sentences import notes, reason_sentence, uncertainty_sentence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from whyface.gallery.search import Candidate

# All sizes in pixels.
_WIDTH: Final = 1400
_MARGIN, _SIDE, _GAP, _TOP = 40, 208, 26, 188
_RIGHT: Final = 380
_ROW: Final = _SIDE + 62
_BARS: Final = 9
_TEXT, _LEADING = 11, 1.5

NO_PHOTO: Final = "photo not at hand:\ngive the enrolled folder\nwith --photos"
"""What stands where a candidate's photo would be."""


def identification_figure(
    found: Identification,
    face: NDArray[np.uint8],
    pictures: Mapping[int, NDArray[np.uint8] | None] | None = None,
) -> Figure:
    """Draw an identification so that a reader can check it.

    Left: the probe and the scores of the best candidates with the threshold. Right: S, W and S * W for the best two
    candidates, and the difference of the products, which adds up to the gap between their scores. Raise InputError if
    the face has another shape or type.

    Parameters
    ----------
    pictures
        Aligned faces of candidates by record, if their photos are available.
    """
    if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
        raise InputError(f"the face must be aligned, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    if found.undecided:
        raise InputError(f"there is nothing to draw: {found.doubt}, so it was compared with nobody")
    shown = found.candidates[:2]
    difference = found.difference()
    lines = _wrapped(found)
    rows = _TOP + len(shown) * _ROW + (0 if difference is None else _ROW + 14)
    left = _TOP + _SIDE + (96 if found.uncertainty is None else 176) + 30 * min(len(found.candidates), 5)
    text_top = max(rows, left) + 8
    height = text_top + sum(part.count("\n") + 1 for part in lines) * _TEXT * _LEADING * 100 / 72 + 12 * len(lines) + 40
    sheet = Sheet(_WIDTH, round(height))
    _header(sheet, found)
    sheet.text(_MARGIN, _TOP - 12, "The photo", size=11, weight="bold")
    axes = sheet.figure.add_axes(sheet.box(_MARGIN, _TOP, _SIDE, _SIDE))
    axes.set_label("photo")
    panels.draw_face(axes, face, None, found.unseen)
    if found.face is not None:
        name = sheet.shorten(sheet.printable(PurePath(found.face.source).name), _SIDE, 8.8)
        sheet.text(_MARGIN, _TOP + _SIDE + 19, name, size=8.8, color=MUTED)
    _scores(sheet, found, _TOP + _SIDE + 62)
    if found.uncertainty is not None:
        _uncertainty(sheet, found.uncertainty, _TOP + _SIDE + 118 + 30 * min(len(found.candidates), 5))
    for row, candidate in enumerate(shown):
        picture = (pictures or {}).get(candidate.record)
        _candidate(sheet, found, candidate, picture, _TOP + row * _ROW, first=row == 0)
    if difference is not None:
        _difference(sheet, found, difference, _TOP + len(shown) * _ROW + 14)
    y: float = text_top + 14
    for part in lines:
        y = 12 + sheet.text(_MARGIN, y, part, size=_TEXT, leading=_LEADING)
    _footer(sheet, found)
    return sheet.figure


def _header(sheet: Sheet, found: Identification) -> None:
    title = sheet.printable("Undecided" if found.tied else found.name or "Nobody in the gallery")
    title = sheet.shorten(title, 620, 25, "bold")
    sheet.text(_MARGIN, 62, title, size=25, weight="bold", color=BLUE if found.is_known else INK if found.tied else RED)
    people = "1 person" if found.people == 1 else f"{found.people} people"
    faces = "1 photo" if found.faces == 1 else f"{found.faces} photos"
    meaning = f"among {people} with {faces}" if found.is_known else f"of {people} with {faces} is above the threshold"
    if found.tied:
        meaning = f"{' and '.join(found.tied)} have the very same score"
    sheet.text(_MARGIN + sheet.measure(title, 25, "bold") + 16, 62, meaning, size=13)
    side = "above" if found.best.score > found.threshold else "not above"
    line = f"Best score {found.best.score:.4f}, {side} the threshold {found.threshold:.4f}"
    sheet.text(_MARGIN, 92, line, size=11.5)
    sheet.text(_MARGIN, 113, f"Threshold: {found.threshold_source.describe()}", size=8.8, color=MUTED)
    axes = sheet.figure.add_axes(sheet.box(950, 30, _WIDTH - _MARGIN - 950, 84))
    axes.set_label("scale")
    panels.draw_scale(axes, found.best.score, found.threshold)


def _scores(sheet: Sheet, found: Identification, y: float) -> None:
    listed = found.candidates[:5]
    sheet.text(_MARGIN, y - 12, "Scores of the best", size=11, weight="bold")
    names = [sheet.shorten(sheet.printable(one.name), 110, 9) for one in listed]
    indent = 118
    axes = sheet.figure.add_axes(sheet.box(_MARGIN + indent, y, 290 - indent, 30 * len(listed)))
    axes.set_label("scores")
    values = [one.score for one in listed]
    axes.barh(range(len(values)), values, height=0.6, color=[BLUE if v > found.threshold else HAIRLINE for v in values])
    low, high = min(0.0, *values), max(found.threshold, *values)
    for place, value in enumerate(values):
        # In a separate column, where the line of the threshold cannot cross them.
        axes.text(1.34 * high, place, f"{value:.3f}", size=8.5, va="center", ha="right", color=INK, family=FONT)
    axes.axvline(found.threshold, color=INK, linewidth=1.2)
    axes.set_xlim(low, 1.34 * high)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_yticks(range(len(values)), names)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK, labelfontfamily=FONT, pad=6)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    sheet.text(_MARGIN + indent, y + 30 * len(listed) + 14, "line: threshold", size=8.5, color=MUTED)


def _uncertainty(sheet: Sheet, value: float, y: float) -> None:
    sheet.text(_MARGIN, y, "Uncertainty", size=11, weight="bold")
    text = f"u = {value:.2f}" if value >= 0.01 else f"u = {value:.1g}"
    sheet.text(_MARGIN + sheet.measure("Uncertainty", 11, "bold") + 12, y, text, size=11)
    axes = sheet.figure.add_axes(sheet.box(_MARGIN, y + 14, 290, 18))
    axes.set_label("uncertainty")
    axes.barh([0], [1], height=0.5, color=HAIRLINE)
    axes.barh([0], [value], height=0.5, color=MUTED)
    axes.plot([value], [0], "o", color=INK, markersize=9, markeredgecolor="white", markeredgewidth=1.4, clip_on=False)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.5, 0.5)
    axes.set_axis_off()
    sheet.text(_MARGIN, y + 48, "0: sure", size=8.8, color=MUTED)
    sheet.text(_MARGIN + 290, y + 48, "1: no evidence for anybody", size=8.8, color=MUTED, align="right")


def _candidate(
    sheet: Sheet,
    found: Identification,
    candidate: Candidate,
    picture: NDArray[np.uint8] | None,
    y: float,
    *,
    first: bool,
) -> None:
    name = sheet.shorten(sheet.printable(candidate.name), _SIDE, 11, "bold")
    sheet.text(_left(0), y - 12, name, size=11, weight="bold")
    axes = _panel(sheet, 0, y, "face" if first else "next face")
    if picture is None:
        axes.text(0.5, 0.5, NO_PHOTO, size=9, color=MUTED, ha="center", va="center", family=FONT, linespacing=1.6)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(HAIRLINE)
    else:
        panels.draw_face(axes, picture, None)
    line = f"{'best' if first else 'next'} person, score {candidate.score:.4f}"
    sheet.text(_left(0), y + _SIDE + 19, line, size=8.8, color=MUTED)
    parts, shares, unseen = contributions(candidate), found.shares(candidate), found.unseen
    if candidate.similarity is not None and candidate.attention is not None:
        axes = _titled(sheet, 1, y, "Similarity")
        if found.usual is not None:
            panels.draw_telling(axes, candidate.similarity, found.usual.judge(candidate.similarity))
        else:
            norm = panels.similarity_norm(found.threshold)
            panels.draw_cells(axes, candidate.similarity, panels.DIVERGING, norm)
        panels.hatch(axes, unseen)
        meaning = "red: commoner among strangers" if found.usual is not None else f"red: below {found.threshold:.2f}"
        sheet.text(_left(1), y + _SIDE + 19, meaning, size=8.8, color=MUTED)
        weights = 100 * candidate.attention
        scale = panels.weight_norm(weights)
        axes = _titled(sheet, 2, y, "Weight, %")
        panels.draw_cells(axes, weights, panels.SEQUENTIAL, scale, digits=1)
        panels.hatch(axes, unseen)
        for column, sign in ((2, "\N{MULTIPLICATION SIGN}"), (3, "=")):
            sheet.text(_left(column) - _GAP / 2, y + _SIDE / 2 + 7, sign, size=15, color=MUTED, align="center")
    if parts is not None and shares is not None:
        points, neutral = 100 * parts, 100 * shares
        title = f"Contribution: sums to {100 * candidate.score:.1f}"
        axes = _titled(sheet, 3, y, title)
        panels.draw_cells(axes, neutral, panels.DIVERGING, panels.share_norm(neutral), numbers=points, digits=1)
        panels.hatch(axes, unseen)
        # A place adds little and is red although its number is positive.
        sheet.text(_left(3), y + _SIDE + 19, "red: less than its share of the threshold", size=8.8, color=MUTED)


def _difference(sheet: Sheet, found: Identification, difference: NDArray[np.float64], y: float) -> None:
    best, other = found.candidates[:2]
    gap = 100 * (found.gap or 0.0)
    title = sheet.shorten(sheet.printable(f"Why {best.name} and not {other.name}"), 620, 11, "bold")
    sheet.text(_left(0), y - 12, title, size=11, weight="bold")
    used = sheet.measure(title, 11, "bold")
    sheet.text(_left(0) + used + 12, y - 12, f"in points; together {gap:+.1f}", size=8.8, color=MUTED)
    by_size = sorted(found.reasons().items(), key=lambda item: -abs(item[1]))
    chosen = sorted(by_size[:_BARS], key=lambda item: -item[1])
    rest = [share for _, share in by_size[_BARS:]]
    bars = [*chosen, panels.other_regions(rest)] if rest else chosen
    width = 3 * _SIDE + 2 * _GAP - 120
    axes = sheet.figure.add_axes(sheet.box(_left(0) + 110, y, width, _SIDE))
    axes.set_label("regions")
    panels.draw_region_bars(axes, bars)
    axes = _titled(sheet, 3, y, f"Difference: sums to {gap:.1f}")
    values = 100 * difference
    panels.draw_cells(axes, values, panels.DIVERGING, panels.share_norm(values), digits=1)
    panels.hatch(axes, found.unseen)
    sheet.text(
        _left(3), y + _SIDE + 19, sheet.shorten(f"blue: more like {best.name}", _SIDE, 8.8), size=8.8, color=MUTED
    )


def _wrapped(found: Identification) -> list[str]:
    ruler = Sheet(_WIDTH, 100)
    said = (reason_sentence(found), uncertainty_sentence(found), *notes(found))
    return [ruler.wrap(ruler.printable(f"{part}."), _WIDTH - 2 * _MARGIN, _TEXT) for part in said if part]


def _footer(sheet: Sheet, found: Identification) -> None:
    name = found.model.name if found.model.sha256 is None else f"{found.model.name} (SHA-256 {found.model.sha256[:12]})"
    parts = [name, *(f"whyface {found.versions[key]}" for key in ("whyface",) if key in found.versions)]
    parts.append("left and right as seen in the picture")
    text = sheet.shorten("  \N{MIDDLE DOT}  ".join(parts), _WIDTH - 2 * _MARGIN, 8)
    sheet.text(_MARGIN, sheet.height - 20, text, size=8, color=MUTED)


def _left(column: int) -> float:
    return _RIGHT + 72 + column * (_SIDE + _GAP)


def _panel(sheet: Sheet, column: int, y: float, label: str) -> Axes:
    axes = sheet.figure.add_axes(sheet.box(_left(column), y, _SIDE, _SIDE))
    axes.set_label(label)
    return axes


def _titled(sheet: Sheet, column: int, y: float, title: str) -> Axes:
    sheet.text(_left(column), y - 12, title, size=10, color=INK)
    return _panel(sheet, column, y, title)


# Of the group photo, in pixels of the figure.
_TALLEST: Final = 1000
_LEAST_LABEL: Final = 90
_LINE, _LABEL, _LINE_LEADING = 10.5, 10, 1.6


def group_figure(group: GroupIdentification, photo: NDArray[np.uint8]) -> Figure:
    """Draw the photo with its faces in boxes, blue where somebody is named, and a line about each below.

    Raise InputError if the photo has another shape or type, or a face has no place in it.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise InputError(f"the photo must be (H, W, 3) uint8, got {photo.shape} {photo.dtype}")
    if any(one.face is None or one.face.box is None for one in group.found):
        raise InputError("an aligned face has no place in a photo; draw the figure of a single face")
    scale = min((_WIDTH - 2 * _MARGIN) / photo.shape[1], _TALLEST / photo.shape[0])
    width, height = photo.shape[1] * scale, photo.shape[0] * scale
    ruler = Sheet(_WIDTH, 100)
    said = [*group.lines(), "", *group.sentences()[1:]]
    text = "\n".join(ruler.wrap(ruler.printable(line), _WIDTH - 2 * _MARGIN, _LINE) for line in said)
    top = 90
    below = (text.count("\n") + 1) * _LINE * _LINE_LEADING * 100 / 72
    sheet = Sheet(_WIDTH, round(top + height + 40 + below + 20))
    title = sheet.shorten(group.sentences()[0], _WIDTH - 2 * _MARGIN, 18, "bold")
    sheet.text(_MARGIN, 56, title, size=18, weight="bold")
    axes = sheet.figure.add_axes(sheet.box(_MARGIN, top, width, height))
    axes.set_label("photo")
    axes.imshow(photo, interpolation="bilinear")
    for number, one in enumerate(group.found):
        _boxed_face(axes, sheet, number, one, scale)
    axes.set_xlim(-0.5, photo.shape[1] - 0.5)
    axes.set_ylim(photo.shape[0] - 0.5, -0.5)
    axes.set_axis_off()
    sheet.text(_MARGIN, top + height + 40, text, size=_LINE, leading=_LINE_LEADING)
    return sheet.figure


def _boxed_face(axes: Axes, sheet: Sheet, number: int, one: Identification, scale: float) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    assert one.face is not None
    assert one.face.box is not None
    x0, y0, x1, y1 = one.face.box
    color = BLUE if one.is_known else MUTED
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=4))
    axes.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=2, label=f"face {number}")
    )
    name = f"{number} {one.name or ('undecided' if one.undecided else 'nobody')}"
    shown = sheet.shorten(name, max((x1 - x0) * scale, _LEAST_LABEL), _LABEL)
    label = {"facecolor": color, "edgecolor": "none", "pad": 2.5}
    axes.text(
        x0, y0, shown, size=_LABEL, color="white", family=FONT, va="bottom", bbox=label, clip_on=True, parse_math=False
    )
