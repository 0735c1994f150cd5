"""The measures of the study of shares, on numbers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from studies.words.shares import agreement, base_rates, choose_fewest, explained, is_said
from studies.words.sums import explained_by, less_person, weighted_correlation
from whyface.words.word_shares import NaturalEffect

RNG = np.random.default_rng(0)
CERTAIN = NaturalEffect(-0.08, -0.1, -0.06, 40)


def test_variance_explained() -> None:
    values = RNG.normal(size=50)
    assert explained(values, 3 - 2 * values) == pytest.approx(1)
    assert explained(np.zeros(50), values) == 0


def test_effects_that_hold_in_other_people_are_counted() -> None:
    few, open_ = NaturalEffect(-0.08, -0.1, -0.06, 9), NaturalEffect(-0.08, -0.2, 0.02, 40)
    assert is_said(CERTAIN, 40)
    assert not is_said(CERTAIN, 41)
    assert not is_said(open_, 1)
    mine = {"a": CERTAIN, "b": CERTAIN, "c": few, "d": CERTAIN, "e": open_}
    other = {
        "a": CERTAIN,
        "b": open_,
        "c": NaturalEffect(0.1, 0.05, 0.2, 9),
        "d": NaturalEffect(0.0, 0.0, 0.0, 0),
        "e": CERTAIN,
    }
    assert agreement([(mine, other)], 10) == {"words": 3, "of the same sign": 1, "certain in the other half": 0.5}
    loose = agreement([(mine, other)], 5)
    assert loose["words"] == 4
    assert loose["of the same sign"] == pytest.approx(2 / 3)
    assert agreement([(mine, other)], 100) == {"words": 0, "of the same sign": 0, "certain in the other half": 0}


def test_the_smallest_number_of_pairs_whose_effects_hold_is_chosen() -> None:
    def row(words: float, same: float) -> dict[str, float]:
        return {"words": words, "of the same sign": same}

    assert choose_fewest({5: row(20, 0.9), 10: row(15, 0.96), 30: row(9, 0.99)}) == 10
    assert choose_fewest({5: row(20, 0.9), 10: row(0, 1.0)}) == 10


def test_likeness_in_a_rare_word_counts_more() -> None:
    words = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0], [np.nan, 0.0]])
    rare, common = (
        base_rates(words[:, :1], np.array([0]), np.array([1])),
        base_rates(words[:, 1:], np.array([0]), np.array([1])),
    )
    assert rare[0] > common[0] > 0
    assert base_rates(words, np.array([0]), np.array([5]))[0] < 0


def test_weights_repeat_pairs() -> None:
    values, scores = RNG.normal(size=(2, 30))
    counts = RNG.integers(0, 3, 30).astype(float)
    rows = np.repeat(np.arange(30), counts.astype(int))
    expected = np.corrcoef(values[rows], scores[rows])[0, 1]
    assert weighted_correlation(values, scores, counts[None])[0] == pytest.approx(expected)
    assert weighted_correlation(np.ones(30), scores, counts[None])[0] == 0


def test_a_predictor_that_leads_is_certain_to_lead() -> None:
    people = np.repeat(np.array([f"p{n}" for n in range(60)]), 5)
    scores = RNG.normal(size=300)
    good, noise = scores + 0.3 * RNG.normal(size=300), RNG.normal(size=300)
    rows = explained_by({"sum": good, "noise": noise}, scores, (people, people), "sum", replicates=200)
    assert rows["sum"]["share of variance"] == pytest.approx(1 / 1.09, abs=0.05)
    assert rows["noise"]["lead interval"][0] > 0.6
    assert "lead interval" not in rows["sum"]
    assert less_person(np.array([1.0, 5.0, 3.0]), np.array(["a", "b", "a"])).tolist() == [-1, 0, 1]
