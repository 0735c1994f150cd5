"""The measures of groupings, on groupings whose values are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from studies.clusters.measures import bcubed, pairwise


def test_one_face_in_the_wrong_group() -> None:
    people, groups = [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]
    # 4 pairs in one group, 2 of them of one person; 4 pairs of one person, 2 of them in one group.
    assert pairwise(people, groups) == pytest.approx((0.5, 0.5, 0.5))
    precision, recall = (1 + 1 + 1 / 3 + 2 / 3 + 2 / 3) / 5, (2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5
    assert bcubed(people, groups)[:2] == pytest.approx((precision, recall))


def test_everybody_alone_and_everybody_together() -> None:
    people = [0, 0, 1, 1]
    assert pairwise(people, list(range(4))) == pytest.approx((1, 0, 0))
    assert bcubed(people, list(range(4))) == pytest.approx((1, 0.5, 2 / 3))
    assert pairwise(people, [0] * 4)[:2] == pytest.approx((1 / 3, 1))
    assert bcubed(people, [0] * 4)[:2] == pytest.approx((0.5, 1))


def test_names_of_groups_do_not_count() -> None:
    rng = np.random.default_rng(0)
    people, groups = rng.integers(0, 9, 200), rng.integers(0, 9, 200)
    renamed = rng.permutation(9)[groups]
    assert pairwise(people, groups) == pairwise(people, renamed)
    assert bcubed(people, groups) == pytest.approx(bcubed(people, renamed))
