"""A small model for galleries: the shipped attention behind a network of a few numbers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whyface.models.catalogue import FAST_MODEL
from whyface.models.embedder import Batch, l2_normalise
from whyface.xcos.model import XcosModel, open_xcos


class TinyGrids:
    """Random projections of a face's 7 x 7 tiles: quick, and different for different faces."""

    name = "tiny"
    sha256 = "0" * 64
    has_grid = True

    def __init__(self, seed: int = 0) -> None:
        self._matrix = np.random.default_rng(seed).standard_normal((32, 3 * 4)).astype(np.float32)
        self.sha256 = f"{seed:064d}"

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        tiles = batch.astype(np.float32).reshape(len(batch), 3, 7, 16, 7, 16)[:, :, :, ::8, :, ::8] / 255 - 0.5
        tiles = tiles.transpose(0, 1, 3, 5, 2, 4).reshape(len(batch), 12, 7, 7)
        return np.asarray(np.einsum("nkhw,ck->nchw", tiles, self._matrix), np.float32)

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return l2_normalise(self.grid(batch).reshape(len(batch), -1))


@lru_cache(1)
def shipped() -> XcosModel:
    return open_xcos(FAST_MODEL)


def tiny_xcos(seed: int = 0) -> XcosModel:
    """The shipped model's attention, learned and correlated, over tiny grids."""
    model = shipped()
    return XcosModel(TinyGrids(seed), pair=model.pair, correlated=model.correlated, tensors=model.tensors)


def faces(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 112, 112), np.uint8)
