"""Trunk and weighed head as files, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from helpers.factorised_reference import factorised_scores
from helpers.tiny_torch import random_faces
from weighed_files import PLACED, round_placed, write_weighed
from whyface.errors import ModelError, OutputError
from whyface.models.catalogue import read_entry
from whyface.models.placed_fc import PlacedFcHead, PlaceLogits, WeighedHead, WeighedNetwork
from whyface.models.weights import load_with_graph
from whyface.xcos.model import open_xcos

WORDS: dict[str, Any] = {"licence": "MIT", "training_data": "made up", "source": "a test"}


def tiny(seed: int = 0) -> WeighedNetwork:
    """Give a trunk whose weights are whole numbers times a power of two, and a placed head with trained-looking u."""
    torch.manual_seed(seed)
    pointwise = nn.Conv2d(3, 96, 1)
    trunk = nn.Sequential(nn.AvgPool2d(16), pointwise, nn.PReLU(96))
    head = WeighedHead(PlacedFcHead(96, (7, 7), 16, grid_channels=4, context=3), PlaceLogits(4, hidden=5))
    with torch.no_grad():
        pointwise.weight.copy_(torch.randint(-128, 128, (96, 3, 1, 1)) / 2**13)
        for tensor in (*head.head.parameters(), *head.logits.parameters()):
            tensor.copy_(torch.randn(tensor.shape) * 0.3)
    return WeighedNetwork(trunk, head).eval()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[WeighedNetwork, Path]:
    network = tiny()
    round_placed(network.head)
    folder = tmp_path_factory.mktemp("model")
    write_weighed(network, folder, name="tiny", correlated=np.full((7, 7), 0.5, np.float32), **WORDS)
    return network, folder


def test_the_files_are_the_network(written: tuple[WeighedNetwork, Path]) -> None:
    network, folder = written
    faces = random_faces(3)
    with torch.no_grad():
        expected = network(torch.from_numpy(faces).float()).numpy()
    model = open_xcos(read_entry(folder))
    assert model.attentions == ("u", "p", "l")
    grids = model.grid(faces)
    np.testing.assert_allclose(grids, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(grids.reshape(3, -1), axis=1), 1, rtol=1e-5)
    maps = model.compare_grids(grids[:1], grids[1:2])
    np.testing.assert_allclose(maps.score, factorised_scores(grids[:1], grids[1:2])[0], atol=1e-6)


def test_the_large_tensors_are_int8(written: tuple[WeighedNetwork, Path]) -> None:
    network, folder = written
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(folder / "tiny.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds[f"{PLACED}.int8"] == onnx.TensorProto.INT8
    assert kinds["backbone.1.weight.int8"] == onnx.TensorProto.INT8
    numbers = sum(parameter.numel() for parameter in network.parameters())
    assert (folder / "tiny.onnx").stat().st_size < 2 * numbers


def test_both_files_are_the_torch_network_again(written: tuple[WeighedNetwork, Path]) -> None:
    network, folder = written
    other = tiny(seed=1)
    load_with_graph(other, folder / "tiny.onnx", folder / "tiny.safetensors")
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-6, atol=1e-8)
    with pytest.raises(ModelError, match="misses"):
        load_with_graph(nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": network.head}), *_files(folder))
    with pytest.raises(ModelError, match="ONNX"):
        load_with_graph(other, folder / "tiny.safetensors", folder / "tiny.safetensors")


def _files(folder: Path) -> tuple[Path, Path]:
    return folder / "tiny.onnx", folder / "tiny.safetensors"


def test_rounding_says_what_it_loses() -> None:
    network = tiny()
    place = network.head.head.get_parameter("place")
    before = place.clone()
    lost = round_placed(network.head)
    step = before.abs().amax(dim=(1, 2), keepdim=True) / 127
    assert bool(((place - before).abs() <= 0.5001 * step).all())
    assert lost == pytest.approx(float((place - before).norm() / before.norm()))
    assert round_placed(network.head) < 1e-6


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        write_weighed(tiny(), tmp_path / "file", name="tiny", **WORDS)
