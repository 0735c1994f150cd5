"""The head behind the last spatial map as a sum over cells, for torch and for ONNX networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder, GridEmbedder, require_grid

Head = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Map (N, C, H, W) float32 -> embedding (N, D) float32, before any L2 normalisation."""

_CHUNK: Final = 256
# Far above the constant, so that rounding does not swallow a single number's part; a power of two divides exactly.
_PROBE: Final = np.float32(4096)
_TOLERANCE: Final = 1e-3


def measure_head(head: Head, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Measure an affine head by running it once for every number of the map.

    Parameters
    ----------
    head
        The head.
    shape
        (C, H, W) of the map.

    Returns
    -------
    (D, C, H, W) float32: ``head(x) = sum over c, h, w of weights * x + head(0)``.

    Raises
    ------
    ModelError
        If the head is not affine.
    """
    size = int(np.prod(shape))
    zero = head(np.zeros((1, *shape), np.float32))
    columns = []
    for start in range(0, size, _CHUNK):
        units = np.zeros((min(_CHUNK, size - start), size), np.float32)
        np.fill_diagonal(units[:, start:], _PROBE)
        columns.append((head(units.reshape(-1, *shape)) - zero) / _PROBE)
    weights = np.ascontiguousarray(np.concatenate(columns).T).reshape(-1, *shape)
    probe = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    measured = head(probe) - zero
    error = np.linalg.norm(measured - np.einsum("dchw,nchw->nd", weights, probe, optimize=True))
    if not error <= _TOLERANCE * np.linalg.norm(measured) or not np.any(measured):
        raise ModelError(
            "the head behind the spatial map is not a sum over places: it must be affine, with no activation and no L2 "
            "normalisation; name a later spatial map or an earlier output"
        )
    return weights


_LINEAR_HEAD_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class LinearHead:
    """An affine head.

    Attributes
    ----------
    weights
        P, (D, C, H, W) float32.
    constant
        b, (D,) float32. The embedding is the sum of P * F over c, h, w, plus b, before L2 normalisation.
    """

    weights: NDArray[np.float32]
    constant: NDArray[np.float32]

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, C, H, W) to embeddings (N, D) float64, not normalised."""
        flat = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        return maps.reshape(len(maps), -1).astype(np.float64) @ flat.T + self.constant


@runtime_checkable
class AffineHeaded(Embedder, Protocol):
    """A network that can measure how its embedding is made from its last spatial map."""

    def affine_head(self, shape: tuple[int, int, int]) -> LinearHead:
        """Measure the head behind a map (C, H, W); raises ModelError if it is not affine."""
        ...


def linear_head(embedder: Embedder) -> tuple[GridEmbedder, LinearHead]:
    """Measure how a network's head computes the embedding from its last spatial map.

    Whatever the head is made of (mean and fully connected, flatten and fully connected, global depthwise convolution,
    with BatchNorms between), if it is affine, measuring says all about it.

    Returns
    -------
    The embedder as one with a grid, and the head.

    Raises
    ------
    ModelError
        The embedder has no grid, its head cannot be looked into or is not affine, or the sum over cells does not give
        the embedding that the network gives.
    """
    grids = require_grid(embedder)
    name = embedder.name
    if not isinstance(embedder, AffineHeaded):
        raise ModelError(
            f"model {name!r}: its head cannot be looked into; open the network as an ONNX file with its grid "
            "named, or as a torch network"
        )
    channels, height, width = grids.grid(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)).shape[1:]
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, FACE_SIZE, FACE_SIZE), np.uint8)
    given = embedder.embed(faces)
    found = embedder.affine_head((channels, height, width))
    made = found(grids.grid(faces))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    error = float(np.abs(made - given).max())
    if not error <= _LINEAR_HEAD_TOLERANCE:
        raise ModelError(
            f"model {name!r}: the sum over cells misses the embedding by up to {error:.2g}; the embedding is not made "
            "from the spatial map named"
        )
    return grids, found
