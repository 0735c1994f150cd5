"""``whyface check``: a record computed again, to the bit; tampering, missing photos and models."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from whyface.demo import demo_photo
from whyface.errors import ModelError
from whyface.faces.load import open_detector
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.record_check import check_record, read_recorded, status_of, without_paths
from whyface.verification import Verification, Verifier

PHOTOS = "obama-portrait.jpg", "obama-speech.jpg"


@pytest.fixture(scope="module")
def verified() -> Verification:
    return Verifier("xcos-mobilefacenet", threads=1)(*map(demo_photo, PHOTOS), note="counter 3")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    first, second = (Path(shutil.copy(demo_photo(name), tmp_path)) for name in PHOTOS)
    return first, second


@pytest.fixture
def record(tmp_path: Path, verified: Verification, photos: tuple[Path, Path]) -> Path:
    document = verified.explanation.to_dict()
    for face, photo in zip(document["faces"], photos, strict=True):
        face["source"] = str(photo)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(document))
    return path


def changed(record: Path, change: Any) -> Path:
    document = json.loads(record.read_text())
    change(document)
    record.write_text(json.dumps(document))
    return record


def different(findings: Any) -> set[str]:
    return {finding.part for finding in findings if finding.state == "different"}


def test_everything_is_the_same_to_the_bit(record: Path) -> None:
    findings = check_record(read_recorded(record))
    assert {finding.state for finding in findings} == {"same"}
    assert status_of(findings) == 0
    parts = {finding.part for finding in findings}
    assert {"photo A", "crop B", "landmarks A", "S", "W", "score", "verdict", "sentences"} <= parts


def test_a_record_with_the_sha256_of_one_file_for_the_network_is_read(record: Path) -> None:
    """As gradient methods wrote it for xcos-large before it covered all files; the files are listed besides."""
    small = model_entry("xcos-large").files["safetensors"].sha256
    changed(record, lambda document: document["model"].update(sha256=small))
    assert read_recorded(record).model.sha256 == small
    assert status_of(check_record(read_recorded(record))) == 0


def test_one_changed_byte_of_a_photo_is_found(record: Path, photos: tuple[Path, Path]) -> None:
    # Behind the end of a JPEG picture: no pixel changes.
    photos[0].write_bytes(photos[0].read_bytes() + b"\0")
    findings = check_record(read_recorded(record))
    assert different(findings) == {"photo A"}
    assert status_of(findings) == 1


def test_photos_may_have_moved(record: Path, photos: tuple[Path, Path], tmp_path: Path) -> None:
    moved = photos[0].rename(tmp_path / "moved.jpg")
    findings = check_record(read_recorded(record))
    assert status_of(findings) == 3
    assert "not at hand" in next(finding.detail for finding in findings if finding.part == "photo A")
    assert status_of(check_record(read_recorded(record), (moved, photos[1]))) == 0


def test_a_record_without_paths_is_checked_with_the_photos_beside_it(
    verified: Verification, photos: tuple[Path, Path], tmp_path: Path
) -> None:
    plain = without_paths(verified)
    text = plain.explanation.to_json()
    assert str(demo_photo(PHOTOS[0]).parent) not in text
    assert [face.source for face in (plain.face_a, plain.face_b)] == list(PHOTOS)
    path = tmp_path / "record.json"
    path.write_text(text)
    findings = check_record(read_recorded(path), beside=tmp_path)
    assert {finding.state for finding in findings} == {"same"}
    assert status_of(check_record(read_recorded(path), beside=tmp_path / "elsewhere")) == 3
    # A photo of this name that is another one is found out.
    shutil.copy(photos[1], photos[0])
    assert "photo A" in different(check_record(read_recorded(path), beside=tmp_path))


@pytest.mark.parametrize("command", ["verify", "explain"])
def test_the_option_leaves_folders_out_of_json_and_reports(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: tuple[Path, Path]
) -> None:
    report = photos[0].parent / "why.html"
    arguments = command, *map(str, photos), "--model", FAST_MODEL, "--json", "--report", str(report)
    if command == "explain":
        arguments = *arguments, "--method", "xcos"
    for option, there in (((), True), (("--no-paths",), False)):
        code, out, err = run_whyface(monkeypatch, capsys, *arguments, *option)
        assert code == 0, err
        for text in (out, report.read_text(encoding="utf-8")):
            assert (str(photos[0].parent) in text) is there
            assert photos[0].name in text


def test_other_photos_differ_in_every_part(record: Path, photos: tuple[Path, Path]) -> None:
    found = different(check_record(read_recorded(record), (photos[0], demo_photo("biden-portrait.jpg"))))
    assert {"photo B", "crop B", "landmarks B", "transform B", "quality B", "S", "W", "score", "verdict"} <= found
    assert not {part for part in found if part.endswith(" A")}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda d: d["faces"][0].update(sha256="0" * 64), "crop A"),
        (lambda d: d["faces"][1]["landmarks"][0].__setitem__(0, 5.0), "landmarks B"),
        (lambda d: d["faces"][0]["transform"][0].__setitem__(2, 5.0), "transform A"),
        (lambda d: d["faces"][0].update(count=2), "face found A"),
        (lambda d: d["record"]["files"][0].update(sha256="0" * 64), "file xcos-mobilefacenet.onnx (embedder)"),
        (lambda d: d.update(probability=0.5), "probability"),
        (lambda d: d["sentences"].__setitem__(0, "Trust me."), "sentences"),
        (lambda d: d.update(threshold=d["threshold"] + 0.01), "threshold"),
        (lambda d: d["telling"]["log_odds"][0].__setitem__(0, 9.0), "usual similarity"),
    ],
)
def test_a_changed_record_is_found(record: Path, change: Any, part: str) -> None:
    findings = check_record(read_recorded(changed(record, change)))
    assert part in different(findings)
    assert status_of(findings) == 1


def test_numbers_within_a_millionth_are_close(record: Path) -> None:
    def nudge(document: dict[str, Any]) -> None:
        for key in ("score", "margin"):
            document[key] += 2e-7
        document["similarity"][3][3] = float(np.float32(document["similarity"][3][3]) + np.float32(2e-7))

    findings = {finding.part: finding.state for finding in check_record(read_recorded(changed(record, nudge)))}
    assert findings["score"] == "close"
    assert findings["S"] == "close"
    assert set(findings.values()) == {"same", "close"}


def test_a_missing_model_is_not_checked(record: Path) -> None:
    findings = check_record(read_recorded(record), model="/nowhere/net.onnx")
    assert status_of(findings) == 3
    assert findings[0].part == "model"


def test_another_model_is_another_file(record: Path) -> None:
    found = different(check_record(read_recorded(record), model="xcos-large"))
    assert any(part.startswith("file ") for part in found)
    assert {"score", "S"} <= found


def test_the_most_alike_pair_of_several_faces_is_found_again(verified: Verification) -> None:
    verifier = Verifier("xcos-mobilefacenet", threads=1)
    several = verifier(*map(demo_photo, PHOTOS), any_face=True)
    assert status_of(check_record(several.explanation)) == 0
    faces = [verified.face_a, verified.face_b], [verified.face_b]
    assert verifier.best_pair(*faces).explanation.settings["pairs_compared"] == 2


def test_mtcnn_is_recorded_by_its_three_files_and_used_again() -> None:
    try:
        detector = open_detector("mtcnn")
    except ModelError as error:
        pytest.skip(str(error))
    # MTCNN is slow on large photos.
    found = Verifier("xcos-mobilefacenet", threads=1, detector=detector)(*map(smaller, PHOTOS))
    assert found.explanation.record is not None
    files = [file for file in found.explanation.record.files if file.role == "detector"]
    assert [file.name for file in files] == ["mtcnn pnet.lz4", "mtcnn rnet.lz4", "mtcnn onet.lz4"]
    assert all(file.sha256 is not None for file in files)
    assert status_of(check_record(found.explanation, tuple(map(smaller, PHOTOS)))) == 0  # type: ignore[arg-type]


def smaller(name: str) -> bytes:
    written = io.BytesIO()
    with Image.open(demo_photo(name)) as photo:
        photo.thumbnail((160, 160))
        photo.save(written, "PNG")
    return written.getvalue()


def test_the_command_says_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], record: Path, photos: tuple[Path, Path]
) -> None:
    status, output, _ = run_whyface(monkeypatch, capsys, "check", str(record))
    assert status == 0
    assert "Note: counter 3" in output
    assert "same         crop A" in output
    other = str(demo_photo("biden-portrait.jpg"))
    status, output, _ = run_whyface(
        monkeypatch, capsys, "check", str(record), "--photos", str(photos[0]), other, "--json"
    )
    assert status == 1
    document = json.loads(output)
    assert document["status"] == 1
    assert {"part", "state", "detail"} == set(document["findings"][0])
    # A wrong path is no finding about the photos.
    for wrong in ("nobody.jpg", str(photos[0].parent)):
        assert_refused(monkeypatch, capsys, "no such file", "check", str(record), "--photos", str(photos[0]), wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be an object"),
        (b'{"schema": "whyface/explanations/1"}', "unknown schema"),
        (b"\xff", "not valid JSON"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes,
    message: str,
) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert_refused(monkeypatch, capsys, message, "check", str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(record=None), "no record"),
        (lambda d: d.update(verdict="no match"), "contradicts"),
        (lambda d: d.update(score=0.9), "add up to"),
        (lambda d: d["record"].update(request={"providers": 5}), "request"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], record: Path, change: Any, message: str
) -> None:
    assert_refused(monkeypatch, capsys, message, "check", str(changed(record, change)))
