"""The command line as a user meets it."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import run_whyface as run
from whyface.demo import demo_photo
from whyface.explain.explanation import Explanation
from whyface.models.catalogue import shipped_models

PORTRAIT, SPEECH, OTHER = (
    str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
)


def test_same_man_matches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH)
    assert code == 0
    assert out.startswith("MATCH: score ")
    assert "FMR 1e-3 on LFW" in out
    assert err == ""


def test_other_man_does_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, OTHER)
    assert code == 1
    assert out.startswith("NO MATCH: score ")


@pytest.mark.parametrize("attention", ["u", "p", "l"])
def test_json_is_a_whole_explanation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], attention: str
) -> None:
    code, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH, "--json", "--attention", attention)
    explanation = Explanation.from_json(out)
    assert code == 0
    assert explanation.attention_kind == attention
    assert explanation.contributions is not None
    assert explanation.contributions.sum() == pytest.approx(explanation.score, abs=1e-4)
    assert explanation.threshold_source.fmr_interval is not None
    assert explanation.versions["whyface"]
    assert len(explanation.model.sha256 or "") == 64


def test_order_of_the_photos_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = []
    for pair in ((PORTRAIT, OTHER), (OTHER, PORTRAIT)):
        _, out, _ = run(monkeypatch, capsys, "verify", *pair, "--json")
        scores.append(json.loads(out)["score"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_identical_photos_score_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, PORTRAIT, "--json")
    assert code == 0
    assert json.loads(out)["score"] == pytest.approx(1, abs=1e-4)


def test_own_threshold_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH, "--threshold", "0.99")
    assert code == 1
    assert "set by the user" in out


def test_fmr_chooses_the_operating_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    thresholds = {}
    for fmr in ("1e-2", "0.001"):
        _, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH, "--json", "--fmr", fmr)
        thresholds[fmr] = json.loads(out)["threshold"]
    assert thresholds["1e-2"] < thresholds["0.001"]


def test_several_faces_are_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = [Image.open(path).convert("RGB").resize((450, 560)) for path in (PORTRAIT, SPEECH)]
    both = Image.new("RGB", (900, 560))
    for i, photo in enumerate(photos):
        both.paste(photo, (450 * i, 0))
    path = tmp_path / "two.png"
    both.save(path)
    scores = []
    for index in ("0", "1"):
        _, out, _ = run(monkeypatch, capsys, "verify", str(path), PORTRAIT, "--face-a", index)
        assert "2 faces found" in out
        scores.append(out.split("score ")[1].split()[0])
    assert scores[0] != scores[1]


def test_figure_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "why.png"
    code, out, _ = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH, "--figure", str(figure))
    assert code == 0
    assert str(figure) in out
    assert Image.open(figure).size[0] >= 1000
    assert [path.name for path in tmp_path.iterdir()] == ["why.png"]


def test_demo_prints_both_verdicts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(monkeypatch, capsys, "demo", "--out", str(tmp_path))
    assert code == 0
    assert "\nMATCH" in out
    assert "\nNO MATCH" in out
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_models_lists_the_default_with_its_thresholds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "models")
    assert code == 0
    assert "xcos-mobilefacenet" in out
    assert "FMR 1e-3: threshold" in out
    _, as_json, _ = run(monkeypatch, capsys, "models", "--json")
    assert json.loads(as_json)["models"]


def _huge_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, Path]:
    files = {
        "empty": b"",
        "truncated": Path(PORTRAIT).read_bytes()[:4000],
        "text": b"this is not a picture at all\n" * 20,
        "huge": _huge_png(),
    }
    paths = {"missing": tmp_path / "missing.jpg", "folder": tmp_path}
    for name, data in files.items():
        paths[name] = tmp_path / f"{name}.jpg"
        paths[name].write_bytes(data)
    paths["no face"] = tmp_path / "wall.png"
    Image.fromarray(np.full((300, 300, 3), 127, np.uint8)).save(paths["no face"])
    return paths


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "truncated", "text", "huge", "no face"])
@pytest.mark.parametrize("side", [0, 1])
def test_bad_photo(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad: dict[str, Path],
    kind: str,
    side: int,
    tmp_path: Path,
) -> None:
    photos = [PORTRAIT, PORTRAIT]
    photos[side] = str(bad[kind])
    figure = tmp_path / "figure.png"
    code, out, err = run(monkeypatch, capsys, "verify", *photos, "--figure", str(figure))
    assert code == 2
    assert out == ""
    assert err.startswith("whyface: ")
    assert err.count("\n") == 1
    assert str(bad[kind]) in err
    assert not figure.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", PORTRAIT, SPEECH, "--face-b", "7"], "obama-speech.jpg"),
        (["verify", PORTRAIT, SPEECH, "--aligned"], "112"),
        (["verify", PORTRAIT, SPEECH, "--model", "xcos-mobilfacenet"], "did you mean 'xcos-mobilefacenet'"),
        (["verify", PORTRAIT, SPEECH, "--model", "missing.onnx", "--threshold", "0.3"], "missing.onnx"),
        (["verify", PORTRAIT, SPEECH, "--fmr", "1e-7"], "1e-07"),
        (["verify", PORTRAIT, SPEECH, "--fmr", "1e-2", "--threshold", "0.3"], "not both"),
        (["verify", PORTRAIT, SPEECH, "--threshold", "7"], "-1..1"),
        (["verify", PORTRAIT, SPEECH, "--attention", "q"], "--attention"),
        (["verify", PORTRAIT, SPEECH, "--figure", "no/such/folder/f.png"], "does not exist"),
        (["verify", PORTRAIT, SPEECH, "--figure", "figure.docx"], "figure.docx"),
        (["verify", PORTRAIT, SPEECH, "--figure", "."], "is a folder"),
        (["verify", PORTRAIT, SPEECH, "--figure", f"{PORTRAIT}/f.png"], "obama-portrait.jpg"),
        (["verify", PORTRAIT, SPEECH, "--max-megapixels", "0.1"], "obama-portrait.jpg"),
        (["verify", PORTRAIT], "give two photos, or two folders"),
        (["verify", PORTRAIT, SPEECH, "--colour"], "--colour"),
        (["explode"], "explode"),
        (["demo", "--out", "no/such/folder"], "does not exist"),
    ],
)
def test_bad_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message.lower() in err.lower()


def test_model_file_with_a_wrong_hash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "models"
    shutil.copytree(shipped_models(), copy)
    monkeypatch.setattr("whyface.models.catalogue.shipped_models", lambda: copy)
    graph = copy / "xcos-large.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    code, out, err = run(monkeypatch, capsys, "verify", PORTRAIT, SPEECH)
    assert code == 2
    assert out == ""
    assert "SHA-256" in err
    assert "xcos-large.onnx" in err


def test_cold_start_leaves_torch_and_matplotlib_alone() -> None:
    script = (
        "import sys, whyface\n"
        "assert not {'torch', 'matplotlib', 'onnxruntime', 'cv2'} & set(sys.modules)\n"
        f"whyface.verify({PORTRAIT!r}, {SPEECH!r})\n"
        "assert not {'torch', 'matplotlib', 'scipy', 'sklearn', 'pandas', 'pyarrow', 'onnx', 'rich'}"
        " & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_help_and_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, "--help")
    assert code == 0
    assert "verify" in out
    code, out, _ = run(monkeypatch, capsys, "--version")
    assert code == 0
    assert out.startswith("whyface 0.")
