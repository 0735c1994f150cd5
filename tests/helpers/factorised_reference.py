"""Attention that factorises, as its formulas are written: the reference for the torch modules and the ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.xcos.grid import COSINE_EPS, FloatArray, normalise_cells, place_lengths

LOG_RANGE: Final = 10.0
"""Maximum difference of a face's log weights from its largest; lower ones are raised to this limit.

The denominator of two faces that rely on different places then still fits into float32: exp(-10) each.
"""


def length_logits(grids: FloatArray) -> NDArray[np.float32]:
    """Return u = log |F|: (N, C, H, W) -> (N, H, W). Lengths below :data:`COSINE_EPS` are raised to it."""
    return np.asarray(np.log(np.maximum(place_lengths(grids), COSINE_EPS)), np.float32)


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
    if grids_a.shape[1:] != grids_b.shape[1:]:
        raise InputError(f"the two grids do not fit together: {grids_a.shape} and {grids_b.shape}")
    vectors = [np.asarray(grids, np.float32).reshape(len(grids), -1) for grids in (grids_a, grids_b)]
    weights = [place_lengths(grids).reshape(len(grids), -1) for grids in (grids_a, grids_b)]
    product, total = vectors[0] @ vectors[1].T, weights[0] @ weights[1].T
    score = np.divide(product, total, out=np.zeros_like(product), where=total > 0)
    return np.asarray(np.clip(score, -1, 1), np.float32)


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
