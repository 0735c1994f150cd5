"""What a sample can show: rules of 3 and 30, plans, and rates at a given threshold."""

from __future__ import annotations

import numpy as np
import pytest

from whyface.errors import InputError
from whyface.evaluate.intervals import people_wilson, wilson
from whyface.evaluate.sample import describe_limits, describe_plan, plan, rates_at, sample_limits


def test_rules_of_3_and_30() -> None:
    limits = sample_limits(genuine_pairs=300, impostor_pairs=3000)
    assert limits["fmr"] == {"pairs": 3000, "rule_of_3": 0.001, "rule_of_30": 0.01}
    assert limits["fnmr"] == {"pairs": 300, "rule_of_3": 0.01, "rule_of_30": 0.1}
    assert sample_limits(0, 2)["fnmr"]["rule_of_3"] is None
    assert sample_limits(0, 2)["fmr"]["rule_of_30"] == 1
    assert describe_limits(limits)[0].startswith("FMR: 3000 pairs without an error would show a rate below 0.1 %")
    assert len(describe_limits(sample_limits(0, 2))) == 1
    assert "rates below 100 % are known" in describe_limits(sample_limits(0, 2))[0]


def test_plans_hold_what_they_promise() -> None:
    found = plan("fmr=1e-4")
    # (1 - p)^n <= 0.05 for the first time.
    assert (1 - 1e-4) ** found["rule_of_3"] <= 0.05 < (1 - 1e-4) ** (found["rule_of_3"] - 1)
    assert found["rule_of_30"] == 300_000
    people = found["people_all_pairs"]
    assert people * (people - 1) / 2 >= 300_000 > (people - 1) * (people - 2) / 2
    assert found["people_in_pairs_of_their_own"] == 600_000
    for width, pairs in found["pairs_for_half_width"].items():
        limit = 1e-4 * (1 + float(width))
        assert wilson(1e-4 * pairs, pairs).high <= limit < wilson(1e-4 * (pairs - 1), pairs - 1).high
    said = describe_plan(found)
    assert "300,000" in said
    # The numbers stand in one column.
    assert len({len(line) for line in said.splitlines()[1:-1]}) == 1
    assert "people_all_pairs" not in plan("FNMR = 0.02")
    assert "count people" in describe_plan(plan("fnmr=0.02"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fmr",
        "fmr=",
        "fmr=0",
        "fmr=1",
        "fmr=2",
        "fmr=nan",
        "fmr=1e-300",
        "fmr=1e-320",
        "eer=0.1",
        "0.1",
        "fmr=1e-4x",
    ],
)
def test_plans_for_nothing_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as fmr=1e-4"):
        plan(text)


def test_rates_at_a_threshold_by_hand() -> None:
    scores, genuine = np.array([0.9, 0.5, 0.2, 0.6, 0.5, 0.1]), np.array([1, 1, 1, 0, 0, 0])
    a, b = list("abcabc"), list("abcbca")
    found = rates_at(scores, genuine, a, b, 0.5, "set by the user")
    # A score equal to the threshold does not match.
    assert (found.false_matches, found.impostor_pairs, found.missed, found.genuine_pairs) == (1, 3, 2, 3)
    assert found.fmr_interval == people_wilson([True, False, False], list("abc"), list("bca"))
    assert found.to_dict()["fnmr"] == pytest.approx(2 / 3)
    assert "1 of 3" in found.describe()
    with pytest.raises(InputError, match="must be a number"):
        rates_at(scores, genuine, a, b, float("nan"), "")
