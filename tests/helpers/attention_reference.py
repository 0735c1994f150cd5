"""Learned attention L in plain arrays, as written in the paper: the reference for the torch module and the graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from whyface.xcos.grid import FloatArray

_BN_EPS = 1e-5


def learned_attention(
    grid_a: FloatArray, grid_b: FloatArray, tensors: Mapping[str, FloatArray], *, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Weigh the cells of N pairs of grids (N, C, H, W), with the tensors of ``LearnedAttention`` by name: (N, H, W)."""
    t = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    embedded = [
        _bn_prelu(_conv3x3(g, t["embed.0.weight"], t["embed.0.bias"]), t, "embed.1", "embed.2")
        for g in (grid_a.astype(np.float64), grid_b.astype(np.float64))
    ]
    pair = _conv3x3(np.concatenate(embedded, axis=1), t["pair_conv.weight"], t["pair_conv.bias"])
    pair = _bn_prelu(pair, t, "pair_act.0", "pair_act.1")
    logits = _bn_prelu(_conv3x3(pair, t["out.0.weight"], t["out.0.bias"]), t, "out.1", "out.2")
    flat = logits.reshape(len(logits), -1) / temperature
    flat = np.exp(flat - flat.max(axis=1, keepdims=True))
    return np.asarray((flat / flat.sum(axis=1, keepdims=True)).reshape(logits[:, 0].shape), np.float32)


def _conv3x3(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True) + bias[:, None, None])


def _bn_prelu(x: FloatArray, tensors: Mapping[str, FloatArray], bn: str, prelu: str) -> FloatArray:
    scale = tensors[f"{bn}.weight"] / np.sqrt(tensors[f"{bn}.running_var"] + _BN_EPS)
    shift = tensors[f"{bn}.bias"] - tensors[f"{bn}.running_mean"] * scale
    y = x * scale[:, None, None] + shift[:, None, None]
    return np.asarray(np.where(y >= 0, y, y * tensors[f"{prelu}.weight"]))
