"""The clipped form of the attention against the split that it is made from."""

from __future__ import annotations

import numpy as np
import pytest

from whyface.models.catalogue import FAST_MODEL
from whyface.xcos.model import open_xcos
from whyface.xcos.separable import SeparableAttention, clipped_attention, separable_attention, split_attention


def split(slope: float, *, side: int = 7, seed: int = 0) -> SeparableAttention:
    """Make an attention of random numbers with 4 hidden channels."""
    random = np.random.default_rng(seed)
    tensors = {
        "embed.0.weight": random.standard_normal((4, 8, 3, 3)) / 5,
        "embed.0.bias": random.standard_normal(4),
        "pair_conv.weight": random.standard_normal((4, 8, 3, 3)) / 5,
        "pair_conv.bias": random.standard_normal(4),
        "out.0.weight": random.standard_normal((1, 4, 3, 3)) / 3,
        "out.0.bias": random.standard_normal(1),
    }
    for norm, size in (("embed.1", 4), ("pair_act.0", 4), ("out.1", 1)):
        tensors[f"{norm}.weight"] = random.uniform(0.5, 2, size)
        tensors[f"{norm}.running_var"] = random.uniform(0.5, 2, size)
        tensors[f"{norm}.bias"], tensors[f"{norm}.running_mean"] = random.standard_normal((2, size))
    for act in ("embed.2", "pair_act.1", "out.2"):
        tensors[f"{act}.weight"] = np.array([slope])
    return split_attention(tensors, cells=side)


def weights(attention: SeparableAttention, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    clipped = clipped_attention(attention)
    logits = np.empty((len(second), attention.out.shape[1]), np.float32)
    clipped.logits(np.maximum(second, -first), logits)
    logits += clipped.first_base(first) + clipped.second_base(second)
    clipped.finish(logits, np.empty_like(logits))
    return np.asarray(logits / logits.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 1.0, 1.7])
@pytest.mark.parametrize("side", [1, 2, 5, 7])
def test_same_weights_as_the_split(slope: float, side: int) -> None:
    attention = split(slope, side=side)
    grids = np.random.default_rng(1).standard_normal((2, 9, 8, side, side)).astype(np.float32)
    first, second = attention.first_terms(grids[0]), attention.second_terms(grids[1])
    np.testing.assert_allclose(weights(attention, first, second), attention.weights(first, second), atol=2e-6)


def test_the_bands_hold_the_whole_matrix() -> None:
    attention = split(0.25)
    clipped = clipped_attention(attention)
    whole = np.zeros_like(attention.out)
    for band in clipped.bands:
        whole[band.start : band.stop, band.first : band.last] = band.matrix
    np.testing.assert_allclose(whole, attention.out * 0.75, rtol=1e-6)
    assert sum(band.matrix.size for band in clipped.bands) < 0.6 * whole.size


def test_an_attention_that_never_looks() -> None:
    """A last convolution of zeros leaves nothing to multiply, and weighs all cells alike."""
    attention = split(0.25)
    attention.out[:] = 0
    first, second = np.random.default_rng(2).standard_normal((2, 3, attention.size)).astype(np.float32)
    np.testing.assert_allclose(weights(attention, first, second), np.full((3, 49), 1 / 49), rtol=1e-6)


def test_large_terms_do_not_overflow() -> None:
    attention = separable_attention(open_xcos(FAST_MODEL))
    first, second = 1e3 * np.random.default_rng(3).standard_normal((2, 5, attention.size)).astype(np.float32)
    found = weights(attention, first, second)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
