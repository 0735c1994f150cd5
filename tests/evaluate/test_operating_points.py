from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from whyface.errors import InputError, ModelError
from whyface.evaluate.intervals import wilson
from whyface.evaluate.summary import operating_points
from whyface.models.operating_point import OperatingPoint

# 100 genuine pairs at 1.005 .. 1.995 and 1000 impostor pairs at 0.0005 .. 0.9995, then two errors of each kind.
GENUINE = np.arange(1100) < 100
SCORES = np.where(GENUINE, 1.005 + np.arange(1100) / 100, (np.arange(1100) - 99.5) / 1000)
SCORES[:2] = (0.2, 0.4)
SCORES[-2:] = (1.5, 1.25)
PEOPLE_A = np.arange(1100)
PEOPLE_B = np.where(GENUINE, PEOPLE_A, PEOPLE_A + 2000)


def test_three_points() -> None:
    points = operating_points(SCORES, GENUINE, PEOPLE_A, PEOPLE_B, dataset="made up")
    assert [point.name for point in points] == ["EER", "FMR 1e-2", "FMR 1e-3"]
    by_name = {point.name: point for point in points}
    assert by_name["FMR 1e-2"].fmr == pytest.approx(0.01)
    assert by_name["FMR 1e-2"].fnmr == pytest.approx(0.02)
    strict = by_name["FMR 1e-3"]
    assert strict.fmr == pytest.approx(0.001)
    assert strict.threshold == 1.25
    assert strict.fnmr == pytest.approx((np.sum(SCORES[GENUINE] <= 1.25)) / 100)
    # Nobody occurs twice, so the pairs are independent.
    assert strict.fmr_interval == pytest.approx(wilson(1, 1000))
    for point in points:
        assert point.dataset == "made up"
        assert (point.genuine_pairs, point.impostor_pairs) == (100, 1000)
        assert point.note == ""


def test_no_error_does_not_mean_no_doubt() -> None:
    scores = np.where(GENUINE, 1.0, 0.0)
    point = operating_points(scores, GENUINE, PEOPLE_A, PEOPLE_B, dataset="d")[0]
    assert (point.fmr, point.fnmr) == (0.0, 0.0)
    assert point.fmr_interval == wilson(0, 1000)
    assert point.fnmr_interval == wilson(0, 100)


def test_small_samples_say_so() -> None:
    few = np.r_[0:100, 100:300]
    points = operating_points(SCORES[few], GENUINE[few], PEOPLE_A[few], PEOPLE_B[few], dataset="d")
    assert points[1].note == ""
    assert "200 impostor pairs cannot show an FMR of 0.001" in points[2].note
    assert points[2].threshold == SCORES[few][~GENUINE[few]].max()
    assert points[2].fmr == 0.0


def test_there_and_back_through_json() -> None:
    for point in operating_points(SCORES, GENUINE, PEOPLE_A, PEOPLE_B, dataset="d"):
        assert OperatingPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", "high"),
        ("threshold", float("nan")),
        ("fmr", 1.5),
        ("fnmr", None),
        ("fmr_interval", [0.1]),
        ("fmr_interval", [0.3, 0.1]),
        ("fnmr_interval", 3),
        ("genuine_pairs", -1),
        ("impostor_pairs", True),
        ("dataset", 5),
    ],
)
def test_bad_values_are_refused(key: str, value: Any) -> None:
    data = operating_points(SCORES, GENUINE, PEOPLE_A, PEOPLE_B, dataset="d")[0].to_dict()
    with pytest.raises(ModelError, match="operating point"):
        OperatingPoint.from_dict({**data, key: value})
    del data[key]
    if key in {"threshold", "fmr", "fnmr", "dataset"}:
        with pytest.raises(ModelError, match=f"operating point misses {key}"):
            OperatingPoint.from_dict(data)
    else:
        assert OperatingPoint.from_dict(data).threshold == data["threshold"]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="both people of all 1100 pairs"):
        operating_points(SCORES, GENUINE, PEOPLE_A[:5], PEOPLE_B, dataset="d")
