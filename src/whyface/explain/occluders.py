"""Patches that cover a part of a face, and maps made from what each of them changed.

Unlike in the published x-face code, the last patch of a row ends at the border whatever the stride, a patch of size p
covers p x p pixels, and a disc lies in the middle of its square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE

Shape = Literal["rectangle", "circle"]
SHAPES: Final = ("rectangle", "circle")


@dataclass(frozen=True, eq=False)
class Patches:
    """All places of a patch of one size.

    Attributes
    ----------
    corners
        Top left corner (row, column) of each, (K, 2), from the top left to the bottom right.
    covers
        Which pixels of its square a patch covers, (p, p) bool.
    """

    corners: NDArray[np.intp]
    covers: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def size(self) -> int:
        """Side of the square."""
        return len(self.covers)

    def window(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of one patch's square."""
        row, column = self.corners[index]
        return slice(row, row + self.size), slice(column, column + self.size)

    def coverage(self) -> NDArray[np.float64]:
        """How many patches cover each pixel, (112, 112)."""
        return self._summed(np.ones(len(self)))

    def mean_over_patches(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Give each pixel the mean value of the patches that cover it, and 0 where none does.

        Parameters
        ----------
        values
            (K,), one per patch.
        """
        coverage = self.coverage()
        summed = self._summed(np.asarray(values, np.float64))
        return np.divide(summed, coverage, out=np.zeros_like(summed), where=coverage > 0)

    def _summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros((FACE_SIZE, FACE_SIZE))
        for index, value in enumerate(values):
            total[self.window(index)] += value * self.covers
        return total


def starts(size: int, stride: int, side: int = FACE_SIZE) -> NDArray[np.intp]:
    """Give the first pixels of patches along one side: 0, stride, 2 stride ... and always ``side - size``.

    Raises
    ------
    InputError
        If the size does not fit or the stride is not positive.
    """
    if not 1 <= size <= side:
        raise InputError(f"a patch must be 1 to {side} pixels wide, got {size}")
    if stride < 1:
        raise InputError(f"the stride must be at least 1, got {stride}")
    return np.unique(np.append(np.arange(0, side - size + 1, stride), side - size))


def patches(size: int, stride: int, shape: Shape = "rectangle") -> Patches:
    """Place a patch all over the aligned face.

    Raises
    ------
    InputError
        If size, stride or shape do not fit.
    """
    if shape not in SHAPES:
        raise InputError(f"unknown shape {shape!r}; use {' or '.join(SHAPES)}")
    places = starts(size, stride)
    corners = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    covers = np.ones((size, size), np.bool_)
    if shape == "circle":
        away = np.arange(size) - (size - 1) / 2
        covers = away[:, None] ** 2 + away**2 <= (size / 2) ** 2
    return Patches(corners, covers)


class PatchPainter:
    """Covers a face with one patch at a time; see :class:`whyface.explain.painted_faces.Painter`.

    Parameters
    ----------
    face, fill
        (3, 112, 112) each: the face, and what shows where it is covered.
    of_one_size
        The patches.
    """

    def __init__(self, face: NDArray[Any], fill: NDArray[Any], of_one_size: Patches) -> None:
        self._face, self._fill, self._patches = face, fill, of_one_size

    def paint(self, row: NDArray[Any], index: int) -> None:
        """Cover."""
        self._copy(self._fill, row, index)

    def undo(self, row: NDArray[Any], index: int) -> None:
        """Uncover."""
        self._copy(self._face, row, index)

    def _copy(self, source: NDArray[Any], row: NDArray[Any], index: int) -> None:
        window = (slice(None), *self._patches.window(index))
        np.copyto(row[window], source[window], where=self._patches.covers)
