"""Smaller and faster ONNX networks that compute the same."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.tiny_networks import shared_weights
from whyface.errors import InputError, ModelError
from whyface.onnx_runtime import open_session

onnx = pytest.importorskip("onnx")
from onnx import ModelProto, TensorProto, helper, numpy_helper  # noqa: E402

from onnx_rewriting import (  # noqa: E402
    power_of_two_scale,
    replace_prelu,
    store_exact_int8,
    store_float16,
    store_rounded_int8,
)
from whyface.models.weights import stored_tensors  # noqa: E402


def network(weights: NDArray[np.float32], slopes: NDArray[np.float32], *, opset: int = 18) -> ModelProto:
    """Give (n, 3, 4, 4) -> 3 x 3 convolution -> PReLU."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("PRelu", ["c", "s"], ["y"], name="prelu"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(weights), 4, 4])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(slopes, "s")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def whole_weights(seed: int = 0, count: int = 16) -> NDArray[np.float32]:
    """Give weights (count, 3, 3, 3) that are int8 numbers times 2^-9."""
    numbers = np.random.default_rng(seed).integers(-128, 128, size=(count, 3, 3, 3))
    return np.asarray(numbers * 2.0**-9, np.float32)


def slopes_per_channel(count: int = 16) -> NDArray[np.float32]:
    return np.linspace(-0.5, 1.5, count, dtype=np.float32).reshape(count, 1, 1)


def run(model: ModelProto, *, faces: int = 5) -> NDArray[np.float32]:
    x = np.random.default_rng(1).normal(size=(faces, 3, 4, 4)).astype(np.float32)
    [y] = open_session(model.SerializeToString(), threads=1).run(None, {"x": x})
    return np.asarray(y)


@pytest.mark.parametrize(
    ("weights", "scale"),
    [
        ([1.0, -3.0, 127.0], 1.0),
        ([-128.0, 64.0], 64.0),
        ([0.5, 0.75], 0.25),
        ([0.0, 0.0], 1.0),
        ([3 * 2.0**-30], 2.0**-30),
        ([2.0**100, 2.0**94], 2.0**94),
        ([1.0, 128.0], None),
        ([1.0, -129.0], None),
        ([0.1], None),
        ([np.nan, 1.0], None),
        ([np.inf, 1.0], None),
    ],
)
def test_scale_by_hand(weights: list[float], scale: float | None) -> None:
    assert power_of_two_scale(np.array(weights, np.float32)) == scale


def test_int8_weights_are_the_same_network_to_the_bit_and_smaller() -> None:
    model = network(whole_weights(), slopes_per_channel())
    before, size = run(model), len(model.SerializeToString())
    assert store_exact_int8(model) == ["w"]
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(run(model), before)
    assert len(model.SerializeToString()) < size - 2 * whole_weights().size


def test_other_weights_stay_as_they_are() -> None:
    weights = whole_weights()
    weights[0, 0, 0, 0] = 0.1
    model = network(weights, slopes_per_channel())
    text = model.SerializeToString()
    assert store_exact_int8(model) == []
    assert model.SerializeToString() == text


def test_rounded_weights_have_a_scale_per_channel_and_say_what_they_lose() -> None:
    weights = np.random.default_rng(3).normal(size=(16, 3, 3, 3)).astype(np.float32)
    weights *= np.exp(np.arange(16, dtype=np.float32) - 8)[:, None, None, None]
    weights[5] = 0
    model = network(weights, slopes_per_channel())
    before = run(model)
    lost = store_rounded_int8(model, "w", axis=0)
    onnx.checker.check_model(model)
    # Half a step of 1 / 127 of the largest number of each channel, at most.
    step = np.abs(weights).max(axis=(1, 2, 3)) / 127
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    restored = tensors["w.int8"] * tensors["w.scale"][:, None, None, None]
    assert (np.abs(restored - weights) <= step[:, None, None, None] * 0.5001).all()
    assert lost == pytest.approx(np.linalg.norm(restored - weights) / np.linalg.norm(weights), rel=1e-4)
    assert 0 < lost < 0.01
    np.testing.assert_allclose(run(model), before, atol=0.02 * np.abs(before).max())


def test_prelu_becomes_convolutions_and_stays_the_same_to_the_bit() -> None:
    model = network(whole_weights(), slopes_per_channel())
    before = run(model)
    assert (before < 0).any()
    assert replace_prelu(model) == 1
    onnx.checker.check_model(model)
    assert "PRelu" not in {node.op_type for node in model.graph.node}
    assert "s" not in {tensor.name for tensor in model.graph.initializer}
    np.testing.assert_allclose(run(model), before, atol=1e-6)


