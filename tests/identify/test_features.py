from __future__ import annotations

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.identify.gallery_people import cosine_parts, grid_features
from whyface.xcos.grid import grid_cosine, uniform_attention, xcos_score


def test_cosine_of_features_is_the_uniform_xcos_score() -> None:
    grids = np.random.default_rng(0).standard_normal((2, 5, 7, 7)).astype(np.float32)
    one, other = grid_features(grids)
    expected = xcos_score(grid_cosine(grids[:1], grids[1:]), uniform_attention())
    assert one @ other == pytest.approx(float(expected[0]), abs=1e-6)


def test_cells_parts_are_their_cosines_and_add_up() -> None:
    grids = np.random.default_rng(1).standard_normal((3, 5, 4, 6)).astype(np.float32)
    features = grid_features(grids)
    parts = cosine_parts(features[:2], features[2], (4, 6))
    assert parts.shape == (2, 4, 6)
    np.testing.assert_allclose(parts.sum(axis=(1, 2)), features[:2] @ features[2], atol=1e-6)
    np.testing.assert_allclose(parts * 24, grid_cosine(grids[:2], grids[2:]), atol=1e-5)


def test_sizes_must_fit() -> None:
    with pytest.raises(InputError, match="4 x 6 cells"):
        cosine_parts(np.zeros((1, 50)), np.zeros(50), (4, 6))
    with pytest.raises(InputError, match="cells"):
        cosine_parts(np.zeros((1, 48)), np.zeros(50), (4, 6))
