"""Published checkpoints as networks of ours: equal to the graph of their authors, and hostile files refused."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from helpers.command_line import assert_refused, run_whyface
from helpers.published_networks import (
    Made,
    ir_embedding,
    ir_tensors,
    iresnet_embedding,
    iresnet_tensors,
    xcos_maps,
    xcos_tensors,
)
from whyface.errors import InputError, ModelError
from whyface.models.backbones import MobileFaceNet
from whyface.models.heads import GdcHead
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.train.foreign import import_network, read_checkpoint
from whyface.train.networks import FcNetwork
from whyface.train.teachers import FrozenNetwork, open_teacher
from whyface.xcos.learned import XcosNetwork

SHALLOW = (2, 2, 2, 2)
LARGE = Path(__file__).parents[2] / "../shared/weights/mobilefacenet-large.onnx"


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 255


def scaled(faces: torch.Tensor, *, bgr: bool = False) -> torch.Tensor:
    return (faces.flip(1) if bgr else faces) / 127.5 - 1


@pytest.mark.parametrize("depth", [SHALLOW, pytest.param((3, 4, 14, 3), marks=pytest.mark.slow)])
@torch.no_grad()
def test_the_authors_checkpoint_gives_their_maps(tmp_path: Path, faces: torch.Tensor, depth: tuple[int, ...]) -> None:
    state = xcos_tensors(depth)
    path = tmp_path / "accu_9931_Arcface.pth"
    torch.save({"state_dict": OrderedDict(state)}, path)
    network, config = import_network(path, "xcos")
    assert isinstance(network, XcosNetwork)
    assert config.se
    assert config.activation == "prelu"
    found = network(faces[:1], faces[1:])
    # Measured on BGR by its authors, so that is what it is taken to expect.
    for one, other in zip(found, xcos_maps(state, *torch.split(scaled(faces, bgr=True), 1)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    in_rgb, _ = import_network(path, "xcos", order="rgb")
    expected = xcos_maps(state, *torch.split(scaled(faces), 1))[2]
    torch.testing.assert_close(in_rgb(faces[:1], faces[1:])[2], expected, atol=1e-5, rtol=0)
    teacher, _ = import_network(path, "ir")
    expected = ir_embedding(state, "backbone_target.", scaled(faces))
    torch.testing.assert_close(teacher.features(faces), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_backbones_of_others(tmp_path: Path, faces: torch.Tensor) -> None:
    made = Made(2)
    ir_tensors(made, SHALLOW, prefix="", se=False)
    torch.save({f"module.{name}": tensor for name, tensor in made.state.items()}, tmp_path / "model_ir.pth")
    network, config = import_network(tmp_path / "model_ir.pth", "ir")
    assert isinstance(network, FcNetwork)
    assert not config.se
    torch.testing.assert_close(network.features(faces), ir_embedding(made.state, "", scaled(faces)), atol=1e-5, rtol=0)
    state = iresnet_tensors(SHALLOW)
    save_file(state, tmp_path / "backbone.safetensors")
    network, config = import_network(tmp_path / "backbone.safetensors", "insightface")
    assert config.units == "insightface"
    torch.testing.assert_close(network.features(faces), iresnet_embedding(state, scaled(faces)), atol=1e-5, rtol=0)


def test_the_command_makes_a_model_that_is_a_torch_teacher(
    tmp_path: Path, faces: torch.Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    # Few blocks are exported sooner.
    monkeypatch.setattr("whyface.models.backbones._STAGES", ((1, 16, 2, 2), (1, 16, 1, 2), (1, 16, 1, 2)))
    backbone, head = MobileFaceNet().eval(), GdcHead().eval()
    checkpoint, out = str(tmp_path / "mobile.pt"), str(tmp_path / "mobile")
    torch.save({"model": {**backbone.state_dict(), **head.state_dict()}}, checkpoint)
    code, text, _ = run_whyface(monkeypatch, capsys, "import", "mobilefacenet", checkpoint, "--out", out)
    assert code == 0
    assert "mobile.onnx" in text
    teacher = open_teacher(out)
    assert isinstance(teacher, FrozenNetwork)
    with torch.no_grad():
        expected = head(backbone(faces))
    torch.testing.assert_close(teacher(faces), expected, atol=1e-5, rtol=0)
    assert_refused(monkeypatch, capsys, "known: xcos", "import", "resnet", checkpoint, "--out", out)
    assert_refused(monkeypatch, capsys, "rgb or bgr", "import", "xcos", checkpoint, "--out", out, "--order", "gbr")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


@pytest.mark.parametrize(
    "content", [{"state_dict": Harmful()}, {"epoch": 3}, [1, 2], {"config": Path("x"), "state_dict": {}}]
)
def test_checkpoints_with_more_than_tensors_are_refused(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    with pytest.raises(ModelError):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError):
        read_checkpoint(path)
    assert "run" not in capsys.readouterr().out.split()


def test_files_of_another_network(tmp_path: Path) -> None:
    state = iresnet_tensors(SHALLOW)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="another kind"):
        import_network(tmp_path / "a.safetensors", "xcos")
    save_file({**state, "odd": torch.zeros(1)}, tmp_path / "b.safetensors")
    save_file({name: value for name, value in state.items() if name != "fc.bias"}, tmp_path / "c.safetensors")
    with pytest.raises(ModelError, match="lacks 1"):
        import_network(tmp_path / "c.safetensors", "insightface")
    save_file({**state, "conv1.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "d.safetensors")
    with pytest.raises(ModelError, match="shape"):
        import_network(tmp_path / "d.safetensors", "insightface")
    with pytest.raises(InputError, match="unknown kind"):
        import_network(tmp_path / "a.safetensors", "vgg")  # type: ignore[arg-type]
    (tmp_path / "e.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="ONNX"):
        import_network(tmp_path / "e.onnx", "mobilefacenet-large")


@pytest.mark.skipif(not LARGE.exists(), reason="needs the weights in ../shared")
def test_the_graph_of_mobilefacenet_large_is_read(faces: torch.Tensor) -> None:
    network, _ = import_network(LARGE, "mobilefacenet-large")
    with torch.no_grad():
        found = network.features(faces)
    expected = torch.from_numpy(OnnxEmbedder(LARGE, threads=1).embed(faces.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
