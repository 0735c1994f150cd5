"""The exact split of a cosine into cell terms, in plain arrays.

Where the head behind the last spatial map F is affine, an embedding is a sum over cells plus a constant,
``e = sum_ij P_ij F_ij + b``, and the cosine of two embeddings, bilinear but for their norms, splits without rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class CellTerms:
    """The cosines of N pairs, taken apart in three ways; each adds up to the cosine.

    Attributes
    ----------
    score
        (N,): the cosine.
    first, second
        (N, H, W) each: what each cell of A adds against the whole of e_B, and each of B against e_A. With
        ``constant_first`` or ``constant_second`` (N,), the constant's part, each adds up to the score.
    same_place
        (N, H, W): each cell of A against the same cell of B.
    cross_place
        (N,): all cells of A against the other cells of B.
    constant
        (N,): all that involves the constant b. ``same_place``, ``cross_place`` and this add up to the score.
    """

    score: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    constant_first: NDArray[np.float64]
    constant_second: NDArray[np.float64]
    same_place: NDArray[np.float64]
    cross_place: NDArray[np.float64]
    constant: NDArray[np.float64]


def cell_parts(maps: FloatArray, weights: FloatArray) -> NDArray[np.float64]:
    """Split embeddings into the parts of their cells.

    Parameters
    ----------
    maps
        Last spatial maps F, (N, C, H, W).
    weights
        P, (D, C, H, W).

    Returns
    -------
    P_ij F_ij, (N, D, H, W) float64.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    if maps.ndim != 4 or maps.shape[1:] != weights.shape[1:]:
        raise InputError(f"maps {maps.shape} and weights {weights.shape} do not fit; both are (., C, H, W)")
    count, channels, height, width = maps.shape
    # One product of matrices per cell is what the linear algebra library is fastest at.
    cells = maps.reshape(count, channels, -1).transpose(2, 0, 1).astype(np.float64)
    matrices = weights.reshape(len(weights), channels, -1).transpose(2, 1, 0).astype(np.float64)
    return np.ascontiguousarray((cells @ matrices).transpose(1, 2, 0)).reshape(count, -1, height, width)


def cell_terms(parts_a: FloatArray, parts_b: FloatArray, constant: FloatArray) -> CellTerms:
    """Split the cosines of N pairs.

    Parameters
    ----------
    parts_a, parts_b
        From :func:`cell_parts`, (N, D, H, W) each.
    constant
        b, (D,).

    Raises
    ------
    InputError
        If the shapes do not fit, or an embedding is zero, which has no cosine.
    """
    if parts_a.shape != parts_b.shape or parts_a.ndim != 4 or constant.shape != parts_a.shape[1:2]:
        raise InputError(f"cell parts {parts_a.shape}, {parts_b.shape} and constant {constant.shape} do not fit")
    sum_a, sum_b = parts_a.sum(axis=(2, 3)), parts_b.sum(axis=(2, 3))
    norm_a, norm_b = (np.linalg.norm(total + constant, axis=1) for total in (sum_a, sum_b))
    if not (np.all(norm_a > 0) and np.all(norm_b > 0)):
        raise InputError("an embedding is all zeros, so it has no cosine; the picture was not usable")
    norms = norm_a * norm_b
    whole_a, whole_b = sum_a + constant, sum_b + constant
    per_cell = (norms[:, None, None], norms)
    first = np.einsum("ndhw,nd->nhw", parts_a, whole_b) / per_cell[0]
    second = np.einsum("ndhw,nd->nhw", parts_b, whole_a) / per_cell[0]
    same = np.einsum("ndhw,ndhw->nhw", parts_a, parts_b) / per_cell[0]
    all_places = np.einsum("nd,nd->n", sum_a, sum_b) / norms
    score = np.einsum("nd,nd->n", whole_a, whole_b) / norms
    return CellTerms(
        score=score,
        first=first,
        second=second,
        constant_first=whole_b @ constant / norms,
        constant_second=whole_a @ constant / norms,
        same_place=same,
        cross_place=all_places - same.sum(axis=(1, 2)),
        constant=score - all_places,
    )


def spread_constant(terms: NDArray[np.float64], constant: NDArray[np.float64]) -> NDArray[np.float32]:
    """Add a constant (N,) to maps (N, H, W), the same to every cell, so that a map adds up to the score."""
    cells = terms.shape[1] * terms.shape[2]
    return np.asarray(terms + (constant / cells)[:, None, None], np.float32)
