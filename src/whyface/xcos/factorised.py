"""Attention as a product of one factor per face and place, in plain arrays.

    W_k = a_k b_k / sum_j a_j b_j,   a = exp(u(F_A)),   b = exp(u(F_B))

u depends on one face. With unit features f and g, the score is

    sum_k W_k <f_k, g_k> = <vec(a_k f_k), vec(b_k g_k)> / <a, b>.

So a face is one vector, and all scores of two sets of faces need two matrix products and a division. Swapping the faces
changes nothing.

A *weighed grid* is a grid G with G_k = a_k f_k: the length of a place's feature is its weight, and its direction
is compared. All functions here interpret a grid in this way. A raw grid F is therefore the untrained special case
u = log |F|: places weighted by the length of their features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.xcos.grid import COSINE_EPS, grid_cosine, normalise_cells

FloatArray = NDArray[np.floating[Any]]

LOG_RANGE: Final = 10.0
"""Maximum difference of a face's log weights from its largest; lower ones are raised to this limit.

The denominator of two faces that rely on different places then still fits into float32: exp(-10) each.
"""


class FactorisedMaps(NamedTuple):
    """S and W (N, H, W) and the scores (N,) of N pairs, float32."""

    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]
    score: NDArray[np.float32]


def length_logits(grids: FloatArray) -> NDArray[np.float32]:
    """Return u = log |F|: (N, C, H, W) -> (N, H, W). Lengths below :data:`COSINE_EPS` are raised to it."""
    return np.asarray(np.log(np.maximum(place_lengths(grids), COSINE_EPS)), np.float32)


def place_lengths(grids: FloatArray) -> NDArray[np.float32]:
    """Return the length of every place's feature: (N, C, H, W) -> (N, H, W). For weighed grids it is a."""
    _check_grid(grids)
    return np.asarray(np.sqrt(np.einsum("nchw,nchw->nhw", grids, grids, dtype=np.float64)), np.float32)


def weigh_grid(grids: FloatArray, logits: FloatArray) -> NDArray[np.float32]:
    """Scale every place's feature to the length given by its log weight.

    Parameters
    ----------
    grids
        (N, C, H, W); only the directions of the features count.
    logits
        u, (N, H, W). A constant added to all places of a face has no effect.

    Returns
    -------
    (N, C, H, W) float32, a_k f_k with sum_k a_k^2 = 1: a vector of length 1 for each face (less, if it has features of
    length 0).

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    _check_grid(grids)
    if logits.shape != (len(grids), *grids.shape[2:]):
        raise InputError(f"need one log weight for each place of {grids.shape}, got {logits.shape}")
    flat = logits.reshape(len(logits), -1).astype(np.float64)
    lengths = np.exp(np.maximum(flat - flat.max(axis=1, keepdims=True), -LOG_RANGE))
    lengths /= np.linalg.norm(lengths, axis=1, keepdims=True)
    return np.asarray(normalise_cells(grids) * lengths.reshape(logits.shape)[:, None], np.float32)


def factorised_scores(grids_a: FloatArray, grids_b: FloatArray) -> NDArray[np.float32]:
    """Return the scores of all pairs of two sets by two matrix products.

    Parameters
    ----------
    grids_a, grids_b
        Weighed grids (N, C, H, W) and (M, C, H, W).

    Returns
    -------
    (N, M) float32 in [-1, 1]; 0 if two faces have no weighed place in common.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    _check_grid(grids_a)
    _check_grid(grids_b)
    if grids_a.shape[1:] != grids_b.shape[1:]:
        raise InputError(f"the two grids do not fit together: {grids_a.shape} and {grids_b.shape}")
    vectors = [np.asarray(grids, np.float32).reshape(len(grids), -1) for grids in (grids_a, grids_b)]
    weights = [place_lengths(grids).reshape(len(grids), -1) for grids in (grids_a, grids_b)]
    product, total = vectors[0] @ vectors[1].T, weights[0] @ weights[1].T
    score = np.divide(product, total, out=np.zeros_like(product), where=total > 0)
    return np.asarray(np.clip(score, -1, 1), np.float32)


def factorised_attention(grid_a: FloatArray, grid_b: FloatArray) -> NDArray[np.float32]:
    """Return W of N pairs of weighed grids (N, C, H, W): (N, H, W), each adding up to 1.

    If two faces have no weighed place in common, all places have equal weight.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    if grid_a.shape != grid_b.shape:
        raise InputError(f"the two grids do not fit together: {grid_a.shape} and {grid_b.shape}")
    product = place_lengths(grid_a).astype(np.float64) * place_lengths(grid_b)
    total = product.sum(axis=(1, 2), keepdims=True)
    places = product.shape[1] * product.shape[2]
    weights = np.divide(product, total, out=np.full_like(product, 1 / places), where=total > 0)
    return np.asarray(weights, np.float32)


def factorised_maps(grid_a: FloatArray, grid_b: FloatArray) -> FactorisedMaps:
    """Return S, W and score of N pairs of weighed grids (N, C, H, W); see :func:`factorised_scores`."""
    weights = factorised_attention(grid_a, grid_b)
    similarity = grid_cosine(grid_a, grid_b)
    score = np.einsum("nhw,nhw->n", similarity, weights, dtype=np.float64)
    return FactorisedMaps(similarity, weights, np.asarray(score, np.float32))


def place_logits(grids: FloatArray, tensors: Mapping[str, FloatArray]) -> NDArray[np.float32]:
    """Compute u from named tensors: the reference for the torch module and the ONNX graph.

    A 3 x 3 convolution over f and log |F|, PReLU, and a 3 x 3 convolution to one channel; log |F| times a factor is
    added.

    Parameters
    ----------
    grids
        F, (N, C, H, W).
    tensors
        Tensors of :class:`whyface.models.placed_fc.PlaceLogits` by state-dict name.

    Returns
    -------
    (N, H, W) float32.

    Raises
    ------
    InputError
        If a tensor is missing.
    """
    t = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    length = length_logits(grids).astype(np.float64)
    relative = length - length.mean(axis=(1, 2), keepdims=True)
    x = np.concatenate([normalise_cells(grids).astype(np.float64), relative[:, None]], axis=1)
    try:
        hidden = _convolve(x, t["first.weight"], t["first.bias"])
        hidden = np.where(hidden >= 0, hidden, hidden * t["act.weight"][:, None, None])
        logits = _convolve(hidden, t["second.weight"], t["second.bias"])[:, 0]
        return np.asarray(logits + t["by_length"] * relative, np.float32)
    except KeyError as error:
        raise InputError(f"the tensor {error} of the attention is missing") from error


def _convolve(x: FloatArray, weight: FloatArray, bias: FloatArray) -> NDArray[np.float64]:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True) + bias[:, None, None])


def _check_grid(grids: FloatArray) -> None:
    if grids.ndim != 4:
        raise InputError(f"grid features must have the shape (N, C, H, W), got {grids.shape}")
