from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.explain.black_box import FILL_NAMES, check_fill, fill_picture, painted_features
from whyface.explain.xface import Patches, PatchPainter, patches, starts


@pytest.mark.parametrize(("size", "stride", "last"), [(7, 5, 105), (14, 5, 98), (28, 5, 84), (28, 28, 84), (112, 9, 0)])
def test_the_last_patch_ends_at_the_border(size: int, stride: int, last: int) -> None:
    places = starts(size, stride)
    assert (places[0], places[-1]) == (0, last)
    assert (np.diff(places) <= stride).all()


def test_published_settings_leave_no_strip() -> None:
    # The published positions 0, 5 ... stop short of 98 and 84.
    assert [len(starts(size, 5)) for size in (7, 14, 28)] == [22, 21, 18]


@given(size=st.integers(1, 40), stride=st.integers(1, 40), shape=st.sampled_from(["rectangle", "circle"]))
@settings(max_examples=40, deadline=None)
def test_patches_lie_inside_and_have_their_size(size: int, stride: int, shape: Any) -> None:
    found = patches(size, stride, shape)
    assert found.covers.shape == (size, size)
    assert (found.corners >= 0).all()
    assert (found.corners + size <= 112).all()
    # Alike in all directions: the disc's centre is the square's.
    for turned in (found.covers.T, found.covers[::-1], found.covers[:, ::-1]):
        np.testing.assert_array_equal(turned, found.covers)
    assert found.coverage().sum() == len(found) * found.covers.sum()


@pytest.mark.parametrize("stride", [1, 4, 5, 7])
def test_rectangles_touch_every_pixel(stride: int) -> None:
    assert patches(7, stride).coverage().min() >= 1


def test_a_disc_is_not_its_square() -> None:
    disc = patches(14, 5, "circle").covers
    assert disc.sum() == pytest.approx(np.pi * 49, rel=0.06)
    assert not disc[0, 0]
    assert patches(1, 1, "circle").covers.all()


def test_mean_over_patches() -> None:
    two = Patches(np.array([[0, 0], [0, 1]], np.intp), np.ones((2, 2), np.bool_))
    mean = two.mean_over_patches(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(mean[:2, :4], [[1, 2, 3, 0]] * 2)
    assert not mean[2:].any()


@pytest.mark.parametrize(
    ("size", "stride", "shape"), [(0, 5, "circle"), (113, 5, "circle"), (7, 0, "circle"), (7, 5, "star")]
)
def test_bad_patches(size: int, stride: int, shape: Any) -> None:
    with pytest.raises(InputError, match=r"patch|stride|shape"):
        patches(size, stride, shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("fill", [0, 127.5, 255, *FILL_NAMES])
def test_fills(fill: float | str, dtype: Any) -> None:
    face = np.random.default_rng(0).integers(0, 256, (3, 112, 112)).astype(dtype)
    filled = fill_picture(face, fill, seed=1)
    assert (filled.shape, filled.dtype) == (face.shape, dtype)
    assert filled.min() >= 0
    assert filled.max() <= 255
    np.testing.assert_array_equal(filled, fill_picture(face, fill, seed=1))
    if fill == "mean":
        np.testing.assert_allclose(filled[:, 0, 0], face.mean(axis=(1, 2)), atol=0.51)
    if fill == "noise":
        assert (filled != fill_picture(face, fill, seed=2)).any()


@pytest.mark.parametrize("fill", [-1, 256, float("nan"), "red"])
def test_bad_fill(fill: float | str) -> None:
    with pytest.raises(InputError, match="fill"):
        check_fill(fill)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_painted_faces_come_back_in_order_and_never_too_many_at_once(workers: int, batch_size: int) -> None:
    face = np.full((3, 112, 112), 9, np.uint8)
    seen: list[int] = []

    def darkest(batch: Any) -> Any:
        seen.append(len(batch))
        # One patch each, and the one before it undone.
        assert all((row == 0).sum() == 3 * 36 for row in batch)
        return np.array([np.flatnonzero((row[0] == 0).ravel())[0] for row in batch], np.float32)

    of_one_size = patches(6, 30)
    painter = PatchPainter(face, np.zeros_like(face), of_one_size)
    done: list[int] = []
    corners = painted_features(
        darkest, face, painter, len(of_one_size), batch_size=batch_size, workers=workers, advance=done.append
    )
    np.testing.assert_array_equal(corners, of_one_size.corners @ [112, 1])
    assert sum(done) == len(of_one_size)
    assert max(seen) * min(workers, batch_size) <= max(batch_size, workers)
    assert (face == 9).all()


def test_an_error_in_the_network_comes_out() -> None:
    face = np.zeros((3, 112, 112), np.uint8)

    def broken(_: Any) -> Any:
        raise InputError("broken")

    of_one_size = patches(28, 28)
    with pytest.raises(InputError, match="broken"):
        painted_features(broken, face, PatchPainter(face, face, of_one_size), len(of_one_size), workers=2)
