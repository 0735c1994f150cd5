"""Tiny ONNX face networks whose answers can be worked out by hand, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

_SHARED_WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "weights"


def shared_weights(name: str) -> Path:
    """Path of a published network, or skip the test."""
    path = _SHARED_WEIGHTS / name
    if not path.is_file():
        pytest.skip(f"needs the published network ../shared/weights/{name}")
    return path


def flat_faces(*colours: Sequence[int]) -> NDArray[np.uint8]:
    """One face of a single RGB colour each."""
    batch = np.empty((len(colours), 3, 112, 112), np.uint8)
    batch[:] = np.asarray(colours, np.uint8).reshape(-1, 3, 1, 1)
    return batch


def write_tiny(
    path: Path,
    *,
    batch: int | str = "n",
    size: Sequence[int | str] = (3, 112, 112),
    elem: str = "FLOAT",
    weights: Any = ((1, 2, 3), (4, 5, 6)),
    offset: float = 0.0,
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("x",),
    edit: Callable[[Any], None] | None = None,
) -> Path:
    """Write a network: 16 x 16 average pooling, a 1 x 1 convolution, the mean over the grid.

    x (N, 3, 112, 112) -> pooled (N, 3, 7, 7) -> map (N, 2, 7, 7) -> y (N, 2, 1, 1); with the default weights
    map[0] = 1 r + 2 g + 3 b and map[1] = 4 r + 5 g + 6 b + offset. `edit` may change the message before it is
    written.
    """
    onnx = pytest.importorskip("onnx", reason="needs onnx (the extra torch)")
    helper, types = onnx.helper, onnx.TensorProto
    kernel = np.asarray(weights, np.float32).reshape(2, 3, 1, 1)
    bias = np.array([0, offset], np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["pixels"], to=types.FLOAT),
        helper.make_node("AveragePool", ["pixels"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Conv", ["pooled", "kernel", "bias"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(one, types.DataType.Value(elem), [batch, *size]) for one in inputs],
        [helper.make_tensor_value_info(one, types.FLOAT, None) for one in outputs],
        [onnx.numpy_helper.from_array(kernel, "kernel"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if edit is not None:
        edit(model)
    path.write_bytes(model.SerializeToString())
    return path
