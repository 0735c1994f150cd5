"""Controls: maps that ignore the network, which any method must beat.

Faces are aligned, so their middle alone explains much (``centre``), and chance explains some (``random``).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import BlackBoxMethod, OnePair
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder
from whyface.xcos.comparison import Features


class RandomMethod(BlackBoxMethod):
    """A map of smooth noise, seeded by the seed and the face's pixels: the same face always gets the same map.

    Raise InputError if ``cells`` is out of range.

    Parameters
    ----------
    cells
        Number of independent noise values per side; 7 by default, like the grid of xCos.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.
    """

    name: ClassVar[str] = "random"

    def __init__(self, embedder: Embedder, *, cells: int = 7, **options: Any) -> None:
        super().__init__(embedder, **options)
        if not 1 <= cells <= FACE_SIZE:
            raise InputError(f"the noise needs 1 to {FACE_SIZE} cells per side, got {cells}")
        self.cells = cells

    @property
    def settings(self) -> Mapping[str, Any]:
        """The seed and the number of cells."""
        return {"seed": self.seed, "cells": self.cells}

    @property
    def passes(self) -> int:
        """Two, for the score."""
        return 2

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Return a map for each face."""
        return self._noise(faces[0]), self._noise(faces[1]), {}

    def _noise(self, face: NDArray[Any]) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, zlib.crc32(np.ascontiguousarray(face, np.float32).tobytes())])
        values = rng.standard_normal((self.cells, self.cells)).astype(np.float32)
        return np.asarray(cv2.resize(values, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_CUBIC), np.float32)


class CentreMethod(BlackBoxMethod):
    """A Gaussian at the centre of the picture, the same for every face.

    Raise InputError if ``sigma`` is not positive.

    Parameters
    ----------
    sigma
        Standard deviation in pixels; a quarter of the picture by default.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.
    """

    name: ClassVar[str] = "centre"

    def __init__(self, embedder: Embedder, *, sigma: float = FACE_SIZE / 4, **options: Any) -> None:
        super().__init__(embedder, **options)
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma:g}")
        self.sigma = sigma

    @property
    def settings(self) -> Mapping[str, Any]:
        """The standard deviation."""
        return {"sigma": self.sigma}

    @property
    def passes(self) -> int:
        """Two, for the score."""
        return 2

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Return the Gaussian for both faces."""
        slope = np.exp(-0.5 * ((np.arange(FACE_SIZE) - (FACE_SIZE - 1) / 2) / self.sigma) ** 2)
        hill = np.outer(slope, slope).astype(np.float32)
        return hill, hill, {}
