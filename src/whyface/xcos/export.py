"""Export torch networks to ONNX: a per-face graph and a pair graph (needs the extra ``torch``).

There are two graphs, so that a face passes through the backbone once, however many faces it is compared with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from whyface.errors import OutputError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import write_atomic
from whyface.models.heads import flatten_grid
from whyface.xcos.learned import LearnedAttention, Xcos, XcosOutput

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
    """Return a copy of a module in eval mode, with every BatchNorm folded into the convolution before it."""
    folded: nn.Module = fuse(copy.deepcopy(module).eval())
    return folded


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: list[str]) -> Any:
    """Convert a module to an ONNX message (``onnx.ModelProto``) whose first dimensions are one free batch size.

    Raise OutputError if PyTorch cannot export the module.
    """
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
        raise OutputError(f"{type(module).__name__}: PyTorch could not export the network to ONNX")
    model = program.model_proto
    clear_notes(model)
    return model


def clear_notes(model: Any) -> None:
    """Remove the exporter's notes on source lines and shapes, which do not belong in a released file."""
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    model.doc_string = ""


class _FaceGraph(nn.Module):
    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, faces: Tensor) -> Tensor:
        features: Tensor = self.head(self.backbone(faces))
        return features


class WithEmbedding(nn.Module):
    """A module that returns a grid and its embedding: the grid flattened in C, H, W order, L2-normalised."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return grid (N, C, H, W) and embedding (N, C * H * W)."""
        grid: Tensor = self.module(x)
        return grid, flatten_grid(grid)


def export_faces(
    backbone: nn.Module,
    head: nn.Module,
    path: Path | str,
    *,
    output: str = "grid",
    embedding: bool = False,
    fold: bool = True,
) -> None:
    """Write the per-face graph: ``faces`` (n, 3, 112, 112) float32 0..255 -> ``grid`` (or another name).

    Raise OutputError if the network cannot be exported or the file cannot be written.

    Parameters
    ----------
    backbone, head
        Faces -> map -> grid (or embedding).
    embedding
        Add the output ``embedding``: the grid flattened and L2-normalised.
    fold
        Fold BatchNorms into convolutions, which needs a module that torch.fx can trace. ONNX Runtime folds them when
        it opens the file, so that without this option the file is only a little larger.
    """
    faces = torch.rand(2, 3, FACE_SIZE, FACE_SIZE) * 255
    module: nn.Module = _FaceGraph(backbone, head).eval()
    module = fold_norms(module) if fold else module
    outputs = [output, "embedding"] if embedding else [output]
    model = to_onnx(WithEmbedding(module) if embedding else module, {"faces": faces}, outputs)
    write_atomic(path, model.SerializeToString())


def export_pair(
    attention: LearnedAttention, path: Path | str, *, channels: int = 32, cells: int | tuple[int, int] = 7
) -> None:
    """Write the pair graph: ``grid_a``, ``grid_b`` (n, C, H, W) -> ``similarity``, ``attention``, ``score``.

    Raise OutputError if the file cannot be written.
    """
    height, width = (cells, cells) if isinstance(cells, int) else cells
    grids = {name: torch.randn(2, channels, height, width) for name in ("grid_a", "grid_b")}
    model = to_onnx(_PairGraph(attention), grids, ["similarity", "attention", "score"])
    write_atomic(path, model.SerializeToString())
