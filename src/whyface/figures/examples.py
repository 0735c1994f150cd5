"""Examples of right and wrong verdicts on a protocol, with S and W, as in Fig. 3 of the xCos paper (``matplotlib``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError
from whyface.faces.pictures import PictureSource
from whyface.figures.panels import DIVERGING, SEQUENTIAL, draw_cells, draw_face, similarity_norm, weight_norm
from whyface.figures.style import BLUE, INK, MUTED, RED, Sheet
from whyface.xcos.comparison import Comparison
from whyface.xcos.model import XcosMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTCOMES: Final = ("True positives", "False positives", "True negatives", "False negatives")
"""The blocks of the figure, from the top left down; a positive is a pair that the model calls the same person."""

_SIDE, _GAP, _TITLE, _MARGIN, _TOP = 150, 8, 46, 36, 96


@dataclass(frozen=True, eq=False)
class Example:
    """A pair: names, faces (2, 112, 112, 3) uint8, its maps, and the threshold of its fold."""

    names: tuple[str, str]
    faces: NDArray[np.uint8]
    maps: XcosMaps
    threshold: float


def outcomes(genuine: NDArray[np.bool_], matched: NDArray[np.bool_]) -> dict[str, NDArray[np.intp]]:
    """Return the numbers of the pairs of each outcome."""
    kinds = (genuine & matched, ~genuine & matched, ~genuine & ~matched, genuine & ~matched)
    return {name: np.flatnonzero(kind) for name, kind in zip(OUTCOMES, kinds, strict=True)}


def draw_examples(
    comparison: Comparison,
    source: PictureSource,
    protocol: PairProtocol,
    scores: NDArray[np.floating[Any]],
    thresholds: NDArray[np.floating[Any]],
    *,
    count: int,
    seed: int,
) -> dict[str, list[Example]]:
    """Draw pairs of every outcome at random, and compare them again for their maps.

    Raise InputError if the model has no maps, and DataError if a picture cannot be read.

    Parameters
    ----------
    scores, thresholds
        Score of every pair, and the threshold of its fold, (P,).
    count
        Number of pairs of each outcome; fewer where there are fewer.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[Example]] = {}
    for name, numbers in outcomes(protocol.genuine, scores > thresholds).items():
        found[name] = []
        for number in np.sort(rng.permutation(numbers)[:count]):
            pair = protocol.pictures[protocol.left[number]], protocol.pictures[protocol.right[number]]
            faces = np.stack([source.read(picture) for picture in pair])
            features = comparison.features(np.ascontiguousarray(faces.transpose(0, 3, 1, 2)))
            maps = comparison.maps(features[:1], features[1:])
            if maps is None:
                raise InputError("--examples draws S and W, so it needs an xCos model; this one has a cosine only")
            found[name].append(Example(pair, faces, maps, float(thresholds[number])))
    return found


def examples_figure(examples: Mapping[str, Sequence[Example]], *, title: str, subtitle: str) -> Figure:
    """Draw the examples: for each pair both faces, S centred on the threshold, and W.

    Return a figure tied to no window and no global state.
    """
    halves = (OUTCOMES[::2], OUTCOMES[1::2])
    heights = [max(40, (_SIDE + 30) * max(len(examples[name]) for name in half)) for half in halves]
    width = 4 * _SIDE + 3 * _GAP
    sheet = Sheet(2 * _MARGIN + 2 * width + _MARGIN, _TOP + sum(heights) + 2 * _TITLE + 10)
    sheet.text(_MARGIN, 40, sheet.printable(title), size=15, weight="bold")
    sheet.text(_MARGIN, 64, sheet.printable(subtitle), size=9.5, color=MUTED)
    for number, name in enumerate(OUTCOMES):
        column, half = number // 2, number % 2
        x = _MARGIN + column * (width + _MARGIN)
        y = _TOP + half * (_TITLE + heights[0])
        sheet.text(x, y + 12, name, size=11.5, weight="bold", color=BLUE if name.startswith("True") else RED)
        if not examples[name]:
            sheet.text(x, y + _TITLE, "none", size=9.5, color=MUTED)
        for row, example in enumerate(examples[name]):
            _row(sheet, example, x, y + _TITLE - 16 + row * (_SIDE + 30))
    return sheet.figure


def _row(sheet: Sheet, example: Example, x: float, y: float) -> None:
    boxes = [sheet.box(x + k * (_SIDE + _GAP), y, _SIDE, _SIDE) for k in range(4)]
    axes = [sheet.figure.add_axes(box) for box in boxes]
    similarity, attention = example.maps.similarity[0], example.maps.attention[0]
    for panel, face in zip(axes[:2], example.faces, strict=True):
        draw_face(panel, face, similarity.shape)
    draw_cells(axes[2], similarity, DIVERGING, similarity_norm(example.threshold))
    draw_cells(axes[3], attention, SEQUENTIAL, weight_norm(attention), numbers=100 * attention, digits=1)
    score = float(example.maps.score[0])
    for k, name in enumerate(example.names):
        short = sheet.shorten(name.rsplit("/", 1)[-1], _SIDE, 7.5)
        sheet.text(x + k * (_SIDE + _GAP), y + _SIDE + 13, short, size=7.5, color=MUTED)
    said = f"S; score {score:.3f}, threshold {example.threshold:.3f}"
    sheet.text(x + 2 * (_SIDE + _GAP), y + _SIDE + 13, said, size=7.5, color=INK)
    sheet.text(x + 3 * (_SIDE + _GAP) + _SIDE, y + _SIDE + 13, "W in %", size=7.5, color=INK, align="right")
