"""From torch to ONNX: a per-face graph and a pair graph (needs the extra ``torch``).

Two graphs rather than one, so that a face is run through the backbone once however many partners it meets.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from whyface.errors import OutputError
from whyface.faces.face import FACE_SIZE
from whyface.models.atomic_write import write_atomic
from whyface.xcos.learned import LearnedAttention, Xcos, XcosNetwork, XcosOutput

OPSET: Final = 18


class _PairGraph(nn.Module):
    """The metric in primitive operations, with the convolution over the concatenation as published."""

    def __init__(self, attention: LearnedAttention) -> None:
        super().__init__()
        self.xcos = Xcos(attention)

    def forward(self, grid_a: Tensor, grid_b: Tensor) -> XcosOutput:
        output: XcosOutput = self.xcos(grid_a, grid_b)
        return output


def fold_norms(module: nn.Module) -> nn.Module:
    """Copy a module in eval mode with every BatchNorm folded into the convolution before it."""
    folded: nn.Module = fuse(copy.deepcopy(module).eval())
    return folded


def _export(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path | str) -> None:
    batch = torch.export.Dim("n", min=1)
    program: Any = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_shapes=tuple({0: batch} for _ in inputs),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise OutputError(f"{path}: the network could not be exported")
    model = program.model_proto
    # The exporter notes source lines and shapes of the machine it ran on; none of it belongs in a released file.
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    model.doc_string = ""
    write_atomic(path, model.SerializeToString())


class _FaceGraph(nn.Module):
    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, faces: Tensor) -> Tensor:
        features: Tensor = self.head(self.backbone(faces))
        return features


def export_faces(backbone: nn.Module, head: nn.Module, path: Path | str, *, output: str = "grid") -> None:
    """Write the per-face graph: ``faces`` (n, 3, 112, 112) float32 0..255 -> ``grid`` (or another name).

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    faces = torch.rand(2, 3, FACE_SIZE, FACE_SIZE) * 255
    _export(fold_norms(_FaceGraph(backbone, head)), {"faces": faces}, [output], path)


def export_pair(network: XcosNetwork, path: Path | str, *, channels: int = 32, cells: int = 7) -> None:
    """Write the pair graph: ``grid_a``, ``grid_b`` (n, C, H, W) -> ``similarity``, ``attention``, ``score``.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    grids = {name: torch.randn(2, channels, cells, cells) for name in ("grid_a", "grid_b")}
    module = _PairGraph(network.xcos.attention)
    _export(module, grids, ["similarity", "attention", "score"], path)
