"""detect, analyse, represent and find: what is in photos, without a gallery."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from whyface.demo import demo_photo
from whyface.faces.load import load_face
from whyface.folder_search import find_in_folder
from whyface.verification import Verifier
from whyface.words.analysis import WARNING

MODEL = "xcos-mobilefacenet"
SAME, OTHER, STRANGER = (demo_photo(f"{name}.jpg") for name in ("obama-portrait", "obama-speech", "biden-portrait"))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two people, a photo of nobody, a dull face and a text."""
    folder = tmp_path / "album" / "2026"
    folder.mkdir(parents=True)
    for photo in (OTHER, STRANGER):
        shutil.copy(photo, folder)
    Image.new("RGB", (64, 64)).save(folder / "nobody.png")
    (folder / "notes.txt").write_text("x")
    return folder.parent


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    return run_whyface(monkeypatch, capsys, *map(str, arguments))


def test_faces_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], album: Path) -> None:
    status, output, errors = run(monkeypatch, capsys, "detect", album, "--threads", 1)
    found = json.loads(output)
    assert status == 1
    assert [Path(face["source"]).name for face in found["faces"]] == ["biden-portrait.jpg", "obama-speech.jpg"]
    assert list(found["failures"]) == [str(album / "2026/nobody.png")]
    assert "no face found" in errors
    assert "1 ending in .txt" in errors
    face = load_face(STRANGER)
    assert found["faces"][0]["box"] == list(face.box or ())
    assert found["faces"][0]["doubt"] is None


def test_attributes_come_with_a_warning_and_without_what_nobody_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, output, errors = run(monkeypatch, capsys, "analyse", STRANGER, "--threads", 1)
    assert status == 0
    found = json.loads(output)
    assert found["warning"] == WARNING
    assert WARNING in errors
    (face,) = found["faces"]
    groups = {entry["group"] for entry in face["attributes"]}
    assert not groups & {"gender", "race", "age", "judgement"}
    chances = [entry["probability"] for entry in face["attributes"]]
    assert chances == sorted(chances, reverse=True)
    assert all(0 <= chance <= 1 for chance in chances)
    assert all(entry["auc"] >= 0.75 for entry in face["attributes"])
    target = tmp_path / "faces.json"
    run(monkeypatch, capsys, "analyse", STRANGER, "--sensitive", "--out", target, "--threads", 1)
    asked = {entry["group"] for entry in json.loads(target.read_text())["faces"][0]["attributes"]}
    assert "gender" in asked


def test_a_poor_face_has_no_attributes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.new("RGB", (112, 112), (90, 90, 90)).save(tmp_path / "dull.png")
    _, output, _ = run(monkeypatch, capsys, "analyse", tmp_path / "dull.png", "--aligned", "--threads", 1)
    (face,) = json.loads(output)["faces"]
    assert face["doubt"]
    assert face["attributes"] == []


def test_vectors_have_their_products_and_their_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra evaluate")
    target = tmp_path / "v.npy"
    common = (SAME, OTHER, "--model", MODEL, "--threads", 1)
    assert run(monkeypatch, capsys, "represent", *common, "--out", target)[0] == 0
    vectors = np.load(target, allow_pickle=False)
    described = json.loads(target.with_name("v.npy.json").read_text())
    assert vectors.shape == (2, 1568)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert [face["source"] for face in described["faces"]] == [str(SAME), str(OTHER)]
    uniform = Verifier(MODEL, attention="u", threads=1)(SAME, OTHER)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(uniform.score, abs=1e-5)
    assert run(monkeypatch, capsys, "represent", *common, "--out", tmp_path / "v.parquet")[0] == 0
    table = parquet.read_table(tmp_path / "v.parquet")
    np.testing.assert_array_equal(np.stack(table["vector"].to_numpy()), vectors)
    assert table["source"].to_pylist() == [str(SAME), str(OTHER)]
    about = parquet.read_metadata(tmp_path / "v.parquet").metadata[b"whyface"]
    assert json.loads(about)["model"]["name"] == MODEL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npy", "v.npy.json", "v.parquet"]


def test_vectors_of_nothing_leave_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    for ending in ("npy", "parquet"):
        target = tmp_path / f"v.{ending}"
        assert_refused(monkeypatch, capsys, "there are no faces", "represent", str(tmp_path), "--out", str(target))
    assert_refused(monkeypatch, capsys, ".npy or .parquet", "represent", str(SAME), "--out", str(tmp_path / "v.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_the_person_is_found_with_reasons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], album: Path
) -> None:
    status, output, _ = run(monkeypatch, capsys, "find", SAME, album, "--model", MODEL, "--threads", 1)
    assert status == 0
    lines = output.splitlines()
    assert lines[0].startswith(f"{album / '2026/obama-speech.jpg'}: MATCH")
    assert "thanks above all to" in lines[1]
    assert "2 faces of 3 photos were compared" in output
    assert "Left out: " in output
    status, output, _ = run(monkeypatch, capsys, "find", SAME, album, "--model", MODEL, "--threads", 1, "--json")
    found = json.loads(output)
    assert [one["verdict"] for one in found["found"]] == ["match", "no match"]
    direct = Verifier(MODEL, threads=1)(SAME, OTHER)
    assert found["found"][0]["score"] == pytest.approx(direct.score, abs=1e-6)


def test_nobody_is_found_where_there_is_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], album: Path
) -> None:
    (album / "2026/obama-speech.jpg").unlink()
    status, output, _ = run(monkeypatch, capsys, "find", SAME, album, "--model", MODEL, "--threads", 1)
    assert status == 1
    assert output.startswith("NOBODY: the nearest is")


def test_only_the_best_are_kept_and_the_photo_itself_is_passed_over(album: Path) -> None:
    verifier = Verifier(MODEL, threads=1)
    probe = load_face(album / "2026/obama-speech.jpg")
    shutil.copy(SAME, album / "again.jpg")
    result = find_in_folder(verifier, probe, album, top=1)
    (best,) = result.found
    assert result.compared == 2
    assert Path(best.face_b.source).name == "again.jpg"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detect", "/nowhere.jpg"], "no such file"),
        (["represent", "/nowhere.jpg", "--out", "/nowhere/v.npy"], "does not exist"),
        (["find", str(SAME), "/nowhere"], "not a folder"),
        (["find", "/nowhere.jpg", "."], "no such file"),
    ],
)
def test_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[Any], message: str
) -> None:
    assert_refused(monkeypatch, capsys, message, *arguments)


def test_an_empty_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert_refused(monkeypatch, capsys, "no photos here", "detect", str(tmp_path))
    assert_refused(monkeypatch, capsys, "no face in it", "find", str(SAME), str(tmp_path))
