"""Free-form masks: exact coverage, reproducible, and fills that leave the rest of the picture alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyface.data.masks import free_form_mask
from whyface.errors import InputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    coverage=st.floats(0, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_covers_exactly_the_share_asked_for(height: int, width: int, coverage: float, seed: int) -> None:
    mask = free_form_mask((height, width), coverage, rng=rng(seed))
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    assert int(mask.sum()) == round(coverage * height * width)


@pytest.mark.parametrize("percent", [0, 10, 20, 30, 40, 50, 60, 90])
def test_face_sized_masks_are_within_one_point(percent: int) -> None:
    mask = free_form_mask(coverage=percent / 100, rng=rng(3))
    assert 100 * mask.mean() == pytest.approx(percent, abs=0.01)


def test_equal_seeds_give_equal_masks_and_others_differ() -> None:
    one, again, other = (free_form_mask(rng=rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_no_place_is_spared_or_always_covered() -> None:
    generator = rng(2)
    share = np.mean([free_form_mask(coverage=0.3, rng=generator) for _ in range(300)], axis=0)
    cells = share.reshape(7, 16, 7, 16).mean(axis=(1, 3))
    assert cells.min() > 0.1
    assert cells.max() < 0.5


def test_a_mask_is_made_of_strokes_not_of_single_pixels() -> None:
    mask = free_form_mask(coverage=0.3, rng=rng(4))
    borders = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    # Pixels strewn at random would give about 2 * 112 * 112 * 2 * 0.3 * 0.7 = 10,500.
    assert borders < 2000


@pytest.mark.parametrize("coverage", [-0.01, 0.91, 1.0, float("nan")])
def test_refuses_a_coverage_out_of_range(coverage: float) -> None:
    with pytest.raises(InputError, match="coverage must be"):
        free_form_mask(coverage=coverage, rng=rng())


def test_refuses_an_empty_shape() -> None:
    with pytest.raises(InputError, match="at least one pixel"):
        free_form_mask((0, 5), rng=rng())
