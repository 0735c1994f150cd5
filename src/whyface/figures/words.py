"""The figures of words: places erased, and the change of the similarity, or of the uncertainty about one face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.provenance import NO_GRID
from whyface.faces.face import FACE_SIZE
from whyface.figures import panels
from whyface.figures.panels import face_labels
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED, Sheet, Weight
from whyface.words.report_writing import describe_words
from whyface.words.sim2word import PublishedPair, display_score
from whyface.words.word_maps import erased_faces
from whyface.words.word_report import Where, Word, WordReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SHOWN: Final = 5
"""Maximum number of words per row."""

# All sizes in pixels.
_MARGIN, _GAP = 40, 24
_FACE, _TILE, _SMALL = 190, 156, 75
_STRIP, _CAPTION = 16, 8.8
_BELOW = 92
_WIDTH = 2 * _MARGIN + _FACE + MOST_SHOWN * (_TILE + _GAP)
_ROWS: Final[tuple[tuple[Where, str], ...]] = (
    ("A", "Erased in photo A"),
    ("B", "Erased in photo B"),
    ("both", "Erased in both photos"),
)


def words_figure(
    report: WordReport,
    face_a: NDArray[np.uint8],
    face_b: NDArray[np.uint8],
    *,
    labels: tuple[str, str] | None = None,
) -> Figure:
    """Draw the five words with the largest effect on the similarity for each way of erasing.

    Each word has the face as the network saw it, and below it a scale that all words share: a grey band from the
    original similarity to the limit of chance, a line at the threshold, and a dot at the similarity without the word.
    The dot is filled if the word has an effect beyond chance, otherwise hollow. Return a figure tied to no window and
    no global state. Raise InputError if a face has another shape or type.

    Parameters
    ----------
    labels
        Names of the faces; by default the file names of the report.
    """
    faces = (face_a, face_b)
    for name, face in zip(("face_a", "face_b"), faces, strict=True):
        if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
            raise InputError(f"{name} must be an aligned face, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    height, sentences = _sentences(report)
    tops = _row_tops(height)
    sheet = Sheet(_WIDTH, int(tops[-1] + _SMALL + _BELOW + 44))
    _header(sheet, report, sentences)
    _legend(sheet, report, tops[0] - 66)
    names = face_labels(report.faces, labels)
    for (where, title), top in zip(_ROWS, tops, strict=False):
        _row(sheet, report, faces, where, title, top, names)
    _footer(sheet, report)
    return sheet.figure


def plate_figure(pair: PublishedPair, photo_a: NDArray[np.uint8], photo_b: NDArray[np.uint8]) -> Figure:
    """Draw Sim2Word's plate of a pair: both photos with their five most telling words, and those of both on top.

    Numbers are its similarity in 0..1. A word of both counts if either face has it.
    """
    side, height = 260, 640
    sheet = Sheet(2 * side + 3 * _MARGIN, height)
    sheet.text(_MARGIN, 40, f"Similarity {display_score(pair.similarity):.4f}", size=14, weight="bold")
    for row, (word, score) in enumerate(pair.top(None)):
        sheet.text(_MARGIN + 250, 40 + 20 * row, f"{word} {display_score(score):.4f}", size=10)
    for column, photo in enumerate((photo_a, photo_b)):
        x = _MARGIN + column * (side + _MARGIN)
        axes = sheet.figure.add_axes(sheet.box(x, 160, side, side))
        axes.set_label(f"Face {column + 1}")
        axes.imshow(photo)
        axes.set_axis_off()
        for row, (word, score) in enumerate(pair.top(column)):
            sheet.text(x, 160 + side + 28 + 24 * row, f"{word} {display_score(score):.4f}", size=11)
    return sheet.figure


def scale_ends(report: WordReport) -> tuple[float, float]:
    """Return the ends of the common scale: all similarities of the figure and the threshold, with a margin."""
    shown = [word for where, _ in _ROWS for word in report.best_of(where, MOST_SHOWN)]
    values = [report.similarity, report.threshold]
    values += [value for word in shown for value in (word.similarity, word.limit)]
    air = 0.08 * max(max(values) - min(values), 0.1)
    return min(values) - air, max(values) + air


def _sentences(report: WordReport) -> tuple[float, str]:
    sheet = Sheet(_WIDTH, 100)
    text = sheet.wrap(" ".join(describe_words(report)), _WIDTH - 2 * _MARGIN, 11)
    return 132 + 1.45 * 11 * 100 / 72 * text.count("\n"), text


def _row_tops(height: float) -> list[float]:
    first = height + 122
    second = first + _TILE + _BELOW + 34
    return [first, second, second + _TILE + _BELOW + 34]


def _header(sheet: Sheet, report: WordReport, sentences: str) -> None:
    match = report.is_match
    verdict = "Match" if match else "No match"
    sheet.text(_MARGIN, 62, verdict, size=25, weight="bold", color=BLUE if match else RED)
    if not report.telling:
        rest = "that no word explains: none has more effect than chance"
    elif match:
        rest = "and words that show it: erasing one makes the faces less alike"
    else:
        rest = "and words that tell the faces apart: erasing one makes them more alike"
    sheet.text(_MARGIN + sheet.measure(verdict, 25, "bold") + 16, 62, rest, size=14)
    side = "above" if match else "not above"
    source = report.threshold_source.describe()
    line = f"Similarity {report.similarity:.3f}, {side} the threshold {report.threshold:.3f} ({source})"
    sheet.text(_MARGIN, 92, sheet.shorten(line, _WIDTH - 2 * _MARGIN, 11), size=11, color=MUTED)
    sheet.text(_MARGIN, 128, sentences, size=11)


def _legend(sheet: Sheet, report: WordReport, y: float) -> None:
    if not report.words:
        return
    low, high = scale_ends(report)
    middle = (low + high) / 2
    step = (low - high if report.is_match else high - low) / 6
    axes = _strip_axes(sheet, _MARGIN + _FACE + _GAP, y - 12, _TILE, "legend")
    color = _color(report)
    _draw_strip(axes, (low, high), middle - 2 * step, middle, middle + 0.9 * step, middle + 2 * step, color, True)
    words = (
        ("grey", "from the original similarity (left end) to the limit of chance"),
        ("dot", "the similarity without the word: filled if more than chance, otherwise hollow"),
        ("line", "the threshold"),
    )
    if report.is_match:
        words = (("grey", "from the original similarity (right end) to the limit of chance"), *words[1:])
    x = _MARGIN + _FACE + 2 * _GAP + _TILE
    for number, (name, meaning) in enumerate(words):
        line = y - 12 + 15 * number
        sheet.text(x, line, name, size=_CAPTION, weight="bold")
        sheet.text(x + 42, line, meaning, size=_CAPTION, color=MUTED)


def _row(
    sheet: Sheet,
    report: WordReport,
    faces: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    where: Where,
    title: str,
    top: float,
    names: tuple[str, str],
) -> None:
    sheet.text(_MARGIN, top - 14, title, size=11, weight="bold")
    sides = (0,) if where == "A" else (1,) if where == "B" else (0, 1)
    if where != "both":
        side = sides[0]
        axes = sheet.figure.add_axes(sheet.box(_MARGIN, top, _TILE, _TILE))
        axes.set_label(f"face {where}")
        panels.draw_face(axes, faces[side], None, _outside(report, side))
        sheet.text(_MARGIN, top + _TILE + 19, sheet.shorten(names[side], _TILE, _CAPTION), size=_CAPTION, color=MUTED)
    shown = report.best_of(where, MOST_SHOWN)
    if not shown:
        nothing = "No word that the attribute model knows well fits " + ("both photos." if where == "both" else "it.")
        sheet.text(_MARGIN + _FACE + _GAP, top + 20, nothing, size=_CAPTION, color=MUTED)
    for column, word in enumerate(shown):
        x = _MARGIN + _FACE + _GAP + column * (_TILE + _GAP)
        number = report.names.index(word.attribute.name)
        size = _TILE if len(sides) == 1 else _SMALL
        for place, side in enumerate(sides):
            mask = report.masks[side, number][None]
            copy = erased_faces(
                faces[side].transpose(2, 0, 1), mask, report.settings.eraser, seed=report.settings.seed
            )[0].transpose(1, 2, 0)
            axes = sheet.figure.add_axes(sheet.box(x + place * (size + _TILE - 2 * _SMALL), top, size, size))
            axes.set_label(f"{word.attribute.name} {'AB'[side]}")
            panels.draw_face(axes, np.ascontiguousarray(copy), None, _outside(report, side))
        _caption(sheet, report, word, x, top + size)


def _outside(report: WordReport, side: int) -> NDArray[np.bool_]:
    """Return which of 7 x 7 places lie outside the photo of a face."""
    mask = np.zeros(NO_GRID, np.bool_)
    for row, column in () if report.faces is None else report.faces[side].outside:
        mask[row, column] = True
    return mask


def _caption(sheet: Sheet, report: WordReport, word: Word, x: float, y: float) -> None:
    telling = word.is_telling
    weight: Weight = "bold" if telling else "normal"
    name = sheet.wrap(word.attribute.phrase, _TILE, 10, "bold")
    below = sheet.text(x, y + 20, name, size=10, weight=weight, color=INK if telling else MUTED, leading=1.25)
    # Adding 0 avoids -0.000.
    before, after = (f"{round(value, 3) + 0.0:.3f}" for value in (report.similarity, word.similarity))
    moved = f"{before} \N{RIGHTWARDS ARROW} {after}".replace("-", "\N{MINUS SIGN}")
    sheet.text(x, below, moved, size=_CAPTION, color=INK if telling else MUTED)
    axes = _strip_axes(sheet, x, below + 8, _TILE, f"scale {word.attribute.name} {word.where}")
    _draw_strip(
        axes,
        scale_ends(report),
        report.similarity,
        word.limit,
        word.similarity,
        report.threshold,
        _color(report),
        telling,
    )


def _strip_axes(sheet: Sheet, x: float, y: float, width: float, label: str) -> Axes:
    axes = sheet.figure.add_axes(sheet.box(x, y, width, _STRIP))
    axes.set_label(label)
    return axes


def _draw_strip(
    axes: Axes,
    ends: tuple[float, float],
    start: float,
    limit: float,
    reached: float,
    threshold: float,
    color: str,
    telling: bool,
) -> None:
    axes.plot(ends, [0, 0], color=HAIRLINE, linewidth=1.0, zorder=1)
    axes.plot([start, limit], [0, 0], color="#b9c0c8", linewidth=5, solid_capstyle="butt", zorder=2)
    axes.plot([threshold, threshold], [-0.8, 0.8], color=INK, linewidth=1.2, zorder=3)
    face = color if telling else "white"
    axes.plot([reached], [0], "o", color=face, markeredgecolor=color, markeredgewidth=1.3, markersize=7, zorder=4)
    axes.set_xlim(*ends)
    axes.set_ylim(-1, 1)
    axes.set_axis_off()


def _color(report: WordReport) -> str:
    """Return the colour of the direction in which telling words move the score."""
    return RED if report.is_match else BLUE


def _footer(sheet: Sheet, report: WordReport) -> None:
    parts = [
        report.model.name,
        f"{report.settings.draws} random erasures for each word",
        "words are another model's reading of the photo, not facts about a person",
    ]
    text = sheet.shorten("  \N{MIDDLE DOT}  ".join(parts), _WIDTH - 2 * _MARGIN, 8)
    sheet.text(_MARGIN, sheet.height - 16, text, size=8, color=MUTED)


_GREEN: Final = "#1b7837"
_PHOTO: Final = 224
_SPAN: Final = 30


def erased_words_figure(
    face: NDArray[np.uint8],
    rises: Sequence[tuple[str, float]],
    original: float,
    *,
    title: str,
    subtitle: str = "",
    limits: Sequence[float] | None = None,
    sentence: str = "",
) -> Figure:
    """Draw the uncertainty with each word's place erased.

    Raise InputError if there are no words or more than twelve.

    Parameters
    ----------
    rises
        Word and u with its place erased, in the order shown; one to twelve.
    original
        u of the original face: the first bar, in green.
    limits
        For each word, what u must exceed to differ from chance: a mark on its bar.
    sentence
        What follows from it, written below.
    """
    if not 1 <= len(rises) <= 12:
        raise InputError(f"the figure shows one to twelve words, got {len(rises)}")
    if limits is not None and len(limits) != len(rises):
        raise InputError(f"{len(rises)} words need as many limits, got {len(limits)}")
    step, top = 27, 112
    height = max(top + (len(rises) + 1) * step + 84, top + _PHOTO + 56)
    ruler = Sheet(960, 100)
    said = ruler.wrap(ruler.printable(sentence), 880, 10.5) if sentence else ""
    sheet = Sheet(960, height + (26 * (said.count("\n") + 1) + 10 if said else 0))
    if said:
        sheet.text(40, height + 8, said, size=10.5)
    sheet.text(40, 44, sheet.shorten(sheet.printable(title), 880, 15, "bold"), size=15, weight="bold")
    sheet.text(40, 70, sheet.shorten(sheet.printable(subtitle), 880, 9.5), size=9.5, color=MUTED)
    picture = sheet.figure.add_axes(sheet.box(40, top, _PHOTO, _PHOTO))
    picture.imshow(face, interpolation="bicubic")
    picture.set_axis_off()
    names = ["the original face", *(f"without {name}" for name, _ in rises)]
    longest = max(sheet.measure(name, 10) for name in names)
    x = min(40 + _PHOTO + 36 + longest + 10, 560)
    axes = sheet.figure.add_axes(sheet.box(x, top - 4, 900 - x, (len(rises) + 1) * step + 8))
    axes.set_label("uncertainty")
    values = [original, *(value for _, value in rises)]
    places = list(range(len(values)))
    low, high = min(values), max(*values, *(limits or ()))
    # u of a certain face is tiny; only a logarithmic axis shows it next to the values after erasing.
    logarithmic = 0 < low < high / _SPAN
    start = 10 ** (np.floor(np.log10(low)) - 0.3) if logarithmic else 0.0
    end = high * (high / start) ** 0.16 if logarithmic else max(1.14 * high, 1e-6)
    if logarithmic:
        axes.set_xscale("log")
    axes.barh(
        places, [value - start for value in values], left=start, height=0.62, color=[_GREEN] + [BLUE] * len(rises)
    )
    for place, value in zip(places, values, strict=True):
        # Behind the mark of the limit, too.
        reach = value if limits is None or place == 0 else max(value, limits[place - 1])
        axes.annotate(
            shown(value),
            (reach, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            size=9,
            color=INK,
            family=FONT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            zorder=3,
        )
    axes.axvline(original, color=_GREEN, linewidth=1, dashes=(3, 2), linestyle="--")
    if limits is not None:
        axes.plot(limits, places[1:], "|", color=INK, markersize=16, markeredgewidth=1.6, zorder=4, label="limit")
        note = "mark: what u must exceed to differ from random places of the same size (5 %, corrected for the choice)"
        sheet.text(40, 92, note, size=9, color=MUTED)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xlim(start, end)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0, labelsize=10, labelcolor=INK, labelfontfamily=FONT, pad=6)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=MUTED, labelfontfamily=FONT, color=HAIRLINE, length=3)
    axes.set_xlabel("uncertainty u", size=9.5, color=INK, family=FONT, labelpad=6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)
    return sheet.figure


def shown(value: float) -> str:
    """Format an uncertainty, a small one with one significant digit."""
    return f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"
