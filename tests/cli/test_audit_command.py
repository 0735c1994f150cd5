"""``whyface audit``: error rates by group, from tables and from photos."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import assert_refused, in_process
from whyface.demo import demo_photo
from whyface.models.catalogue import FAST_MODEL
from whyface.page.audit_report import audit_html

pytest.importorskip("pyarrow", reason="needs pyarrow (the extra evaluate)")
from pyarrow import parquet

PEOPLE = {"ann": "red", "ben": "red", "cas": "red", "dan": "blue", "eva": "blue", "fay": "blue"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def scored_rows() -> list[dict[str, Any]]:
    """Genuine pairs at 0.8, strangers at 0.1; two red strangers match, and one genuine pair of blue misses."""
    names = list(PEOPLE)
    rows = [{"a": f"{name}/1.jpg", "b": f"{name}/2.jpg", "genuine": 1, "score": 0.8} for name in names]
    rows[-1]["score"] = 0.3
    rows += [
        {"a": f"{one}/1.jpg", "b": f"{other}/1.jpg", "genuine": 0, "score": 0.1}
        for place, one in enumerate(names)
        for other in names[place + 1 :]
    ]
    rows[len(names)]["score"] = 0.9
    return rows


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "scores.csv", scored_rows())


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    rows = [{"picture": f"{name}/{n}.jpg", "colour": colour} for name, colour in PEOPLE.items() for n in (1, 2)]
    for row in rows:
        row["age"] = "old" if row["picture"][0] in "abf" else "young"
    return write(tmp_path / "groups.csv", rows)


def test_everything_from_a_table(
    table: Path,
    groups: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "report"
    arguments = ["audit", str(table), "--groups", str(groups), "--by", "colour", "--by", "colour, age"]
    arguments += ["--threshold", "0.5", "--smallest", "2", "--replicates", "100", "--out", str(out)]
    ended = in_process(monkeypatch, capsys, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "The people are the pictures' folders" in ended.stdout
    assert "No claim of compliance" in ended.stdout
    document = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    colour, crossing = document["audits"]
    rates = {group["group"]: group for group in colour["groups"]}
    assert (rates["red"]["fmr"]["errors"], rates["red"]["fmr"]["of"]) == (1, 3)
    assert (rates["blue"]["fnmr"]["errors"], rates["blue"]["fnmr"]["of"]) == (1, 3)
    assert colour["crossed"][0]["of"] == 9
    assert {group["group"]: group["people"] for group in crossing["groups"]} == {
        "red, old": 2,
        "blue, young": 2,
        "red, young": 1,
        "blue, old": 1,
    }
    assert [group["group"] for group in crossing["groups"] if group["withheld"]] == ["blue, old", "red, young"]
    rows = parquet.read_table(out / "audit.parquet").to_pylist()
    (red,) = (
        row for row in rows if (row["by"], row["measure"], row["group"], row["other"]) == ("colour", "fmr", "red", None)
    )
    assert (red["errors"], red["of"], red["value"]) == (1, 3, pytest.approx(1 / 3))
    assert any(row["measure"] == "GARBE" for row in rows)
    # The same command gives the same report, to the byte.
    page = (out / "audit.html").read_bytes()
    again = in_process(monkeypatch, capsys, *arguments)
    assert again.returncode == 0
    assert (out / "audit.html").read_bytes() == page


def test_the_report_needs_nothing_and_escapes_names(
    table: Path, groups: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = groups.read_text(encoding="utf-8").replace("red", "<script>alert(1)</script>")
    groups.write_text(text, encoding="utf-8")
    arguments = [
        "audit",
        str(table),
        "--groups",
        str(groups),
        "--by",
        "colour",
        "--threshold",
        "0.5",
        "--smallest",
        "2",
    ]
    ended = in_process(monkeypatch, capsys, *arguments, "--replicates", "100", "--json")
    page = audit_html(json.loads(ended.stdout))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=", page)
    assert "style=" not in page.replace("<style>", "")
    assert "default-src 'none'" in page
    assert "no compliance with any law" in page
    # Two red strangers score above all genuine pairs; blue has no curve, which the page says.
    assert page.count("<path ") == 1
    assert "A threshold separates all pairs of blue: no curve." in page


def test_labels_beside_the_pairs_and_people_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns as ``whyface evaluate`` names them, with labels in the table of pairs itself."""
    rows = []
    for row in scored_rows():
        one, other = row["a"].split("/")[0], row["b"].split("/")[0]
        people = {"person_left": one, "person_right": other, "colour_a": PEOPLE[one], "colour_b": PEOPLE[other]}
        rows.append({"left": row["a"], "right": row["b"], **people, "score_l": row["score"], "score_u": 0.0})
    table = write(tmp_path / "pairs.csv", rows)
    arguments = ["audit", str(table), "--by", "colour", "--threshold", "0.5", "--smallest", "3", "--replicates", "100"]
    assert_refused(monkeypatch, capsys, "several columns of scores (score_l, score_u)", *arguments)
    ended = in_process(monkeypatch, capsys, *arguments, "--score", "score_l", "--json")
    (audit,) = json.loads(ended.stdout)["audits"]
    assert {group["group"]: group["fmr"]["errors"] for group in audit["groups"]} == {"red": 1, "blue": 0}
    assert audit["failure_to_enrol"] is None


