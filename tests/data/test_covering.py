"""Covering a part of a face."""

from __future__ import annotations

import numpy as np
import pytest

from whyface.data.covering import MaskFill, apply_mask
from whyface.data.masks import free_form_mask
from whyface.errors import InputError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("fill", ["black", "mean", "noise"])
def test_fills_only_what_is_covered(fill: MaskFill) -> None:
    image = rng(1).integers(1, 255, (24, 20, 3), dtype=np.uint8)
    before, mask = image.copy(), free_form_mask((24, 20), 0.4, rng=rng(2))
    covered = apply_mask(image, mask, fill, rng=rng(3))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(covered[~mask], image[~mask])
    if fill == "black":
        assert not covered[mask].any()
    if fill == "mean":
        np.testing.assert_allclose(covered[mask], np.tile(image.mean(axis=(0, 1)), (int(mask.sum()), 1)), atol=0.5)
    if fill == "noise":
        assert len(np.unique(covered[mask])) > 100
        np.testing.assert_array_equal(covered, apply_mask(image, mask, fill, rng=rng(3)))


def test_refuses_what_does_not_fit() -> None:
    image, mask = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)
    with pytest.raises(InputError, match="uint8"):
        apply_mask(image.astype(np.float32), mask)
    with pytest.raises(InputError, match="mask must be bool"):
        apply_mask(image, mask.T)
    with pytest.raises(InputError, match="unknown fill 'grey'"):
        apply_mask(image, mask, "grey")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="noise is random"):
        apply_mask(image, mask, "noise")
