from __future__ import annotations

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.faces.regions import REGIONS, TEMPLATE, has_side, region_masks, region_of_cells, region_phrase

SEVEN = region_of_cells()


@pytest.mark.parametrize(
    ("point", "name"),
    list(zip(TEMPLATE, ("left eye", "right eye", "nose tip", "mouth", "mouth"), strict=True)),
)
def test_the_five_points_lie_in_the_regions_named_after_them(point: tuple[float, float], name: str) -> None:
    x, y = point
    assert SEVEN[int(y // 16), int(x // 16)] == name
    assert region_of_cells(112, 112)[round(y), round(x)] == name


def test_every_cell_of_every_grid_is_in_one_region() -> None:
    for height, width in ((1, 1), (7, 7), (7, 6), (14, 14), (5, 9), (112, 112)):
        assert (np.sum(list(region_masks(height, width).values()), axis=0) == 1).all()


@pytest.mark.parametrize("size", range(2, 15))
def test_every_region_of_a_grid_has_a_place(size: int) -> None:
    masks = region_masks(size, size)
    assert all(mask.any() for mask in masks.values())
    if size >= 7:
        assert tuple(masks) == REGIONS
    else:
        # No place of so coarse a grid is an eye or a mouth.
        assert len(masks) == (4 if size in (2, 4) else 9)
        assert not set(masks) & set(REGIONS)


def test_the_parts_of_coarse_grids() -> None:
    quarters = ("upper left quarter", "upper right quarter", "lower left quarter", "lower right quarter")
    assert tuple(region_masks(4, 4)) == quarters
    assert region_masks(4, 4)["upper right quarter"][:2, 2:].all()
    assert tuple(region_masks(1, 1)) == ("whole face",)
    assert tuple(region_masks(2, 1)) == ("upper half", "lower half")
    assert tuple(region_masks(1, 3)) == ("left third", "middle third", "right third")
    nine = region_of_cells(5, 5)
    assert nine[2, 2] == "centre"
    assert (nine[:2, 3:] == "upper right part").all()
    assert (nine[2, :2] == "middle left part").all()


@pytest.mark.parametrize(("name", "sided"), [("upper left quarter", True), ("right half", True), ("centre", False)])
def test_parts_have_sides_too(name: str, sided: bool) -> None:
    assert has_side(name) == sided


def test_left_mirrors_right() -> None:
    swap = {"left ": "right ", "right ": "left "}
    for row in SEVEN:
        for name, mirrored in zip(row, row[::-1], strict=True):
            side = str(name).split(" ")[0] + " "
            assert mirrored == (str(name).replace(side, swap[side]) if has_side(str(name)) else name)


def test_left_is_left_in_the_picture() -> None:
    columns = np.broadcast_to(np.arange(7), (7, 7))
    for name in REGIONS:
        if has_side(name):
            assert (columns[name == SEVEN] < 3).all() == name.startswith("left")


def test_phrases_name_every_region() -> None:
    assert region_phrase("nose tip") == "the nose tip"
    assert region_phrase("left edge") == "the left edge of the picture"
    assert len({region_phrase(name) for name in REGIONS}) == len(REGIONS)


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="at least one place, got 0 x 7"):
        region_of_cells(0, 7)
