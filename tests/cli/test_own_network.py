"""Anybody's ONNX network behind verify: plain cosine, and uniform attention over an inner map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.tiny_networks import write_tiny
from whyface.errors import InputError, ModelError
from whyface.explain.provenance import ThresholdSource
from whyface.explain.verdict import VerdictMethod
from whyface.faces.load import load_face
from whyface.models.preprocessing import ARCFACE
from whyface.verification import Verifier
from whyface.xcos.open_model import open_model


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "net.onnx")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "red.png", tmp_path / "blue.png")
    for path, colour in zip(paths, ((200, 0, 0), (0, 0, 200)), strict=True):
        Image.new("RGB", (112, 112), colour).save(path)
    return paths


def test_cosine_by_hand(network: Path, photos: tuple[Path, Path]) -> None:
    # Red gives (1, 4), blue (3, 6), times 200.
    expected = (1 * 3 + 4 * 6) / np.sqrt(17 * 45)
    result = Verifier(network, accept_poor=True, threshold=0.5)(*photos, aligned=True)
    assert result.score == pytest.approx(expected, abs=1e-6)
    assert result.verdict == "match"
    assert not result.explanation.has_grid
    assert "set by the user" in result.explanation.threshold_source.describe()


def test_uniform_attention_over_the_inner_map(network: Path, photos: tuple[Path, Path]) -> None:
    opened = open_model(network, attention="u", grid="map")
    method = VerdictMethod(opened.comparison("u"), threshold=0.98, source=ThresholdSource())
    found = method((load_face(photos[0], aligned=True), load_face(photos[1], aligned=True)))
    assert found.score == pytest.approx(27 / np.sqrt(17 * 45), abs=1e-6)
    assert found.verdict == "no match"
    assert found.attention is not None
    np.testing.assert_allclose(found.attention, 1 / 49, atol=1e-7)
    # Verify takes no number for it: embeddings and maps score on different scales.
    with pytest.raises(ModelError, match="scores on a scale of its own"):
        Verifier(network, threshold=0.98, attention="u", grid="map")


def test_a_model_without_maps_still_makes_a_figure(network: Path, photos: tuple[Path, Path], tmp_path: Path) -> None:
    result = Verifier(network, accept_poor=True, threshold=0.5)(*photos, aligned=True)
    result.save_figure(tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width >= 1000


def test_what_an_own_network_needs(network: Path) -> None:
    with pytest.raises(ModelError, match="give one as a number"):
        Verifier(network)
    with pytest.raises(ModelError, match="needs a grid"):
        Verifier(network, accept_poor=True, threshold=0.5, attention="u")
    with pytest.raises(ModelError, match="no attention 'l'"):
        Verifier(network, accept_poor=True, threshold=0.5, attention="l", grid="map")


def test_own_options_are_not_for_known_models() -> None:
    with pytest.raises(InputError, match="on record"):
        Verifier(grid="map")
    with pytest.raises(InputError, match="on record"):
        Verifier(preprocessing=ARCFACE)


def test_known_cosine_model_without_its_file_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHYFACE_MODELS", raising=False)
    with pytest.raises(ModelError, match="WHYFACE_MODELS"):
        Verifier("mobilefacenet-ms1m", threshold=0.3)
