"""The figure of two-stage search: one line per way and per size, and nothing to draw is refused."""

from typing import Any

import numpy as np
import pytest

from two_stage_figure import SHIPPED, two_stage_figure
from whyface.errors import InputError

WAYS = ("exhaustive", "shortlist of 100", "shortlist of 500", "index alone")


def record_of(*sizes: int) -> dict[str, Any]:
    times = {way: {"median": 2.0, "quartiles": [1.0, 3.0]} for way in WAYS}
    recall = {SHIPPED: {"recall@10": {"10": 0.8, "100": 1.0}}}
    found = {"milliseconds": times, "by_stand_in_for_learned_attention": recall}
    return {"faces": {str(size): found for size in sizes}, "probes": 8, "threads": 2, "real_faces": 1000}


@pytest.mark.parametrize("sizes", [(1000,), (1000, 10_000, 100_000, 1_000_000), tuple(range(1, 7))])
def test_a_line_for_every_way_and_size(sizes: tuple[int, ...]) -> None:
    cost, recall = two_stage_figure(record_of(*sizes)).axes
    assert len(cost.get_lines()) == 3
    assert [np.asarray(line.get_xdata()).tolist() for line in cost.get_lines()] == [list(sizes)] * 3
    assert len(recall.get_lines()) == min(4, len(sizes))
    assert recall.get_lines()[-1].get_label() == f"{sizes[-1]:,} faces"


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no gallery"):
        two_stage_figure(record_of())
