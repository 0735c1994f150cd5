"""Panels shared by figures: faces, grids, overlays, colour bars, region bars and the scale of the score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.explain.provenance import FaceInfo
from whyface.explain.usual import Telling
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import TEMPLATE
from whyface.figures.style import BLUE, FONT, HAIRLINE, INK, MUTED, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import CenteredNorm, Colormap, Normalize
    from matplotlib.image import AxesImage

FULL_ODDS: Final = 30
"""A similarity that is so many times commoner among one kind of pairs than the other has the full colour."""


def face_labels(faces: tuple[FaceInfo, FaceInfo] | None, labels: tuple[str, str] | None = None) -> tuple[str, str]:
    """Return the labels of the two faces of a pair.

    Parameters
    ----------
    faces
        Origin of the faces; None for arrays.
    labels
        Names given by the caller, which take precedence.

    Returns
    -------
    Two names: those given, otherwise the file names, otherwise empty.
    """
    if labels is not None:
        return labels
    if faces is None:
        return "", ""
    first, second = (PurePath(face.source).name for face in faces)
    return first, second


def outline_curves() -> list[NDArray[np.float64]]:
    """Return the lines of face, brows, eyes, nose and mouth, each (N, 2) points (x, y) in pixels of the 112 x 112 crop.

    All lines are derived from the five landmarks of the template.
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
    """Draw the outline of a face into axes in pixels of the aligned crop."""
    for curve in outline_curves():
        axes.plot(curve[:, 0], curve[:, 1], color=color, alpha=alpha, linewidth=1.0, zorder=2, clip_on=True)


DIVERGING: Final = "RdBu"
BLEND: Final = "PiYG"
SEQUENTIAL: Final = "Purples"
SMALLEST_HALF_RANGE: Final = 0.5
OUTSIDE: Final = "outside the photo"
"""Label of the bar of what lies outside."""

_EXTENT: Final = (0, FACE_SIZE, FACE_SIZE, 0)


def similarity_norm(threshold: float) -> CenteredNorm:
    """Return the colour scale of S, centred on the threshold and linear.

    It extends to 1 and as far down, at least 0.5 to either side; lower values get the colour of the end. It depends
    only on the threshold, so figures of one model are comparable.
    """
    from matplotlib.colors import CenteredNorm  # noqa: PLC0415

    return CenteredNorm(vcenter=threshold, halfrange=max(1 - threshold, SMALLEST_HALF_RANGE))


def share_norm(shares: NDArray[np.floating[Any]]) -> CenteredNorm:
    """Return the colour scale of shares of the margin, centred on 0 with the largest absolute value at the ends."""
    return centred_norm(max(float(np.abs(shares).max()), 1e-9))


def centred_norm(reach: float) -> CenteredNorm:
    """Return a colour scale from -reach to reach."""
    from matplotlib.colors import CenteredNorm  # noqa: PLC0415

    return CenteredNorm(vcenter=0, halfrange=reach)


def weight_norm(attention: NDArray[np.float32]) -> Normalize:
    """Return the colour scale of W, from 0 (or the lowest weight) to at least twice the mean: uniform is mid."""
    from matplotlib.colors import Normalize  # noqa: PLC0415

    low = min(0.0, float(attention.min()))
    return Normalize(low, max(float(attention.max()), 2 * float(attention.mean()), low + 1e-9))


def draw_face(
    axes: Axes, face: NDArray[np.uint8], grid: tuple[int, int] | None, outside: NDArray[np.bool_] | None = None
) -> None:
    """Draw an aligned face (112, 112, 3), with a grid of (h, w) places unless None, and hatch what is outside."""
    axes.imshow(face, extent=_EXTENT, interpolation="bicubic")
    if grid is not None:
        for count, line in ((grid[0], axes.axhline), (grid[1], axes.axvline)):
            for place in range(1, count):
                line(place * FACE_SIZE / count, color="white", alpha=0.55, linewidth=0.7)
    if outside is not None:
        hatch(axes, outside)
    _bare(axes)


def draw_telling(axes: Axes, similarity: NDArray[np.float32], telling: Telling) -> AxesImage:
    """Draw S (h, w) with the colours of how telling it is at each place, full at :data:`FULL_ODDS`."""
    norm = centred_norm(math.log(FULL_ODDS))
    return draw_cells(axes, telling.log_odds, DIVERGING, norm, numbers=similarity)


