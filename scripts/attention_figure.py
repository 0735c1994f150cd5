"""The figure of mean attention: one panel per kind of attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.figures import panels
from whyface.figures.style import INK, MUTED, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SIDE, _GAP, _MARGIN, _TOP = 320, 44, 40, 92
_TITLES: Final = {"u": "Uniform (U)", "p": "Correlated (P)", "l": "Learned (L), mean"}


def attention_figure(maps: Mapping[str, NDArray[np.float32]], *, title: str) -> Figure:
    """Draw attention maps (h, w) that sum to 1 on one colour scale, in percent per cell.

    Parameters
    ----------
    maps
        By kind of attention, ``"u"``, ``"p"`` or ``"l"``, or by another name.
    title
        What the maps were measured on.

    Raises
    ------
    InputError
        If there are no maps, or they are not 2-D.
    """
    if not maps or any(weights.ndim != 2 for weights in maps.values()):
        raise InputError("the figure needs at least one attention map of shape (h, w)")
    from matplotlib.colors import Normalize  # noqa: PLC0415 - slow to import

    sheet = Sheet(2 * _MARGIN + len(maps) * _SIDE + (len(maps) - 1) * _GAP, _TOP + _SIDE + 56)
    sheet.text(_MARGIN, 40, title, size=13, weight="bold", color=INK)
    scale = Normalize(0, 100 * max(float(weights.max()) for weights in maps.values()))
    for column, (kind, weights) in enumerate(maps.items()):
        left = _MARGIN + column * (_SIDE + _GAP)
        sheet.text(left, _TOP - 12, _TITLES.get(kind, kind), size=11, weight="bold")
        axes = sheet.figure.add_axes(sheet.box(left, _TOP, _SIDE, _SIDE))
        axes.set_label(kind)
        panels.draw_cells(axes, 100 * weights, panels.SEQUENTIAL, scale, digits=1)
    note = "Percent of the whole weight per place; the sketch is the template."
    sheet.text(_MARGIN, _TOP + _SIDE + 32, note, size=9, color=MUTED)
    return sheet.figure
