"""Faces made worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.data.degradations import add_noise, blur, compress, darken, degrade, jitter, motion_blur, shrink
from whyface.errors import InputError

Face = NDArray[np.uint8]


def face(seed: int = 0) -> Face:
    """Give a face of random blocks."""
    blocks = np.random.default_rng(seed).integers(40, 216, (14, 14, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=0).repeat(8, axis=1))


def flat(value: int) -> Face:
    return np.full((112, 112, 3), value, np.uint8)


def spread(picture: Face) -> float:
    """Give how much neighbouring pixels differ, large steps above all."""
    return float(np.sqrt(np.square(np.diff(picture.astype(float), axis=1)).mean()))


@pytest.mark.parametrize("change", [lambda f: blur(f, 3), lambda f: shrink(f, 16), lambda f: motion_blur(f, 13, 0.5)])
def test_flat_pictures_stay_and_others_lose_detail(change: Callable[[Face], Face]) -> None:
    np.testing.assert_array_equal(change(flat(77)), flat(77))
    changed = change(face())
    assert changed.shape == face().shape
    assert changed.dtype == np.uint8
    assert spread(changed) < 0.7 * spread(face())
    assert changed.mean() == pytest.approx(face().mean(), abs=2)


def test_motion_goes_along_its_line_only() -> None:
    stripes = np.ascontiguousarray(np.broadcast_to(face()[:1], (112, 112, 3)))
    np.testing.assert_array_equal(motion_blur(stripes, 9, np.pi / 2), stripes)
    assert spread(motion_blur(stripes, 9, 0)) < 0.5 * spread(stripes)
    np.testing.assert_array_equal(motion_blur(face(), 1, 0.3), face())


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    noisy = add_noise(flat(128), 20, rng=np.random.default_rng(0)).astype(float) - 128
    assert noisy.std() == pytest.approx(20, rel=0.02)
    assert abs(noisy.mean()) < 0.5
    np.testing.assert_array_equal(add_noise(face(), 0, rng=np.random.default_rng(0)), face())


def test_darkness_scales_and_keeps_a_little_noise() -> None:
    dark = darken(flat(200), 0.1, rng=np.random.default_rng(0)).astype(float)
    assert dark.mean() == pytest.approx(20, abs=0.1)
    assert 0.8 < dark.std() < 1.3


def test_compression_keeps_the_colours_in_order() -> None:
    red = flat(0)
    red[..., 0] = 200
    np.testing.assert_allclose(compress(red, 90).astype(int), red.astype(int), atol=6)
    assert np.abs(compress(face(), 3).astype(int) - face()).mean() > 5


def test_a_seed_decides_and_all_kinds_come_up() -> None:
    one, same, other = (degrade(face(), rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    rng = np.random.default_rng(3)
    changed = [degrade(face(), rng=rng) for _ in range(200)]
    assert all(picture.shape == face().shape and picture.dtype == np.uint8 for picture in changed)
    # Darkness, noise and loss of detail are all among them.
    assert min(picture.mean() for picture in changed) < 0.2 * face().mean()
    assert max(map(spread, changed)) > 2 * spread(face())
    assert min(map(spread, changed)) < 0.2 * spread(face())


def test_jitter_moves_little() -> None:
    rng = np.random.default_rng(0)
    smooth = blur(face(), 6)
    moved = [jitter(smooth, rng=rng) for _ in range(30)]
    alike = [np.corrcoef(picture.ravel(), smooth.ravel())[0, 1] for picture in moved]
    assert min(alike) > 0.6
    assert max(alike) < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blur(face(), 0), "sigma must be positive"),
        (lambda: shrink(face(), 0), "side must be positive"),
        (lambda: motion_blur(face(), 4, 0), "odd"),
        (lambda: compress(face(), 0), "1..100"),
        (lambda: blur(face()[..., 0], 1), "uint8"),
        (lambda: darken(face().astype(np.float32), 1, rng=np.random.default_rng(0)), "uint8"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
