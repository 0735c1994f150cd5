"""Tiny ONNX face networks whose answers can be worked out by hand, for the tests beside this file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.models.own_network import demo_crops
from whyface.models.preprocessing import RAW, Preprocessing

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


def write_face_network(
    path: Path,
    *,
    preprocessing: Preprocessing = RAW,
    size: int | str = 112,
    channels_last: bool = False,
    norm_first: bool = False,
) -> Path:
    """Write a network that tells the two men of the demo photos apart, fed as it wants to be.

    The picture is averaged over 7 x 7 places (tensor ``map``), and a linear layer turns the two photos of one man into
    (1, 0) and the other man's into (0, 1). Fed on another scale, all faces come out near (5, 5). With `norm_first` the
    first output is the embedding's length, (N, 1).
    """
    onnx = pytest.importorskip("onnx", reason="needs onnx (the extra torch)")
    helper, types = onnx.helper, onnx.TensorProto
    side = size if isinstance(size, int) else 112
    pool = side // 7
    crops = [cv2.resize(crop.transpose(1, 2, 0), (side, side)) for crop in preprocessing.apply(demo_crops())]
    cut = np.stack(crops)[:, : 7 * pool, : 7 * pool].reshape(3, 7, pool, 7, pool, 3)
    places = cut.mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(3, -1)
    weights = np.linalg.pinv(places) @ (np.array([[1, 0], [1, 0], [0, 1]]) - 5)
    shape = [size, size, 3] if channels_last else [3, size, size]
    nodes = [helper.make_node("Transpose", ["x"], ["image"], perm=[0, 3, 1, 2])] if channels_last else []
    nodes += [
        helper.make_node(
            "AveragePool", ["image" if channels_last else "x"], ["map"], kernel_shape=[pool] * 2, strides=[pool] * 2
        ),
        helper.make_node("Flatten", ["map"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["y"]),
        helper.make_node("ReduceL2", ["y"], ["norm"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "face",
        [helper.make_tensor_value_info("x", types.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(one, types.FLOAT, None) for one in (["norm", "y"] if norm_first else ["y"])],
        [
            onnx.numpy_helper.from_array(weights.astype(np.float32), "weights"),
            onnx.numpy_helper.from_array(np.full(2, 5, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
