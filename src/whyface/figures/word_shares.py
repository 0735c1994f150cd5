"""The figure of words as shares of a score: both faces, and a bar for each word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE
from whyface.figures.panels import draw_region_bars, face_labels
from whyface.figures.style import INK, MUTED, Sheet
from whyface.words.share_report import ShareReport, describe_shares
from whyface.words.word_shares import WordShare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SHOWN: Final = 8
"""Maximum number of bars: the largest shares of words that a face has for sure."""

# All sizes in pixels.
_WIDTH, _MARGIN, _PHOTO, _STEP = 960, 40, 200, 26
_MARKS: Final = {"both": "both", "A": "A only", "B": "B only"}


def word_shares_figure(
    report: ShareReport,
    face_a: NDArray[np.uint8],
    face_b: NDArray[np.uint8],
    *,
    labels: tuple[str, str] | None = None,
) -> Figure:
    """Draw both faces and the largest shares in points of the score; words that may be said have a star.

    Return a figure tied to no window and no global state. Raise InputError if a face has another shape or type.

    Parameters
    ----------
    labels
        Names of the faces; by default the file names of the report.
    """
    for name, face in (("face_a", face_a), ("face_b", face_b)):
        if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
            raise InputError(f"{name} must be an aligned face, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    ruler = Sheet(_WIDTH, 100)
    said = [ruler.wrap(sentence, _WIDTH - 2 * _MARGIN, 10.5) for sentence in describe_shares(report)]
    top = int(84 + sum(24 * (text.count("\n") + 1) + 4 for text in said))
    seen = [word for word in report.words if word.reading in {"both", "A", "B"}][:MOST_SHOWN]
    others = sum(word.term for word in report.words if word not in seen)
    bars = [*((_label(word), word.term) for word in seen), ("all other words", others)]
    sheet = Sheet(_WIDTH, max(top + _PHOTO + 84, top + len(bars) * _STEP + 90))
    verdict = "Match" if report.is_match else "No match"
    title = f"{verdict}: words as shares of the score {report.similarity:.3f}"
    sheet.text(_MARGIN, 44, title, size=15, weight="bold")
    y = 76.0
    for text in said:
        y = sheet.text(_MARGIN, y, text, size=10.5) + 4
    for column, (face, name) in enumerate(zip((face_a, face_b), face_labels(report.faces, labels), strict=True)):
        x = _MARGIN + column * (_PHOTO + 16)
        picture = sheet.figure.add_axes(sheet.box(x, top, _PHOTO, _PHOTO))
        picture.imshow(face, interpolation="bicubic")
        picture.set_axis_off()
        sheet.text(x, top + _PHOTO + 20, sheet.shorten(name, _PHOTO, 9), size=9, color=MUTED)
    left = _MARGIN + 2 * _PHOTO + 16 + 24 + max(sheet.measure(name, 8.5) for name, _ in bars)
    axes = sheet.figure.add_axes(sheet.box(left, top, _WIDTH - _MARGIN - left, len(bars) * _STEP))
    axes.set_label("shares")
    draw_region_bars(axes, bars)
    note = f"Points of the score (0.01). The rest is {100 * report.rest:+.1f}. * beyond chance, and known to matter."
    sheet.text(_MARGIN, sheet.height - 38, note, size=9, color=INK)
    warning = "words are another model's reading of the photo, not facts about a person"
    warning = f"{report.model.name}  \N{MIDDLE DOT}  {warning}"
    sheet.text(_MARGIN, sheet.height - 16, warning, size=8, color=MUTED)
    return sheet.figure


def _label(word: WordShare) -> str:
    return f"{word.attribute.phrase} ({_MARKS[word.reading]}){'*' if word.is_telling else ''}"
