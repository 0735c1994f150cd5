from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, ModelInfo, ThresholdSource
from whyface.explain.shares import (
    explanation_shares,
    fewest_to_flip,
    map_shares,
    margin_shares,
    neutral_similarity,
    ranked,
    region_shares,
)
from whyface.faces.regions import REGIONS, region_masks

Array = NDArray[np.float64]
GRIDS = arrays(np.float64, (7, 7), elements=st.floats(-1, 1, width=32))
WEIGHTS = arrays(np.float64, (7, 7), elements=st.floats(0.015625, 1, width=32))


def explanation(**changes: Any) -> Explanation:
    plain: dict[str, Any] = {
        "threshold": 0.25,
        "threshold_source": ThresholdSource(),
        "method": "xcos",
        "cost": Cost(2),
        "model": ModelInfo("m"),
    }
    return Explanation(**(plain | changes))


@settings(max_examples=50, deadline=None)
@given(GRIDS, WEIGHTS, st.floats(-1, 1))
def test_shares_sum_to_the_margin(s: Array, w: Array, threshold: float) -> None:
    assert margin_shares(s, w, threshold).sum() == pytest.approx((s * w).sum() - threshold, abs=1e-9)
    one = w / w.sum()
    np.testing.assert_allclose(margin_shares(s, one, threshold), one * (s - threshold), atol=1e-12)
    regions = region_shares(margin_shares(s, w, threshold))
    assert tuple(regions) == REGIONS
    assert sum(regions.values()) == pytest.approx((s * w).sum() - threshold, abs=1e-9)


def test_a_share_worked_out_by_hand() -> None:
    s, w = np.array([[0.75, 0.25]]), np.array([[0.5, 0.5]])
    np.testing.assert_array_equal(margin_shares(s, w, 0.5), [[0.125, -0.125]])
    # Raw weights 1 and 3: a threshold of 2 splits into 0.5 and 1.5.
    np.testing.assert_array_equal(margin_shares(s, np.array([[1.0, 3.0]]), 2.0), [[0.25, -0.75]])


def test_identical_photos_have_no_share_against_a_match() -> None:
    shares = margin_shares(np.ones((7, 7)), np.full((7, 7), 1 / 49), 0.25)
    np.testing.assert_allclose(shares, 0.75 / 49)


def test_the_neutral_similarity_gives_no_share() -> None:
    w = np.linspace(-0.1, 0.9, 49).reshape(7, 7)
    neutral = neutral_similarity(w, 3.0)
    np.testing.assert_allclose(margin_shares(np.full((7, 7), neutral), w, 3.0), 0, atol=1e-12)
    assert neutral_similarity(np.full((7, 7), 1 / 49, np.float32), 0.2545) == 0.2545


def test_weights_without_a_sum_and_grids_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match="sum to 0"):
        margin_shares(np.ones((1, 2)), np.array([[1.0, -1.0]]), 0.2)
    with pytest.raises(InputError, match="sum to 0"):
        neutral_similarity(np.zeros((7, 7)), 0.2)
    with pytest.raises(InputError, match="differ"):
        margin_shares(np.ones((1, 2)), np.ones((2, 1)), 0.2)


def test_an_explanations_shares_sum_to_its_own_margin_to_the_last_digit() -> None:
    rng = np.random.default_rng(0)
    w = np.full((7, 7), 1 / 49, np.float32)
    s = rng.uniform(-1, 1, (7, 7)).astype(np.float32)
    exact = float((s.astype(float) * w).sum())
    one = explanation(score=exact + 9e-5, similarity=s, attention=w)
    shares = explanation_shares(one)
    assert shares is not None
    assert shares.sum() == pytest.approx(one.margin, abs=1e-15)
    assert explanation_shares(explanation(score=0.3)) is None


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (2, 3), elements=st.integers(-4, 4).map(float)))
def test_no_smaller_set_flips(shares: Array) -> None:
    match = bool(shares.sum() > 0)
    flip = fewest_to_flip(shares, is_match=match)
    subsets = [
        (size, (shares.sum() - sum(chosen) > 0) != match)
        for size in range(1, 7)
        for chosen in itertools.combinations(shares.ravel(), size)
    ]
    smallest = min((size for size, flips in subsets if flips), default=None)
    assert (flip.count if flip else None) == smallest
    if flip:
        assert flip.cells.sum() == flip.count
        assert flip.margin_after == pytest.approx(shares[~flip.cells].sum())
        assert set(flip.regions) <= set(region_masks(*shares.shape))


def test_all_for_a_match_flips_only_when_every_place_is_neutral() -> None:
    flip = fewest_to_flip(np.full((7, 7), 0.1 / 49), is_match=True)
    assert flip is not None
    assert flip.count == 49
    assert fewest_to_flip(np.full((7, 7), -0.1 / 49), is_match=False) is None


def test_flip_names_the_regions_of_its_places() -> None:
    shares = np.full((7, 7), -0.001)
    shares[4, 3], shares[5, 3] = 0.05, 0.04
    flip = fewest_to_flip(shares, is_match=True)
    assert flip is not None
    assert flip.regions == ("nose tip",)
    assert np.argwhere(flip.cells).tolist() == [[4, 3]]


def test_map_shares_count_both_maps_alike_whatever_their_scale() -> None:
    a, b = np.zeros((112, 112)), np.zeros((112, 112))
    a[72, 56], a[5, 56] = 300, -100
    b[72, 56] = 0.5
    found = map_shares(explanation(score=0.3, map_a=a, map_b=b))
    assert found is not None
    assert found["nose tip"] == pytest.approx((0.75 + 1) / 2)
    assert found["forehead"] == pytest.approx(-0.125)
    assert [name for name, _ in ranked(found, positive=True)] == ["nose tip"]
    assert [name for name, _ in ranked(found, positive=False)] == ["forehead"]
    assert map_shares(explanation(score=0.3, map_a=np.zeros((7, 7)))) is None
