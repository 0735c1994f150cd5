"""Attention W in plain arrays: uniform U, correlated P, and the reference of learned L.

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]
AttentionKind = Literal["u", "p", "l"]

_BN_EPS = 1e-5


def uniform_attention(height: int = 7, width: int = 7) -> NDArray[np.float32]:
    """Give "U": every cell counts 1 / (H * W); shape (H, W), sums to 1."""
    return np.full((height, width), 1.0 / (height * width), np.float32)


@dataclass
class PearsonAttention:
    """Accumulate "P": per cell, the Pearson correlation of S with a teacher's cosine over pairs.

    Pairs are streamed: :meth:`update` takes any number of them, so that no epoch has to fit in memory. Sums are kept
    about the first batch's mean, in float64, which keeps the variance from cancelling.
    """

    _count: int = field(default=0, init=False)
    _origin_s: NDArray[np.float64] | None = field(default=None, init=False)
    _origin_c: float = field(default=0.0, init=False)
    _sums: dict[str, Any] = field(default_factory=dict, init=False)

    def update(self, similarity: FloatArray, teacher: FloatArray) -> None:
        """Add N pairs.

        Parameters
        ----------
        similarity
            S, (N, H, W).
        teacher
            The teacher's cosines, (N,).

        Raises
        ------
        InputError
            If the shapes do not fit each other or the pairs added before.
        """
        if similarity.ndim != 3 or teacher.shape != similarity.shape[:1]:
            raise InputError(f"need S (N, H, W) and cosines (N,), got {similarity.shape} and {teacher.shape}")
        if len(teacher) == 0:
            return
        s, c = similarity.astype(np.float64), teacher.astype(np.float64)
        if self._origin_s is None:
            self._origin_s, self._origin_c = s.mean(axis=0), float(c.mean())
            zero = np.zeros_like(self._origin_s)
            self._sums = {"s": zero.copy(), "ss": zero.copy(), "sc": zero.copy(), "c": 0.0, "cc": 0.0}
        if s.shape[1:] != self._origin_s.shape:
            raise InputError(f"the grid changed from {self._origin_s.shape} to {s.shape[1:]}")
        s, c = s - self._origin_s, c - self._origin_c
        self._count += len(c)
        self._sums["s"] += s.sum(axis=0)
        self._sums["ss"] += np.square(s).sum(axis=0)
        self._sums["sc"] += np.einsum("nhw,n->hw", s, c)
        self._sums["c"] += c.sum()
        self._sums["cc"] += np.square(c).sum()

    def raw(self) -> NDArray[np.float32]:
        """Give the correlations (H, W) in [-1, 1]; 0 where a cell (or the teacher) never varied.

        Raises
        ------
        InputError
            With fewer than two pairs.
        """
        if self._count < 2:
            raise InputError(f"a correlation needs at least two pairs, got {self._count}")
        n, sums = self._count, self._sums
        covariance = sums["sc"] - sums["s"] * sums["c"] / n
        variance = (sums["ss"] - np.square(sums["s"]) / n) * (sums["cc"] - sums["c"] ** 2 / n)
        safe = np.sqrt(np.maximum(variance, 0))
        correlation = np.divide(covariance, safe, out=np.zeros_like(safe), where=safe > 1e-15)
        return np.asarray(np.clip(correlation, -1, 1), np.float32)

    def normalised(self) -> NDArray[np.float32]:
        """Give the correlations divided by their sum (see :func:`normalise_attention`)."""
        return normalise_attention(self.raw())


def normalise_attention(raw: FloatArray) -> NDArray[np.float32]:
    """Divide an attention map by its sum, so that the score stays on the cosine scale; keeps the ranking of pairs.

    Raises
    ------
    InputError
        If the sum is not positive (the ranking would turn round).
    """
    total = float(np.sum(raw, dtype=np.float64))
    if not total > 0:
        raise InputError(f"attention weights must have a positive sum to be normalised, got {total:.4g}")
    return np.asarray(raw / total, np.float32)


def softmax_cells(logits: FloatArray, temperature: float = 1.0) -> NDArray[np.float32]:
    """Softmax of logits / temperature over the cells: (N, H, W) -> (N, H, W), each map summing to 1."""
    if not temperature > 0:
        raise InputError(f"the softmax temperature must be positive, got {temperature}")
    flat = logits.reshape(len(logits), -1).astype(np.float64) / temperature
    flat = np.exp(flat - flat.max(axis=1, keepdims=True))
    return np.asarray((flat / flat.sum(axis=1, keepdims=True)).reshape(logits.shape), np.float32)


def _conv3x3(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True) + bias[:, None, None])


def _bn_prelu(x: FloatArray, tensors: Mapping[str, FloatArray], bn: str, prelu: str) -> FloatArray:
    scale = tensors[f"{bn}.weight"] / np.sqrt(tensors[f"{bn}.running_var"] + _BN_EPS)
    shift = tensors[f"{bn}.bias"] - tensors[f"{bn}.running_mean"] * scale
    y = x * scale[:, None, None] + shift[:, None, None]
    return np.asarray(np.where(y >= 0, y, y * tensors[f"{prelu}.weight"]))


def learned_attention(
    grid_a: FloatArray, grid_b: FloatArray, tensors: Mapping[str, FloatArray], *, temperature: float = 1.0
) -> NDArray[np.float32]:
    """Compute "L" from named tensors, as written in the paper: the reference for the torch module and the ONNX graph.

    Parameters
    ----------
    grid_a, grid_b
        Grid features (N, C, H, W).
    tensors
        Tensors of :class:`whyface.xcos.learned.LearnedAttention` by state-dict name.
    temperature
        Softmax temperature.

    Returns
    -------
    W (N, H, W) float32, each map summing to 1.

    Raises
    ------
    InputError
        If a tensor is missing.
    """
    t = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    try:
        embedded = [
            _bn_prelu(_conv3x3(g, t["embed.0.weight"], t["embed.0.bias"]), t, "embed.1", "embed.2")
            for g in (grid_a.astype(np.float64), grid_b.astype(np.float64))
        ]
        pair = _conv3x3(np.concatenate(embedded, axis=1), t["pair_conv.weight"], t["pair_conv.bias"])
        pair = _bn_prelu(pair, t, "pair_act.0", "pair_act.1")
        logits = _bn_prelu(_conv3x3(pair, t["out.0.weight"], t["out.0.bias"]), t, "out.1", "out.2")
    except KeyError as error:
        raise InputError(f"the attention's tensor {error} is missing") from error
    return softmax_cells(logits[:, 0], temperature)
