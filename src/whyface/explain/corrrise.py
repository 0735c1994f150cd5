"""CorrRISE: cover a face with many random masks and correlate the visibility of each pixel with the score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import BlackBoxMethod, OnePair
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder
from whyface.xcos.comparison import Features


class StreamedCorrelation:
    """Streaming correlation between each pixel of the masks and the scores; the masks are not kept.

    Batches are merged by their means and centred sums (Chan, Golub and LeVeque, "Algorithms for Computing the Sample
    Variance", The American Statistician 37, 1983), which avoids the cancellation of plain sums of squares.

    Parameters
    ----------
    shape
        Shape of one mask.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self._mean_x = np.zeros(shape)
        self._mean_y = 0.0
        self._xx = np.zeros(shape)
        self._yy = 0.0
        self._xy = np.zeros(shape)

    def update(self, masks: NDArray[Any], values: NDArray[Any]) -> None:
        """Add n masks (n, *shape) and their values (n,)."""
        x, y = np.asarray(masks, np.float64), np.asarray(values, np.float64)
        count = len(y)
        if not count:
            return
        mean_x, mean_y = x.mean(axis=0), float(y.mean())
        x, y = x - mean_x, y - mean_y
        shift_x, shift_y = mean_x - self._mean_x, mean_y - self._mean_y
        total = self.count + count
        between = self.count * count / total
        self._xx += np.einsum("n...,n...->...", x, x) + between * shift_x**2
        self._yy += float(y @ y) + between * shift_y**2
        self._xy += np.einsum("n,n...->...", y, x) + between * shift_x * shift_y
        self._mean_x += shift_x * count / total
        self._mean_y += shift_y * count / total
        self.count = total

    def result(self) -> NDArray[np.float64]:
        """Return the correlation of each pixel in [-1, 1]; 0 where the pixel or the values never change."""
        product = self._xx * self._yy
        # Rounding errors of a constant are not variance.
        tiny = np.finfo(np.float64).eps ** 2 * max(self.count, 1)
        varies = (self._xx > tiny * (1 + self._mean_x**2)) & (self._yy > tiny * (1 + self._mean_y**2))
        found = np.divide(self._xy, np.sqrt(product), out=np.zeros_like(self._xy), where=varies & (product > 0))
        return np.clip(found, -1, 1)


MASKS: Final = 1000
CELLS: Final = 7
VISIBLE: Final = 0.5


def random_masks(count: int, *, cells: int, visible: float, seed: int, at_once: int) -> Iterator[NDArray[np.float32]]:
    """Draw masks as RISE does: a coarse random grid, smoothly enlarged and shifted at random by less than a cell.

    Parameters
    ----------
    visible
        Probability that a cell is visible.
    seed, at_once
        The masks depend only on the seed, not on how many are drawn at once.

    Yields
    ------
    Masks (n, 112, 112) float32 in [0, 1], n at most ``at_once``; 1 shows the face.
    """
    rng = np.random.default_rng(seed)
    cell = -(-FACE_SIZE // cells)
    side = (cells + 1) * cell
    for start in range(0, count, at_once):
        masks = np.empty((min(at_once, count - start), FACE_SIZE, FACE_SIZE), np.float32)
        for mask in masks:
            grid = (rng.random((cells + 1, cells + 1)) < visible).astype(np.float32)
            row, column = rng.integers(0, cell, 2)
            large = cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)
            mask[:] = large[row : row + FACE_SIZE, column : column + FACE_SIZE]
        yield masks


PUBLISHED_MASKS: Final = 500
SQUARES: Final = 3
SQUARE: Final = 30
"""Number and side of the squares of a published mask."""


def square_masks(count: int, *, seed: int, at_once: int) -> Iterator[NDArray[np.float32]]:
    """Draw masks that hide three squares of 30 x 30 each, as the published code does; see :func:`random_masks`."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, at_once):
        masks = np.ones((min(at_once, count - start), FACE_SIZE, FACE_SIZE), np.float32)
        for mask in masks:
            for top, left in rng.integers(0, FACE_SIZE - SQUARE + 1, (SQUARES, 2)):
                mask[top : top + SQUARE, left : left + SQUARE] = 0
        yield masks


def average_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks of values (N,) from 1; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], np.float64)


Preset = Literal["rise", "published"]


class CorrRiseMethod(BlackBoxMethod):
    """The correlation between visibility and score.

    For face A and N masks M_k, let s_k = score(M_k A + (1 - M_k) fill, B). The map at pixel x is Pearson's correlation
    of M_k(x) and s_k over k. A positive value means that the score rises with the visibility of the pixel, which
    supports "same person". Face B is treated in the same way, with A unchanged. The map lies in [-1, 1] and is not in
    units of the score. Where visibility and score are independent, it has a standard deviation of about 1 / sqrt(N).

    The masks depend only on the seed: both faces and all pairs get the same ones, so that differences between pairs do
    not come from the draw. Raise InputError if an option is out of range.

    Parameters
    ----------
    preset
        ``"rise"``: the masks of RISE and the scores. ``"published"``: as a public port describes the authors' code, 500
        masks that hide three black squares of 30 x 30, and the ranks of the scores, which makes it Spearman's
        correlation.
    masks
        Number of masks per face; 1,000, or 500 as published.
    cells
        Cells of the coarse grid per side.
    visible
        Probability that a cell is visible.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.
    """

    name: ClassVar[str] = "corrrise"

    def __init__(
        self,
        embedder: Embedder,
        *,
        preset: Preset = "rise",
        masks: int | None = None,
        cells: int = CELLS,
        visible: float = VISIBLE,
        **options: Any,
    ) -> None:
        if preset not in get_args(Preset):
            raise InputError(f"the preset must be one of {', '.join(get_args(Preset))}, got {preset!r}")
        is_published = preset == "published"
        super().__init__(embedder, **{**({"fill": 0.0} if is_published else {}), **options})
        if masks is None:
            masks = PUBLISHED_MASKS if is_published else MASKS
        if masks < 2:
            raise InputError(f"a correlation needs at least 2 masks, got {masks}")
        if not 1 <= cells <= FACE_SIZE:
            raise InputError(f"the masks need 1 to {FACE_SIZE} cells per side, got {cells}")
        if not 0 < visible < 1:
            raise InputError(f"the probability of a visible cell must be between 0 and 1, got {visible:g}")
        self.preset: Preset = preset
        self.masks = masks
        self.cells = cells
        self.visible = visible

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the maps."""
        found = {**super().settings, "masks": self.masks}
        if self.preset == "published":
            return {**found, "preset": self.preset, "squares": SQUARES, "side": SQUARE}
        return {**found, "cells": self.cells, "visible": self.visible}

    @property
    def passes(self) -> int:
        """Two, and one for each mask of each face."""
        return 2 + 2 * self.masks

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair."""
        plain_a, plain_b = plain
        # Blended pixels are fractional.
        face_a, face_b = (face.astype(np.float32) for face in faces)
        fill_a, fill_b = (self.fill_of(face).astype(np.float32) for face in faces)
        scores: tuple[list[Features], list[Features]] = ([], [])
        for masks in self._draw():
            seen_a = self.painted(face_a, MaskPainter(face_a, fill_a, masks), len(masks))
            seen_b = self.painted(face_b, MaskPainter(face_b, fill_b, masks), len(masks))
            scores[0].append(self.comparison.scores(seen_a, plain_b))
            scores[1].append(self.comparison.scores(plain_a, seen_b))
        map_a, map_b = (self._correlation(np.concatenate(one)) for one in scores)
        return map_a, map_b, {}

    def _draw(self) -> Iterator[NDArray[np.float32]]:
        if self.preset == "published":
            return square_masks(self.masks, seed=self.seed, at_once=self.batch_size)
        return random_masks(self.masks, cells=self.cells, visible=self.visible, seed=self.seed, at_once=self.batch_size)

    def _correlation(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        values = average_ranks(scores) if self.preset == "published" else scores
        found, done = StreamedCorrelation((FACE_SIZE, FACE_SIZE)), 0
        # Drawn again, the masks are the same and need not be kept.
        for masks in self._draw():
            found.update(masks, values[done : done + len(masks)])
            done += len(masks)
        return found.result().astype(np.float32)


class MaskPainter:
    """Blends a face with its fill by soft masks (n, 112, 112)."""

    def __init__(self, face: NDArray[np.float32], fill: NDArray[np.float32], masks: NDArray[np.float32]) -> None:
        self._difference, self._fill, self._masks = face - fill, fill, masks

    def paint(self, row: NDArray[Any], index: int) -> None:
        """Blend by one mask."""
        np.multiply(self._difference, self._masks[index], out=row)
        row += self._fill

    def undo(self, row: NDArray[Any], index: int) -> None:
        """Do nothing: the next mask writes every pixel."""
