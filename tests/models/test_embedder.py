from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whyface.errors import InputError, ModelError
from whyface.models.embedder import (
    Batch,
    Embedder,
    GridEmbedder,
    check_batch,
    l2_normalise,
    require_grid,
)


class Plain:
    name = "plain"
    sha256 = "0" * 64

    def embed(self, batch: Batch) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.ones((len(batch), 2), np.float32)


class WithGrid(Plain):
    def grid(self, batch: Batch) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.ones((len(batch), 2, 7, 7), np.float32)


class Unnamed(WithGrid):
    has_grid = False


def test_protocols_are_recognised_by_their_methods() -> None:
    assert isinstance(Plain(), Embedder)
    assert not isinstance(Plain(), GridEmbedder)
    assert isinstance(WithGrid(), GridEmbedder)


def test_require_grid() -> None:
    given = WithGrid()
    assert require_grid(given) is given
    for without in (Plain(), Unnamed()):
        with pytest.raises(ModelError, match="'plain' gives no spatial grid"):
            require_grid(without)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_check_batch_returns_the_same_array(dtype: type[Any], count: int) -> None:
    batch = np.full((count, 3, 112, 112), 255, dtype)
    assert check_batch(batch) is batch


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((3, 112, 112), np.uint8), r"got \(3, 112, 112\)"),
        (np.zeros((1, 112, 112, 3), np.uint8), r"got \(1, 112, 112, 3\)"),
        (np.zeros((1, 3, 112, 96), np.uint8), r"got \(1, 3, 112, 96\)"),
        (np.zeros((1, 3, 112, 112), np.float64), "got float64"),
        (np.zeros((1, 3, 112, 112), np.int64), "got int64"),
        (np.full((1, 3, 112, 112), np.nan, np.float32), "not finite"),
        (np.full((1, 3, 112, 112), np.inf, np.float32), "not finite"),
        (np.full((1, 3, 112, 112), -1, np.float32), "from -1 to -1"),
        (np.full((1, 3, 112, 112), 300, np.float32), "from 300 to 300"),
        ([[1]], "got list"),
    ],
)
def test_check_batch_refuses(batch: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_batch(batch)
    assert "\n" not in str(caught.value)


def test_l2_normalise_by_hand() -> None:
    rows = np.array([[3, 4], [0, 0], [1e-30, 0], [3e30, 4e30]], np.float32)
    expected = np.array([[0.6, 0.8], [0, 0], [1, 0], [0.6, 0.8]], np.float32)
    normalised = l2_normalise(rows)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, expected, rtol=1e-6)


def test_l2_normalise_of_nothing() -> None:
    assert l2_normalise(np.zeros((0, 5), np.float32)).shape == (0, 5)
    assert l2_normalise(np.zeros((2, 0), np.float32)).shape == (2, 0)
