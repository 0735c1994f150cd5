"""A sketch of an aligned face in thin lines, so that a map's places can be told apart without a photo under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whyface.faces.regions import TEMPLATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def outline_curves() -> list[NDArray[np.float64]]:
    """Give the lines of face, brows, eyes, nose and mouth, each (N, 2) points (x, y) in pixels of the 112 x 112 crop.

    Everything follows from the five points that alignment maps the face to.
    """
    left, right, nose, corner_l, corner_r = np.asarray(TEMPLATE)
    eyes, mouth = (left + right) / 2, (corner_l + corner_r) / 2
    across, down = right[0] - left[0], mouth[1] - eyes[1]
    turn = np.linspace(0, 2 * np.pi, 61)
    half = np.linspace(0, np.pi, 31)
    # The chin lies two thirds of the eye-to-mouth distance below the mouth and is narrower than the temples.
    height = np.sin(turn)
    width = np.where(height > 0, 1.08 - 0.22 * height**2, 1.08)
    face = np.stack([eyes[0] + across * width * np.cos(turn), eyes[1] + 0.15 * down + 1.5 * down * height], axis=1)
    curves = [face]
    for eye in (left, right):
        lid = 0.09 * down * np.sin(half)
        x = eye[0] - 0.25 * across * np.cos(half)
        curves.append(np.concatenate([np.stack([x, eye[1] - lid], 1), np.stack([x, eye[1] + lid], 1)[::-1]]))
        brow = eye[1] - (0.22 + 0.1 * np.sin(half)) * down
        curves.append(np.stack([eye[0] - 0.32 * across * np.cos(half), brow], axis=1))
    wing = 0.19 * across
    curves.append(np.stack([nose[0] - wing * np.cos(half), nose[1] + 0.12 * down * np.sin(half)], axis=1))
    curves.append(np.stack([np.full(2, nose[0]), [eyes[1] + 0.1 * down, nose[1] - 0.08 * down]], axis=1))
    lips = np.linspace(corner_l[0], corner_r[0], 31)
    bow = np.sin(half)
    curves.append(np.stack([lips, mouth[1] + 0.02 * down * bow], axis=1))
    curves.extend(np.stack([lips, mouth[1] + swing * down * bow], axis=1) for swing in (-0.10, 0.17))
    return curves


def draw_outline(axes: Axes, color: str, alpha: float = 0.35) -> None:
    """Draw the sketch into axes whose data are pixels of the aligned crop."""
    for curve in outline_curves():
        axes.plot(curve[:, 0], curve[:, 1], color=color, alpha=alpha, linewidth=1.0, zorder=2, clip_on=True)
