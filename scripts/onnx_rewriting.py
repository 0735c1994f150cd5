"""Make ONNX networks small on disk and fast in ONNX Runtime, without changing what they compute.

Weights that are small whole numbers times a power of two are stored as int8 with a ``DequantizeLinear`` node, which is
exact. PReLU, which ONNX Runtime cannot join with the convolutions around it, becomes ReLU and depthwise convolutions,
which it can. Needs the package ``onnx``, part of the extra ``torch``.

References
----------
``DequantizeLinear``: ONNX operators, version 13. He et al., "Delving Deep into Rectifiers", ICCV 2015 (PReLU).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from whyface.errors import InputError, ModelError
from whyface.models.weights import MINUS_ONE, NEGATED

LEAST_NUMBERS: Final = 256
"""Smaller tensors stay unchanged: an extra node would cost more than int8 saves."""

_LEAST_OPSET: Final = 13


def power_of_two_scale(weights: NDArray[np.floating[Any]]) -> float | None:
    """Find the scale s, a power of two, for which all weights are s times an int8 number.

    Returns
    -------
    The largest such scale, or None if there is none.
    """
    values = np.asarray(weights, np.float64)
    if not np.isfinite(values).all():
        return None
    numbers = values[values != 0]
    if not len(numbers):
        return 1.0
    mantissa, exponent = np.frexp(numbers)
    # float32 has 24 bits; the lowest bit that is set determines the step that the number needs.
    whole = np.abs(np.ldexp(mantissa, 53)).astype(np.int64)
    step = int((exponent - 53 + np.log2((whole & -whole).astype(np.float64)).astype(np.int64)).min())
    scaled = np.ldexp(numbers, -step)
    if scaled.min() < -128 or scaled.max() > 127:
        return None
    return float(np.ldexp(1.0, step))


def store_exact_int8(model: ModelProto) -> list[str]:
    """Store as int8, in place, all weights for which this is exact.

    Parameters
    ----------
    model
        The model; only tensors of at least two dimensions and :data:`LEAST_NUMBERS` numbers are considered.

    Returns
    -------
    The names of the tensors that are now int8.

    Raises
    ------
    ModelError
        If the model's operators are too old.
    """
    _check_opset(model)
    stored = []
    for name, weights in list(_float_weights(model)):
        scale = power_of_two_scale(weights)
        if scale is not None:
            _replace(model, name, np.asarray(np.ldexp(weights, -int(np.log2(scale))), np.int8), np.float32(scale))
            stored.append(name)
    return stored


def store_rounded_int8(model: ModelProto, name: str, *, axis: int) -> float:
    """Store one tensor as int8 in place, rounded, with a scale for every index of one axis.

    Parameters
    ----------
    model
        The model.
    name
        The tensor.
    axis
        The axis.

    Returns
    -------
    The length of the rounding error as a share of the tensor's length.

    Raises
    ------
    InputError
        If there is no such float32 tensor, or no such axis.
    ModelError
        If the model's operators are too old.
    """
    _check_opset(model)
    weights = dict(_float_weights(model, least=1)).get(name)
    if weights is None:
        raise InputError(f"the model has no float32 tensor {name!r} of two or more dimensions")
    if not 0 <= axis < weights.ndim:
        raise InputError(f"the axis must be in 0..{weights.ndim - 1}, got {axis}")
    others = tuple(other for other in range(weights.ndim) if other != axis)
    largest = np.abs(weights).max(axis=others)
    scales = np.asarray(np.where(largest > 0, largest / 127, 1), np.float32)
    shape = [-1 if other == axis else 1 for other in range(weights.ndim)]
    whole = np.asarray(np.clip(np.rint(weights / scales.reshape(shape)), -127, 127), np.int8)
    error = np.linalg.norm(whole * scales.reshape(shape) - weights)
    _replace(model, name, whole, scales, axis=axis)
    return float(error) / max(float(np.linalg.norm(weights)), float(np.finfo(np.float32).tiny))


def store_float16(model: ModelProto) -> list[str]:
    """Store as float16, in place, all weights that float16 holds exactly; round them before.

    Only tensors of at least two dimensions and :data:`LEAST_NUMBERS` numbers are considered; return their names. ONNX
    Runtime converts them back once, when it opens the file.
    """
    stored = []
    for name, weights in list(_float_weights(model)):
        half = weights.astype(np.float16)
        if np.array_equal(half.astype(np.float32), weights):
            [old] = [tensor for tensor in model.graph.initializer if tensor.name == name]
            model.graph.initializer.remove(old)
            model.graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
            node = helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.float", to=TensorProto.FLOAT)
            _set_nodes(model, [node, *model.graph.node])
            stored.append(name)
    return stored


def replace_prelu(model: ModelProto) -> int:
    """Replace PReLU by relu(x) - slope * relu(-x), in place, with depthwise convolutions for the factors.

    At most one of the two terms differs from 0, so that the result is bit-identical. ONNX Runtime fuses convolutions,
    ReLU and addition into single passes over memory, but runs PReLU separately.

    Parameters
    ----------
    model
        The model; PReLUs with one constant slope per channel of a map (N, C, H, W) are replaced, others are not.

    Returns
    -------
    The number of PReLUs that were replaced.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[NodeProto] = []
    # A dict keeps the order, so that the same model gives the same bytes every time.
    used: dict[str, None] = {}
    count = 0
    for node in model.graph.node:
        slopes = tensors.get(node.input[1]) if node.op_type == "PRelu" else None
        # A single slope does not determine the number of channels.
        if slopes is None or tuple(slopes.dims[-3:]) != (max(*slopes.dims, 2), 1, 1):
            nodes.append(node)
            continue
        nodes.extend(_rectified(node, int(slopes.dims[-3])))
        used[slopes.name] = None
        count += 1
    left = {name for node in nodes for name in node.input}
    for name in used:
        slopes = tensors[name]
        values = np.asarray(numpy_helper.to_array(slopes), np.float32).reshape(-1, 1, 1, 1)
        _add_tensor(model, f"{name}{NEGATED}", -values)
        _add_tensor(model, f"{MINUS_ONE}{len(values)}", -np.ones_like(values))
        if name not in left:
            model.graph.initializer.remove(slopes)
    _set_nodes(model, nodes)
    return count


