from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.evaluate.intervals import number_people, people_wilson, wilson


def test_wilson_known_values() -> None:
    # 8 of 10: 0.4902 to 0.9433 (a textbook example).
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    low, high = wilson(0, 20)
    # Without errors the upper end is z^2 / (n + z^2).
    assert low == 0.0
    assert high == pytest.approx(1.959964**2 / (20 + 1.959964**2))
    assert wilson(20, 20).low == pytest.approx(1 - high)
    assert wilson(20, 20).high == 1.0


def test_wilson_grows_with_confidence() -> None:
    narrow, wide = wilson(3, 50, 0.8), wilson(3, 50, 0.99)
    assert wide.low < narrow.low < 3 / 50 < narrow.high < wide.high


@pytest.mark.parametrize(("errors", "total", "confidence"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses_nonsense(errors: int, total: int, confidence: float) -> None:
    with pytest.raises(InputError):
        wilson(errors, total, confidence)


def test_people_wilson_is_wilson_for_independent_pairs() -> None:
    wrong = np.arange(40) < 6
    people = np.arange(40)
    assert people_wilson(wrong, people, people) == pytest.approx(wilson(6, 40))
    assert people_wilson(wrong, people, people + 40) == pytest.approx(wilson(6, 40))


def test_people_wilson_counts_repeated_people_once() -> None:
    # Ten people with four pairs each, all four right or all four wrong: worth ten pairs.
    wrong = np.repeat(np.arange(10) < 3, 4)
    people = np.repeat(np.arange(10), 4)
    assert people_wilson(wrong, people, people) == pytest.approx(wilson(3, 10))
    # The same for impostor pairs between the same two people.
    assert people_wilson(wrong, people, people + 10) == pytest.approx(wilson(3, 10))


def test_people_wilson_against_the_plain_double_sum() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 12, 60)
    second = (first + rng.integers(1, 12, 60)) % 12
    wrong = (first < 4) | (rng.random(60) < 0.2)
    residual = wrong - wrong.mean()
    variance = sum(
        residual[i] * residual[j]
        for i, j in product(range(60), repeat=2)
        if {first[i], second[i]} & {first[j], second[j]}
    )
    effective = 60 * min(1.0, wrong.mean() * (1 - wrong.mean()) * 60 / variance)
    assert effective < 60
    expected = wilson(wrong.mean() * effective, effective)
    assert people_wilson(wrong, first, second) == pytest.approx(expected)


def test_people_wilson_without_errors() -> None:
    assert people_wilson(np.zeros(30, bool), ["a"] * 30, ["b"] * 30) == wilson(0, 30)


def test_people_wilson_refuses_different_lengths() -> None:
    with pytest.raises(InputError, match="one entry per pair"):
        people_wilson([True, False], ["a"], ["b"])
    with pytest.raises(InputError, match="both people"):
        people_wilson([True, False], ["a", "b"], ["b"])


def test_number_people() -> None:
    first, second, count = number_people(["x", "y", "x"], ["x", "z", "y"])
    assert count == 3
    assert first.tolist() == [0, 1, 0]
    assert second.tolist() == [0, 2, 1]
