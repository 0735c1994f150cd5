"""Error rates by group: tables whose measures are known by hand, and intervals that cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.evaluate.group_rates import (
    audit_groups,
    failures_to_enrol,
    garbe,
    gini,
    max_over_geometric_mean,
)
from whyface.evaluate.groups import GroupAudit, GroupedPairs
from whyface.evaluate.intervals import people_wilson

Row = tuple[float, str, str]


def pairs_of(rows: list[Row], groups: dict[str, str], shares: np.ndarray | None = None) -> GroupedPairs:
    """Build pairs from (score, person, other person); NaN is undecided, -inf failed."""
    score = np.array([row[0] for row in rows])
    first, second = (np.array([row[side] for row in rows]) for side in (1, 2))
    labels = [np.array([groups.get(name, "") for name in side]) for side in (first, second)]
    known = np.where(np.isfinite(score), score, np.nan)
    undecided, failed = np.isnan(score), np.isneginf(score)
    return GroupedPairs(known, first == second, first, second, labels[0], labels[1], undecided, failed, shares)


def two_groups() -> GroupedPairs:
    """Two groups of three people. Within x, 1 of 3 strangers match and 0 of 3 genuine pairs miss; y: 2 of 3, 1 of 3."""
    rows: list[Row] = [(0.9, "a", "b"), (0.1, "a", "c"), (0.1, "b", "c"), *((0.8, name, name) for name in "abc")]
    rows += [(0.9, "d", "e"), (0.7, "d", "f"), (0.1, "e", "f"), (0.8, "d", "d"), (0.8, "e", "e"), (0.2, "f", "f")]
    rows += [(0.6, "a", "d"), (0.0, "b", "e"), (0.0, "f", "c"), (0.0, "a", "f")]
    return pairs_of(rows, {**dict.fromkeys("abc", "x"), **dict.fromkeys("def", "y")})


def audited(pairs: GroupedPairs, **settings: int) -> GroupAudit:
    return audit_groups(pairs, 0.5, **{"smallest": 2, "replicates": 0, **settings})


def test_rates_by_hand() -> None:
    found = audited(two_groups())
    x, y = found.groups
    assert [(one.name, one.people, one.fmr.errors, one.fmr.of, one.fnmr.errors, one.fnmr.of) for one in (x, y)] == [
        ("x", 3, 1, 3, 0, 3),
        ("y", 3, 2, 3, 1, 3),
    ]
    assert (x.fmr_others.errors, x.fmr_others.of, y.fmr_others.of) == (1, 4, 4)
    crossed = found.crossed["x", "y"]
    assert (crossed.errors, crossed.of, crossed.people) == (1, 4, 6)
    assert (found.all_pairs["fmr"].errors, found.all_pairs["fmr"].of) == (4, 10)
    assert (found.all_pairs["fmr_within"].errors, found.all_pairs["fmr_within"].of) == (3, 6)
    assert (found.all_pairs["fnmr"].errors, found.all_pairs["fnmr"].of) == (1, 6)
    assert y.fmr.interval == people_wilson([True, True, False], ["d", "d", "e"], ["e", "f", "f"])


def test_differentials_by_hand() -> None:
    found = {one.name: one for one in audited(two_groups()).differentials}
    # Rates 1/3 and 2/3: the geometric mean is sqrt(2) / 3.
    assert found["max over geometric mean of FMR"].value == pytest.approx(math.sqrt(2))
    assert found["max over geometric mean of FNMR"].value is None
    assert "no errors" in found["max over geometric mean of FNMR"].note
    # Gini of (1/3, 2/3) with n / (n - 1): |difference| / sum = 1/3; of (0, 1/3): 1.
    assert found["Gini coefficient of FMR"].value == pytest.approx(1 / 3)
    assert found["Gini coefficient of FNMR"].value == pytest.approx(1)
    assert found["GARBE"].value == pytest.approx(2 / 3)


def test_without_errors_no_difference_can_be_seen() -> None:
    rows: list[Row] = [(0.9, "a", "b"), (0.1, "c", "d"), *((0.8, name, name) for name in "abcd")]
    pairs = pairs_of(rows, {**dict.fromkeys("ab", "x"), **dict.fromkeys("cd", "y")})
    found = {one.name: one for one in audited(pairs, replicates=100).differentials}
    quiet = found["Gini coefficient of FNMR"]
    assert (quiet.value, quiet.interval) == (0, None)
    assert "no group has an error of the FNMR" in quiet.note
    assert found["GARBE"].interval is None
    assert found["Gini coefficient of FMR"].note == ""


def test_measures_of_differences() -> None:
    assert max_over_geometric_mean([0.01, 0.01, 0.01]) == pytest.approx(1)
    assert max_over_geometric_mean([0.01, 0.04]) == pytest.approx(2)
    assert np.isnan(max_over_geometric_mean([0.0, 0.1]))
    assert gini([0.2, 0.2, 0.2]) == pytest.approx(0)
    assert gini([0.0, 0.0, 0.3]) == pytest.approx(1)
    assert gini([0.0, 0.0]) == 0
    assert gini([0.1, 0.2, 0.3]) == pytest.approx(1 / 3)
    assert garbe([0.0, 0.3], [0.1, 0.1], 0.25) == pytest.approx(0.25)
    # Both are free of the scale of the rates, and see only how they differ.
    rates = np.random.default_rng(0).uniform(0.01, 0.2, (5, 4))
    np.testing.assert_allclose(gini(3 * rates), gini(rates))
    np.testing.assert_allclose(max_over_geometric_mean(3 * rates), max_over_geometric_mean(rates))
    with pytest.raises(InputError, match="two or more"):
        gini([0.1])


def test_shifts_are_differences_of_means() -> None:
    x, y = audited(two_groups()).groups
    assert x.shift_genuine is not None
    assert y.shift_impostor is not None
    # Genuine: x has 0.8 on average, y 0.6, all 0.7. Strangers: y has 1.7 / 3, all 2.8 / 6.
    assert x.shift_genuine[0] == pytest.approx(0.1)
    assert y.shift_impostor[0] == pytest.approx(1.7 / 3 - 2.8 / 6)


def test_undecided_and_failed_pairs_are_counted_and_enter_no_error_rate() -> None:
    rows = [(float("nan"), "a", "b"), (float("-inf"), "a", "c"), (0.9, "b", "c"), (0.9, "a", "a")]
    (x,) = audited(pairs_of(rows, dict.fromkeys("abc", "x"))).groups
    assert (x.undecided.errors, x.undecided.of, x.failed.errors, x.fmr.errors, x.fmr.of) == (1, 4, 1, 1, 1)


def test_pairs_without_a_group_are_counted() -> None:
    base = two_groups()
    labels = {**dict.fromkeys("abc", "x"), **dict.fromkeys("de", "y")}
    rows = [(0.9, "a", "b"), (0.1, "a", "f"), (0.1, "f", "f"), (0.9, "d", "e")]
    found = audited(pairs_of(rows, labels))
    assert dict(found.left_out) == {"a label is missing": 2, "one person with two labels": 0}
    group_b = base.group_b.copy()
    group_b[base.genuine & (base.people_a == "a")] = "y"
    torn = GroupedPairs(**{**vars(base), "group_b": group_b})
    assert audited(torn).left_out["one person with two labels"] == 1
    assert sum(one.fnmr.of for one in audited(torn).groups) == 5


def test_small_groups_are_named_and_their_rates_withheld() -> None:
    rows: list[Row] = [(0.9, "a", "b"), (0.1, "a", "c"), (0.1, "b", "c"), (0.9, "d", "d"), (0.1, "d", "a")]
    found = audited(pairs_of(rows, {**dict.fromkeys("abc", "x"), "d": "alone"}))
    x, alone = found.groups
    assert alone.withheld == "1 person, fewer than 2"
    assert not x.withheld
    assert "fmr" not in alone.to_dict()
    assert alone.to_dict()["pairs"]["fnmr"] == 1
    # The pair of a reported group with it still counts among the group's pairs with others.
    assert x.fmr_others.of == 1
    assert found.crossed == {}
    assert found.differentials == ()


def test_groups_without_genuine_pairs_have_no_fnmr() -> None:
    (x,) = audited(pairs_of([(0.9, "a", "b"), (0.1, "b", "c")], dict.fromkeys("abc", "x"))).groups
    assert (x.fnmr.rate, x.fnmr.interval, x.shift_genuine, x.det) == (None, None, None, None)
    assert x.fmr.rate == 0.5


def test_error_curves_pass_through_the_rates() -> None:
    y = audited(two_groups()).groups[1]
    assert y.det is not None
    # Only the corners are kept: between 0.7 and 0.2 nothing happens but at 0.2 itself.
    np.testing.assert_allclose(y.det[y.det[:, 0] == 0.7][0, 1:], [1 / 3, 1 / 3])
    np.testing.assert_allclose(y.det[y.det[:, 0] == 0.1][0, 1:], [2 / 3, 0])
    assert (np.diff(y.det[:, 1]) >= 0).all()
    assert (np.diff(y.det[:, 2]) <= 0).all()


def test_places_of_false_matches() -> None:
    rng = np.random.default_rng(1)
    people = [f"{group}{number}" for group in "xy" for number in range(12)]
    rows, shares = [], []
    for place, one in enumerate(people):
        for other in people[place + 1 :]:
            part = rng.normal(0.0, 0.01, 4)
            if one[0] == other[0] == "x" and rng.random() < 0.5:
                # What makes strangers of x match is all in the third place.
                part[2] += 0.8
            rows.append((float(part.sum()), one, other))
            shares.append(part)
    pairs = pairs_of(rows, {name: name[0] for name in people}, np.array(shares, np.float32))
    x, y = audited(pairs, replicates=200).places
    assert x.difference is not None
    assert x.low is not None
    assert x.high is not None
    mean = np.mean([row[0] for row in rows])
    matching = np.mean([row[0] for row in rows if row[0] > 0.5])
    assert x.difference.sum() == pytest.approx(matching - mean, abs=1e-6)
    assert int(np.argmax(x.difference)) == 2
    assert x.low[2] > 0.4
    assert (x.low <= x.difference).all()
    assert (x.high >= x.difference).all()
    assert all(x.low[place] < 0.05 for place in (0, 1, 3))
    # Too few false matches: told, not measured.
    assert (y.false_matches, y.difference) == (0, None)


def test_intervals_cover_at_their_stated_rate() -> None:
    """People differ in how hard they are; 95 % intervals of a group's rates must cover the true rate in about 95 %."""
    rng = np.random.default_rng(5)
    covered = {"fnmr": 0, "fmr": 0, "shift": 0}
    runs, people, each = 80, 24, 6
    for _ in range(runs):
        names = np.array([f"p{number}" for number in range(2 * people)])
        groups = np.repeat(["x", "y"], people)
        hard = rng.beta(2, 14, 2 * people)
        genuine = np.repeat(np.arange(2 * people), each)
        first, second = np.triu_indices(2 * people, 1)
        ease = rng.normal(0, 0.05, 2 * people)
        missed = rng.random(len(genuine)) < hard[genuine]
        alike = ease[first] + ease[second] + rng.normal(0, 0.1, len(first))
        score = np.concatenate([np.where(missed, 0.0, 1.0), 0.3 + alike])
        a, b = np.concatenate([genuine, first]), np.concatenate([genuine, second])
        none = np.zeros(len(score), bool)
        pairs = GroupedPairs(score, a == b, names[a], names[b], groups[a], groups[b], none, none)
        x = audit_groups(pairs, 0.5, smallest=2, replicates=100, seed=0).groups[0]
        assert x.fnmr.interval is not None
        assert x.fmr.interval is not None
        assert x.shift_impostor is not None
        assert x.shift_impostor[1] is not None
        covered["fnmr"] += x.fnmr.interval.low <= 2 / 16 <= x.fnmr.interval.high
        # 0.3 + N(0, 0.05^2 + 0.05^2 + 0.1^2) > 0.5
        true = 0.5 * math.erfc(0.2 / math.sqrt(0.015) / math.sqrt(2))
        covered["fmr"] += x.fmr.interval.low <= true <= x.fmr.interval.high
        covered["shift"] += x.shift_impostor[1].low <= 0 <= x.shift_impostor[1].high
    # 80 runs at 95 %: 76 +- 1.9; product weights may be too wide, never much too narrow.
    assert covered["fnmr"] >= 70, covered
    assert covered["fmr"] >= 70, covered
    assert covered["shift"] >= 70, covered


