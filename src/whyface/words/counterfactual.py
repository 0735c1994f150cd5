"""Where face A is itself and not B: the counterfactual map, and its mirror image, where A is itself and like B.

From two maps over A, g (what speaks for A's own identity) and c (what speaks for B's), both brought to 0..1:

* different: D = g * (max c - c), high where A is itself and nothing of B is seen;
* alike: D = g * c, high where what makes A itself is seen in B too.

The first is from Ruoyu Chen, Jingzhi Li, Hua Zhang, Changchong Sheng, Li Liu and Xiaochun Cao, "Sim2Word: Explaining
Similarity with Representative Attribute Words via Counterfactual Explanations", ACM TOMM 2022. The second is ours, for
pairs that match. Gradient CAMs have no sign; our evidence does, and in the first c keeps it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]
Direction = Literal["different", "alike"]

_TINY = 1e-12


def to_unit_range(maps: FloatArray) -> NDArray[np.float32]:
    """Stretch each map (..., H, W) to 0..1; a map that is the same everywhere says nothing and becomes zeros."""
    values = np.asarray(maps, np.float64)
    low = values.min(axis=(-2, -1), keepdims=True)
    span = values.max(axis=(-2, -1), keepdims=True) - low
    return np.asarray(np.where(span > _TINY, (values - low) / np.maximum(span, _TINY), 0.0), np.float32)


def class_activation(evidence: FloatArray) -> NDArray[np.float32]:
    """Turn signed evidence (..., H, W) into a map in 0..1: what speaks against counts as nothing."""
    return to_unit_range(np.maximum(evidence, 0))


def counterfactual_map(own: FloatArray, other: FloatArray, direction: Direction = "different") -> NDArray[np.float32]:
    """Combine evidence for A's identity and for B's, both over A, see the module.

    Parameters
    ----------
    own, other
        Signed evidence (..., H, W) of one shape.
    direction
        ``"different"`` or ``"alike"``.

    Returns
    -------
    (..., H, W) float32 in 0..1.

    Raises
    ------
    InputError
        If the shapes differ or the direction is unknown.
    """
    if own.shape != other.shape or own.ndim < 2:
        raise InputError(f"both maps must have one shape (..., H, W), got {own.shape} and {other.shape}")
    if direction not in ("different", "alike"):
        raise InputError(f"direction must be 'different' or 'alike', got {direction!r}")
    g = class_activation(own)
    if direction == "alike":
        return to_unit_range(g * class_activation(other))
    # c keeps its sign: a place that speaks against B is farther from B than one that says nothing of B.
    c = to_unit_range(other)
    return to_unit_range(g * (c.max(axis=(-2, -1), keepdims=True) - c))
