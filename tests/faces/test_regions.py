from __future__ import annotations

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.faces.regions import REGION_PHRASES, REGIONS, TEMPLATE, has_side, region_masks, region_of_cells

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
        masks = region_masks(height, width)
        assert tuple(masks) == REGIONS
        assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_every_region_has_a_cell_of_seven_by_seven() -> None:
    assert all(mask.any() for mask in region_masks().values())


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
    assert tuple(REGION_PHRASES) == REGIONS


def test_a_grid_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="at least one place, got 0 x 7"):
        region_of_cells(0, 7)