def hatch(axes: Axes, places: NDArray[np.bool_] | None) -> None:
    """Cover places (h, w) of a panel with grey and a hatching: there is nothing to see. None covers nothing."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    if places is None:
        return
    height, width = (FACE_SIZE / count for count in places.shape)
    for row, column in np.argwhere(places):
        corner = (column * width, row * height)
        axes.add_patch(
            Rectangle(
                corner, width, height, facecolor="#e6e6e6", edgecolor="#b4b4b4", hatch="////", linewidth=0, zorder=4
            )
        )


def draw_cells(
    axes: Axes,
    cells: NDArray[np.floating[Any]],
    cmap: str,
    norm: Normalize,
    *,
    numbers: NDArray[np.floating[Any]] | None = None,
    digits: int = 2,
) -> AxesImage:
    """Draw a grid (h, w) as coloured places with the outline of a face, and its own or other numbers in the places."""
    from matplotlib import colormaps  # noqa: PLC0415

    height, width = cells.shape
    colors: Colormap = colormaps[cmap]
    image = axes.imshow(cells, cmap=colors, norm=norm, extent=_EXTENT, interpolation="nearest", zorder=1)
    draw_outline(axes, INK, alpha=0.22)
    shown = cells if numbers is None else numbers
    # White lines separate equal neighbours; adding 0 to a rounded number avoids -0.00.
    for count, line in ((height, axes.axhline), (width, axes.axvline)):
        for place in range(1, count):
            line(place * FACE_SIZE / count, color="white", linewidth=1.0, zorder=1.5)
    # Small enough for "-0.25" to fit in a place: it is 2.6 times as wide as the letters are high.
    pixels = axes.get_window_extent().width / width
    size = min(8.0, 0.24 * pixels * 100 / axes.figure.dpi)
    for (row, column), value in np.ndenumerate(cells):
        axes.text(
            (column + 0.5) * FACE_SIZE / width,
            (row + 0.5) * FACE_SIZE / height,
            f"{round(float(shown[row, column]), digits) + 0.0:.{digits}f}",
            size=size,
            color=_readable(colors(norm(float(value)))),
            ha="center",
            va="center",
            family=FONT,
            zorder=3,
        )
    _bare(axes)
    return image


def draw_overlay(
    axes: Axes, face: NDArray[np.uint8], saliency: NDArray[np.floating[Any]], reach: float | None = None
) -> AxesImage:
    """Draw a signed per-face map over the grey face: blue supports "same person", red speaks against it.

    Absolute values of at least ``reach`` get the full colour; by default, the largest.
    """
    from matplotlib.colors import CenteredNorm  # noqa: PLC0415

    grey = face.astype(np.float64) @ (0.299, 0.587, 0.114)
    axes.imshow(0.5 * grey + 127, cmap="gray", vmin=0, vmax=255, extent=_EXTENT, interpolation="bicubic")
    norm = CenteredNorm(vcenter=0, halfrange=max(float(np.abs(saliency).max()), 1e-9) if reach is None else reach)
    strength = np.abs(saliency) / norm.halfrange if norm.halfrange else np.zeros_like(saliency)
    image = axes.imshow(
        saliency,
        cmap=DIVERGING,
        norm=norm,
        alpha=np.clip(0.12 + 0.68 * strength, 0, 0.8),
        extent=_EXTENT,
        interpolation="nearest",
    )
    _bare(axes)
    return image


def blended(face: NDArray[np.uint8], saliency: NDArray[np.floating[Any]], reach: float) -> NDArray[np.uint8]:
    """Colour a face as x-face does: hue and saturation of the map, lightness of the face; (112, 112, 3).

    Green supports "same person", pink speaks against it. The hue is that of HLS and the saturation that of HSV, as
    published. Absolute values of at least ``reach`` get the full colour.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    large = cv2.resize(np.asarray(saliency, np.float32), (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR)
    colours = colormaps[BLEND](np.clip(0.5 + 0.5 * large / reach, 0, 1))[..., :3].astype(np.float32)
    hue = cv2.cvtColor(colours, cv2.COLOR_RGB2HLS)[..., 0]
    lightness = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2HLS)[..., 1]
    saturation = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV)[..., 1]
    mixed = cv2.cvtColor(np.stack([hue, lightness, saturation], axis=-1), cv2.COLOR_HLS2RGB)
    return np.asarray(np.rint(255 * mixed.clip(0, 1)), np.uint8)


