"""Maps that do not fit their pairs are refused where a method hands them over."""

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.explain.pair_method import PairMaps

SCORES = np.zeros(2, np.float32)
MAPS = np.zeros((2, 7, 7), np.float32)


@pytest.mark.parametrize(
    ("map_a", "map_b", "name"),
    [
        (MAPS[:1], MAPS, "map_a"),
        (MAPS, np.zeros((3, 7, 7), np.float32), "map_b"),
        (MAPS[0], MAPS, "map_a"),
        (MAPS, MAPS.astype(np.float64), "map_b"),
    ],
)
def test_maps_that_do_not_fit_the_scores_are_refused(map_a: np.ndarray, map_b: np.ndarray, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} must be float32 \(N, H, W\) with a map for each of the 2 scores"):
        PairMaps(SCORES, map_a, map_b, forward=2)


def test_faces_may_have_maps_of_different_sizes() -> None:
    found = PairMaps(SCORES, MAPS, np.zeros((2, 112, 112), np.float32), forward=2)
    assert found.map_a.shape[1:] != found.map_b.shape[1:]


def test_details_must_belong_to_the_pairs() -> None:
    with pytest.raises(InputError, match="1 details do not belong to 2 pairs"):
        PairMaps(SCORES, MAPS, MAPS, forward=2, details=({},))