def _rectified(node: NodeProto, channels: int) -> list[NodeProto]:
    x, y = node.input[0], node.output[0]

    def scaled(source: str, name: str, factors: str) -> NodeProto:
        return helper.make_node("Conv", [source, factors], [name], name=name, group=channels, kernel_shape=[1, 1])

    return [
        helper.make_node("Relu", [x], [f"{y}.above"], name=f"{y}.above"),
        scaled(x, f"{y}.turned", f"{MINUS_ONE}{channels}"),
        helper.make_node("Relu", [f"{y}.turned"], [f"{y}.under"], name=f"{y}.under"),
        scaled(f"{y}.under", f"{y}.below", f"{node.input[1]}{NEGATED}"),
        helper.make_node("Add", [f"{y}.below", f"{y}.above"], [y], name=y),
    ]


def _add_tensor(model: ModelProto, name: str, values: NDArray[np.float32]) -> None:
    if name not in {tensor.name for tensor in model.graph.initializer}:
        model.graph.initializer.append(numpy_helper.from_array(values, name))


def _float_weights(model: ModelProto, *, least: int = LEAST_NUMBERS) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for tensor in model.graph.initializer:
        if tensor.data_type == 1 and len(tensor.dims) >= 2:
            weights = numpy_helper.to_array(tensor)
            if weights.size >= least:
                yield tensor.name, weights


def _replace(
    model: ModelProto, name: str, whole: NDArray[np.int8], scale: NDArray[np.float32] | np.float32, *, axis: int = 0
) -> None:
    """Replace a float32 tensor by an int8 tensor and a node that converts it."""
    graph = model.graph
    [old] = [tensor for tensor in graph.initializer if tensor.name == name]
    graph.initializer.remove(old)
    graph.initializer.append(numpy_helper.from_array(whole, f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(np.asarray(scale, np.float32), f"{name}.scale"))
    node = helper.make_node(
        "DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [name], name=f"{name}.float", axis=axis
    )
    _set_nodes(model, [node, *graph.node])


def _set_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _check_opset(model: ModelProto) -> None:
    version = max((opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), default=0)
    if version < _LEAST_OPSET:
        raise ModelError(f"int8 weights need ONNX operators of version {_LEAST_OPSET}, the model has {version}")
