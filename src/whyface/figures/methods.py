"""The figure of the maps of several methods side by side."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import NO_GRID
from whyface.explain.registry import METHODS
from whyface.explain.sentences import score_and_threshold
from whyface.explain.shares import explanation_shares
from whyface.explain.triplet import TripletExplanation
from whyface.faces.face import FACE_SIZE, Face
from whyface.figures import panels
from whyface.figures.panels import face_labels
from whyface.figures.style import BLUE, MUTED, RED, Sheet
from whyface.files.progress import duration_text
from whyface.models.calibration import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Maps = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]

FULL_COLOUR: Final = 99.0
"""Percentile of the absolute values of both faces that gets the full colour, for all methods, so that a few outliers,
such as those of gradients, do not fade everything else."""

PER_BAND: Final = 5
"""Maximum number of methods per row; more are divided evenly among several rows."""

# All sizes in pixels.
_SMALLEST, _LARGEST = 218, 300
_GAP, _MARGIN = 24, 40
_TOP = 228
_CAPTION, _LEADING = 8.8, 1.45
_BELOW = 196
_NARROWEST = 1010


@dataclass(frozen=True)
class _Layout:
    """A sheet with panels of one size."""

    sheet: Sheet
    side: int
    bands: int
    per_band: int

    @classmethod
    def of(cls, methods: int) -> _Layout:
        bands = math.ceil(methods / PER_BAND)
        per_band = math.ceil(methods / bands)
        columns = 1 + per_band
        gaps = 2 * _MARGIN + (columns - 1) * _GAP
        # A single method gets larger panels instead of an empty column.
        largest = _LARGEST if methods > 1 else _NARROWEST
        side = min(max((_NARROWEST - gaps) // columns, _SMALLEST), largest)
        height = _TOP + bands * (2 * side + 12 + _BELOW) + 10
        return cls(Sheet(max(_NARROWEST, gaps + columns * side), height), side, bands, per_band)

    def top(self, band: int, row: int = 0) -> float:
        return _TOP + band * (2 * self.side + 12 + _BELOW) + row * (self.side + 12)

    def left(self, column: int) -> float:
        return _MARGIN + column * (self.side + _GAP)

    def panel(self, column: int, band: int, row: int, label: str) -> Axes:
        box = self.sheet.box(self.left(column), self.top(band, row), self.side, self.side)
        axes = self.sheet.figure.add_axes(box)
        axes.set_label(label)
        return axes


def methods_figure(
    explanations: Sequence[Explanation],
    face_a: NDArray[np.uint8],
    face_b: NDArray[np.uint8],
    *,
    labels: tuple[str, str] | None = None,
    titles: Sequence[str] | None = None,
    blend: bool = False,
) -> Figure:
    """Draw the explanations of one pair by several methods.

    Each method has a column: its map over face A, its map over face B, and the meaning of the colours. Blue supports
    "same person", red speaks against it, white is zero. In each column, the strongest 1 % of the places of both faces
    get the full colour. Columns have different units, so only patterns can be compared, not amounts.

    Parameters
    ----------
    explanations
        Explanations of one pair, each with maps or a grid.
    face_a, face_b
        The aligned faces, RGB uint8, (112, 112, 3).
    labels
        Names of the faces; by default the file names of the explanation.
    titles
        Names of the methods, for instance with their options; by default those of the explanations.
    blend
        Colour the faces themselves, see :func:`whyface.figures.panels.blended`.

    Returns
    -------
    A figure tied to no window and no global state.

    Raises
    ------
    InputError
        If there is nothing to draw, an explanation has no maps, or a face has another shape or type.
    """
    if not explanations:
        raise InputError("there are no explanations to draw; give at least one")
    for name, face in (("face_a", face_a), ("face_b", face_b)):
        if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
            raise InputError(f"{name} must be an aligned face, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    maps = [_maps(explanation) for explanation in explanations]
    layout = _Layout.of(len(explanations))
    _header(layout.sheet, explanations[0])
    _legend(layout, blend)
    for band in range(layout.bands):
        _faces(layout, band, (face_a, face_b), face_labels(explanations[0].faces, labels))
    names = [explanation.method for explanation in explanations] if titles is None else titles
    for number, (explanation, both, name) in enumerate(zip(explanations, maps, names, strict=True)):
        _column(layout, number, explanation, both, (face_a, face_b), name, blend)
    _footer(layout.sheet, explanations[0])
    return layout.sheet.figure


def triplet_figure(
    found: Sequence[TripletExplanation],
    faces: Sequence[Face],
    verdicts: Sequence[Sequence[Explanation]],
    *,
    titles: Sequence[str] | None = None,
    blend: bool = False,
) -> Figure:
    """Draw a triplet: probe, mate and non-mate with their scores, and each method's map over the probe.

    Return a figure tied to no window and no global state. Raise InputError if there is nothing to draw.

    Parameters
    ----------
    found
        Explanations of the triplet.
    faces
        Probe, mate and non-mate; the first of several.
    verdicts
        On the probe and each mate, and on the probe and each non-mate.
    titles, blend
        See :func:`methods_figure`.
    """
    if not found:
        raise InputError("there are no explanations to draw; give at least one")
    side, step = _SMALLEST, _SMALLEST + _GAP
    columns = max(3, min(len(found), PER_BAND))
    rows = math.ceil(len(found) / columns)
    sheet = Sheet(2 * _MARGIN + columns * step, 118 + (1 + rows) * (side + 46))
    sheet.text(_MARGIN, 48, "Why the mate rather than the non-mate", size=18, weight="bold")
    colours = "Green" if blend else "Blue", "pink" if blend else "red"
    rule = f"{colours[0]}: what in the probe speaks for the mate. {colours[1].capitalize()}: for the non-mate."
    sheet.text(_MARGIN, 74, rule, size=9.5)
    scores = ["", *map(_mean_score, verdicts)]
    for column, (role, face, score) in enumerate(zip(("Probe", "Mate", "Non-mate"), faces, scores, strict=True)):
        axes = sheet.figure.add_axes(sheet.box(_MARGIN + column * step, 112, side, side))
        panels.draw_face(axes, face.image, None)
        sheet.text(_MARGIN + column * step, 104, role, size=11, weight="bold")
        # Below the face: beside the role, the score of several photos ran into the next title.
        sheet.text(_MARGIN + column * step, 112 + side + 16, score, size=9, color=MUTED)
    for number, (one, title) in enumerate(zip(found, titles or [one.method for one in found], strict=True)):
        row, column = divmod(number, columns)
        x, y = _MARGIN + column * step, 112 + (1 + row) * (side + 46)
        axes = sheet.figure.add_axes(sheet.box(x, y, side, side))
        reach = full_colour((one.map, one.map))
        if blend:
            panels.draw_face(axes, panels.blended(faces[0].image, one.map, reach), None)
        else:
            panels.draw_overlay(axes, faces[0].image, one.map, reach)
        sheet.text(x, y - 8, sheet.shorten(title, side, 11, "bold"), size=11, weight="bold")
    note = "Each map has its own unit: compare where the colours are, not how deep they are."
    sheet.text(_MARGIN, sheet.height - 16, note, size=8, color=MUTED)
    return sheet.figure


def _mean_score(verdicts: Sequence[Explanation]) -> str:
    mean = sum(verdict.score for verdict in verdicts) / len(verdicts)
    return f"score {mean:.3f}" if len(verdicts) == 1 else f"mean score {mean:.3f} ({len(verdicts)} photos)"


def full_colour(both: Maps) -> float:
    """Return the absolute value that gets the full colour, over both faces; never 0."""
    amounts = np.concatenate([np.abs(one).ravel() for one in both])
    # The value of a place, not an interpolated one, so that a map with few places reaches its maximum.
    reach = float(np.percentile(amounts, FULL_COLOUR, method="higher"))
    return max(reach or float(amounts.max()), 1e-12)


def _maps(explanation: Explanation) -> Maps:
    shares = explanation_shares(explanation)
    if shares is not None:
        return shares, shares
    if explanation.map_a is None or explanation.map_b is None:
        raise InputError(f"method {explanation.method!r} gave no maps to draw; choose another method")
    return explanation.map_a, explanation.map_b


def _header(sheet: Sheet, explanation: Explanation) -> None:
    match = explanation.is_match
    verdict = "Match" if match else "No match"
    sheet.text(_MARGIN, 62, verdict, size=25, weight="bold", color=BLUE if match else RED)
    meaning = "the model takes both for the same person" if match else "the model takes them for two people"
    sheet.text(_MARGIN + sheet.measure(verdict, 25, "bold") + 16, 62, meaning, size=14)
    score, threshold = score_and_threshold(explanation)
    side = "above" if match else "below" if explanation.margin else "exactly at"
    rest = ""
    if explanation.probability is not None:
        given = percent(explanation.probability, explanation.probability_bound)
        rest = f"  \N{MIDDLE DOT}  probability of the same person {given}"
    # What is in the record in full is named as far as it fits, in whole parts: "FMR 1e-3 on LFW, all pictures, ...".
    source, width = explanation.threshold_source.describe().split(", "), sheet.width - 2 * _MARGIN
    lines = [
        f"Score {score}, {side} the threshold {threshold} ({', '.join(source[:count])}){rest}"
        for count in range(len(source), 0, -1)
    ]
    line = next((one for one in lines if sheet.measure(sheet.printable(one), 11.5) <= width), lines[-1])
    sheet.text(_MARGIN, 92, sheet.shorten(line, width, 11.5), size=11.5)


def _legend(layout: _Layout, blend: bool) -> None:
    sheet, y = layout.sheet, 128
    axes = sheet.figure.add_axes(sheet.box(_MARGIN, y - 10, layout.side, 12))
    axes.set_label("legend")
    colours = panels.BLEND if blend else panels.DIVERGING
    axes.imshow(np.linspace(-1, 1, 256)[None], cmap=colours, aspect="auto")
    axes.set_axis_off()
    sheet.text(_MARGIN, y + 18, "speaks against", size=_CAPTION, color=MUTED)
    sheet.text(_MARGIN + layout.side, y + 18, "supports", size=_CAPTION, color=MUTED, align="right")
    for_it, against = ("Green", "pink") if blend else ("Blue", "red")
    rule = (
        f'{for_it} places support "same person", {against} places speak against it, white ones do neither. In each '
        "column, the strongest 1 % of the places of both faces have the full colour. Methods have different units: "
        "compare where the colours are, not how deep they are."
    )
    x = layout.left(1)
    sheet.text(x, y, sheet.wrap(rule, sheet.width - _MARGIN - x, 9.5), size=9.5)


def _faces(
    layout: _Layout, band: int, faces: tuple[NDArray[np.uint8], NDArray[np.uint8]], names: tuple[str, str]
) -> None:
    layout.sheet.text(_MARGIN, layout.top(band) - 12, "The two faces", size=11, weight="bold")
    for row, face in enumerate(faces):
        panels.draw_face(layout.panel(0, band, row, f"Face {'AB'[row]}"), face, None)
    lines = [f"{where}: {name}" for where, name in zip(("Above", "Below"), names, strict=True) if name]
    shown = "\n".join(layout.sheet.shorten(line, layout.side, _CAPTION) for line in lines)
    layout.sheet.text(_MARGIN, layout.top(band, 1) + layout.side + 19, shown, size=_CAPTION, color=MUTED)


def _column(
    layout: _Layout,
    number: int,
    explanation: Explanation,
    both: Maps,
    faces: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    name: str,
    blend: bool,
) -> None:
    sheet, side = layout.sheet, layout.side
    band, place = divmod(number, layout.per_band)
    x = layout.left(place + 1)
    entry = METHODS.get(explanation.method)
    heading = explanation.method if entry is None else entry.title
    if name != explanation.method:
        # Options say more than the heading.
        heading, name = sheet.shorten(name, side, 11, "bold"), ""
    shows_name = name and heading.lower() != name
    room = side - (sheet.measure(name, _CAPTION) + 8 if shows_name else 0)
    sheet.text(x, layout.top(band) - 12, sheet.shorten(heading, room, 11, "bold"), size=11, weight="bold")
    if shows_name:
        sheet.text(x + side, layout.top(band) - 12, name, size=_CAPTION, color=MUTED, align="right")
    reach = full_colour(both)
    for row, (face, one) in enumerate(zip(faces, both, strict=True)):
        axes = layout.panel(place + 1, band, row, f"{name or heading} {'AB'[row]}")
        if blend:
            panels.draw_face(axes, panels.blended(face, one, reach), None)
        else:
            panels.draw_overlay(axes, face, one, reach)
        panels.hatch(axes, explanation.outside(row, NO_GRID))
    y = layout.top(band, 1) + side + 19
    if entry is not None:
        caption = _in_green_and_pink(entry.caption) if blend else entry.caption
        y = sheet.text(x, y, sheet.wrap(caption, side, _CAPTION), size=_CAPTION, leading=_LEADING)
    notes = [_amount(reach, "none" if entry is None else entry.unit), _cost(explanation)]
    lines = "\n".join(sheet.wrap(note, side, 8) for note in notes if note)
    sheet.text(x, y + 4, lines, size=8, color=MUTED, leading=_LEADING)


def _in_green_and_pink(caption: str) -> str:
    for old, new in (("Blue", "Green"), ("blue", "green"), ("Red", "Pink"), ("red", "pink")):
        caption = re.sub(rf"\b{old}\b", new, caption)
    return caption


def _amount(reach: float, unit: str) -> str:
    if unit == "points":
        return f"Full colour: {reach:.2g} of the score"
    return f"Full colour: a correlation of {reach:.2f}" if unit == "correlation" else ""


def _cost(explanation: Explanation) -> str:
    cost = explanation.cost
    text = f"{cost.forward} forward passes"
    if cost.backward:
        text += f", {cost.backward} backward"
    return text if cost.seconds is None else f"{text}, {duration_text(cost.seconds)}"


def _footer(sheet: Sheet, explanation: Explanation) -> None:
    model = explanation.model
    parts = [model.name if model.sha256 is None else f"{model.name} (SHA-256 {model.sha256[:12]})"]
    if "whyface" in explanation.versions:
        parts.append(f"whyface {explanation.versions['whyface']}")
    parts.append("a map shows what affects this model's score, not whether the verdict is right")
    text = sheet.shorten("  \N{MIDDLE DOT}  ".join(parts), sheet.width - 2 * _MARGIN, 8)
    sheet.text(_MARGIN, sheet.height - 16, text, size=8, color=MUTED)
