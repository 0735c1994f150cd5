"""The protocol that every network implements, and the check of its input."""

from __future__ import annotations

from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.faces.face import FACE_SIZE

Batch = NDArray[np.uint8] | NDArray[np.float32]
"""Aligned faces, (N, 3, 112, 112), RGB: uint8, or float32 with values in 0..255."""

_ROUNDING: Final = 0.5


@runtime_checkable
class Embedder(Protocol):
    """A network that turns aligned faces into embeddings.

    Attributes
    ----------
    name
        Name of the network in reports.
    sha256
        SHA-256 of its weights, 64 hexadecimal digits.
    """

    @property
    def name(self) -> str:
        """Name of the network in reports."""
        ...

    @property
    def sha256(self) -> str:
        """SHA-256 of its weights, 64 hexadecimal digits."""
        ...

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces (N, 3, 112, 112), RGB, 0..255, to L2-normalised embeddings (N, D) float32."""
        ...


@runtime_checkable
class GridEmbedder(Embedder, Protocol):
    """An embedder that also returns the spatial features that its embedding is made of."""

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces (N, 3, 112, 112), RGB, 0..255, to features (N, C, H, W) float32, not normalised."""
        ...


def check_batch(batch: NDArray[Any]) -> Batch:
    """Return the batch unchanged, or raise an error that says what is wrong with it.

    Raise InputError if the shape or dtype differs, or float values are not finite or clearly outside 0..255 (half a
    grey level is allowed for rounding).

    Parameters
    ----------
    batch
        Should be (N, 3, 112, 112), RGB, uint8 or float32 in 0..255; N may be 0.
    """
    if not isinstance(batch, np.ndarray):
        raise InputError(f"a batch of faces must be a numpy array, got {type(batch).__name__}")
    if batch.ndim != 4 or batch.shape[1:] != (3, FACE_SIZE, FACE_SIZE):
        raise InputError(
            f"a batch of faces must have the shape (N, 3, {FACE_SIZE}, {FACE_SIZE}), got {batch.shape}; "
            "stack_faces() makes one from faces"
        )
    if batch.dtype == np.uint8:
        return batch
    if batch.dtype != np.float32:
        raise InputError(f"a batch of faces must be uint8 or float32 in 0..255, got {batch.dtype}")
    if batch.size:
        # min and max propagate NaN and infinity, so two passes check everything.
        low, high = float(batch.min()), float(batch.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("a batch of faces holds values that are not finite; pass pixel values in 0..255")
        if low < -_ROUNDING or high > 255 + _ROUNDING:
            raise InputError(f"a batch of faces has values from {low:g} to {high:g}; pass plain pixel values in 0..255")
    return batch


def require_grid(embedder: Embedder) -> GridEmbedder:
    """Return the embedder as one with a grid.

    An embedder whose class has a ``grid`` method may still have no grid; its attribute ``has_grid`` is then False.
    Raise ModelError if it has no grid.
    """
    if isinstance(embedder, GridEmbedder) and getattr(embedder, "has_grid", True):
        return embedder
    raise ModelError(
        f"model {embedder.name!r} gives no spatial grid; name the tensor of its last spatial map, "
        "or choose a model that has one"
    )


def l2_normalise(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Divide each row of (N, D) by its L2 norm; a row of zeros stays zeros. Return float32."""
    rows = vectors.astype(np.float64)
    # Scaling by the largest entry first keeps the squares of tiny and huge rows within range.
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = np.divide(rows, peak, out=np.zeros_like(rows), where=peak > 0)
    norm = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    unit: NDArray[np.float64] = np.divide(rows, norm, out=rows, where=norm > 0)
    return unit.astype(np.float32)
