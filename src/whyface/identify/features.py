"""What an evidential head sees of a face: the directions of its grid's cells, side by side.

Every cell counts the same and has unit length before all are scaled together, so that the cosine of two faces is the
mean of their cells' cosines (the xCos score under uniform attention), and every cell has an exact part in it. A gallery
keeps the same cells in the same order, so a head can be fitted to a gallery without its photos.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.models.embedder import l2_normalise
from whyface.xcos.separable import unit_cells

FloatArray = NDArray[np.floating[Any]]


def grid_features(grids: FloatArray) -> NDArray[np.float32]:
    """Turn grids (N, C, H, W) into features (N, H * W * C), rows of unit length, cells first.

    Raises
    ------
    InputError
        If the grids have another shape.
    """
    return l2_normalise(unit_cells(grids).reshape(len(grids), -1))


def cell_parts(features: FloatArray, direction: FloatArray, cells: tuple[int, int]) -> NDArray[np.float64]:
    """Split the cosine of features and a person's direction into its cells' parts.

    Parameters
    ----------
    features
        (N, H * W * C) of :func:`grid_features`.
    direction
        (H * W * C,), of unit length.
    cells
        (H, W).

    Returns
    -------
    (N, H, W) float64; each map's sum is the cosine, exactly.

    Raises
    ------
    InputError
        If the sizes do not fit.
    """
    height, width = cells
    size = features.shape[1] if features.ndim == 2 else -1
    if direction.shape != (size,) or size % max(height * width, 1):
        raise InputError(
            f"features {features.shape} and direction {direction.shape} are not of {height} x {width} cells"
        )
    products = features.astype(np.float64) * direction.astype(np.float64)
    return np.asarray(products.reshape(len(features), height, width, -1).sum(axis=-1))
