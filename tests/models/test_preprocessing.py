from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.models.preprocessing import (
    ARCFACE,
    ARCFACE_128,
    IMAGENET,
    RAW,
    Preprocessing,
    preprocessing_from_dict,
)


@pytest.fixture
def batch() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112), np.uint8)


def test_raw_changes_only_the_dtype(batch: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    out = RAW.apply(batch)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, batch)


@pytest.mark.parametrize(("preprocessing", "divisor"), [(ARCFACE, 127.5), (ARCFACE_128, 128.0)])
def test_symmetric(batch: np.ndarray[Any, np.dtype[np.uint8]], preprocessing: Preprocessing, divisor: float) -> None:
    np.testing.assert_allclose(preprocessing.apply(batch), (batch - 127.5) / divisor, atol=1e-6)


def test_arcface_reaches_both_ends() -> None:
    ends = np.zeros((2, 3, 112, 112), np.uint8)
    ends[1] = 255
    out = ARCFACE.apply(ends)
    assert (out[0] == -1).all()
    assert (out[1] == 1).all()


def test_imagenet_by_hand() -> None:
    white = np.full((1, 3, 112, 112), 255, np.uint8)
    out = IMAGENET.apply(white)[0, :, 0, 0]
    np.testing.assert_allclose(out, [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5)


def test_bgr_swaps_before_the_normalisation() -> None:
    red = np.zeros((1, 3, 112, 112), np.uint8)
    red[:, 0] = 200
    out = Preprocessing(mean=(1, 2, 3), order="bgr").apply(red)
    np.testing.assert_array_equal(out[0, :, 5, 5], [-1, -2, 197])
    assert out.flags.c_contiguous


def test_columns_are_cut_out(batch: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    preprocessing = Preprocessing(columns=(8, 104))
    assert preprocessing.size == (112, 96)
    out = preprocessing.apply(batch)
    assert out.shape == (2, 3, 112, 96)
    np.testing.assert_array_equal(out, batch[..., 8:104])


@pytest.mark.parametrize("preprocessing", [RAW, ARCFACE])
def test_the_input_is_never_changed(preprocessing: Preprocessing) -> None:
    given_batch = np.full((1, 3, 112, 112), 7, np.float32)
    out = preprocessing.apply(given_batch)
    out[:] = 0
    assert (given_batch == 7).all()


@pytest.mark.parametrize(
    "values",
    [
        {"std": (1, 0, 1)},
        {"divisor": 0},
        {"divisor": -1},
        {"mean": (0, float("nan"), 0)},
        {"mean": (0, 0)},
        {"order": "gbr"},
        {"columns": (8, 8)},
        {"columns": (-1, 50)},
        {"columns": (0, 113)},
    ],
)
def test_settings_that_do_not_fit(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Preprocessing(**values)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-200, 200)] * 3),
    st.tuples(*[st.floats(0.01, 200)] * 3),
    st.sampled_from([1.0, 255.0]),
    st.sampled_from(["rgb", "bgr"]),
    st.sampled_from([None, (8, 104)]),
)
def test_json_round_trip(mean: Any, std: Any, divisor: float, order: Any, columns: Any) -> None:
    preprocessing = Preprocessing(mean, std, divisor, order, columns)
    assert preprocessing_from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    "values",
    [{"scale": 1}, {"mean": [1, 2]}, {"mean": "abc"}, {"std": 3}, {"columns": [1]}, {"divisor": "x"}],
)
def test_from_dict_refuses(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="preprocessing"):
        preprocessing_from_dict(values)
