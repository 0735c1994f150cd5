"""Embedders whose occlusion maps can be worked out by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyface.explain.explanation import Explanation
from whyface.faces.face import Face
from whyface.models.embedder import Batch


class LinearEmbedder:
    """Embeds a face by the mean grey level of each quarter; the vector is scaled to unit length.

    Parameters
    ----------
    rows, columns
        The picture is cut into so many parts.
    """

    name = "linear"
    sha256 = "0" * 64

    def __init__(self, rows: int = 2, columns: int = 2) -> None:
        self.rows, self.columns = rows, columns
        self.seen: list[int] = []

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        self.seen.append(len(batch))
        high, wide = 112 // self.rows, 112 // self.columns
        parts = batch.astype(np.float64).mean(axis=1)[:, : high * self.rows, : wide * self.columns]
        cells = parts.reshape(len(batch), self.rows, high, self.columns, wide).mean(axis=(2, 4))
        flat = cells.reshape(len(batch), -1)
        unit: NDArray[np.float32] = (flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)).astype(
            np.float32
        )
        return unit


class CornerEmbedder:
    """Looks at the top left ``side`` x ``side`` pixels only: (their mean grey level, 100)."""

    name = "corner"
    sha256 = "1" * 64

    def __init__(self, side: int = 20) -> None:
        self.side = side

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        grey = batch[:, :, : self.side, : self.side].astype(np.float64).mean(axis=(1, 2, 3))
        rows = np.stack([grey, np.full_like(grey, 100.0)], axis=1)
        unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def noisy_face(seed: int) -> Face:
    """A face of noise."""
    return Face(np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8), source=f"{seed}.png")


def quartered_face(*greys: int) -> Face:
    """A face with a grey level in each quarter."""
    quarters = np.asarray(greys, np.uint8).reshape(2, 2)
    return Face(np.repeat(np.repeat(quarters, 56, 0), 56, 1)[..., None].repeat(3, 2))


def both_maps(explanation: Explanation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The maps of face A and B."""
    assert explanation.map_a is not None
    assert explanation.map_b is not None
    return explanation.map_a, explanation.map_b
