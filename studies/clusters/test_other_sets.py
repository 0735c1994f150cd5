"""What is said of groups of several names, counted by hand."""

from __future__ import annotations

import numpy as np

from studies.clusters.other_sets import alike
from whyface.gallery.grouping import Grouping, Join


def test_groups_of_several_names_and_relatives() -> None:
    people = ["Serena_Williams", "Serena_Williams", "Venus_Williams", "Luke_Wilson", "Owen_Wilson", "Ann"]
    groups = Grouping(np.array([0, 0, 0, 3, 4, 5]), (Join(0, 1, 0.7, 0.7, "alike"), Join(1, 2, 0.41, 0.35, "alike")))
    found = alike(groups, people)
    assert (found["groups"], found["groups_with_several_names"], found["faces_in_a_group_of_mostly_others"]) == (
        4,
        1,
        1,
    )
    assert found["joins_of_two_names"] == [
        {"people": ["Serena_Williams", "Venus_Williams"], "score": 0.41, "mean": 0.35, "pictures": [2, 1]}
    ]
    assert {tuple(one["people"]): one["in_one_group"] for one in found["relatives"]} == {
        ("Serena_Williams", "Venus_Williams"): True,
        ("Luke_Wilson", "Owen_Wilson"): False,
    }
