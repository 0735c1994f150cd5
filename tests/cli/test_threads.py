"""A number of threads reaches every network that ONNX Runtime opens, whatever a command opens on the way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command_line import run_whyface
from helpers.tiny_networks import write_tiny
from whyface.batch.comparer import Comparer, ComparerSettings
from whyface.batch.pair_source import PhotoPair
from whyface.demo import demo_photo
from whyface.engines import _Worker
from whyface.faces import load as detectors
from whyface.faces.load import load_face
from whyface.models.catalogue import FAST_MODEL
from whyface.models.linear_head import linear_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.onnx_runtime import onnx_runtime
from whyface.verification import Verifier

A, B, OTHER = (str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg"))
DETECTOR, FACE, PAIR = "537", "grid", "similarity"


class Sessions(list[tuple[str, int]]):
    """First output and threads of every session that was opened."""

    @property
    def threads(self) -> set[int]:
        return {threads for _, threads in self}

    def has(self, *outputs: str) -> bool:
        return set(outputs) <= {output for output, _ in self}


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    opened = Sessions()
    real = onnx_runtime().InferenceSession

    def record(model: bytes, options: Any, **others: Any) -> Any:
        session = real(model, options, **others)
        opened.append((session.get_outputs()[0].name, options.intra_op_num_threads))
        return session

    monkeypatch.setattr(onnx_runtime(), "InferenceSession", record)
    detectors._kept_detector.cache_clear()
    yield opened
    detectors._kept_detector.cache_clear()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for person, photo in (("ann", A), ("bob", OTHER)):
        (tmp_path / "people" / person).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "people" / person / "1.jpg")
    return tmp_path / "people"


def test_a_verifier_gives_its_threads_to_the_detector_too(sessions: Sessions) -> None:
    Verifier(FAST_MODEL, threads=1)(A, B)
    assert sessions.has(DETECTOR, FACE, PAIR)
    assert sessions.threads == {1}


def test_another_number_opens_another_detector(sessions: Sessions) -> None:
    load_face(A, threads=2)
    load_face(A, threads=1)
    load_face(B, threads=2)
    assert sessions == [(DETECTOR, 2), (DETECTOR, 1)]


def test_a_worker_of_a_cluster(sessions: Sessions) -> None:
    worker = _Worker(partial(Comparer, ComparerSettings("xcos-mobilefacenet"), Path(A).parent, threads=1))
    (result,) = worker.run([PhotoPair(0, Path(A).name, Path(B).name)])
    assert result.verdict == "match"
    assert sessions.has(DETECTOR, FACE, PAIR)
    assert sessions.threads == {1}


def test_the_part_behind_the_grid(sessions: Sessions, tmp_path: Path) -> None:
    linear_head(OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), grid="map", threads=1))
    assert len(sessions) == 2
    assert sessions.threads == {1}


@pytest.mark.parametrize("command", ["verify", "explain", "words", "words FOLDER"])
def test_two_photos(
    command: str, sessions: Sessions, people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *_ = command.split()
    second = str(people) if "FOLDER" in command else OTHER
    options = {"explain": ["--method", "xcos"], "words": ["--draws", "19", "-a", "Smiling", "--model", FAST_MODEL]}.get(
        name, []
    )
    code, _, err = run_whyface(monkeypatch, capsys, name, A, second, "--threads", "1", *options)
    assert code in (0, 1), err
    assert sessions.has(DETECTOR, FACE)
    assert sessions.threads == {1}


def test_galleries(
    sessions: Sessions,
    people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gallery = str(tmp_path / "gallery")
    for arguments in (
        ("gallery", "enroll", gallery, str(people)),
        ("gallery", "add", gallery, "ann", B),
        ("gallery", "search", gallery, B),
        ("identify", B, "--gallery", gallery, "--figure", str(tmp_path / "f.png")),
    ):
        sessions.clear()
        detectors._kept_detector.cache_clear()
        code, _, err = run_whyface(monkeypatch, capsys, *arguments, "--threads", "1")
        assert code == 0, err
        assert sessions.has(DETECTOR, FACE)
        assert sessions.threads == {1}


def test_photographs_of_a_protocol(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from whyface.data.open_protocol import open_any_protocol, parse_protocol

    (tmp_path / "photos").mkdir()
    for name, photo in (("a.jpg", A), ("b.jpg", B), ("c.jpg", OTHER), ("d.jpg", OTHER)):
        shutil.copy(photo, tmp_path / "photos" / name)
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg 1\nc.jpg d.jpg 1\na.jpg c.jpg 0\nb.jpg d.jpg 0\n")
    opened = open_any_protocol(
        parse_protocol(f"pairs:{tmp_path / 'pairs.txt'}"), tmp_path / "photos", folds=2, align=True, threads=1
    )
    with opened:
        assert opened.source.read("a.jpg").dtype == np.uint8
    assert sessions == [(DETECTOR, 1)]