def test_photos_are_compared_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [demo_photo(name) for name in ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")]
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    names = [str(photo) for photo in photos] + ["broken.jpg"]
    people = ["o", "o", "b", "b"]
    rows = [
        {
            "a": names[i],
            "b": names[j],
            "person_a": people[i],
            "person_b": people[j],
            "office_a": "yes",
            "office_b": "yes",
        }
        for i in range(4)
        for j in range(i + 1, 4)
    ]
    pairs, out = write(tmp_path / "photos.csv", rows), tmp_path / "out"
    arguments = ["audit", str(pairs), "--by", "office", "--model", FAST_MODEL, "--smallest", "2", "--replicates", "100"]
    assert_refused(monkeypatch, capsys, "give --out for the scores", *arguments)
    ended = in_process(monkeypatch, capsys, *arguments, "--out", str(out))
    assert ended.returncode == 0, ended.stderr
    assert "undecided pairs: 0; pairs with a photo that cannot be used: 3" in ended.stdout
    document = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    (audit,) = document["audits"]
    (group,) = audit["groups"]
    assert (group["fmr"]["errors"], group["fmr"]["of"], group["fnmr"]["errors"], group["fnmr"]["of"]) == (0, 2, 0, 1)
    assert (group["failed"]["errors"], group["failed"]["of"]) == (3, 6)
    assert (audit["failure_to_enrol"]["yes"]["errors"], audit["failure_to_enrol"]["yes"]["of"]) == (1, 4)
    assert audit["places"] == [
        {"group": "yes", "false_matches": 0, "impostors": 2, "difference": None, "low": None, "high": None}
    ]
    # The scores are a table of pairs: they are audited again without the photos, and never overwritten.
    assert_refused(monkeypatch, capsys, "exists already, with the scores", *arguments, "--out", str(out))
    again = in_process(monkeypatch, capsys, "audit", str(out / "pairs.parquet"), *arguments[2:], "--json")
    assert json.loads(again.stdout)["audits"] == document["audits"]


def test_bad_input_is_told(
    table: Path, groups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["audit", str(table), "--by", "colour", "--threshold", "0.5"]
    assert_refused(monkeypatch, capsys, "there are no groups by 'colour'", *base)
    assert_refused(monkeypatch, capsys, "says no threshold", *base[:4], "--groups", str(groups))
    assert_refused(monkeypatch, capsys, "no groups by 'size'", *base, "--groups", str(groups), "--by", "size")
    other = write(tmp_path / "other.csv", [{"picture": "zoe/1.jpg", "colour": "red"}])
    assert_refused(monkeypatch, capsys, "no picture of it is in", *base, "--groups", str(other))
    bare = write(tmp_path / "bare.csv", [{"colour": "red"}])
    assert_refused(monkeypatch, capsys, "needs a column 'picture' or 'person'", *base, "--groups", str(bare))
    torn = write(tmp_path / "torn.csv", [{"picture": "ann/1.jpg", "colour": one} for one in ("red", "blue")])
    assert_refused(monkeypatch, capsys, "is both 'red' and 'blue'", *base, "--groups", str(torn))
    assert_refused(monkeypatch, capsys, "cannot be read (No such", "audit", str(tmp_path / "none.csv"), "--by", "x")
    rows = scored_rows()
    for cell, said in (("high", "score must be a number"), ("inf", "score must be a number")):
        rows[0]["score"] = cell
        assert_refused(monkeypatch, capsys, said, "audit", str(write(tmp_path / "bad.csv", rows)), *base[2:])
    rows = scored_rows()
    rows[0]["genuine"] = "maybe"
    assert_refused(
        monkeypatch, capsys, "genuine must be 1 or 0", "audit", str(write(tmp_path / "c.csv", rows)), *base[2:]
    )
    rows = [{**row, "person_a": row["a"][:3], "person_b": row["b"][:3]} for row in scored_rows()]
    rows[0]["genuine"] = 0
    assert_refused(monkeypatch, capsys, "is marked impostor", "audit", str(write(tmp_path / "d.csv", rows)), *base[2:])
    (tmp_path / "e.parquet").write_bytes(b"PAR1 but not really")
    assert_refused(monkeypatch, capsys, "not a Parquet table", "audit", str(tmp_path / "e.parquet"), *base[2:])


def test_wrong_labels_are_told_before_photos_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"a": "one.jpg", "b": "two.jpg", "genuine": 1, "person_a": "ann", "person_b": "ann"}]
    pairs, out = write(tmp_path / "photos.csv", rows), tmp_path / "out"
    none = write(tmp_path / "none.csv", [{"picture": "x.jpg", "colour": "red"}])
    for message, options in (
        ("there are no groups by 'gender'", ("--by", "gender")),
        ("no picture of it is in", ("--by", "colour", "--groups", str(none))),
        ("cannot be read", ("--by", "colour", "--groups", str(tmp_path / "nope.csv"))),
    ):
        assert_refused(monkeypatch, capsys, message, "audit", str(pairs), "--out", str(out), *options)
        assert not out.exists()


