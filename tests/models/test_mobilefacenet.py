"""The MobileFaceNet trunk: shape, size, tensor names, normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiny_networks import shared_weights
from whyface.models.backbones import MEAN, STD, LargeMobileFaceNet, MobileFaceNet
from whyface.models.heads import GdcHead
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.onnx_runtime import onnx_runtime
from whyface.train.networks import mobilefacenet_teacher, read_safetensors, split_state

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


def test_the_large_trunk_is_that_of_the_published_network() -> None:
    onnx = pytest.importorskip("onnx")
    path = shared_weights("mobilefacenet-large.onnx")
    graph = onnx.load(path).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in graph.initializer}
    trunk = LargeMobileFaceNet().eval()
    layers = [module for module in trunk.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    nodes = [node for node in graph.node if node.op_type in {"Conv", "PRelu"}]
    # In the order in which they run.
    for layer, node in zip(layers, nodes, strict=True):
        for parameter, name in zip(layer.parameters(), node.input[1:], strict=True):
            parameter.data = torch.from_numpy(tensors[name]).reshape(parameter.shape)
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112), np.uint8)
    expected = OnnxEmbedder(path, grid="/m/PRelu_33_output_0").grid(faces)
    with torch.no_grad():
        found = trunk(torch.from_numpy(faces).float()).numpy()
    assert found.shape == (2, trunk.out_channels, 7, 7)
    np.testing.assert_allclose(found, expected, atol=2e-5)
