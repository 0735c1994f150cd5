"""Boxes that overlap: the non-maximum suppression that both detectors end with."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["union", "smaller"]
"""Divide the shared area by the area of both boxes together, or by that of the smaller one."""

_NOTHING: Final = 1e-12


def box_areas(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the areas of boxes (N, 4) of (x0, y0, x1, y1), shape (N,) float64; 0 for an inverted box."""
    sides = np.clip(boxes[:, 2:4] - boxes[:, 0:2], 0, None).astype(np.float64)
    return np.asarray(sides[:, 0] * sides[:, 1])


def suppress_overlaps(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], limit: float, measure: Measure = "union"
) -> NDArray[np.intp]:
    """Keep each best-scored box and drop those that overlap it by more than ``limit``.

    Parameters
    ----------
    boxes
        (x0, y0, x1, y1), shape (N, 4).
    scores
        Shape (N,).
    limit
        Largest overlap, in [0, 1], of two boxes that both stay.
    measure
        How overlap is measured.

    Returns
    -------
    Numbers of the boxes that stay, best score first (of equal scores, the earlier box), shape (K,) intp.
    """
    order = np.argsort(-scores, kind="stable")
    areas = box_areas(boxes)
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:4], boxes[order, 2:4])
        sides = np.clip(high - low, 0, None)
        shared = sides[:, 0] * sides[:, 1]
        together = areas[best] + areas[order] - shared
        whole = together if measure == "union" else np.minimum(areas[best], areas[order])
        order = order[shared <= limit * np.maximum(whole, _NOTHING)]
    return np.asarray(kept, dtype=np.intp)
