"""``whyface evaluate --record``: measured thresholds stand beside one's own network, and verify needs no number."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.tiny_networks import write_face_network
from whyface import Verifier
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.explain.usual import FILE_NAME
from whyface.models.catalogue import find_entry, sidecar_path, write_entry
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.operating_point import OperatingPoint
from whyface.models.preprocessing import ARCFACE
from whyface.models.recorded_thresholds import record_thresholds
from whyface.xcos.open_model import open_model

OBAMA, SPEECH, BIDEN = (str(demo_photo(f"{name}.jpg")) for name in ("obama-portrait", "obama-speech", "biden-portrait"))
PEOPLE = 50
"""So many people make 1,225 impostor pairs, enough for an FMR of 1e-3."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of each person, and all pairs of different people's first pictures."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for person in range(PEOPLE):
        base = rng.integers(40, 200, (7, 7, 3)).repeat(16, 0).repeat(16, 1)
        for number in (1, 2):
            noisy = np.clip(base + rng.normal(0, 20, base.shape), 0, 255).astype(np.uint8)
            (root / f"p{person:02d}").mkdir(exist_ok=True)
            Image.fromarray(noisy).save(root / f"p{person:02d}" / f"{number}.png")
    lines = [f"p{person:02d}/1.png p{person:02d}/2.png 1" for person in range(PEOPLE)]
    lines += [f"p{a:02d}/1.png p{b:02d}/1.png 0" for a, b in itertools.combinations(range(PEOPLE), 2)]
    (root / "pairs.txt").write_text("\n".join(lines))
    return root


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_face_network(tmp_path / "my net.onnx", preprocessing=ARCFACE)


