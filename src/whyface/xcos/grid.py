"""Grid cosine S and the score <S, W> in plain arrays.

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, equations (1)-(3).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]

COSINE_EPS: Final = 1e-6
"""Smallest norm that a place's feature is divided by, so that an all-zero place has cosine 0 and not NaN."""


def normalise_cells(grid: FloatArray) -> NDArray[np.float32]:
    """Scale every cell's feature vector to length 1.

    Parameters
    ----------
    grid
        (N, C, H, W), any finite values.

    Returns
    -------
    (N, C, H, W) float32; a cell whose norm is below :data:`COSINE_EPS` is divided by that instead.

    Raises
    ------
    InputError
        If the array is not 4-D.
    """
    if grid.ndim != 4:
        raise InputError(f"grid features must have the shape (N, C, H, W), got {grid.shape}")
    norm = np.sqrt(np.einsum("nchw,nchw->nhw", grid, grid, dtype=np.float64))
    return np.asarray(grid / np.maximum(norm, COSINE_EPS)[:, None], np.float32)


def grid_cosine(grid_a: FloatArray, grid_b: FloatArray) -> NDArray[np.float32]:
    """Compute S: the cosine of the two faces' features at every place.

    Parameters
    ----------
    grid_a, grid_b
        (N, C, H, W) each; N may be 1 in either (broadcast).

    Returns
    -------
    (N, H, W) float32 in [-1, 1]. Symmetric in its arguments; 1 everywhere for identical non-zero grids.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    if grid_a.ndim != 4 or grid_b.ndim != 4 or grid_a.shape[1:] != grid_b.shape[1:]:
        raise InputError(f"the two grids do not fit together: {grid_a.shape} and {grid_b.shape}")
    if grid_a.shape[0] != grid_b.shape[0] and 1 not in (grid_a.shape[0], grid_b.shape[0]):
        raise InputError(f"cannot pair {grid_a.shape[0]} grids with {grid_b.shape[0]}")
    a, b = normalise_cells(grid_a), normalise_cells(grid_b)
    cosine = np.einsum("nchw,nchw->nhw", *np.broadcast_arrays(a, b))
    return np.asarray(np.clip(cosine, -1, 1), np.float32)


def xcos_score(similarity: FloatArray, attention: FloatArray) -> NDArray[np.float32]:
    """Weigh S by W: score = sum over cells of S * W.

    Parameters
    ----------
    similarity
        S, (N, H, W) or (H, W).
    attention
        W, the same shape or (H, W) for all pairs.

    Returns
    -------
    (N,) or () float32; in [-1, 1] where W is non-negative and sums to 1.
    """
    product = np.multiply(similarity, attention, dtype=np.float64)
    return np.asarray(product.sum(axis=(-2, -1)), np.float32)


def flatten_grid(grid: FloatArray) -> NDArray[np.float32]:
    """Flatten grids (N, C, H, W) in C, H, W order to L2-normalised embeddings (N, C * H * W) float32."""
    if grid.ndim != 4:
        raise InputError(f"grid features must have the shape (N, C, H, W), got {grid.shape}")
    flat = grid.reshape(len(grid), -1).astype(np.float32)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(norm, COSINE_EPS), np.float32)
