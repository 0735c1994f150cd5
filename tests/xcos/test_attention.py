"""Uniform and correlated attention, and the softmax, against NumPy and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.xcos.grid import (
    PearsonAttention,
    normalise_attention,
    uniform_attention,
)


def test_uniform_sums_to_one() -> None:
    assert uniform_attention().shape == (7, 7)
    np.testing.assert_allclose(uniform_attention().sum(), 1, atol=1e-6)
    np.testing.assert_allclose(uniform_attention(2, 3), 1 / 6)


def _pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    teacher = rng.normal(0.3, 0.2, count)
    slope = np.linspace(-1, 1, 12).reshape(3, 4)
    return slope * teacher[:, None, None] + rng.normal(5, 0.2, (count, 3, 4)), teacher


def test_correlation_equals_numpy() -> None:
    similarity, teacher = _pairs(200)
    pearson = PearsonAttention()
    pearson.update(similarity, teacher)
    expected = [np.corrcoef(cell, teacher)[0, 1] for cell in similarity.reshape(200, -1).T]
    np.testing.assert_allclose(pearson.raw().ravel(), expected, atol=1e-6)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 1000))
def test_streaming_does_not_change_the_result(cuts: list[int], seed: int) -> None:
    similarity, teacher = _pairs(60, seed)
    whole, parts = PearsonAttention(), PearsonAttention()
    whole.update(similarity, teacher)
    edges = [0, *sorted(cuts), 60]
    for start, stop in itertools.pairwise(edges):
        parts.update(similarity[start:stop], teacher[start:stop])
    np.testing.assert_allclose(parts.raw(), whole.raw(), atol=1e-6)


def test_large_offset_does_not_cancel() -> None:
    similarity, teacher = _pairs(100)
    near, far = PearsonAttention(), PearsonAttention()
    near.update(similarity, teacher)
    far.update(similarity + 1e6, teacher)
    np.testing.assert_allclose(far.raw(), near.raw(), atol=1e-4)


def test_constant_cell_counts_zero() -> None:
    pearson = PearsonAttention()
    pearson.update(np.ones((4, 1, 1)), np.arange(4.0))
    assert pearson.raw().item() == 0


def test_normalised_sums_to_one_and_keeps_the_ranking() -> None:
    raw = np.array([[0.5, 0.1], [0.2, -0.1]], np.float32)
    weights = normalise_attention(raw)
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    maps = np.random.default_rng(0).normal(size=(20, 2, 2))
    order = np.argsort((maps * raw).sum((1, 2)))
    np.testing.assert_array_equal(order, np.argsort((maps * weights).sum((1, 2))))


def test_negative_total_is_refused() -> None:
    with pytest.raises(InputError, match="positive sum"):
        normalise_attention(np.array([[-1.0, 0.5]]))


def test_one_pair_is_no_correlation() -> None:
    pearson = PearsonAttention()
    with pytest.raises(InputError, match="two pairs"):
        pearson.raw()


def test_misfitting_updates() -> None:
    pearson = PearsonAttention()
    with pytest.raises(InputError, match="need S"):
        pearson.update(np.ones((3, 2, 2)), np.ones(4))
    pearson.update(np.ones((3, 2, 2)), np.ones(3))
    with pytest.raises(InputError, match="grid changed"):
        pearson.update(np.ones((3, 3, 3)), np.ones(3))
