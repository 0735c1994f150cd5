"""The figure of one verdict: both faces, similarity, weights, contributions and sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import NO_GRID
from whyface.explain.sentences import CLOSE_MARGIN, MOST_NAMED, describe, points, score_and_threshold
from whyface.explain.shares import explanation_shares, neutral_similarity, ranked, region_shares
from whyface.explain.usual import Telling
from whyface.faces.face import FACE_SIZE
from whyface.figures import panels
from whyface.figures.panels import face_labels
from whyface.figures.style import BLUE, DPI, INK, MUTED, RED, Sheet, save_figure
from whyface.models.calibration import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["WIDTH", "save_figure", "verdict_figure"]

WIDTH: Final = 1400
"""Width of the figure in pixels at 100 per inch."""

# All sizes in pixels.
_SIDE, _GAP, _MARGIN = 244, 25, 40
_TOP = 176
_CAPTION = 8.8
_TEXT, _LEADING = 12, 1.5
_LINE = _TEXT * _LEADING * DPI / 72
_BARS = 9


def verdict_figure(
    explanation: Explanation,
    face_a: NDArray[np.uint8],
    face_b: NDArray[np.uint8],
    *,
    labels: tuple[str, str] | None = None,
) -> Figure:
    """Draw an explanation so that a new reader can check it.

    From left to right: the two faces, S (blue where it is commoner for one person, red for strangers; for
    a model that has no record of that, above and below the threshold), W, and S * W, whose numbers add up to
    the score. Below: the two sentences, and the shares of the regions in the margin. Without a grid, the figure has the
    faces, the per-face maps if there are any, and the sentences. An undecided verdict has only the faces and the
    sentences.

    Parameters
    ----------
    explanation
        The explanation; if it has no sentences, :func:`whyface.explain.sentences.describe` writes them.
    face_a, face_b
        The aligned faces, RGB uint8, (112, 112, 3).
    labels
        Names of the faces; by default the file names of ``explanation.faces``.

    Returns
    -------
    A figure 1400 pixels wide at 100 per inch, tied to no window and no global state.

    Raises
    ------
    InputError
        If a face has another shape or type.
    """
    for name, face in (("face_a", face_a), ("face_b", face_b)):
        if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
            raise InputError(f"{name} must be an aligned face, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    overlays = [m for m in (explanation.map_a, explanation.map_b) if m is not None]
    x, y, width = _sentence_place(explanation, bool(overlays))
    text = _wrapped(explanation, width)
    least = 806 if explanation.has_grid else 500
    sheet = Sheet(WIDTH, max(least, round(y + sum(part.count("\n") + 1 for part in text) * _LINE + 60)))
    _header(sheet, explanation)
    for column, (face, label) in enumerate(zip((face_a, face_b), face_labels(explanation.faces, labels), strict=True)):
        axes = _panel(sheet, column, f"Face {'AB'[column]}")
        shape = NO_GRID if explanation.similarity is None else explanation.similarity.shape
        size = (shape[0], shape[1])
        outside = None if explanation.undecided else explanation.outside(column, size)
        panels.draw_face(axes, face, size if explanation.has_grid else None, outside)
        shown = sheet.shorten(label, _SIDE, _CAPTION)
        sheet.text(_left(column), _TOP + _SIDE + 19, shown, size=_CAPTION, color=MUTED)
    if explanation.has_grid:
        _maps(sheet, explanation)
        _regions(sheet, explanation)
    elif overlays:
        _overlays(sheet, explanation, face_a, face_b)
    for part in text:
        y = 12 + sheet.text(x, y, part, size=_TEXT, leading=_LEADING)
    _footer(sheet, explanation)
    return sheet.figure


def _header(sheet: Sheet, explanation: Explanation) -> None:
    if explanation.undecided:
        sheet.text(_MARGIN, 62, "Undecided", size=25, weight="bold", color=INK)
        meaning = f"{explanation.doubt}"
        sheet.text(_MARGIN + sheet.measure("Undecided", 25, "bold") + 16, 62, meaning, size=14, color=INK)
        return
    match = explanation.is_match
    sheet.text(_MARGIN, 62, "Match" if match else "No match", size=25, weight="bold", color=BLUE if match else RED)
    meaning = "the model takes both for the same person" if match else "the model takes them for two people"
    if abs(explanation.margin) < CLOSE_MARGIN:
        meaning = f"but only just: {meaning}"
    offset = sheet.measure("Match" if match else "No match", 25, "bold")
    sheet.text(_MARGIN + offset + 16, 62, meaning, size=14, color=INK)
    score, threshold = score_and_threshold(explanation)
    side = "above" if match else "below" if explanation.margin else "exactly at"
    line = f"Score {score}, {side} the threshold {threshold}"
    sheet.text(_MARGIN, 92, sheet.shorten(line, 860, 11.5), size=11.5, color=INK)
    y = sheet.text(_MARGIN, 113, sheet.shorten(_provenance(explanation), 860, _CAPTION), size=_CAPTION, color=MUTED)
    if explanation.probability is not None:
        given = percent(explanation.probability, explanation.probability_bound)
        line = f"Probability of the same person: {given} ({explanation.probability_source})"
        sheet.text(_MARGIN, y, sheet.shorten(line, 860, _CAPTION), size=_CAPTION, color=MUTED)
    axes = sheet.figure.add_axes(sheet.box(950, 30, WIDTH - _MARGIN - 950, 84))
    axes.set_label("scale")
    panels.draw_scale(axes, explanation.score, explanation.threshold)


def _provenance(explanation: Explanation) -> str:
    source = explanation.threshold_source
    text = f"Threshold: {source.describe()}"
    if source.fmr is not None:
        text += f"; {100 * source.fmr:.2g}% of impostor pairs score above it"
        if source.fmr_interval is not None:
            low, high = (100 * bound for bound in source.fmr_interval)
            text += f" (95% interval {low:.2g} to {high:.2g}%)"
    return text


def _maps(sheet: Sheet, explanation: Explanation) -> None:
    s, w, c = explanation.similarity, explanation.attention, explanation.contributions
    shares = explanation_shares(explanation)
    assert shares is not None
    assert s is not None
    assert w is not None
    assert c is not None
    unseen = explanation.unseen
    assert unseen is not None
    neutral = neutral_similarity(w, explanation.threshold)
    whole = abs(float(w.sum(dtype=np.float64)) - 1) < 1e-3

    axes = _panel(sheet, 2, "Similarity")
    if explanation.telling is not None:
        _telling(sheet, axes, s, explanation.telling)
    else:
        norm = panels.similarity_norm(neutral)
        image = panels.draw_cells(axes, s, panels.DIVERGING, norm)
        low, high = neutral - norm.halfrange, neutral + norm.halfrange
        middle = f"{'threshold' if whole else 'neutral'} {neutral:.2f}"
        _bar(sheet, 2, image, [(low, f"{low:.2f}"), (neutral, middle), (high, f"{high:.2f}")], below=True)
        kind = "the threshold" if whole else "where a place starts to support a match"
        _caption(sheet, 2, f"How alike the faces are at each place: 1 is the same, 0 unrelated. White is {kind}.")
    panels.hatch(axes, unseen)

    _sign(sheet, 3, "\N{MULTIPLICATION SIGN}")
    axes = _panel(sheet, 3, "Weight")
    weights = 100 * w if whole else w
    scale = panels.weight_norm(weights)
    image = panels.draw_cells(axes, weights, panels.SEQUENTIAL, scale, digits=1 if whole else 2)
    panels.hatch(axes, unseen)
    unit = "%" if whole else ""
    _bar(sheet, 3, image, [(end, f"{end:.2g}{unit}") for end in (scale.vmin or 0.0, scale.vmax or 0.0)])
    _caption(sheet, 3, _weight_caption(explanation, whole, float(w.sum(dtype=np.float64)), w.size))

    _sign(sheet, 4, "=")
    axes = _panel(sheet, 4, "Contribution")
    digits = 1 if np.abs(c).max() < 0.0995 else 0
    reach = max(100 * float(np.abs(shares).max()), 1e-9)
    image = panels.draw_cells(
        axes, 100 * shares, panels.DIVERGING, panels.share_norm(100 * shares), numbers=100 * c, digits=digits
    )
    panels.hatch(axes, unseen)
    _bar(sheet, 4, image, [(-reach, f"{reach:.1f} less"), (0, "its share"), (reach, f"{reach:.1f} more")])
    hidden = f", with {100 * float(c[unseen].sum()):.1f} from hatched places," if unseen.any() else ""
    _caption(
        sheet,
        4,
        f"In points of 0.01; the {c.size - int(unseen.sum())} numbers{hidden} add up to the score, "
        f"{100 * explanation.score:.1f}. Blue: more than the place's share of the threshold; red: less, also above 0.",
    )


def _telling(sheet: Sheet, axes: Axes, similarity: NDArray[np.float32], telling: Telling) -> None:
    """Draw S with the colours of how telling it is at each place."""
    image, reach = panels.draw_telling(axes, similarity, telling), math.log(panels.FULL_ODDS)
    odds = f"{panels.FULL_ODDS}:1"
    _bar(sheet, 2, image, [(-reach, f"strangers {odds}"), (0, "1:1"), (reach, f"one person {odds}")])
    _caption(
        sheet,
        2,
        "Numbers: how alike, 1 the same, 0 unrelated. Colours: how telling that is there: blue is commoner for one "
        "person, red for strangers, even if high.",
    )


def _sign(sheet: Sheet, column: int, sign: str) -> None:
    sheet.text(_left(column) - _GAP / 2, _TOP + _SIDE / 2 + 7, sign, size=15, color=MUTED, align="center")


def _weight_caption(explanation: Explanation, whole: bool, total: float, cells: int) -> str:
    if explanation.attention_kind == "u":
        return f"How much each place counts. Here all {cells} count the same."
    learned = " The model learned this." if explanation.attention_kind == "l" else ""
    if whole:
        return f"How much each place counts, in percent; together 100.{learned}"
    return f"How much each place counts; the weights sum to {total:.2f}."


def _overlays(sheet: Sheet, explanation: Explanation, face_a: NDArray[np.uint8], face_b: NDArray[np.uint8]) -> None:
    column = 2
    for name, face, saliency in zip("AB", (face_a, face_b), (explanation.map_a, explanation.map_b), strict=True):
        if saliency is None:
            continue
        axes = _panel(sheet, column, f"Reasons in face {name}")
        image = panels.draw_overlay(axes, face, saliency)
        panels.hatch(axes, explanation.outside("AB".index(name), NO_GRID))
        reach = max(float(np.abs(saliency).max()), 1e-9)
        _bar(sheet, column, image, [(-reach, "against"), (0, "0"), (reach, "supports a match")])
        column += 1


def _sentence_place(explanation: Explanation, overlays: bool) -> tuple[float, float, float]:
    """Return left end, first baseline and width of the sentences."""
    if explanation.has_grid:
        return _MARGIN, 574, 610
    if overlays:
        return _MARGIN, _TOP + _SIDE + 90, 1100
    return _left(2) + 15, _TOP + 14, WIDTH - _MARGIN - _left(2) - 15


def _wrapped(explanation: Explanation, width: float) -> list[str]:
    # The height of the sheet depends on the number of lines, so they are measured on another sheet.
    ruler = Sheet(WIDTH, 100)
    return [ruler.wrap(ruler.printable(part), width, _TEXT) for part in explanation.sentences or describe(explanation)]


def _regions(sheet: Sheet, explanation: Explanation) -> None:
    shares = explanation_shares(explanation)
    assert shares is not None
    x, y = 720, 574
    sheet.text(x, y, "By region", size=11, weight="bold")
    line = f"for a match (+) or against it (-), in points; together {points(explanation.margin)} = score - threshold"
    sheet.text(x + sheet.measure("By region", 11, "bold") + 12, y, line, size=_CAPTION, color=MUTED)
    bars = _bars(region_shares(shares, explanation.unseen), explanation.is_match)
    if explanation.unseen is not None and explanation.unseen.any():
        bars.append((panels.OUTSIDE, float(shares[explanation.unseen].sum())))
    axes = sheet.figure.add_axes(sheet.box(x + 110, y + 12, WIDTH - _MARGIN - x - 110, 17.6 * len(bars)))
    axes.set_label("regions")
    panels.draw_region_bars(axes, bars)


def _bars(shares: dict[str, float], match: bool) -> list[tuple[str, float]]:
    """Choose the regions named in the sentences, then the largest; those that support the verdict come first."""
    by_size = sorted(shares.items(), key=lambda item: -abs(item[1]))
    named = [item for sign in (True, False) for item in ranked(shares, positive=sign)[:MOST_NAMED]]
    chosen = (named + [item for item in by_size if item not in named])[:_BARS]
    shown = sorted(chosen, key=lambda item: -item[1] if match else item[1])
    rest = [share for name, share in by_size if (name, share) not in chosen]
    return [*shown, panels.other_regions(rest)] if rest else shown


def _footer(sheet: Sheet, explanation: Explanation) -> None:
    model = explanation.model
    parts = [model.name if model.sha256 is None else f"{model.name} (SHA-256 {model.sha256[:12]})"]
    parts.append(f"method {explanation.method}")
    if "whyface" in explanation.versions:
        parts.append(f"whyface {explanation.versions['whyface']}")
    if explanation.has_grid or explanation.map_a is not None or explanation.map_b is not None:
        parts.append("left and right as seen in the picture")
    text = sheet.shorten("  \N{MIDDLE DOT}  ".join(parts), WIDTH - 2 * _MARGIN, 8)
    sheet.text(_MARGIN, sheet.height - 20, text, size=8, color=MUTED)


def _left(column: int) -> float:
    return _MARGIN + column * (_SIDE + _GAP)


def _panel(sheet: Sheet, column: int, title: str) -> Axes:
    sheet.text(_left(column), _TOP - 12, title, size=11, weight="bold")
    axes = sheet.figure.add_axes(sheet.box(_left(column), _TOP, _SIDE, _SIDE))
    axes.set_label(title)
    return axes


def _bar(sheet: Sheet, column: int, image: AxesImage, ticks: list[tuple[float, str]], *, below: bool = False) -> None:
    axes = sheet.figure.add_axes(sheet.box(_left(column), _TOP + _SIDE + 10, _SIDE, 9))
    axes.set_label("colours")
    panels.draw_color_bar(axes, image, ticks, below=below)


def _caption(sheet: Sheet, column: int, text: str) -> None:
    sheet.text(_left(column), _TOP + _SIDE + 58, sheet.wrap(text, _SIDE, _CAPTION), size=_CAPTION, color=MUTED)
