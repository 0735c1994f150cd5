"""Erasing several words together, as the study of uncertainty does."""

from __future__ import annotations

import numpy as np
import pytest

from studies.words.uncertainty import erase_together
from whyface.errors import InputError
from whyface.faces.regions import region_masks

MASKS = {name: mask for name, mask in region_masks(112, 112).items() if name in ("mouth", "chin")}
FACE = np.full((3, 112, 112), 200, np.uint8)


@pytest.mark.parametrize("eraser", ["black", "white"])
def test_words_and_chance_are_erased_alike(eraser: str) -> None:
    without, random = erase_together(FACE, MASKS, ["mouth", "chin"], eraser=eraser, seed=1)
    filler = 0 if eraser == "black" else 255
    np.testing.assert_array_equal((without == filler).all(axis=0), MASKS["mouth"] | MASKS["chin"])
    assert (random == filler).all(axis=0).sum() == (MASKS["mouth"] | MASKS["chin"]).sum()
    assert ((without == 200) | (without == filler)).all()


def test_erasing_nothing_changes_nothing() -> None:
    without, random = erase_together(FACE, MASKS, [])
    np.testing.assert_array_equal(without, FACE)
    np.testing.assert_array_equal(random, FACE)
    with pytest.raises(InputError, match="no place is known for halo"):
        erase_together(FACE, MASKS, ["halo"])
