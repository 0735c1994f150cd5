"""All results of one set of scores, with scikit-learn as the independent reference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from whyface.evaluate.report import report_document, report_text
from whyface.evaluate.summary import TARGET_FMRS, Summary, summarise

METADATA: dict[str, Any] = {
    "model": {"name": "tiny"},
    "protocol": {"name": "made-up", "genuine_pairs": 1, "impostor_pairs": 1, "people": 1, "folds": 10},
    "settings": {"mirror": True},
}


def made_up(apart: float, count: int = 1000, people: int = 120) -> tuple[NDArray[Any], ...]:
    rng = np.random.default_rng(7)
    genuine = np.arange(count) % 2 == 0
    first = rng.integers(0, people, count)
    second = np.where(genuine, first, (first + rng.integers(1, people, count)) % people)
    names = np.array([f"person {i}" for i in range(people)])
    scores = np.round(rng.normal(apart * genuine, 1.0), 2)
    return scores, genuine, np.arange(count) * 10 // count, names[first], names[second]


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarise(*made_up(2.0), replicates=300)


def test_metrics_agree_with_scikit_learn(summary: Summary) -> None:
    scores, genuine, fold, *_ = made_up(2.0)
    fpr, tpr, thresholds = roc_curve(genuine, scores, drop_intermediate=False)
    assert summary.auc == pytest.approx(roc_auc_score(genuine, scores))
    for rate in summary.at_fmr[:2]:
        allowed = fpr <= rate.target + 1e-12
        assert rate.fnmr == pytest.approx(1 - tpr[allowed].max())
        assert rate.tar == pytest.approx(tpr[allowed].max())
        assert rate.fmr == pytest.approx(fpr[allowed].max())
    line = np.linspace(0, 1, 200_001)
    crossing = line[np.argmax(np.interp(line, fpr, tpr) + line >= 1)]
    assert summary.eer == pytest.approx(crossing, abs=2e-5)
    # scikit-learn accepts at score >= threshold, so its thresholds are the scores themselves.
    for number in range(10):
        rest = fold != number
        best = max(np.mean((scores[rest] >= t) == genuine[rest]) for t in thresholds)
        ours = np.mean((scores[rest] > summary.folds.thresholds[number]) == genuine[rest])
        assert ours == pytest.approx(best)
    assert summary.folds.standard_error == pytest.approx(summary.folds.accuracy.std(ddof=1) / np.sqrt(10))


def test_intervals_hold_the_estimates(summary: Summary) -> None:
    pairs = [
        (summary.folds.mean, summary.accuracy_interval),
        (summary.auc, summary.auc_interval),
        (summary.eer, summary.eer_interval),
        *((rate.fnmr, rate.interval) for rate in summary.at_fmr if rate.supported),
        *((rate.fmr, rate.fmr_fixed) for rate in summary.at_fmr if rate.supported),
    ]
    for value, interval in pairs:
        assert value is not None
        assert interval is not None
        assert interval.low < value < interval.high
    assert summary.band is not None
    assert (summary.band.low <= summary.band.high).all()


def test_what_the_sample_cannot_show_is_said(summary: Summary) -> None:
    assert [rate.supported for rate in summary.at_fmr] == [True, True, False, False]
    assert summary.at_fmr[1].false_matches == 5
    assert "rests on 5 false matches" in summary.at_fmr[1].note
    assert "at least 10000" in summary.at_fmr[3].note
    assert summary.at_fmr[3].fnmr is None
    assert summary.at_fmr[0].note == ""


def test_perfect_scores_keep_honest_intervals() -> None:
    scores, genuine, *rest = made_up(0.0)
    perfect = summarise(genuine + 0.001 * scores, genuine, *rest, replicates=100)
    assert perfect.folds.mean == 1
    assert perfect.eer == 0
    assert perfect.auc_interval is None
    assert perfect.accuracy_interval is not None
    assert perfect.accuracy_interval.low < 1
    assert perfect.eer_interval is not None
    assert perfect.eer_interval.high > 0.005
    interval = perfect.at_fmr[0].interval
    assert interval is not None
    assert interval.high > 0.005


def test_too_few_people_give_no_interval() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.3, 0.6])
    genuine = np.array([True, False] * 3)
    people = np.array(["a", "a", "a", "a", "a", "a"]), np.array(["a", "b", "a", "b", "a", "b"])
    few = summarise(scores, genuine, np.array([0, 0, 1, 1, 2, 2]), *people, replicates=100)
    assert few.auc_interval is None or few.auc_interval.low <= few.auc
    assert report_text(METADATA, {"cosine": few})


def test_report_is_plain_json(summary: Summary) -> None:
    document = report_document(METADATA, {"u": summary, "l": summary})
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    rates = document["results"]["u"]["at_fmr"]
    assert [rate["target_fmr"] for rate in rates] == list(TARGET_FMRS)
    assert rates[1]["tar"] + rates[1]["fnmr"] == pytest.approx(1)


def test_table_has_a_column_for_each_kind(summary: Summary) -> None:
    lines = report_text(METADATA, {"u": summary, "l": summary}).splitlines()
    assert "tiny on made-up" in lines[0]
    assert "mirrored" in lines[0]
    assert "Uniform (U)" in lines[2]
    assert "Learned (L)" in lines[2]
    accuracy = next(line for line in lines if line.startswith("accuracy"))
    assert accuracy.count(f"{100 * summary.folds.mean:.2f}") == 2
    assert next(line for line in lines if line.startswith("FNMR at FMR 1e-4")).count("sample too small") == 2
    assert any("at least 10000" in line for line in lines)
