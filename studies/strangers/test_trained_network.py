"""The study of the network trained by evidence, on numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from studies.strangers.trained_network import PROBES, STRANGERS, TAUGHT, means, split_photos, summary


def test_nobody_is_in_two_parts_and_no_photo_both_trains_and_tests() -> None:
    pictures = [f"set/{person:03}/{photo}.jpg" for person in range(150) for photo in range(5 + person % 10)]
    found = split_photos(pictures)
    assert found == split_photos(pictures[::-1])
    people = {part: {name.split("/")[1] for name, where in found.items() if where == part} for part in found.values()}
    assert people["probes"] <= people["few"]
    assert not people["few"] & people["strangers"]
    assert (len(people["few"]), len(people["strangers"])) == (TAUGHT, STRANGERS)
    counts = {
        person: sum(f"/{person}/" in n and part == "probes" for n, part in found.items()) for person in people["few"]
    }
    assert set(counts.values()) <= {0, PROBES}


def test_known_photos_that_score_higher_are_told_from_strangers() -> None:
    people = np.array(["a", "b", "a", "b"]), np.array(["c", "d", "e"])
    right = np.array([True, True, False, True])
    found = summary(np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.5, 0.4, 0.65]), right, people, replicates=100)
    assert found["auroc"] == pytest.approx(11 / 12, abs=1e-4)
    assert found["rank 1"] == 0.75
    assert (found["median, known"], found["median, strangers"]) == (0.75, 0.5)
    assert found["interval"][0] <= found["auroc"] <= found["interval"][1]


def test_means_have_unit_length() -> None:
    names, mean = means(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), np.array(["b", "b", "a"]))
    assert names == ["a", "b"]
    assert mean == pytest.approx(np.array([[0, 1], [np.sqrt(0.5), np.sqrt(0.5)]]))
