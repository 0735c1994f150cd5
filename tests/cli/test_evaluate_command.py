"""``whyface evaluate`` as a user meets it, on a tiny set and, where it is at hand, on LFW."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused, run_whyface
from PIL import Image
from tiny_networks import write_tiny

from whyface.evaluate.score_table import read_scores

SHARED = Path(__file__).resolve().parents[3] / "shared"
RESULTS = ["det.png", "report.json", "roc.png", "scores.parquet"]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    return run_whyface(monkeypatch, capsys, "evaluate", *arguments)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    assert_refused(monkeypatch, capsys, message, "evaluate", *arguments)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Twelve people of a colour each, in two pictures with some noise."""
    rng = np.random.default_rng(5)
    for person in range(12):
        colour = rng.integers(20, 235, 3)
        for number in range(2):
            pixels = np.clip(colour + rng.normal(0, 25, (112, 112, 3)), 0, 255).astype(np.uint8)
            path = tmp_path / "faces" / f"p{person:02d}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "faces"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = ["# made up"]
    lines += [f"p{a:02d}/0.png p{a:02d}/1.png 1" for a in range(12)]
    lines += [f"p{a:02d}/0.png p{(a + step) % 12:02d}/1.png 0" for a in range(12) for step in (1, 5)]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def arguments(faces: Path, pairs: Path, tmp_path: Path) -> list[str]:
    network = write_tiny(tmp_path / "tiny.onnx")
    return ["--protocol", f"pairs:{pairs}", "--data", str(faces), "--model", str(network), "--replicates", "100"]


def test_own_network_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    out_folder = tmp_path / "results"
    code, out, err = run(monkeypatch, capsys, *arguments, "--out", str(out_folder), "--seed", "3")
    assert (code, err) == (0, "")
    assert out.startswith("tiny on pairs: 12 genuine and 24 impostor pairs of 12 people, 10 folds")
    assert "Cosine of embeddings" in out
    assert "FNMR at FMR 1e-2   sample too small" in out
    assert "24 impostor pairs cannot show it; at least 100 are needed" in out
    assert sorted(path.name for path in out_folder.iterdir()) == RESULTS
    report = json.loads((out_folder / "report.json").read_text(encoding="utf-8"))
    columns, metadata = read_scores(out_folder / "scores.parquet")
    assert metadata == {key: report[key] for key in ("model", "protocol", "settings", "versions")}
    assert len(metadata["model"]["sha256"]["onnx"]) == 64
    assert metadata["settings"]["seed"] == 3
    assert metadata["versions"]["pyarrow"]
    assert str(tmp_path) not in json.dumps(report)
    assert columns["left"][0] == "p00/0.png"
    assert columns["genuine"].sum() == 12
    # The report can be worked out again from the table alone.
    scores, genuine = columns["score_cosine"], columns["genuine"]
    wins = (scores[genuine][:, None] > scores[~genuine]) + 0.5 * (scores[genuine][:, None] == scores[~genuine])
    assert report["results"]["cosine"]["auc"] == pytest.approx(wins.mean())
    for name in ("roc.png", "det.png"):
        with Image.open(out_folder / name) as figure:
            assert figure.size[0] > 1500


def test_the_same_command_gives_the_same_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        run(monkeypatch, capsys, *arguments, "--out", str(tmp_path / name))
    for name in RESULTS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_json_and_mirror(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    reports = []
    for option in ([], ["--mirror"]):
        code, out, _ = run(monkeypatch, capsys, *arguments, "--json", *option)
        assert code == 0
        reports.append(json.loads(out))
    assert [report["settings"]["mirror"] for report in reports] == [False, True]
    # The tiny network takes the mean over the picture, so that the mirror image changes nothing.
    assert reports[0]["results"]["cosine"]["auc"] == pytest.approx(reports[1]["results"]["cosine"]["auc"])


def test_uniform_attention_over_an_own_grid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, *arguments, "--attention", "u", "--grid", "map", "--pixels", "arcface")
    assert code == 0
    assert "Uniform (U)" in out


@pytest.mark.parametrize("options", [[], ["--attention", "l"], ["--mirror"]])
def test_default_model_gives_each_attention(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faces: Path,
    pairs: Path,
    tmp_path: Path,
    options: list[str],
) -> None:
    out_folder = tmp_path / "results"
    code, out, _ = run(
        monkeypatch, capsys, "--protocol", f"pairs:{pairs}", "--data", str(faces), "--out", str(out_folder), *options
    )
    assert code == 0
    columns, metadata = read_scores(out_folder / "scores.parquet")
    kinds = ["l"] if "--attention" in options else ["u", "p", "l"]
    assert metadata["model"]["scores"] == kinds
    assert [name for name in columns if name.startswith("score_")] == [f"score_{kind}" for kind in kinds]
    assert ("Uniform (U)" in out) == ("u" in kinds)
    assert set(metadata["model"]["sha256"]) >= {"onnx", "pair", "safetensors"}