def draw_color_bar(axes: Axes, image: AxesImage, ticks: Sequence[tuple[float, str]], *, below: bool = False) -> None:
    """Draw a thin horizontal colour bar with named ticks; with ``below``, its left end is an arrow."""
    figure = axes.figure
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", extend="min" if below else "neither")
    bar.set_ticks([place for place, _ in ticks], labels=[name for _, name in ticks])
    # Aligned inwards, the labels at the ends cannot overlap those of the next panel.
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.get_xticklabels()[-1].set_horizontalalignment("right")
    bar.outline.set_visible(False)
    axes.tick_params(length=2, width=0.6, color=MUTED, labelsize=8, labelcolor=MUTED, labelfontfamily=FONT, pad=2)


def other_regions(shares: Sequence[float]) -> tuple[str, float]:
    """Return the bar of the regions that have none of their own: its label and the sum of their shares."""
    return f"{len(shares)} other region{'' if len(shares) == 1 else 's'}", sum(shares)


def draw_region_bars(axes: Axes, bars: Sequence[tuple[str, float]]) -> None:
    """Draw shares of the margin in points, one bar per region from the top: blue for a match, red against it.

    What lies outside the photo is grey: it is no reason.
    """
    amounts = [100 * share for _, share in bars]
    places = range(len(bars))
    colors = [MUTED if name == OUTSIDE else BLUE if a > 0 else RED for (name, _), a in zip(bars, amounts, strict=True)]
    axes.barh(places, amounts, color=colors, height=0.66)
    low, high = min(0.0, *amounts), max(0.0, *amounts)
    span = max(high - low, 1e-9)
    axes.set_xlim(low - (0.12 if low < 0 else 0.01) * span, high + (0.12 if high > 0 else 0.01) * span)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    for place, amount in zip(places, amounts, strict=True):
        axes.annotate(
            f"{amount:+.1f}" if abs(amount) >= 0.05 else "0.0",
            (amount, place),
            xytext=(4 if amount >= 0 else -4, 0),
            textcoords="offset points",
            size=8.5,
            color=INK,
            ha="left" if amount >= 0 else "right",
            va="center",
            family=FONT,
        )
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(list(places), labels=[name for name, _ in bars])
    axes.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=INK, labelfontfamily=FONT, pad=6)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def draw_scale(axes: Axes, score: float, threshold: float) -> None:
    """Draw the scale of the score: a line with a mark at the threshold, and the score as a dot."""
    low, high = min(-0.1, score - 0.1, threshold - 0.1), max(1.0, score * 1.1, threshold * 1.25)
    pad = 0.02 * (high - low)
    color = BLUE if score > threshold else RED
    for start, end, shade in ((low, threshold, RED), (threshold, high, BLUE)):
        axes.plot([start, end], [0, 0], color=shade, alpha=0.25, linewidth=6, solid_capstyle="butt")
    axes.plot([threshold, threshold], [-0.5, 0.5], color=INK, linewidth=1.4)
    axes.plot([score], [0], "o", color=color, markersize=11, markeredgecolor="white", markeredgewidth=1.5)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(-2.4, 2.4)
    for place, name, height, shade in ((threshold, "threshold", -0.8, INK), (score, "score", 0.9, color)):
        # A label near an end is aligned inwards, so that it stays in the axes.
        where = (place - low) / (high - low)
        axes.text(
            place,
            height,
            name,
            color=shade,
            size=9,
            weight="bold" if name == "score" else "normal",
            family=FONT,
            va="bottom" if height > 0 else "top",
            ha="left" if where < 0.08 else "right" if where > 0.92 else "center",
        )
    for place, name, align in ((low, "no match", "left"), (high, "match", "right")):
        axes.text(place, -0.8, name, color=MUTED, size=9, family=FONT, va="top", ha=align)
    axes.set_axis_off()


def _readable(rgba: Any) -> str:
    red, green, blue = rgba[:3]
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def _bare(axes: Axes) -> None:
    axes.set_xlim(0, FACE_SIZE)
    axes.set_ylim(FACE_SIZE, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(HAIRLINE)
        spine.set_linewidth(0.8)
