"""``whyface evaluate`` as a user meets it, on a tiny set and, where it is at hand, on LFW."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.picture_files import flat, shared_data, write_tree
from helpers.tiny_networks import write_tiny
from whyface.evaluate.report import read_scores
from whyface.faces.pictures import TarPictures

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
    assert set(metadata["model"]["sha256"]) == {"onnx", "safetensors"}


def test_bad_protocol_and_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], faces: Path
) -> None:
    refused(monkeypatch, capsys, "unknown protocol 'lfv'", *arguments, "--protocol", "lfv")
    refused(monkeypatch, capsys, "no such folder or tar file", *arguments, "--data", "missing.tar")
    refused(monkeypatch, capsys, "missing.txt", *arguments, "--protocol", "pairs:missing.txt")
    refused(monkeypatch, capsys, "folds of its own", "--protocol", "lfw", "--data", "missing.tar", "--folds", "5")
    refused(monkeypatch, capsys, "too few for 13 folds", *arguments, "--folds", "13")
    refused(monkeypatch, capsys, "--data", "--protocol", "lfw")
    refused(monkeypatch, capsys, "leave out --pairs", *arguments, "--pairs", "pairs.txt")
    picture = faces / "p03" / "1.png"
    picture.write_bytes(picture.read_bytes()[:300])
    refused(monkeypatch, capsys, "p03/1.png: damaged or cut off", *arguments)
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
    (tmp_path / "file").write_text("")
    refused(monkeypatch, capsys, "is a file", *arguments, "--out", str(tmp_path / "file"))
    (tmp_path / "taken" / "roc.png").mkdir(parents=True)
    refused(monkeypatch, capsys, "roc.png: is a folder", *arguments, "--out", str(tmp_path / "taken"))
    locked = tmp_path / "locked"
    locked.mkdir()
    # A mode would not do: the superuser may write everywhere.
    monkeypatch.setattr("whyface.files.integrity.os.access", lambda _, mode, **__: mode != os.W_OK)
    refused(monkeypatch, capsys, "cannot be written to", *arguments, "--out", str(locked))


def test_without_pyarrow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused(monkeypatch, capsys, "pip install 'whyface[evaluate]'", *arguments, "--out", str(tmp_path / "results"))
    assert not (tmp_path / "results").exists()
    code, _, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0


def test_an_insightface_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path
) -> None:
    names = [(f"p{a:02d}/0.png", f"p{b:02d}/1.png", a == b) for a in range(12) for b in (a, (a + 1) % 12)]
    pictures = [(faces / name).read_bytes() for pair in names for name in pair[:2]]
    (tmp_path / "toy.bin").write_bytes(pickle.dumps((pictures, [pair[2] for pair in names]), protocol=2))
    options = ["--protocol", f"bin:{tmp_path / 'toy.bin'}", "--model", str(write_tiny(tmp_path / "tiny.onnx"))]
    code, out, _ = run(monkeypatch, capsys, *options, "--replicates", "100", "--folds", "4", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["protocol"]["data"] == report["protocol"]["name"] + ".bin" == "toy.bin"
    assert report["protocol"]["contradicting_labels"] == 0
    assert report["protocol"]["folds"] == 4
    # The file's folder is nobody's business.
    assert report["command"] == (
        "whyface evaluate --protocol bin:toy.bin --model tiny.onnx --folds 4 --replicates 100 --seed 0"
    )
    refused(monkeypatch, capsys, "leave out --data", *options, "--data", str(faces))
    (tmp_path / "toy.bin").write_bytes(b"no pickle")
    refused(monkeypatch, capsys, "toy.bin", *options)


@pytest.mark.parametrize("sets", ["grids", "scores"])
def test_videos(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faces: Path, tmp_path: Path, sets: str
) -> None:
    """A video is a copy of one picture many times over, so that both rules give what the pictures give."""
    videos = tmp_path / "videos"
    lines = ["split, first, second, same"]
    rows = []
    for person in range(6):
        for video in range(2):
            data = (faces / f"p{person:02d}" / f"{video}.png").read_bytes()
            write_tree(videos, {f"p{person:02d}/{video}/{frame}.png": data for frame in range(3)})
        for other in (person, (person + 1) % 6):
            lines.append(f"{person % 3 + 1}, p{person:02d}/0, p{other:02d}/1, {int(person == other)}")
            rows.append(f"p{person:02d}/0.png p{other:02d}/1.png {int(person == other)}")
    (tmp_path / "splits.txt").write_text("\n".join(lines))
    (tmp_path / "pairs.txt").write_text("\n".join(rows))
    model = ["--model", "xcos-mobilefacenet", "--replicates", "100"]
    scores = []
    for name, options in (
        ("sets", ["--protocol", f"ytf:{tmp_path / 'splits.txt'}", "--data", str(videos), "--sets", sets]),
        ("pictures", ["--protocol", f"pairs:{tmp_path / 'pairs.txt'}", "--data", str(faces), "--folds", "3"]),
    ):
        extra = ["--frames", "2"] if name == "sets" else []
        code, out, _ = run(monkeypatch, capsys, *options, *model, *extra, "--out", str(tmp_path / name), "--json")
        assert code == 0
        columns, metadata = read_scores(tmp_path / name / "scores.parquet")
        scores.append([columns[f"score_{kind}"] for kind in "upl"])
        if name == "sets":
            assert metadata["protocol"]["sets"] == 12
            assert metadata["protocol"]["pictures"] == 24
            assert metadata["settings"]["sets"] == sets
            assert metadata["settings"]["frames"] == 2
            assert json.loads(out)["command"].endswith(f"--sets {sets} --frames 2 --replicates 100 --seed 0")
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-6)
    refused(monkeypatch, capsys, "leave out --frames", *options, *model, "--frames", "2")


def test_photographs_are_aligned_on_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Photographs of LFW's first folds, end to end; one of them shows nobody and is reported."""
    archive = shared_data("lfw-deepfunneled-folds-1-2.tar")
    with TarPictures(archive) as source:
        by_person: dict[str, list[str]] = {}
        for name in source.names():
            by_person.setdefault(name.rsplit("/", 2)[1], []).append(name)
        people = [person for person, names in sorted(by_person.items()) if len(names) > 1][:6]
        files = {f"{p}/{k}.jpg": source.read_bytes(by_person[p][k]) for p in people for k in (0, 1)}
    files[f"{people[5]}/1.jpg"] = flat(0, "jpeg", 250)
    photos = write_tree(tmp_path / "photos", files)
    lines = [f"{p}/0.jpg {p}/1.jpg 1" for p in people]
    lines += [f"{p}/0.jpg {people[(k + 1) % 6]}/1.jpg 0" for k, p in enumerate(people)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    options = ["--protocol", f"pairs:{tmp_path / 'pairs.txt'}", "--data", str(photos), "--folds", "2"]
    options += ["--align", "--align-cache", str(tmp_path / "cache"), "--attention", "l", "--replicates", "100"]
    reports = []
    for _ in range(2):
        code, out, _ = run(monkeypatch, capsys, *options, "--json")
        assert code == 0
        reports.append(json.loads(out))
    assert reports[0] == reports[1]
    about = reports[0]["protocol"]
    assert about["failures"] == {f"{people[5]}/1.jpg": "no face found"}
    assert about["pairs_left_out"] == {"genuine": 1, "impostor": 1}
    assert (about["genuine_pairs"], about["impostor_pairs"]) == (5, 5)
    assert about["aligned_by"].startswith("centerface")
    assert reports[0]["results"]["l"]["auc"] > 0.9
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 11
    _, out, _ = run(monkeypatch, capsys, *options)
    assert "No face in 1 pictures; left out for that: 1 genuine and 1 impostor pairs." in out
    refused(monkeypatch, capsys, "112 x 112", *options[:6])
    refused(monkeypatch, capsys, "add --align", *options[:6], "--align-cache", str(tmp_path / "cache"))


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


def test_thresholds_as_published(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, *arguments, "--json", "--thresholds", "published")
    assert code == 0
    report = json.loads(out)
    assert report["settings"]["thresholds"] == "published"
    assert "--thresholds published" in report["command"]
    for result in report["results"].values():
        steps = (np.array(result["fold_thresholds"]) + 1) / 0.005
        np.testing.assert_allclose(steps, steps.round(), atol=1e-6)


def test_examples_of_all_outcomes(
    faces: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--protocol", f"pairs:{pairs}", "--data", str(faces), "--folds", "2", "--replicates", "100"]
    xcos = [*given, "--model", "xcos-mobilefacenet", "--attention", "u"]
    code, out, _ = run(monkeypatch, capsys, *xcos, "--examples", "2", "--out", str(tmp_path / "out"))
    assert code == 0
    assert "examples.png" in out
    with Image.open(tmp_path / "out" / "examples.png") as figure:
        assert min(figure.size) > 600
    refused(monkeypatch, capsys, "--out", *xcos, "--examples", "2")
    tiny = str(write_tiny(tmp_path / "plain.onnx"))
    cosine = [*given, "--model", tiny, "--out", str(tmp_path / "none"), "--examples", "1"]
    refused(monkeypatch, capsys, "needs an xCos model", *cosine)
