"""Grids of features in plain arrays: grid cosine S, attention U and P, and the score <S, W>.

Attention may also be a product of one factor per face and place:

    W_k = a_k b_k / sum_j a_j b_j,   a = exp(u(F_A)),   b = exp(u(F_B))

u depends on one face. With unit features f and g, the score is

    sum_k W_k <f_k, g_k> = <vec(a_k f_k), vec(b_k g_k)> / <a, b>.

So a face is one vector, and all scores of two sets of faces need two matrix products and a division. A *weighed grid*
is a grid G with G_k = a_k f_k: the length of a place's feature is its weight, and its direction is compared. A raw grid
F is therefore the untrained special case u = log |F|: places weighted by the length of their features.

Source: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, equations (1)-(3)
and section 3.3. Learned attention L is in :mod:`whyface.xcos.learned`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]

COSINE_EPS: Final = 1e-6
"""Minimum norm that a place's feature is divided by, so that an all-zero place has cosine 0 and not NaN."""


def normalise_cells(grid: FloatArray) -> NDArray[np.float32]:
    """Scale every cell's feature vector to length 1.

    Return (N, C, H, W) float32; a cell whose norm is below :data:`COSINE_EPS` is divided by that instead. Raise
    InputError if the array is not 4-D.

    Parameters
    ----------
    grid
        (N, C, H, W), any finite values.
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
    """Return the score: the sum over cells of S * W.

    Parameters
    ----------
    similarity
        S, (N, H, W) or (H, W).
    attention
        W, the same shape or (H, W) for all pairs.

    Returns
    -------
    (N,) or () float32; in [-1, 1] if W is non-negative and sums to 1.
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


AttentionKind = Literal["u", "p", "l"]


def uniform_attention(height: int = 7, width: int = 7) -> NDArray[np.float32]:
    """Return "U": every place has the weight 1 / (H * W); shape (H, W), sums to 1."""
    return np.full((height, width), 1.0 / (height * width), np.float32)


@dataclass
class PearsonAttention:
    """Accumulate "P": per cell, the Pearson correlation of S with a teacher's cosine over pairs.

    Pairs are streamed: :meth:`update` takes any number of them, so that an epoch need not fit in memory. Sums are taken
    around the mean of the first batch, in float64, which avoids cancellation in the variance.
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
        """Return the correlations (H, W) in [-1, 1]; 0 if a cell (or the teacher) never varied.

        Raises
        ------
        InputError
            If there are fewer than two pairs.
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
        """Return the correlations divided by their sum (see :func:`normalise_attention`)."""
        return normalise_attention(self.raw())


def normalise_attention(raw: FloatArray) -> NDArray[np.float32]:
    """Divide an attention map by its sum, so that the score stays on the cosine scale; the ranking of pairs is kept.

    Raises
    ------
    InputError
        If the sum is not positive (the ranking would be reversed).
    """
    total = float(np.sum(raw, dtype=np.float64))
    if not total > 0:
        raise InputError(f"attention weights must have a positive sum to be normalised, got {total:.4g}")
    return np.asarray(raw / total, np.float32)


class FactorisedMaps(NamedTuple):
    """S and W (N, H, W) and the scores (N,) of N pairs, float32."""

    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]
    score: NDArray[np.float32]


def place_lengths(grids: FloatArray) -> NDArray[np.float32]:
    """Return the length of every place's feature: (N, C, H, W) -> (N, H, W). For weighed grids it is a."""
    if grids.ndim != 4:
        raise InputError(f"grid features must have the shape (N, C, H, W), got {grids.shape}")
    return np.asarray(np.sqrt(np.einsum("nchw,nchw->nhw", grids, grids, dtype=np.float64)), np.float32)


def factorised_attention(grid_a: FloatArray, grid_b: FloatArray) -> NDArray[np.float32]:
    """Return W of N pairs of weighed grids (N, C, H, W): (N, H, W), each adding up to 1.

    If two faces have no weighed place in common, all places have equal weight. Raise InputError if the shapes do not
    fit.
    """
    if grid_a.shape != grid_b.shape:
        raise InputError(f"the two grids do not fit together: {grid_a.shape} and {grid_b.shape}")
    product = place_lengths(grid_a).astype(np.float64) * place_lengths(grid_b)
    total = product.sum(axis=(1, 2), keepdims=True)
    places = product.shape[1] * product.shape[2]
    weights = np.divide(product, total, out=np.full_like(product, 1 / places), where=total > 0)
    return np.asarray(weights, np.float32)


def factorised_maps(grid_a: FloatArray, grid_b: FloatArray) -> FactorisedMaps:
    """Return S, W and score of N pairs of weighed grids (N, C, H, W)."""
    weights = factorised_attention(grid_a, grid_b)
    similarity = grid_cosine(grid_a, grid_b)
    score = np.einsum("nhw,nhw->n", similarity, weights, dtype=np.float64)
    return FactorisedMaps(similarity, weights, np.asarray(score, np.float32))
