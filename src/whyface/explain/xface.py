"""x-face: cover a face patch by patch and measure how the score changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import BlackBoxMethod, OnePair
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder
from whyface.xcos.comparison import Features

Shape = Literal["rectangle", "circle"]
SHAPES: Final = ("rectangle", "circle")


@dataclass(frozen=True, eq=False)
class Patches:
    """All positions of a patch of one size.

    Attributes
    ----------
    corners
        Top left corners (row, column), (K, 2), from the top left to the bottom right.
    covers
        The pixels of its square that a patch covers, (p, p) bool.
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
        """Return the rows and columns of one patch."""
        row, column = self.corners[index]
        return slice(row, row + self.size), slice(column, column + self.size)

    def coverage(self) -> NDArray[np.float64]:
        """Return the number of patches that cover each pixel, (112, 112)."""
        return self._summed(np.ones(len(self)))

    def mean_over_patches(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return for each pixel the mean value of the patches that cover it, and 0 if none does."""
        coverage = self.coverage()
        summed = self._summed(np.asarray(values, np.float64))
        return np.divide(summed, coverage, out=np.zeros_like(summed), where=coverage > 0)

    def _summed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros((FACE_SIZE, FACE_SIZE))
        for index, value in enumerate(values):
            total[self.window(index)] += value * self.covers
        return total


def starts(size: int, stride: int, side: int = FACE_SIZE) -> NDArray[np.intp]:
    """Return the first pixels of the patches along one side: 0, stride, 2 stride ... and always ``side - size``.

    Raise InputError if the size does not fit or the stride is not positive.
    """
    if not 1 <= size <= side:
        raise InputError(f"a patch must be 1 to {side} pixels wide, got {size}")
    if stride < 1:
        raise InputError(f"the stride must be at least 1, got {stride}")
    return np.unique(np.append(np.arange(0, side - size + 1, stride), side - size))


def patches(size: int, stride: int, shape: Shape = "rectangle") -> Patches:
    """Return the positions of a patch that cover the aligned face.

    Raise InputError if size, stride or shape do not fit.
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
    """Covers a face with one patch at a time; see :class:`whyface.explain.black_box.Painter`.

    Parameters
    ----------
    face, fill
        (3, 112, 112) each: the face, and the picture that replaces covered pixels.
    of_one_size
        The patches.
    """

    def __init__(self, face: NDArray[Any], fill: NDArray[Any], of_one_size: Patches) -> None:
        self._face, self._fill, self._patches = face, fill, of_one_size

    def paint(self, row: NDArray[Any], index: int) -> None:
        """Cover the patch."""
        self._copy(self._fill, row, index)

    def undo(self, row: NDArray[Any], index: int) -> None:
        """Uncover the patch."""
        self._copy(self._face, row, index)

    def _copy(self, source: NDArray[Any], row: NDArray[Any], index: int) -> None:
        window = (slice(None), *self._patches.window(index))
        np.copyto(row[window], source[window], where=self._patches.covers)


Pairing = Literal["one", "all", "both"]
PAIRINGS: Final[Mapping[Pairing, str]] = {
    "one": "one face is covered, the other is not (the paper's method 2)",
    "all": "one covered face against all covered versions of the other (method 1)",
    "both": "both faces are covered at the same place (method 3)",
}
PATCH_SIZES: Final = (7, 14, 28)
STRIDE: Final = 5


class XfaceMethod(BlackBoxMethod):
    """The mean drop of the score over the patches that cover a pixel.

    The map is in units of the score: +0.02 at a pixel means that the patches that cover it lower the score by 0.02 on
    average, so the pixel supports "same person". All patch sizes have the same weight. The values are not rescaled;
    figures do that.

    For differences from the published code, see docs/how-to/methods.md. Raise InputError if an option is invalid, or
    the pairing is ``"all"`` and the score is not the cosine.

    Parameters
    ----------
    pairing
        ``"one"`` (the default) covers one face and leaves the other unchanged. With ``"both"``, the two patches look
        alike, which raises the score, and the two faces get the same map. ``"all"`` averages over the covered versions
        of the other face; for the cosine this needs no K x K matrix, since a mean of dot products is the dot product
        with the mean.
    patch_sizes
        Sides of the patches in pixels.
    stride
        Distance between neighbouring patches; there are always patches at the far borders.
    shape
        ``"rectangle"`` or ``"circle"``.
    smooth
        Blur the map with a Gaussian window as wide as the stride, which hides the raster of the patches.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.
    """

    name: ClassVar[str] = "xface"

    def __init__(
        self,
        embedder: Embedder,
        *,
        pairing: Pairing = "one",
        patch_sizes: Sequence[int] = PATCH_SIZES,
        stride: int = STRIDE,
        shape: Shape = "rectangle",
        smooth: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(embedder, **options)
        if pairing not in PAIRINGS:
            raise InputError(f"unknown pairing {pairing!r}; use one of {', '.join(PAIRINGS)}")
        if not patch_sizes:
            raise InputError("x-face needs at least one patch size")
        self.pairing: Pairing = pairing
        self.stride = stride
        self.shape: Shape = shape
        self.smooth = smooth
        self.patches: tuple[Patches, ...] = tuple(patches(size, stride, shape) for size in patch_sizes)
        if pairing == "all":
            self._need_cosine()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the maps."""
        return {
            **super().settings,
            "pairing": self.pairing,
            "patch_sizes": [one_size.size for one_size in self.patches],
            "stride": self.stride,
            "shape": self.shape,
            "smooth": self.smooth,
        }

    @property
    def passes(self) -> int:
        """Two, and one per patch and face."""
        return 2 + 2 * sum(map(len, self.patches))

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair with the chosen pairing."""
        map_a, map_b = self.explain_pairings(faces, plain, (self.pairing,))[self.pairing]
        return map_a, map_b, {}

    def explain_pairings(
        self,
        faces: tuple[NDArray[Any], NDArray[Any]],
        plain: tuple[Features, Features],
        pairings: Sequence[Pairing] = tuple(PAIRINGS),
    ) -> dict[Pairing, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Explain one pair with several pairings at the cost of one: all need the same covered faces."""
        if "all" in pairings:
            self._need_cosine()
        sums = {pairing: [np.zeros(faces[0].shape[1:]) for _ in range(2)] for pairing in pairings}
        fills = [self.fill_of(face) for face in faces]
        for of_one_size in self.patches:
            covered_a, covered_b = (
                self.painted(face, PatchPainter(face, fill, of_one_size), len(of_one_size))
                for face, fill in zip(faces, fills, strict=True)
            )
            for pairing, both in sums.items():
                for side, loss in enumerate(self._losses(pairing, plain, covered_a, covered_b)):
                    both[side] += of_one_size.mean_over_patches(loss)
        return {pairing: (self._finished(both[0]), self._finished(both[1])) for pairing, both in sums.items()}

    def _losses(
        self, pairing: Pairing, plain: tuple[Features, Features], covered_a: Features, covered_b: Features
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the drop of the score by each patch, (K,) for each face."""
        score = self.comparison.scores
        plain_a, plain_b = plain
        if pairing == "both":
            loss = score(plain_a, plain_b) - score(covered_a, covered_b)
            return loss, loss
        other_a, other_b = plain
        if pairing == "all":
            # Compare the uncovered face with the same covered faces, too. Otherwise their patches, which lower every
            # score, would count as support by every pixel.
            other_a, other_b = _mean_row(covered_a), _mean_row(covered_b)
        return (
            score(plain_a, other_b) - score(covered_a, other_b),
            score(other_a, plain_b) - score(other_a, covered_b),
        )

    def _finished(self, total: NDArray[np.float64]) -> NDArray[np.float32]:
        mean = total / len(self.patches)
        if self.smooth:
            # The window must be odd, also for even strides.
            width = 2 * (self.stride // 2) + 1
            return np.asarray(cv2.GaussianBlur(mean, (width, width), float(self.stride)), np.float32)
        return mean.astype(np.float32)

    def _need_cosine(self) -> None:
        if self.comparison.attention is not None:
            raise InputError(
                "x-face's pairing 'all' needs the cosine of embeddings; use the pairing 'one' or 'both' for another "
                "score"
            )


def _mean_row(rows: Features) -> Features:
    mean: Features = rows.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    return mean
