"""``whyface test``: the same accuracies as ``evaluate``, in one table, and mistakes in the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.tiny_networks import write_tiny


@pytest.fixture
def config(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    for person in range(6):
        colour = rng.integers(20, 235, 3)
        for number in range(2):
            pixels = np.clip(colour + rng.normal(0, 25, (112, 112, 3)), 0, 255).astype(np.uint8)
            path = tmp_path / "faces" / f"p{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    lines = [f"p{a}/0.png p{a}/1.png 1" for a in range(6)] + [f"p{a}/0.png p{(a + 1) % 6}/1.png 0" for a in range(6)]
    (tmp_path / "near.txt").write_text("\n".join(lines))
    (tmp_path / "all.txt").write_text("\n".join(f"p{a}/{k}.png" for a in range(6) for k in range(2)))
    write_tiny(tmp_path / "tiny.onnx")
    document = {
        "models": ["tiny.onnx"],
        "thresholds": "published",
        "protocols": [
            {"protocol": "pairs:near.txt", "data": "faces", "folds": 3},
            {"protocol": "names:all.txt", "data": "faces", "folds": 2},
        ],
    }
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_one_table_of_what_evaluate_gives(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = run_whyface(monkeypatch, capsys, "test", str(config), "--out", str(tmp_path / "out.json"))
    assert code == 0
    head, line = text.splitlines()
    assert head.split() == ["model", "score", "near", "all"]
    assert line.startswith("tiny   cosine")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    given = ["--protocol", f"pairs:{tmp_path / 'near.txt'}", "--data", str(tmp_path / "faces"), "--folds", "3"]
    given += ["--model", str(tmp_path / "tiny.onnx"), "--thresholds", "published", "--replicates", "100", "--json"]
    _, report, _ = run_whyface(monkeypatch, capsys, "evaluate", *given)
    assert results[0]["accuracy"] == json.loads(report)["results"]["cosine"]["accuracy"]
    assert results[1]["pairs"] == 6 + 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "tiny.onnx"}, "did you mean 'models'"),
        ({"thresholds": "best"}, "exact or published"),
        ({"models": []}, "list of models"),
        ({"mirror": "yes"}, "of type bool"),
        ({"protocols": [{"data": "faces"}]}, "has no name"),
        ({"protocols": [{"protocol": "lfv"}]}, "did you mean 'lfw'"),
        ({"protocols": [{"protocol": "lfw", "folds": True}]}, "of type int"),
        ({"protocols": ["lfw"]}, "keys and values"),
    ],
)
def test_mistakes_in_the_file(
    config: Path,
    change: dict[str, object],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **change}))
    assert_refused(monkeypatch, capsys, message, "test", str(config))


def test_the_example_is_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, _ = run_whyface(monkeypatch, capsys, "test", "--print-config")
    (tmp_path / "suite.yaml").write_text(text)
    assert_refused(monkeypatch, capsys, "lfw-aligned-112.tar", "test", str(tmp_path / "suite.yaml"))
    assert_refused(monkeypatch, capsys, "give a configuration", "test")
