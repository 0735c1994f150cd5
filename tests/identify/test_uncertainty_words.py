"""A made-up network that recognises a person by the mouth's brightness alone: the method must say "mouth"."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.regions import region_masks
from whyface.identify.evidential import EvidentialHead
from whyface.identify.uncertainty_words import uncertainty_words

MASKS = {
    name: mask for name, mask in region_masks(112, 112).items() if name in ("mouth", "left eye", "chin", "forehead")
}
FACE = np.full((3, 112, 112), 200, np.uint8)
HEAD = EvidentialHead(("Ann", "Bob"), np.eye(2, 3, dtype=np.float32), 20.0, -4.0, "relu")


def mouth_features(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Look like Ann as far as the mouth is bright, else like nobody."""
    bright = faces[:, :, MASKS["mouth"]].mean(axis=(1, 2)) / 200
    features = np.zeros((len(faces), 3), np.float32)
    features[:, 0] = np.clip(bright, 0, 1)
    features[:, 2] = np.sqrt(1 - features[:, 0] ** 2)
    return features


def test_the_planted_word_is_named() -> None:
    told = uncertainty_words(HEAD, mouth_features, FACE, MASKS)
    # Evidence 16 for Ann: u = 2 / 18; without the mouth none.
    assert told.person == "Ann"
    assert told.uncertainty == pytest.approx(1 / 9)
    first, *others = told.words
    assert (first.name, first.is_telling) == ("mouth", True)
    assert first.uncertainty == pytest.approx(1)
    assert all(word.uncertainty == pytest.approx(1 / 9) and not word.is_telling for word in others)
    assert told.top() == ("mouth",)
    assert "Most hangs on mouth: without it u rises from 0.111 to 1" in told.describe()
    document = json.loads(json.dumps(told.to_dict()))
    assert document["uncertain_original"] == told.uncertainty
    assert document["attributes_sortting"][0] == "mouth"
    assert document["uncertain_value"][0] == first.uncertainty
    assert document["words"][0]["area"] == pytest.approx(MASKS["mouth"].mean())


def test_no_reason_is_invented() -> None:
    others = {name: mask for name, mask in MASKS.items() if name != "mouth"}
    told = uncertainty_words(HEAD, mouth_features, FACE, others)
    assert told.top() == ()
    assert "does not hang on a single one" in told.describe()


def test_seeds_decide() -> None:
    one, other = (uncertainty_words(HEAD, mouth_features, FACE, MASKS, seed=3, draws=20) for _ in range(2))
    assert one == other


def test_nothing_to_erase_is_refused() -> None:
    empty = {"mouth": np.zeros((112, 112), bool)}
    with pytest.raises(InputError, match="nothing to erase"):
        uncertainty_words(HEAD, mouth_features, FACE, empty)
    with pytest.raises(InputError, match="19 draws"):
        uncertainty_words(HEAD, mouth_features, FACE, MASKS, draws=18)
    with pytest.raises(InputError, match="unknown eraser"):
        uncertainty_words(HEAD, mouth_features, FACE, MASKS, eraser="glue")
