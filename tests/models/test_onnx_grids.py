from __future__ import annotations

from pathlib import Path

import pytest

from helpers.tiny_networks import shared_weights, write_tiny
from whyface.errors import ModelError
from whyface.models.onnx_session import GridTensor, list_grids


def test_tiny_network(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", outputs=("y", "map"))
    assert list_grids(path) == [GridTensor("pooled", (3, 7, 7)), GridTensor("map", (2, 7, 7))]


def test_fixed_batch(tmp_path: Path) -> None:
    assert len(list_grids(write_tiny(tmp_path / "tiny.onnx", batch=2))) == 2


def test_not_a_network(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("text")
    with pytest.raises(ModelError, match="not a usable ONNX file"):
        list_grids(tmp_path / "a.onnx")


def test_real_network() -> None:
    found = list_grids(shared_weights("mobilefacenet-large.onnx"))
    assert found[-2:] == [
        GridTensor("/m/Conv_48_output_0", (64, 7, 7)),
        GridTensor("/m/PRelu_33_output_0", (64, 7, 7)),
    ]
    assert GridTensor("/m/PRelu_32_output_0", (512, 7, 7)) in found
