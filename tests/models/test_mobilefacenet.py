"""The MobileFaceNet trunk: shape, size, tensor names, normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny_networks import shared_weights
from whyface.models.backbones import (
    MEAN,
    STD,
    LargeMobileFaceNet,
    MobileFaceNet,
    PreluMobileFaceNet,
    SmallMobileFaceNet,
)
from whyface.models.heads import GdcHead
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.onnx_runtime import onnx_runtime
from whyface.train.networks import read_safetensors, split_state
from whyface.train.teachers import mobilefacenet_teacher

WEIGHTS = Path(__file__).parents[2] / "../shared/weights"


def test_shape_and_range() -> None:
    torch.manual_seed(0)
    network = MobileFaceNet().eval()
    with torch.no_grad():
        features = network(torch.rand(2, 3, 112, 112) * 255)
    assert features.shape == (2, 512, 7, 7)
    assert features.min() >= 0
    assert features.max() <= 6


def test_parameters_of_trunk_and_head_make_one_million() -> None:
    count = sum(p.numel() for module in (MobileFaceNet(), GdcHead()) for p in module.parameters())
    assert 0.9e6 < count < 1.1e6


def test_normalisation_is_inside() -> None:
    network = MobileFaceNet().eval()
    seen: list[torch.Tensor] = []
    network.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    faces = torch.full((1, 3, 112, 112), 51.0)
    with torch.no_grad():
        network(faces)
    expected = [(51 / 255 - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
    np.testing.assert_allclose(seen[0][0, :, 0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs the weights in ../shared")
def test_published_tensors_give_the_published_embedding() -> None:
    tensors = read_safetensors(WEIGHTS / "mobilefacenet-ms1m.safetensors")
    split_state(tensors, {"backbone": MobileFaceNet(), "head": GdcHead()}, "ms1m")
    faces = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255
    embedding = mobilefacenet_teacher(WEIGHTS / "mobilefacenet-ms1m.safetensors")(faces)
    session = onnx_runtime().InferenceSession(WEIGHTS / "mobilefacenet-ms1m.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": faces.numpy()})
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedding.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "trunk", "grid", "how"),
    [
        ("mobilefacenet-large.onnx", LargeMobileFaceNet(), "/m/PRelu_33_output_0", RAW),
        (
            "mobilefacenet192.onnx",
            SmallMobileFaceNet(),
            "MobileFaceNet/MobileFaceNet/Conv2d_7/add",
            Preprocessing((127.5,) * 3, (128.0,) * 3),
        ),
    ],
)
def test_a_trunk_is_that_of_the_published_network(
    file: str, trunk: PreluMobileFaceNet, grid: str, how: Preprocessing
) -> None:
    pytest.importorskip("onnx")
    from train_large import load_trunk

    path = shared_weights(file)
    load_trunk(path, trunk)
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112), np.uint8)
    expected = OnnxEmbedder(path, grid=grid, preprocessing=how).grid(faces)
    with torch.no_grad():
        found = trunk(torch.from_numpy(faces).float()).numpy()
    assert found.shape == (2, trunk.out_channels, 7, 7)
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(1, np.abs(expected).max()))
