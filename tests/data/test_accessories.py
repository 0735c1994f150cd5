"""Sunglasses and scarf: what they hide, and that they follow the face."""

from __future__ import annotations

import numpy as np
import pytest

from whyface.data.covering import Accessory, landmark_mask
from whyface.errors import InputError
from whyface.faces.align import apply_affine, template


def at(mask: np.ndarray, point: np.ndarray) -> bool:
    return bool(mask[round(point[1]), round(point[0])])


@pytest.mark.parametrize(
    ("accessory", "hidden", "coverage"),
    [("sunglasses", [True, True, False, False, False], 0.147), ("scarf", [False, False, False, True, True], 0.277)],
)
def test_hides_what_it_should_and_nothing_else(accessory: Accessory, hidden: list[bool], coverage: float) -> None:
    mask = landmark_mask(accessory)
    assert [at(mask, point) for point in template()] == hidden
    assert mask.mean() == pytest.approx(coverage, abs=0.001)


@pytest.mark.parametrize("accessory", ["sunglasses", "scarf"])
def test_follows_a_face_that_is_turned_moved_and_larger(accessory: Accessory) -> None:
    turn = 2.0 * np.array([[0.8, -0.6], [0.6, 0.8]])
    move = np.column_stack([turn, [150.0, 40.0]])
    mask = landmark_mask(accessory, apply_affine(move, template()), (400, 400))
    plain = landmark_mask(accessory)
    grid = np.stack(np.meshgrid(np.arange(4, 108, 4.0), np.arange(4, 108, 4.0)), axis=-1).reshape(-1, 2)
    moved = [at(mask, point) for point in apply_affine(move, grid)]
    agreement = np.mean([at(plain, point) == other for point, other in zip(grid, moved, strict=True)])
    # The border pixel may fall to either side.
    assert agreement > 0.95


def test_reaches_beyond_the_picture_without_wrapping() -> None:
    mask = landmark_mask("scarf", template() + np.array([40, 30]))
    assert mask[-1].sum() < 112
    assert not mask[:, :10].any()


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((4, 2)), "five finite"),
        (np.full((5, 2), np.nan), "five finite"),
        (np.zeros((5, 2)), "at the same place"),
        (template()[[1, 0, 2, 4, 3]], "not below"),
    ],
)
def test_refuses_what_is_no_face(landmarks: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        landmark_mask("scarf", landmarks)


def test_refuses_an_unknown_accessory() -> None:
    with pytest.raises(InputError, match="'hat'"):
        landmark_mask("hat")  # type: ignore[arg-type]
