"""The rates of the study of groups, on made-up pairs, and its labels."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from studies.groups import crossed, fairface_labels, lfw_labels, majority, rate_among
from whyface.evaluate.intervals import people_wilson


def test_rates_from_counts_are_those_of_all_pairs() -> None:
    """What is computed from counts must equal :func:`people_wilson` over the list of all pairs."""
    rng = np.random.default_rng(3)
    people = np.sort(rng.integers(0, 12, 40)).astype(np.intp)
    people = np.unique(people, return_inverse=True)[1].astype(np.intp)
    strangers = np.array([pair for pair in combinations(range(40), 2) if people[pair[0]] != people[pair[1]]])
    ease = rng.uniform(0, 0.5, 12)
    wrong = rng.random(len(strangers)) < ease[people[strangers[:, 0]]] * ease[people[strangers[:, 1]]]
    for faces in (np.ones(40, bool), people % 2 == 0):
        inside = faces[strangers].all(axis=1)
        found = rate_among(people, faces, strangers[wrong, 0], strangers[wrong, 1])
        errors = wrong[inside]
        assert (found.errors, found.of) == (int(errors.sum()), len(errors))
        first, second = (people[strangers[inside, side]] for side in (0, 1))
        assert found.interval == pytest.approx(people_wilson(errors, first, second))
        assert found.people == len(np.unique(people[faces]))


def test_groups_without_errors_or_pairs() -> None:
    people, none = np.arange(4), np.array([], np.intp)
    assert rate_among(people, np.ones(4, bool), none, none).rate == 0
    assert rate_among(people, people == 1, none, none).interval is None


def test_a_person_has_what_most_of_their_pictures_have(tmp_path: Path) -> None:
    table = tmp_path / "attributes.csv"
    rows = ["Ann_B_0001.jpg,white,Woman,20", "Ann_B_0002.jpg,asian,Woman,60", "Ann_B_0003.jpg,asian,Man,58"]
    table.write_text("\n".join(["name,df_race,df_gender,df_age", *rows]), encoding="utf-8")
    labels = lfw_labels(table, ["lfw/Ann_B/Ann_B_0001.jpg", "lfw/Bob/Bob_0001.jpg"])
    assert [labels[name].tolist() for name in ("race", "gender", "age")] == [
        ["asian", ""],
        ["woman", ""],
        ["55 and older", ""],
    ]
    assert crossed(labels, "race,gender").tolist() == ["asian, woman", ""]
    assert majority([]) == ""


def test_ages_that_a_spreadsheet_took_for_dates(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    rows = ["file,age,gender,race", "val/1.jpg,03-Sep,Male,East Asian", "val/2.jpg,Oct-19,Female,Latino_Hispanic"]
    table.write_text("\n".join(rows), encoding="utf-8")
    labels = fairface_labels(table, ["fairface/2.jpg", "fairface/1.jpg", "fairface/9.jpg"])
    assert labels["age"].tolist() == ["10-19", "3-9", ""]
    assert labels["children"].tolist() == ["others", "children up to 9", ""]
    assert labels["race"].tolist() == ["Latino Hispanic", "East Asian", ""]