@pytest.mark.parametrize("count", [16, 512])
def test_tensors_keep_their_names(count: int) -> None:
    weights = whole_weights(count=count)
    model = network(weights, slopes_per_channel(count))
    replace_prelu(model)
    store_exact_int8(model)
    found = stored_tensors(model)
    assert set(found) == {"w", "s"}
    np.testing.assert_array_equal(found["w"], weights)
    np.testing.assert_array_equal(found["s"], slopes_per_channel(count).ravel())
    other = network(weights + np.float32(0.1), slopes_per_channel(count))
    store_rounded_int8(other, "w", axis=1)
    np.testing.assert_allclose(stored_tensors(other)["w"], weights + 0.1, atol=0.002)
    assert set(stored_tensors(other)) == {"w", "s"}


def test_a_slope_for_all_channels_stays() -> None:
    for slopes in (np.full(1, 0.25, np.float32), np.full((1, 1, 1), 0.25, np.float32)):
        model = network(whole_weights(), slopes)
        assert replace_prelu(model) == 0
        assert "PRelu" in {node.op_type for node in model.graph.node}


def test_the_same_model_gives_the_same_bytes_in_every_process() -> None:
    """The order of a set of names differs from process to process, and once decided the bytes of the file."""
    code = """
import hashlib
from onnx import TensorProto, helper, numpy_helper
import numpy as np
from onnx_rewriting import replace_prelu
slopes = [numpy_helper.from_array(np.full((4, 1, 1), 0.1 * i, np.float32), f"slopes {i}") for i in range(9)]
nodes = [helper.make_node("PRelu", [f"x{i}", f"slopes {i}"], [f"x{i + 1}"]) for i in range(9)]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 7, 7]) for name in ("x0", "x9")]
model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], slopes))
assert replace_prelu(model) == 9
print(hashlib.sha256(model.SerializeToString()).hexdigest())
"""
    with redirect_stdout(StringIO()) as here:
        exec(code, {})
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout == here.getvalue()


def test_two_prelus_may_share_their_slopes() -> None:
    model = network(whole_weights(), slopes_per_channel())
    model.graph.node[1].output[0] = "p"
    model.graph.node.append(helper.make_node("PRelu", ["p", "s"], ["y"], name="second"))
    before = run(model)
    assert replace_prelu(model) == 2
    np.testing.assert_allclose(run(model), before, atol=1e-6)


def test_bad_input() -> None:
    model = network(whole_weights(), slopes_per_channel())
    with pytest.raises(InputError, match="no float32 tensor 'v'"):
        store_rounded_int8(model, "v", axis=0)
    with pytest.raises(InputError, match="axis"):
        store_rounded_int8(model, "w", axis=4)
    old = network(whole_weights(), slopes_per_channel(), opset=11)
    with pytest.raises(ModelError, match="version 13"):
        store_exact_int8(old)


def test_mobilefacenet_large_fits_into_3_6_megabytes_to_the_bit() -> None:
    path = shared_weights("mobilefacenet-large.onnx")
    model = onnx.load(path)
    before = open_session(path.read_bytes(), threads=1)
    assert replace_prelu(model) == 34
    rewritten = open_session(model.SerializeToString(), threads=1)
    assert len(store_exact_int8(model)) >= 49
    data = model.SerializeToString()
    assert len(data) < 3_600_000
    stored = open_session(data, threads=1)
    faces = (np.random.default_rng(5).random((3, 3, 112, 112)) * 255).astype(np.float32)
    [expected], [fast], [small] = (session.run(None, {"x": faces}) for session in (before, rewritten, stored))
    np.testing.assert_allclose(fast, expected, atol=2e-6)
    np.testing.assert_array_equal(small, fast)


def test_float16_is_stored_only_where_it_is_exact() -> None:
    halves = np.random.default_rng(0).normal(size=(16, 3, 3, 3)).astype(np.float16).astype(np.float32)
    model = network(halves, slopes_per_channel())
    expected, size = run(model), len(model.SerializeToString())
    assert store_float16(model) == ["w"]
    assert len(model.SerializeToString()) < size
    assert np.array_equal(run(model), expected)
    assert np.array_equal(stored_tensors(model)["w"], halves)
    assert store_float16(network(halves + np.float32(1e-6), slopes_per_channel())) == []
