"""Maps that know nothing about the network: what any method must beat.

Every face is aligned, so that much can be had from its middle alone (``centre``) and something from luck (``random``).
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
    """A map of smooth noise, drawn from the seed and the face's pixels: the same face gets the same map everywhere.

    Parameters
    ----------
    cells
        The noise has so many independent values a side; 7, as xCos's grid, by default.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.

    Raises
    ------
    InputError
        If there are no cells.
    """

    name: ClassVar[str] = "random"

    def __init__(self, embedder: Embedder, *, cells: int = 7, **options: Any) -> None:
        super().__init__(embedder, **options)
        if not 1 <= cells <= FACE_SIZE:
            raise InputError(f"the noise needs 1 to {FACE_SIZE} cells a side, got {cells}")
        self.cells = cells

    @property
    def settings(self) -> Mapping[str, Any]:
        """Seed and cells."""
        return {"seed": self.seed, "cells": self.cells}

    @property
    def passes(self) -> int:
        """Two, for the score."""
        return 2

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Draw two maps."""
        return self._noise(faces[0]), self._noise(faces[1]), {}

    def _noise(self, face: NDArray[Any]) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, zlib.crc32(np.ascontiguousarray(face, np.float32).tobytes())])
        values = rng.standard_normal((self.cells, self.cells)).astype(np.float32)
        return np.asarray(cv2.resize(values, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_CUBIC), np.float32)


class CentreMethod(BlackBoxMethod):
    """A Gaussian hill in the middle of the picture, the same for every face.

    Parameters
    ----------
    sigma
        Its width in pixels; a quarter of the picture by default.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.

    Raises
    ------
    InputError
        If the width is not positive.
    """

    name: ClassVar[str] = "centre"

    def __init__(self, embedder: Embedder, *, sigma: float = FACE_SIZE / 4, **options: Any) -> None:
        super().__init__(embedder, **options)
        if not sigma > 0:
            raise InputError(f"the hill needs a positive width, got {sigma:g}")
        self.sigma = sigma

    @property
    def settings(self) -> Mapping[str, Any]:
        """The width."""
        return {"sigma": self.sigma}

    @property
    def passes(self) -> int:
        """Two, for the score."""
        return 2

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Give the hill twice."""
        slope = np.exp(-0.5 * ((np.arange(FACE_SIZE) - (FACE_SIZE - 1) / 2) / self.sigma) ** 2)
        hill = np.outer(slope, slope).astype(np.float32)
        return hill, hill, {}
