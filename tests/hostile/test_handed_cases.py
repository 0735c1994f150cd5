"""Small hostile files, each of which must end in one line and exit status 2, or be read for what it is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import assert_refused
from helpers.tiny_networks import write_tiny
from whyface.demo import demo_photo
from whyface.errors import ModelError
from whyface.faces.load import load_face
from whyface.xcos.model import read_correlated

CASES = Path(__file__).with_name("cases")
PHOTOS = [str(demo_photo("obama-portrait.jpg")), str(demo_photo("biden-portrait.jpg"))]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("bigint-threshold-model.json", "a number beyond 64 bits"),
        ("deep-model-json/model.json", "nested too deeply"),
        ("op-not-utf8.onnx", "ONNX"),
        ("error-not-utf8.onnx", "ONNX Runtime cannot use this network"),
    ],
)
def test_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str, message: str
) -> None:
    path = CASES / model
    if path.suffix == ".json":
        (tmp_path / "model.json").write_bytes(path.read_bytes())
        path = tmp_path
    own = [] if path.is_dir() else ["--threshold", "0.3"]
    assert_refused(monkeypatch, capsys, message, "verify", *PHOTOS, "--model", str(path), *own)


def test_a_network_of_100_000_faces_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network = write_tiny(tmp_path / "many.onnx", batch=100_000)
    options = ("--model", str(network), "--threshold", "0.3")
    assert_refused(monkeypatch, capsys, "100000 faces at once", "verify", *PHOTOS, *options)


def test_tensors_of_a_type_that_numpy_lacks() -> None:
    with pytest.raises(ModelError, match="store it as F32"):
        read_correlated(CASES / "bf16-correlated" / "xcos-mobilefacenet.safetensors")


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ("eps-as-jpg.jpg", "not a picture that can be read"),
        ("libtiff-noise-error.tif", "damaged"),
        ("prog-300-scans-49mp.jpg", "scans"),
    ],
)
@pytest.mark.parametrize("aligned", [False, True])
def test_pictures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: str, message: str, aligned: bool
) -> None:
    if aligned and photo.endswith(".tif"):
        message = "160 x 200 pixels"  # The size stands in the header, which is read first.
    arguments = [str(CASES / photo), str(CASES / photo), *(["--aligned"] if aligned else [])]
    assert_refused(monkeypatch, capsys, message, "verify", *arguments)


def test_16_bits_of_grey_are_not_near_white() -> None:
    face = load_face(CASES / "aligned-16bit.png", aligned=True)
    assert 20 < float(np.mean(face.image)) < 235
    assert float(np.std(face.image)) > 10


@pytest.mark.parametrize(
    ("pairs", "message"),
    [("csv-huge-field.csv", "not a CSV file"), ("csv-not-utf8-1.csv", "UTF-8"), ("csv-not-utf8-2.csv", "UTF-8")],
)
def test_pair_lists(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, pairs: str, message: str
) -> None:
    assert_refused(monkeypatch, capsys, message, "batch", str(CASES / pairs), "--out", str(tmp_path / "x.parquet"))


@pytest.mark.parametrize("path", sorted(CASES.glob("yaml-*.yaml")), ids=lambda path: path.stem)
def test_training_configurations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, path: Path
) -> None:
    pytest.importorskip("yaml", reason="needs the extra train")
    assert_refused(monkeypatch, capsys, "whyface: ", "train", str(path), "--out", str(tmp_path / "run"))


@pytest.mark.parametrize("role", ["photo", "model", "data"])
def test_a_pipe_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, role: str
) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    arguments = {
        "photo": ["verify", str(pipe), PHOTOS[0]],
        "model": ["verify", *PHOTOS, "--model", str(pipe), "--threshold", "0.3"],
        "data": ["evaluate", "--protocol", "lfw", "--data", str(pipe)],
    }
    assert_refused(monkeypatch, capsys, "pipe.onnx", *arguments[role])
