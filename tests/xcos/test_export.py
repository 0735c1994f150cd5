"""ONNX graphs against torch and the plain-array reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helpers.attention_reference import learned_attention
from whyface.models.heads import GridHead
from whyface.onnx_runtime import onnx_runtime
from whyface.xcos import grid as plain
from whyface.xcos.export import export_faces, export_pair, fold_norms
from whyface.xcos.learned import LearnedAttention, XcosNetwork


def small_network() -> XcosNetwork:
    torch.manual_seed(0)
    backbone = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 16, 16, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    network = XcosNetwork(backbone, GridHead(8, grid_channels=4), LearnedAttention(4, hidden=2, temperature=0.5))
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def test_graphs_equal_torch_and_reference(tmp_path: Path) -> None:
    network = small_network()
    export_faces(network.backbone, network.head, tmp_path / "faces.onnx")
    export_pair(network.xcos.attention, tmp_path / "pair.onnx", channels=4)
    faces = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 255
    session = onnx_runtime().InferenceSession(tmp_path / "faces.onnx", providers=["CPUExecutionProvider"])
    (grid,) = session.run(["grid"], {"faces": faces.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(grid, network.features(faces).numpy(), rtol=1e-5, atol=2e-4)
    pair = onnx_runtime().InferenceSession(tmp_path / "pair.onnx", providers=["CPUExecutionProvider"])
    similarity, attention, score = pair.run(
        ["similarity", "attention", "score"], {"grid_a": grid, "grid_b": grid[::-1].copy()}
    )
    tensors = {k: v.numpy() for k, v in network.xcos.attention.state_dict().items()}
    np.testing.assert_allclose(similarity, plain.grid_cosine(grid, grid[::-1]), atol=1e-5)
    expected = learned_attention(grid, grid[::-1], tensors, temperature=0.5)
    np.testing.assert_allclose(attention, expected, atol=1e-5)
    np.testing.assert_allclose(score, plain.xcos_score(similarity, attention), atol=1e-5)


def test_folding_changes_nothing_but_the_norms() -> None:
    network = small_network()
    folded = fold_norms(network.backbone)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.backbone.modules())
    faces = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        np.testing.assert_allclose(folded(faces).numpy(), network.backbone(faces).numpy(), atol=1e-5)