def test_bad_protocol_and_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], faces: Path
) -> None:
    refused(monkeypatch, capsys, "unknown protocol 'lfv'", *arguments, "--protocol", "lfv")
    refused(monkeypatch, capsys, "no such folder or tar file", *arguments, "--data", "missing.tar")
    refused(monkeypatch, capsys, "missing.txt", *arguments, "--protocol", "pairs:missing.txt")
    refused(monkeypatch, capsys, "too few for 13 folds", *arguments, "--folds", "13")
    refused(monkeypatch, capsys, "--data", "--protocol", "lfw")
    refused(monkeypatch, capsys, "leave --pairs out", *arguments, "--pairs", "pairs.txt")
    picture = faces / "p03" / "1.png"
    picture.write_bytes(picture.read_bytes()[:300])
    refused(monkeypatch, capsys, "p03/1.png: not a readable picture", *arguments)
    picture.unlink()
    refused(monkeypatch, capsys, "1 of the 24 pictures", *arguments)


def test_wrong_pairs_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], pairs: Path
) -> None:
    pairs.write_text("10\t300\nAbel_Pacheco\t1\t4\n")
    refused(monkeypatch, capsys, "pairs.txt, line 1: expected 'pathA pathB label'", *arguments)
    pairs.write_bytes(b"\xff\xfe\x00")
    refused(monkeypatch, capsys, "not UTF-8", *arguments)


def test_bad_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    refused(monkeypatch, capsys, "did you mean", *arguments, "--model", "xcos-mobilfacenet")
    refused(monkeypatch, capsys, "no such model file", *arguments, "--model", str(tmp_path / "no.onnx"))
    refused(monkeypatch, capsys, "--grid", *arguments, "--attention", "u")
    refused(monkeypatch, capsys, "has no attention 'l'", *arguments, "--attention", "l", "--grid", "map")
    refused(monkeypatch, capsys, "of your own", *arguments, "--model", "xcos-mobilefacenet", "--pixels", "raw")


def test_nowhere_to_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    refused(monkeypatch, capsys, "create it first", *arguments, "--out", str(tmp_path / "no" / "folder"))
    (tmp_path / "file").write_text("")
    refused(monkeypatch, capsys, "is a file", *arguments, "--out", str(tmp_path / "file"))
    (tmp_path / "taken" / "roc.png").mkdir(parents=True)
    refused(monkeypatch, capsys, "roc.png: is a folder", *arguments, "--out", str(tmp_path / "taken"))
    locked = tmp_path / "locked"
    locked.mkdir()
    # A mode would not do: the superuser may write everywhere.
    monkeypatch.setattr("whyface.commands.evaluate.os.access", lambda _, mode, **__: mode != os.W_OK)
    refused(monkeypatch, capsys, "cannot be written to", *arguments, "--out", str(locked))


def test_without_pyarrow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(monkeypatch, capsys, "pip install 'whyface[evaluate]'", *arguments, "--out", str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()
    code, _, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0


def test_command_line_starts_without_heavy_packages() -> None:
    script = (
        "import sys, whyface.cli\n"
        "assert not {'torch', 'matplotlib', 'onnxruntime', 'cv2', 'pyarrow', 'numpy', 'rich.progress'}"
        " & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared beside the repository")
def test_known_network_on_lfw(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        monkeypatch,
        capsys,
        "--model",
        str(SHARED / "weights" / "mobilefacenet-ms1m.onnx"),
        "--protocol",
        "lfw",
        "--data",
        str(SHARED / "data" / "lfw-aligned-112.tar"),
        "--threads",
        "1",
        "--json",
    )
    assert code == 0
    report = json.loads(out)
    result = report["results"]["cosine"]
    # Published with the mirror image added: 99.40 %.
    assert 100 * result["accuracy"] == pytest.approx(99.37, abs=0.04)
    assert 100 * result["eer"] == pytest.approx(0.800, abs=0.02)
    assert [rate["supported"] for rate in result["at_fmr"]] == [True, True, True, False]
    assert report["protocol"]["genuine_pairs"] == report["protocol"]["impostor_pairs"] == 3000
    low, high = result["accuracy_interval"]
    assert low < result["accuracy"] < high