def test_verify_needs_no_number(
    network: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        code, out, err = run_whyface(monkeypatch, capsys, *arguments)
        assert code in (0, 1) and err == ""
        return out

    own = ("--model", str(network))
    measure = ("evaluate", "--protocol", f"pairs:{pairs / 'pairs.txt'}", "--data", str(pairs), "--replicates", "100")
    assert_refused(monkeypatch, capsys, "evaluate --record", "verify", OBAMA, SPEECH, *own, "--pixels", "arcface")
    out = run(*measure, *own, "--pixels", "arcface", "--record")
    path = sidecar_path(network)
    assert f"Thresholds written to {path}: cosine: EER, FMR 1e-2, FMR 1e-3" in out
    (values,) = json.loads(path.read_text(encoding="utf-8"))["models"]
    by_name = {point["name"]: point for point in values["thresholds"]["cosine"]}
    assert by_name["FMR 1e-3"]["impostor_pairs"] == 1225 and by_name["FMR 1e-3"]["fmr"] <= 1e-3

    # Everything is on record: threshold, where it comes from, preprocessing.
    out = run("verify", OBAMA, SPEECH, *own)
    assert f"threshold {by_name['FMR 1e-3']['threshold']:.4f} (FMR 1e-3 on " in out
    assert f"threshold {by_name['FMR 1e-2']['threshold']:.4f}" in run("verify", OBAMA, SPEECH, *own, "--fmr", "1e-2")
    assert "set by the user" in run("verify", OBAMA, SPEECH, *own, "--threshold", "0.5", "--pixels", "arcface")
    assert Verifier(network).method.threshold == by_name["FMR 1e-3"]["threshold"]
    assert_refused(
        monkeypatch, capsys, "has another pixels on record", "verify", OBAMA, SPEECH, *own, "--pixels", "raw"
    )

    # Uniform attention has a scale, and so a threshold, of its own.
    uniform = (*own, "--grid", "map", "--attention", "u")
    assert_refused(monkeypatch, capsys, "scores on a scale of its own", "verify", OBAMA, BIDEN, *uniform)
    assert "u: EER, FMR 1e-2, FMR 1e-3" in run(*measure, *uniform, "--record")
    (values,) = json.loads(path.read_text(encoding="utf-8"))["models"]
    assert set(values["thresholds"]) == {"cosine", "u"} and values["grid"] == {"tensor": "map", "shape": [3, 7, 7]}
    (uniform_point,) = (point for point in values["thresholds"]["u"] if point["name"] == "FMR 1e-3")
    assert f"threshold {uniform_point['threshold']:.4f}" in run("verify", OBAMA, BIDEN, *own, "--attention", "u")
    assert f"threshold {by_name['FMR 1e-3']['threshold']:.4f}" in run("verify", OBAMA, SPEECH, *own)
    # With one on record, a number of one's own is a choice, not a guess.
    assert "set by the user" in run("verify", OBAMA, BIDEN, *own, "--attention", "u", "--threshold", "0.99")


def test_what_few_pairs_cannot_show_is_not_recorded(
    network: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join((pairs / "pairs.txt").read_text().splitlines()[: PEOPLE + 200]))
    arguments = ("evaluate", "--protocol", f"pairs:{few}", "--data", str(pairs), "--model", str(network))
    _, out, _ = run_whyface(monkeypatch, capsys, *arguments, "--pixels", "arcface", "--record", "--replicates", "100")
    assert out.splitlines()[-1].endswith("cosine: EER, FMR 1e-2")
    assert_refused(
        monkeypatch, capsys, "measured: 0.01; give one of these", "verify", OBAMA, SPEECH, "--model", str(network)
    )


def test_what_is_not_recorded(
    network: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = ("evaluate", "--protocol", f"pairs:{pairs / 'pairs.txt'}", "--data", str(pairs), "--record")
    assert_refused(monkeypatch, capsys, "leave out --mirror", *measure, "--model", str(network), "--mirror")
    with pytest.raises(ModelError, match="thresholds of a known model are part of the package"):
        record_thresholds("xcos-mobilefacenet", OnnxEmbedder(network), {})
    assert not sidecar_path(network).exists()


POINT = OperatingPoint(name="FMR 1e-3", threshold=0.4, fmr=0.001, fnmr=0.1, dataset="mine")


def test_a_network_that_changed_has_no_thresholds(network: Path) -> None:
    record_thresholds(network, OnnxEmbedder(network, preprocessing=ARCFACE), {"cosine": [POINT]})
    assert Verifier(network).method.threshold == 0.4
    with network.open("ab") as file:
        # An unknown field of length 0.
        file.write(b"\xfa\x7f\x00")
    with pytest.raises(ModelIntegrityError):
        Verifier(network)
    # Measured again, the old ones go.
    record_thresholds(network, OnnxEmbedder(network, preprocessing=ARCFACE), {"u": [POINT]})
    entry = find_entry(network)
    assert entry is not None and set(entry.thresholds) == {"u"} and entry.sidecar == sidecar_path(network)


def test_a_damaged_file_is_refused(network: Path) -> None:
    for text in ("{", "[]", '{"format": 1, "models": []}'):
        sidecar_path(network).write_text(text)
        with pytest.raises(ModelError, match=r"net.onnx.json"):
            Verifier(network, threshold=0.3)


def test_a_folder_keeps_its_own_record(tmp_path: Path) -> None:
    network = write_face_network(tmp_path / "net.onnx")
    write_entry(tmp_path, {"onnx": network}, name="mine", kind="cosine", embedding_size=2, grid=("map", (3, 7, 7)))
    path = record_thresholds(tmp_path, OnnxEmbedder(network), {"cosine": [POINT]})
    assert path == tmp_path / "model.json" and Verifier(tmp_path).method.threshold == 0.4
    record_thresholds(network, OnnxEmbedder(network), {"u": [POINT]})
    assert Verifier(network, attention="u").method.threshold == 0.4 and Verifier(network).method.threshold == 0.4


def test_the_record_says_how_to_open_it(tmp_path: Path) -> None:
    network = write_face_network(tmp_path / "net.onnx", preprocessing=ARCFACE, norm_first=True)
    record_thresholds(network, OnnxEmbedder(network, preprocessing=ARCFACE, output="y"), {"cosine": [POINT]})
    opened = open_model(network, grid="map")
    assert opened.preprocessing == ARCFACE and opened.comparison().features(
        np.zeros((1, 3, 112, 112), np.uint8)
    ).shape == (1, 2)
    with pytest.raises(InputError, match="has another output on record"):
        open_model(network, output="norm")


def test_the_record_of_another_model_in_the_folder_is_not_this_network_s(network: Path) -> None:
    record_thresholds(network, OnnxEmbedder(network, preprocessing=ARCFACE, grid="map"), {"u": [POINT]})
    (network.parent / FILE_NAME).write_bytes(b"of another model")
    assert Verifier(network, attention="u").method.threshold == 0.4
