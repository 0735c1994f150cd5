"""One way to open models, for verify and for evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.tiny_networks import write_tiny
from whyface.errors import InputError, ModelError
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import ARCFACE, RAW
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import attention_kind, known_entry, open_model


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny.onnx")


def test_an_own_network_compares_embeddings_unless_attention_is_asked_for(network: Path) -> None:
    plain = open_model(network, preprocessing=ARCFACE)
    assert (plain.name, plain.entry, plain.preprocessing) == ("tiny", None, ARCFACE)
    assert isinstance(plain.model, OnnxEmbedder)
    assert plain.sha256 == {"onnx": plain.model.sha256}
    uniform = open_model(str(network), attention="u", grid="map")
    assert isinstance(uniform.model, XcosModel)
    assert uniform.model.attentions == ("u",)
    assert uniform.preprocessing == RAW


def test_a_known_xcos_model_has_its_attention_without_being_asked() -> None:
    opened = open_model("xcos-mobilefacenet")
    assert isinstance(opened.model, XcosModel)
    assert opened.model.attentions == ("u", "p", "l")
    assert opened.entry == known_entry("xcos-mobilefacenet")
    assert set(opened.sha256) >= {"onnx", "pair", "safetensors"}


def test_refusals(network: Path) -> None:
    with pytest.raises(ModelError, match="needs a grid"):
        open_model(network, attention="u")
    with pytest.raises(ModelError, match="has no attention 'l'"):
        open_model(network, attention="l", grid="map")
    with pytest.raises(InputError, match="attention must be u"):
        open_model(network, attention="x", grid="map")
    with pytest.raises(InputError, match="on record"):
        open_model("xcos-mobilefacenet", grid="map")
    with pytest.raises(ModelError, match="did you mean 'xcos-mobilefacenet'"):
        open_model("xcos-mobilfacenet")
    with pytest.raises(InputError, match="got 'v'"):
        attention_kind("v")