def test_intervals_that_ignore_people_would_not_cover() -> None:
    """The same person asked again is no new evidence: the interval does not shrink with repeated pairs."""
    rows: list[Row] = [(0.9 if name in "ab" else 0.1, name, name) for name in "abcdefghij"]
    once = audited(pairs_of(rows, dict.fromkeys("abcdefghij", "x"))).groups[0].fnmr.interval
    often = audited(pairs_of(rows * 20, dict.fromkeys("abcdefghij", "x"))).groups[0].fnmr.interval
    assert once is not None
    assert often is not None
    assert often.high - often.low > 0.9 * (once.high - once.low)


def test_failures_to_enrol_are_of_pictures() -> None:
    found = failures_to_enrol(["1", "2", "3"], ["a", "a", "b"], ["x", "x", ""], [True, False, False])
    assert (found["x"].errors, found["x"].of, found[""].errors) == (1, 2, 0)
    with pytest.raises(InputError, match="every picture"):
        failures_to_enrol(["1"], ["a"], ["x", "x"], [True])


def test_bad_input() -> None:
    pairs = two_groups()
    with pytest.raises(InputError, match="two people or more"):
        audit_groups(pairs, 0.5, smallest=1)
    with pytest.raises(InputError, match="labels of both people"):
        audited(pairs_of([(0.5, "a", "b")], {}))
    with pytest.raises(InputError, match="neither a score nor a reason"):
        GroupedPairs(**{**vars(pairs), "score": np.full(len(pairs.score), np.nan)})
    with pytest.raises(InputError, match="one entry each"):
        GroupedPairs(**{**vars(pairs), "score": pairs.score[:-1]})
