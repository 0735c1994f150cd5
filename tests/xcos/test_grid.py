"""Grid cosine and score against cases worked out by hand."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.xcos.grid import flatten_grid, grid_cosine, normalise_cells, uniform_attention, xcos_score

grids = hnp.arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-100, 100, width=32))


def test_two_cells_by_hand() -> None:
    a = np.array([[[[3.0, 1.0]], [[4.0, 0.0]]]], np.float32)
    b = np.array([[[[4.0, -2.0]], [[3.0, 0.0]]]], np.float32)
    np.testing.assert_allclose(grid_cosine(a, b), [[[24 / 25, -1.0]]], atol=1e-7)


def test_score_by_hand() -> None:
    similarity = np.array([[[0.5, -1.0]]], np.float32)
    attention = np.array([[[0.8, 0.2]]], np.float32)
    np.testing.assert_allclose(xcos_score(similarity, attention), [0.2], atol=1e-7)


def test_identical_faces_give_one_everywhere() -> None:
    grid = np.random.default_rng(0).normal(size=(3, 32, 7, 7)).astype(np.float32)
    similarity = grid_cosine(grid, grid)
    np.testing.assert_allclose(similarity, 1, atol=1e-6)
    np.testing.assert_allclose(xcos_score(similarity, uniform_attention()), 1, atol=1e-6)


def test_opposite_faces_give_minus_one() -> None:
    grid = np.random.default_rng(0).normal(size=(1, 8, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(grid_cosine(grid, -grid), -1, atol=1e-6)


@given(grids, grids)
def test_symmetric_bounded_and_finite(a: np.ndarray, b: np.ndarray) -> None:
    similarity = grid_cosine(a, b)
    assert np.isfinite(similarity).all()
    assert np.abs(similarity).max() <= 1
    np.testing.assert_array_equal(similarity, grid_cosine(b, a))


@given(grids, st.floats(0.5, 50))
def test_scale_of_a_face_does_not_matter(a: np.ndarray, factor: float) -> None:
    a = np.where(np.abs(a) < 1, 1, a).astype(np.float32)
    b = a[::-1]
    np.testing.assert_allclose(grid_cosine(a * np.float32(factor), b), grid_cosine(a, b), atol=2e-6)


def test_empty_cell_is_zero_not_nan() -> None:
    a = np.zeros((1, 4, 1, 1), np.float32)
    assert grid_cosine(a, np.ones_like(a)).item() == 0
    assert np.isfinite(normalise_cells(a)).all()


def test_one_probe_meets_many() -> None:
    rng = np.random.default_rng(1)
    probe, gallery = rng.normal(size=(1, 4, 2, 2)), rng.normal(size=(5, 4, 2, 2))
    rows = np.concatenate([grid_cosine(probe, face[None]) for face in gallery])
    np.testing.assert_allclose(grid_cosine(probe, gallery), rows, atol=1e-7)


def test_flatten_is_channel_first_and_unit_length() -> None:
    grid = np.arange(1, 9, dtype=np.float32).reshape(1, 2, 2, 2)
    expected = np.arange(1, 9) / np.sqrt(204)
    np.testing.assert_allclose(flatten_grid(grid)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape_a", "shape_b"),
    [((1, 3, 2), (1, 3, 2)), ((1, 3, 2, 2), (1, 4, 2, 2)), ((2, 3, 2, 2), (3, 3, 2, 2))],
)
def test_shapes_that_do_not_fit(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        grid_cosine(np.ones(shape_a, np.float32), np.ones(shape_b, np.float32))


@pytest.mark.parametrize("function", [normalise_cells, flatten_grid])
def test_a_grid_has_four_axes(function: object) -> None:
    with pytest.raises(InputError, match="N, C, H, W"):
        function(np.ones((2, 3), np.float32))  # type: ignore[operator]
