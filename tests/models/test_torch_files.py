"""Torch networks from a file and a backbone: the same embeddings, and gradients from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

import torch
from safetensors.torch import save_file
from torch import nn

from helpers.command_line import assert_refused, run_whyface
from helpers.tiny_torch import random_faces
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.models.backbones import IResNet, MobileFaceNet
from whyface.models.embedder import l2_normalise
from whyface.models.heads import FcHead, GdcHead
from whyface.models.torch_files import open_torch_file, open_trained_file
from whyface.models.weights import save_safetensors
from whyface.train.config import NetworkConfig
from whyface.train.networks import build_network
from whyface.train.run_files import describe_trained
from whyface.xcos.open_model import open_model, torch_file

pytestmark = pytest.mark.usefixtures("small_backbones")

PHOTOS = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "biden-portrait.jpg")]


def parts(backbone: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    if backbone == "mobilefacenet":
        return MobileFaceNet().eval(), GdcHead().eval()
    return IResNet(18, se=backbone.endswith("-se")).eval(), FcHead().eval()


def write(path: Path, backbone: str, prefixes: tuple[str, str] = ("", "")) -> tuple[nn.Module, nn.Module]:
    made = parts(backbone)
    tensors = {
        f"{prefix}{name}": tensor.contiguous()
        for part, prefix in zip(made, prefixes, strict=True)
        for name, tensor in part.state_dict().items()
    }
    save_file(tensors, path)
    return made


@pytest.mark.parametrize("prefixes", [("", ""), ("backbone.", "head.")])
def test_mobilefacenet(tmp_path: Path, prefixes: tuple[str, str]) -> None:
    trunk, head = write(tmp_path / "net.safetensors", "mobilefacenet", prefixes)
    found = open_torch_file(tmp_path / "net.safetensors", "mobilefacenet")
    faces = random_faces(2)
    with torch.no_grad():
        expected = head(trunk(torch.from_numpy(faces).float())).numpy()
    np.testing.assert_allclose(found.embed(faces), l2_normalise(expected), atol=1e-5)
    assert (found.name, len(found.sha256)) == ("net", 64)


@pytest.mark.parametrize(
    ("backbone", "prefixes"),
    [("iresnet18", ("", "")), ("iresnet18-se", ("", "")), ("iresnet18", ("backbone.trunk.", "head."))],
)
def test_iresnet_takes_pixels_from_minus_1_to_1(tmp_path: Path, backbone: str, prefixes: tuple[str, str]) -> None:
    trunk, head = write(tmp_path / "net.safetensors", backbone, prefixes)
    faces = random_faces(2)
    with torch.no_grad():
        expected = head(trunk(torch.from_numpy(faces).float() / 127.5 - 1)).numpy()
    found = open_torch_file(tmp_path / "net.safetensors", backbone).embed(faces)
    np.testing.assert_allclose(found, l2_normalise(expected), atol=1e-5)


def test_iresnet_that_was_trained_on_other_pixels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(backbone="iresnet18", head="fc", pixels=128)
    network = build_network(config).eval()
    save_safetensors(network, tmp_path / "net.safetensors", describe_trained(config))
    faces = random_faces(1)
    with torch.no_grad():
        expected = network.features(torch.from_numpy(faces).float()).numpy()
    found = open_torch_file(tmp_path / "net.safetensors", "iresnet18").embed(faces)
    np.testing.assert_allclose(found, l2_normalise(expected), atol=1e-5)
    save_safetensors(network, tmp_path / "odd.safetensors", {"whyface": '{"network": {"pixels": 0}}'})
    with pytest.raises(ModelError, match="description"):
        open_torch_file(tmp_path / "odd.safetensors", "iresnet18")


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "iresnet18", "se": True, "activation": "none", "grid_norm": False, "pixels": 128},
        {"backbone": "iresnet18", "units": "insightface", "head": "fc"},
        {"backbone": "mobilefacenet", "head": "placed"},
        {"backbone": "mobilefacenet-large", "head": "fc"},
    ],
    ids=lambda found: found["backbone"] + found.get("units", ""),
)
def test_a_file_that_says_what_network_it_is(tmp_path: Path, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(settings)
    network = build_network(config).eval()
    save_safetensors(network, tmp_path / "net.safetensors", describe_trained(config))
    faces = random_faces(1)
    with torch.no_grad():
        expected = network.features(torch.from_numpy(faces).float()).numpy()
    found = open_trained_file(tmp_path / "net.safetensors")
    given = found.embed(faces) if config.head == "fc" else found.grid(faces)
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_a_file_that_does_not_say_what_network_it_is(tmp_path: Path) -> None:
    write(tmp_path / "net.safetensors", "mobilefacenet")
    with pytest.raises(ModelError, match="does not say"):
        open_trained_file(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("given", "backbone", "message"),
    [
        (
            "iresnet18",
            "iresnet20",
            "unknown backbone 'iresnet20'; known: mobilefacenet, mobilefacenet-large, iresnet18",
        ),
        ("iresnet18", "iresnet34", "lacks"),
        ("iresnet18", "iresnet18-se", "lacks"),
        ("iresnet18", "mobilefacenet", "name another backbone"),
    ],
)
def test_another_networks_file(tmp_path: Path, given: str, backbone: str, message: str) -> None:
    write(tmp_path / "net.safetensors", given)
    with pytest.raises(ModelError, match=message):
        open_torch_file(tmp_path / "net.safetensors", backbone)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no\.safetensors"):
        open_torch_file(tmp_path / "no.safetensors", "mobilefacenet")


@pytest.mark.parametrize("model", ["net.onnx", "C:net.safetensors", "folder", "a/b:c.safetensors", "xcos-large"])
def test_other_models_are_left_alone(model: str) -> None:
    assert torch_file(model) is None


def test_options_of_an_onnx_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "net.safetensors", "mobilefacenet")
    with pytest.raises(InputError, match="ONNX file"):
        open_model(f"mobilefacenet:{tmp_path / 'net.safetensors'}", preprocessing="raw")


def test_gradient_methods_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path / "net.safetensors", "mobilefacenet")
    own = ("--model", f"mobilefacenet:{tmp_path / 'net.safetensors'}")
    code, out, err = run_whyface(
        monkeypatch, capsys, "explain", *PHOTOS, *own, "--threshold", "0.3", "-m", "xssab,gradcam"
    )
    assert (code in (0, 1), err) == (True, "")
    assert "xssab (2 forward passes, 4 backward" in out
    assert_refused(monkeypatch, capsys, "no threshold", "verify", *PHOTOS, *own)
    wrong = f"iresnet18:{tmp_path / 'net.safetensors'}"
    assert_refused(monkeypatch, capsys, "name another", "verify", *PHOTOS, "--model", wrong, "--threshold", "0.3")
