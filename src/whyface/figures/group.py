"""The figure of a group photo: a box around every face, with the name that it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.figures.style import BLUE, FONT, MUTED, Sheet
from whyface.identify.group import GroupIdentification
from whyface.identify.identification import Identification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# All sizes in pixels of the figure.
_WIDTH: Final = 1400
_MARGIN: Final = 40
_TALLEST: Final = 1000
_LEAST_LABEL: Final = 90
_SIZE, _LABEL, _LEADING = 10.5, 10, 1.6


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
    text = "\n".join(ruler.wrap(ruler.printable(line), _WIDTH - 2 * _MARGIN, _SIZE) for line in said)
    top = 90
    below = (text.count("\n") + 1) * _SIZE * _LEADING * 100 / 72
    sheet = Sheet(_WIDTH, round(top + height + 40 + below + 20))
    title = sheet.shorten(group.sentences()[0], _WIDTH - 2 * _MARGIN, 18, "bold")
    sheet.text(_MARGIN, 56, title, size=18, weight="bold")
    axes = sheet.figure.add_axes(sheet.box(_MARGIN, top, width, height))
    axes.set_label("photo")
    axes.imshow(photo, interpolation="bilinear")
    for number, one in enumerate(group.found):
        _face(axes, sheet, number, one, scale)
    axes.set_xlim(-0.5, photo.shape[1] - 0.5)
    axes.set_ylim(photo.shape[0] - 0.5, -0.5)
    axes.set_axis_off()
    sheet.text(_MARGIN, top + height + 40, text, size=_SIZE, leading=_LEADING)
    return sheet.figure


def _face(axes: Axes, sheet: Sheet, number: int, one: Identification, scale: float) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    assert one.face is not None
    assert one.face.box is not None
    x0, y0, x1, y1 = one.face.box
    color = BLUE if one.is_known else MUTED
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=4))
    axes.add_patch(
        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=2, label=f"face {number}")
    )
    name = f"{number} {one.name or 'nobody'}"
    shown = sheet.shorten(name, max((x1 - x0) * scale, _LEAST_LABEL), _LABEL)
    label = {"facecolor": color, "edgecolor": "none", "pad": 2.5}
    axes.text(
        x0, y0, shown, size=_LABEL, color="white", family=FONT, va="bottom", bbox=label, clip_on=True, parse_math=False
    )