def test_what_does_not_fit_is_counted(
    table: Path, groups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = groups.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("fay")]
    groups.write_text("\n".join([*kept, "zoe/1.jpg,red,old"]), encoding="utf-8")
    rows = [row for row in scored_rows() if not row["genuine"]]
    rows[3]["score"] = ""
    table = write(
        tmp_path / "strangers.csv", [{**row, "person_a": row["a"][:3], "person_b": row["b"][:3]} for row in rows]
    )
    arguments = ["audit", str(table), "--groups", str(groups), "--by", "colour", "--threshold", "0.5"]
    ended = in_process(monkeypatch, capsys, *arguments, "--smallest", "3", "--replicates", "100")
    assert ended.returncode == 0, ended.stderr
    assert "6 pictures of the groups are in no pair (ann/2.jpg, ben/2.jpg, cas/2.jpg, ...)." in ended.stdout
    assert "1 pictures of the pairs have no groups (fay/1.jpg)." in ended.stdout
    assert "1 pairs have no score and no reason; they count as failed." in ended.stdout
    assert "There are no genuine pairs" in ended.stdout
    assert "not reported: 2 people, fewer than 3" in ended.stdout
    assert "5 pairs are in no group: a label is missing" in ended.stdout


def test_the_example_in_the_documentation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The London set's scores come with the documentation, and the page says what comes out."""
    docs = Path(__file__).parents[2] / "docs" / "studies"
    arguments = ["--by", "ethnicity", "--score", "score_xcos-large", "--model", "xcos-large", "--fmr", "1e-3"]
    more = ["--smallest", "9", "--replicates", "100"]
    ended = in_process(monkeypatch, capsys, "audit", str(docs / "london-scores.parquet"), *arguments, *more)
    assert ended.returncode == 0, ended.stderr
    page = (docs / "groups.md").read_text(encoding="utf-8")
    for group, shown in (("white", "0.341 (0.176 to 0.66)"), ("black", "5.13 (1.61 to 15.2)")):
        (line,) = (line for line in ended.stdout.splitlines() if line.startswith(f"{group} "))
        assert shown in line
        assert any(row.startswith(f"| {group} |") and shown in row for row in page.splitlines())
    assert "not reported: 1 person, fewer than 9" in ended.stdout


@pytest.mark.parametrize("threshold", ["nan", "inf"])
def test_a_threshold_that_is_no_number(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    table: Path,
    groups: Path,
    tmp_path: Path,
    threshold: str,
) -> None:
    out = tmp_path / "report"
    options = ("--groups", str(groups), "--by", "colour", "--threshold", threshold, "--out", str(out))
    assert_refused(monkeypatch, capsys, "a threshold must be a number", "audit", str(table), *options)
    assert not out.exists()
