"""``whyface evaluate`` on one's own data: given thresholds, tables of pairs, plans, and what verify then says."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, in_process, run_whyface
from helpers.tiny_networks import write_face_network
from whyface.demo import demo_photo
from whyface.evaluate.report import read_scores
from whyface.explain.explanation import Explanation
from whyface.models.preprocessing import ARCFACE
from whyface.record_check import check_record, status_of

pytest.importorskip("pyarrow", reason="needs pyarrow (the extra evaluate)")
PEOPLE = 15
"""So many people make 105 impostor pairs, enough for an FMR of 1e-2."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, two pictures of each person, and a table of pairs with people and groups."""
    root = tmp_path_factory.mktemp("own")
    write_face_network(root / "net.onnx", preprocessing=ARCFACE)
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        base = rng.integers(40, 200, (7, 7, 3)).repeat(16, 0).repeat(16, 1)
        for number in (1, 2):
            noisy = np.clip(base + rng.normal(0, 20, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / f"p{person:02d}-{number}.png")
    lines = ["a,b,genuine,person_a,person_b,sex_a,sex_b"]
    kinds = [(person, person, "1") for person in range(PEOPLE)]
    kinds += [(one, other, "0") for one, other in itertools.combinations(range(PEOPLE), 2)]
    for one, other, same in kinds:
        second = 2 if same == "1" else 1
        cells = (f"p{one:02d}-1.png", f"p{other:02d}-{second}.png", same, f"p{one}", f"p{other}")
        lines.append(",".join((*cells, "fm"[one % 2], "fm"[other % 2])))
    (root / "pairs.csv").write_text("\n".join(lines), encoding="utf-8")
    return root


def measure(root: Path, *more: str) -> list[str]:
    options = ["evaluate", "--protocol", f"pairs:{root / 'pairs.csv'}", "--data", str(root), "--replicates", "100"]
    return [*options, "--folds", "5", "--model", str(root / "net.onnx"), "--pixels", "arcface", *more]


def test_rates_at_a_given_threshold_and_groups_that_an_audit_reads(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    ended = in_process(monkeypatch, capsys, *measure(root, "--threshold", "0.5", "--out", str(out)))
    assert ended.returncode == 0, ended.stderr
    assert "above 0.5000 (set by the user): FMR" in ended.stdout
    assert "FMR: 105 pairs without an error would show a rate below 2.9 % (rule of 3)" in ended.stdout
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    columns, _ = read_scores(out / "scores.parquet")
    (at,) = report["results"]["cosine"]["at_threshold"]
    false = (columns["score_cosine"] > 0.5) & ~columns["genuine"].astype(bool)
    assert (at["false_matches"], at["impostor_pairs"], at["threshold"]) == (int(false.sum()), 105, 0.5)
    assert at["fmr_interval"][0] <= at["fmr"] <= at["fmr_interval"][1]
    assert report["sample"]["fmr"]["rule_of_30"] == pytest.approx(30 / 105)
    assert set(columns["sex_a"].tolist()) == {"f", "m"}
    audit = ["audit", str(out / "scores.parquet"), "--by", "sex", "--threshold", "0.5", "--smallest", "5"]
    ended = in_process(monkeypatch, capsys, *audit, "--replicates", "100", "--json")
    groups = json.loads(ended.stdout)["audits"][0]["groups"]
    assert {group["group"]: (group["people"], group["fmr"]["of"]) for group in groups} == {"f": (8, 28), "m": (7, 21)}


def test_verify_keeps_where_a_threshold_was_measured(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    assert in_process(monkeypatch, capsys, *measure(root, "--out", str(out))).returncode == 0
    report = out / "report.json"
    photos = [str(demo_photo(f"{name}.jpg")) for name in ("obama-portrait", "obama-speech")]
    own = ["--model", str(root / "net.onnx"), "--pixels", "arcface"]
    verify = ["verify", *photos, *own, "--threshold-from", str(report), "--fmr", "1e-2"]
    code, text, _ = run_whyface(monkeypatch, capsys, *verify)
    assert code in (0, 1)
    assert "(FMR 1e-2 on pairs, 120 pairs)" in text
    _, text, _ = run_whyface(monkeypatch, capsys, *verify, "--json")
    made = json.loads(text)
    rate = next(
        one for one in json.loads(report.read_text())["results"]["cosine"]["at_fmr"] if one["target_fmr"] == 1e-2
    )
    assert made["threshold"] == rate["threshold"]
    source = made["threshold_source"]
    assert (source["kind"], source["fmr"], source["fnmr"]) == ("operating point", rate["fmr"], rate["fnmr"])
    assert (source["genuine_pairs"], source["impostor_pairs"]) == (15, 105)
    # The record knows it, too: everything computed again is the same.
    findings = check_record(Explanation.from_dict(made))
    assert status_of(findings) == 0, findings
    # What does not fit is refused.
    assert_refused(monkeypatch, capsys, "has no threshold for FMR 0.001; measured:", *verify[:-2])
    assert_refused(monkeypatch, capsys, "not both", *verify, "--threshold", "0.5")
    assert_refused(monkeypatch, capsys, "not a report that whyface evaluate wrote", *verify, "--attention", "l")
    other = tmp_path / "other.json"
    document = json.loads(report.read_text(encoding="utf-8"))
    other.write_text(json.dumps({**document, "model": {**document["model"], "sha256": {"onnx": "0" * 64}}}))
    verify[verify.index(str(report))] = str(other)
    assert_refused(monkeypatch, capsys, "is about another network", *verify)
    other.write_text(json.dumps({**document, "settings": {**document["settings"], "mirror": True}}))
    assert_refused(monkeypatch, capsys, "as verify does not score", *verify)
    other.write_text("[]")
    assert_refused(monkeypatch, capsys, "not a report", *verify)


def test_plans(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended = in_process(monkeypatch, capsys, "evaluate", "--plan", "fmr=1e-4")
    assert ended.returncode == 0, ended.stderr
    assert "300,000" in ended.stdout
    ended = in_process(monkeypatch, capsys, "evaluate", "--plan", "fnmr=0.01", "--json")
    assert json.loads(ended.stdout)["rule_of_30"] == 3000
    assert_refused(monkeypatch, capsys, "such as fmr=1e-4", "evaluate", "--plan", "many")
    assert_refused(monkeypatch, capsys, "say what to measure on", "evaluate")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("p00-1.png,p00-2.png,1,p0,p0", "p00-1.png,p00-2.png,1,p0,p1", "row 1"),
        ("p00-1.png,p00-2.png,1,p0,p0", "p00-1.png,p00-2.png,0,p0,p0", "row 1: genuine contradicts the people"),
        ("p00-1.png,p00-2.png,1,p0,p0", "p00-1.png,p00-1.png,1,p0,p0", "needs two different pictures"),
        ("p00-1.png,p00-2.png,1,p0,p0", "p00-1.png,p00-2.png,1,,", "needs one person"),
        ("p00-1.png,p00-2.png,1,p0", "p00-1.png,p00-2.png,perhaps,p0", "genuine must be 1 or 0"),
        ("a,b,genuine", "a,c,genuine", "has no column 'b'"),
        ("a,b,genuine", "a,a,genuine", "two columns are called 'a'"),
        ("p00-1.png,p00-2.png,1,p0,p0", "p00-1.png", "cells for 7 columns"),
    ],
)
def test_bad_tables_of_pairs(
    old: str,
    new: str,
    said: str,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (root / "pairs.csv").read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "bad.csv"
    bad.write_text(text.replace(old, new, 1), encoding="utf-8")
    arguments = [f"pairs:{bad}" if one.startswith("pairs:") else one for one in measure(root)]
    assert_refused(monkeypatch, capsys, said, *arguments)


def test_the_models_own_threshold_is_measured(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [one if one != str(root / "net.onnx") else "xcos-mobilefacenet" for one in measure(root)]
    arguments = [one for one in arguments if one not in ("--pixels", "arcface")]
    ended = in_process(monkeypatch, capsys, *arguments, "--attention", "l", "--json")
    (at,) = json.loads(ended.stdout)["results"]["l"]["at_threshold"]
    assert at["origin"].startswith("FMR 1e-3 on LFW, all pairs")
    ended = in_process(monkeypatch, capsys, *arguments, "--attention", "l", "--fmr", "1e-5", "--json")
    assert json.loads(ended.stdout)["results"]["l"]["at_threshold"][0]["threshold"] > at["threshold"]
    assert_refused(monkeypatch, capsys, "no thresholds are on record", *measure(root, "--fmr", "1e-3"))
