"""Photos with several faces: every command says how many there are and which it took, and can be told another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.group_photos import BIDEN, OBAMA, SPEECH, group_photo
from whyface import Verifier, find_faces, verify
from whyface.demo import demo_photo
from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.faces.face import Face, describe_choice, describe_choices
from whyface.models.catalogue import FAST_MODEL

Run = Any
FAST = ("--model", FAST_MODEL)
"""A word takes dozens of runs."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str]:
        code, out, err = run_whyface(monkeypatch, capsys, *map(str, arguments))
        assert err == ""
        return code, out

    return call


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Biden, large, and Obama, small."""
    return group_photo(tmp_path_factory.mktemp("group") / "group.png", BIDEN, OBAMA, heights=(800, 300))


@pytest.fixture(scope="module")
def obama() -> Path:
    return demo_photo(f"{SPEECH}.jpg")


def test_which_face(group: Path) -> None:
    faces = find_faces(group)
    assert [face.count for face in faces] == [2, 2]
    assert describe_choice(faces[0]) == f"{group}: 2 faces found, used the largest"
    assert describe_choice(faces[1]) == f"{group}: 2 faces found, used number 1"
    assert describe_choice(Face(faces[0].image)) is None
    assert describe_choices([Face(faces[0].image)]) is None
    assert describe_choices(faces) == f"Several faces, the largest was used: {group} (2), {group} (2)"
    assert (describe_choices(faces * 4) or "").endswith("(2) and 3 more")


def test_verify(run: Run, group: Path, obama: Path) -> None:
    code, out = run("verify", group, obama)
    assert code == 1 and f"{group}: 2 faces found, used the largest" in out
    code, out = run("verify", group, obama, "--face-a", 1)
    assert code == 0 and f"{group}: 2 faces found, used number 1" in out
    found = Explanation.from_json(run("verify", group, obama, "--json")[1])
    assert found.faces is not None
    assert [(face.index, face.count) for face in found.faces] == [(0, 2), (0, 1)]


def test_any_face(run: Run, group: Path, obama: Path, tmp_path: Path) -> None:
    code, out = run("verify", group, obama, "--any-face")
    assert code == 0
    assert "2 pairs of faces were compared; this is the most alike: face 1 of 2 in the first photo" in out
    assert "with 2, a match of strangers is up to 2 times as likely" in out
    # The probability is that of one comparison.
    assert "Probability" not in out
    found = Explanation.from_json(run("verify", group, obama, "--any-face", "--json")[1])
    assert found.probability is None and found.settings["pairs_compared"] == 2
    assert found.faces is not None and found.faces[0].index == 1
    # The pair of one face each is a plain verification.
    alone = run("verify", obama, demo_photo(f"{OBAMA}.jpg"), "--any-face")
    assert alone == run("verify", obama, demo_photo(f"{OBAMA}.jpg"))


def test_any_face_is_the_best_of_all_pairs(group: Path, obama: Path) -> None:
    best = verify(group, obama, any_face=True)
    scores = [verify(group, obama, face_a=index).score for index in (0, 1)]
    assert best.score == pytest.approx(max(scores), abs=1e-6) and best.face_a.index == int(np.argmax(scores))
    assert best.is_match


def test_a_poor_face_is_passed_over_as_long_as_there_are_others(group: Path, obama: Path) -> None:
    verifier = Verifier()
    blank = Face(np.full((112, 112, 3), 90, np.uint8), source="blank", index=1, count=2)
    other = Face(np.full((112, 112, 3), 90, np.uint8), source="blank too")
    good, same = find_faces(group)[1], find_faces(obama)[0]
    found = verifier.best_pair([blank, good], [other, same])
    assert found.is_match and found.face_a.source == str(group)
    assert "4 pairs of faces were compared, 3 of them with a face too poor" in " ".join(found.sentences)
    assert verifier.best_pair([blank], [other, blank]).verdict == "undecided"
    # Blank crops are as alike as can be.
    assert Verifier(accept_poor=True).best_pair([blank, good], [other, same]).face_a.source == "blank"
    with pytest.raises(InputError, match="no face to compare on one side"):
        verifier.best_pair([], [good])


def test_any_face_excludes_a_choice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], group: Path, obama: Path
) -> None:
    for more in (("--face-a", "1"), ("--face-b", "1"), ("--aligned",)):
        assert_refused(
            monkeypatch, capsys, "--any-face compares all faces", "verify", str(group), str(obama), "--any-face", *more
        )
    with pytest.raises(InputError, match="any_face compares all faces"):
        verify(group, obama, any_face=True, face_b=1)


def test_explain(run: Run, group: Path, obama: Path) -> None:
    arguments = ("explain", group, obama, "--method", "xcos", "--face-a", 1)
    assert f"{group}: 2 faces found, used number 1" in run(*arguments)[1]
    (found,) = json.loads(run(*arguments, "--json")[1])["explanations"]
    assert [(face["index"], face["count"]) for face in found["faces"]] == [(1, 2), (0, 1)]


def test_words(run: Run, group: Path, obama: Path, tmp_path: Path) -> None:
    arguments = ("words", group, obama, "--face-a", 1, "--draws", 19, "--attribute", "Smiling", *FAST)
    assert f"{group}: 2 faces found, used number 1" in run(*arguments)[1]
    document = json.loads(run(*arguments, "--json")[1])
    assert [(face["index"], face["count"]) for face in document["whyface"]["faces"]] == [(1, 2), (0, 1)]
    others = tmp_path / "others"
    others.mkdir()
    shutil.copy(group, others / "group.png")
    shutil.copy(demo_photo(f"{BIDEN}.jpg"), others / "b.jpg")
    against = ("words", obama, others, "--draws", 19, "--attribute", "Smiling", *FAST)
    assert f"Several faces, the largest was used: {others / 'group.png'} (2)" in run(*against)[1]
    assert json.loads(run(*against, "--json")[1])["several_faces"] == {str(others / "group.png"): 2}


def test_batch(run: Run, group: Path, obama: Path, tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    rows = [f"{group},{obama},{which}," for which in ("", "0", " 1 ", "5", "x", "-1")]
    table.write_text("\n".join(["a,b,face_a,face_b", *rows]))
    run("batch", table, "--out", tmp_path / "r.parquet")
    found = pq.ParquetFile(tmp_path / "r.parquet").read().to_pylist()
    assert [row["verdict"] for row in found[:3]] == ["no match", "no match", "match"]
    assert [(row["faces_a"], row["faces_b"]) for row in found[:3]] == [(2, 1)] * 3
    assert "there are 2 faces, none with index 5" in found[3]["error"]
    assert all("the number of a face must be 0 (the largest) or more" in row["error"] for row in found[4:])
    assert found[3]["faces_a"] is None


def test_galleries(run: Run, group: Path, obama: Path, tmp_path: Path) -> None:
    people, gallery = tmp_path / "people", tmp_path / "g"
    (people / "Joe").mkdir(parents=True)
    shutil.copy(group, people / "Joe" / "1.png")
    code, out = run("gallery", "enroll", gallery, people)
    assert code == 0 and "Joe/1.png: 2 faces found, used the largest" in out
    report = json.loads(run("gallery", "enroll", gallery, people, "--json")[1])
    assert report["several_faces"] == {"Joe/1.png": 2}
    code, out = run("gallery", "add", gallery, "Barack", group, "--face", 1)
    assert code == 0 and f"{group}: 2 faces found, used number 1" in out
    code, out = run("gallery", "search", gallery, obama)
    assert "faces found" not in out and out.split()[1] == "Barack"
    code, out = run("gallery", "search", gallery, group, "--face", 1)
    assert f"{group}: 2 faces found, used number 1" in out and "1. Barack" in out
    document = json.loads(run("gallery", "search", gallery, group, "--json")[1])
    assert document["face"] == {"index": 0, "count": 2} and document["photo"] == str(group)


def test_the_same_pixels_are_pointed_out(run: Run, obama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    with Image.open(obama) as picture:
        picture.convert("RGB").save(copy)
    said = "Both faces have the very same pixels: this is one picture compared with itself"
    code, out = run("verify", obama, copy)
    assert code == 0 and said in out
    assert said in " ".join(Explanation.from_json(run("verify", obama, copy, "--json")[1]).sentences)
    assert said not in run("verify", obama, demo_photo(f"{OBAMA}.jpg"))[1]
    assert said in run("explain", obama, copy, "--method", "xcos")[1]
    assert said in run("words", obama, copy, "--draws", 19, "--attribute", "Smiling", *FAST)[1]
    table = tmp_path / "pairs.csv"
    table.write_text(f"a,b\n{obama},{copy}\n{obama},{demo_photo(f'{OBAMA}.jpg')}\n")
    run("batch", table, "--out", tmp_path / "r.parquet")
    found = pq.ParquetFile(tmp_path / "r.parquet").read().to_pylist()
    assert [row["same_picture"] for row in found] == [True, False]
