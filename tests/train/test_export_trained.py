"""Exported networks: the same numbers as torch, and usable by name of their folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from whyface.errors import ModelError, OutputError
from whyface.explain.gradient_method import GradientMethod, XcosScore
from whyface.explain.methods import open_method
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.torch_files import torch_entry
from whyface.models.weights import save_safetensors
from whyface.train.config import NetworkConfig
from whyface.train.export import export_trained
from whyface.train.networks import build_network
from whyface.train.run_files import describe_trained
from whyface.verification import Verifier
from whyface.xcos.model import CORRELATED_TENSOR, XcosModel
from whyface.xcos.open_model import open_model

pytestmark = pytest.mark.usefixtures("small_backbones")


def trained(path: Path, head: str, *, correlated: bool = False) -> Path:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate({"head": head})
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.uniform_(0.5, 1.5)
    more = {CORRELATED_TENSOR: torch.linspace(0.1, 0.9, 49).view(7, 7)} if correlated else {}
    save_safetensors({**network.state_dict(), **more}, path, describe_trained(config, step=1))
    return path


@pytest.mark.parametrize("head", ["grid", "placed"])
def test_an_xcos_network(tmp_path: Path, head: str) -> None:
    source = trained(tmp_path / "network.safetensors", head, correlated=head == "grid")
    report = export_trained(source, tmp_path / "mine", name="mine")
    assert report.faces <= 1e-4
    assert report.pair is not None
    assert report.pair <= 1e-5
    opened = open_model(tmp_path / "mine")
    assert isinstance(opened.model, XcosModel)
    assert opened.model.attentions == (("u", "p", "l") if head == "grid" else ("u", "l"))
    batch = np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112)).astype(np.uint8)
    one = opened.model.compare(batch, batch[::-1].copy(), "l")
    assert one.attention.sum(axis=(1, 2)) == pytest.approx(1, abs=1e-5)
    assert one.score[1] == pytest.approx(1, abs=1e-5)
    verifier = Verifier(tmp_path / "mine", threshold=0.3)
    assert verifier.method.name == "xcos"
    # Methods with gradients run on the folder's torch network, whose score is the same.
    gradients = open_method("gradcam", verifier.method)
    assert isinstance(gradients, GradientMethod)
    assert isinstance(gradients.score, XcosScore)
    maps = gradients.maps(batch[:2], batch[1:])
    np.testing.assert_allclose(maps.score, opened.model.compare(batch[:2], batch[1:], "l").score, atol=1e-5)
    assert np.ptp(maps.map_a) > 0


@pytest.fixture(scope="module")
def baseline(small_backbones: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network and its export in ``base``: PyTorch's exporter takes seconds."""
    folder = tmp_path_factory.mktemp("baseline")
    trained(folder / "network.safetensors", "fc")
    assert export_trained(folder, folder / "base", name="base").pair is None
    return folder


def test_a_baseline_which_has_no_threshold_and_asks_for_one(baseline: Path, tmp_path: Path) -> None:
    shutil.copytree(baseline / "base", tmp_path / "base")
    opened = open_model(str(tmp_path / "base"))
    assert isinstance(opened.model, OnnxEmbedder)
    assert open_model(tmp_path / "base" / "base.onnx").entry is not None
    assert torch_entry(opened.model) is not None
    (tmp_path / "base" / "base.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        torch_entry(opened.model)
    assert json.loads((tmp_path / "base" / "model.json").read_text())["models"][0]["kind"] == "cosine"
    with pytest.raises(ModelError, match="threshold"):
        Verifier(tmp_path / "base")


def test_bad_sources_and_targets(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not written by whyface train"):
        export_trained(tmp_path, tmp_path / "x", name="x")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        export_trained(trained(tmp_path / "network.safetensors", "fc"), tmp_path / "file", name="x")


def test_a_graph_that_differs_is_refused(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy_graph(backbone: object, head: object, path: Path, **options: object) -> None:
        shutil.copy(baseline / "base" / "base.onnx", path)

    monkeypatch.setattr("whyface.train.export.export_faces", copy_graph)
    export_trained(baseline, tmp_path / "same", name="x")
    other = load_file(baseline / "network.safetensors")
    other["head.conv3.bias"] = other["head.conv3.bias"] + 0.01
    config = NetworkConfig.model_validate({"head": "fc"})
    save_safetensors(other, tmp_path / "network.safetensors", describe_trained(config, step=1))
    with pytest.raises(ModelError, match="differs from torch"):
        export_trained(tmp_path, tmp_path / "x", name="x")
