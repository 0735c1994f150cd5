from __future__ import annotations

import numpy as np
import pytest

from studies.strangers.open_set import open_set_rates, split_open_set
from whyface.errors import DataError, InputError

PEOPLE = [f"p{number}" for number in range(12)]
COUNTS = [1, 1, 1, 2, 4, 4, 5, 6, 8, 10, 30, 4]
PERSON_OF = [name for name, count in zip(PEOPLE, COUNTS, strict=True) for _ in range(count)]


def test_split_keeps_people_and_pictures_apart() -> None:
    split = split_open_set(PERSON_OF, PEOPLE, enroll=3, most=10, seed=4)
    of = np.array(PERSON_OF)
    assert len(split.people) == 4
    assert set(of[split.enrolled]) == set(of[split.probes]) == set(split.people)
    assert not set(split.enrolled) & set(split.probes)
    assert not set(of[split.strangers]) & set(split.people)
    assert set(of[split.loners]) == {"p0", "p1", "p2"}
    assert "p3" not in set(of[split.strangers])
    for rows, labels in ((split.enrolled, split.enrolled_labels), (split.probes, split.probe_labels)):
        assert [split.people[label] for label in labels] == of[rows].tolist()
    assert np.bincount(split.enrolled_labels).max() <= 3
    used = np.concatenate([split.enrolled, split.probes, split.strangers])
    assert max(np.unique(of[used], return_counts=True)[1]) <= 10


def test_split_depends_on_the_seed_only() -> None:
    one, other, third = (split_open_set(PERSON_OF, PEOPLE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.enrolled, other.enrolled)
    assert one.people != third.people or not np.array_equal(one.enrolled, third.enrolled)


def test_split_needs_people() -> None:
    with pytest.raises(DataError, match="four are needed"):
        split_open_set(PERSON_OF[:15], PEOPLE)
    with pytest.raises(InputError, match="least >= 2"):
        split_open_set(PERSON_OF, PEOPLE, least=1)


def test_rates_by_hand() -> None:
    known, right = [0.9, 0.8, 0.5, 0.3], [True, False, True, True]
    strangers = [0.1, 0.2, 0.4, 0.6]
    rates = open_set_rates(known, strangers, right, fpir=0.25)
    # Of 16 comparisons 4 + 4 + 3 + 2 are won.
    assert rates.auroc == pytest.approx(13 / 16)
    assert rates.rank1 == 0.75
    # One of four strangers may be above: the threshold is 0.4; above it and right are the first and the third.
    assert rates.identified == 0.5
    # No stranger may be above: the threshold is 0.6.
    assert open_set_rates(known, strangers, right, fpir=0.1).identified == 0.25


def test_rates_refuse_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="known people and strangers"):
        open_set_rates([0.1], [], [True])
    with pytest.raises(InputError, match="known people and strangers"):
        open_set_rates([0.1], [0.2], [True, False])
    with pytest.raises(InputError, match="between 0 and 1"):
        open_set_rates([0.1], [0.2], [True], fpir=0)
