"""ONNX files of a few bytes that would run for ever or fill the memory; each ends in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.command_line import assert_refused
from helpers.tiny_networks import flat_faces, write_tiny
from whyface.demo import demo_photo
from whyface.errors import ModelError
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_limits import MOST_NODES

onnx = pytest.importorskip("onnx", reason="needs onnx (the extra torch)")
PHOTOS = [str(demo_photo("obama-portrait.jpg")), str(demo_photo("biden-portrait.jpg"))]

Edit = Callable[[Any], None]


def constant(model: Any, name: str, values: list[int]) -> str:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def behind(model: Any, *nodes: Any) -> None:
    """Put nodes between the last one, whose output becomes ``before``, and the output ``y``."""
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(nodes)


def loop(model: Any) -> None:
    helper, kind = onnx.helper, onnx.TensorProto
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go on"]),
            helper.make_node("Relu", ["carried"], ["carried on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", kind.INT64, []),
            helper.make_tensor_value_info("go", kind.BOOL, []),
            helper.make_tensor_value_info("carried", kind.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go on", kind.BOOL, []),
            helper.make_tensor_value_info("carried on", kind.FLOAT, None),
        ],
    )
    rounds = helper.make_node("Constant", [], ["rounds"], value=helper.make_tensor("r", kind.INT64, [], [2**62]))
    behind(model, rounds, helper.make_node("Loop", ["rounds", "", "before"], ["y"], body=body))


def loop_in_a_function(model: Any) -> None:
    loop(model)
    nodes = [model.graph.node.pop(), model.graph.node.pop()][::-1]
    opsets = [onnx.helper.make_opsetid("", 13)]
    model.functions.append(onnx.helper.make_function("own", "round", ["before"], ["y"], nodes, opsets))
    call(model, "round")


def call(model: Any, name: str) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    behind(model, onnx.helper.make_node(name, ["before"], ["y"], domain="own"))


def functions(depth: int, calls: int, *, round_again: bool = False) -> Edit:
    def edit(model: Any) -> None:
        helper = onnx.helper
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
        for level in range(depth):
            last = level + 1 == depth
            inner = ("f0", "own") if last and round_again else ("Relu", "") if last else (f"f{level + 1}", "own")
            names = ["x", *(f"t{n}" for n in range(1, calls)), "z"]
            nodes = [helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in itertools.pairwise(names)]
            model.functions.append(helper.make_function("own", f"f{level}", ["x"], ["z"], nodes, opsets))
        call(model, "f0")

    return edit


def many_operators(model: Any) -> None:
    names = ["before", *(f"t{n}" for n in range(MOST_NODES)), "y"]
    behind(model, *(onnx.helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)))


CASES: dict[str, tuple[Edit, str]] = {
    "loop": (loop, "operator 'Loop' is control flow"),
    "loop in a function": (loop_in_a_function, "operator 'Loop' is control flow"),
    "functions that unfold": (functions(6, 10), f"more than {MOST_NODES} operators"),
    "a function that calls itself": (functions(2, 1, round_again=True), "calls itself"),
    "functions nested deeply": (functions(500, 1), "nested too deeply"),
    "many operators": (many_operators, f"more than {MOST_NODES} operators"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_could_run_for_ever_is_refused_when_opened(tmp_path: Path, case: str) -> None:
    edit, message = CASES[case]
    path = write_tiny(tmp_path / "a.onnx", edit=edit)
    with pytest.raises(ModelError, match=message):
        OnnxEmbedder(path)


def test_the_command_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "a.onnx", edit=loop)
    assert_refused(monkeypatch, capsys, "control flow", "verify", *PHOTOS, "--model", str(path), "--threshold", "0.3")


def test_functions_that_stay_small_run(tmp_path: Path) -> None:
    plain = OnnxEmbedder(write_tiny(tmp_path / "a.onnx")).embed(flat_faces((1, 2, 3)))
    own = OnnxEmbedder(write_tiny(tmp_path / "b.onnx", edit=functions(3, 4))).embed(flat_faces((1, 2, 3)))
    np.testing.assert_array_equal(plain, own)


def made_of(*nodes: tuple[str, list[str], str]) -> Edit:
    def edit(model: Any) -> None:
        constant(model, "huge", [1, 2, 2**20, 2**20])
        constant(model, "times", [1, 1, 2**20, 2**20])
        constant(model, "axes", [2, 3])
        made = [onnx.helper.make_node(op, inputs, [output]) for op, inputs, output in nodes]
        behind(model, *made, onnx.helper.make_node("ReduceSum", ["large", "axes"], ["y"]))

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        made_of(("Expand", ["before", "huge"], "large")),
        made_of(("Tile", ["before", "times"], "large")),
        made_of(("ConstantOfShape", ["huge"], "of shape"), ("Add", ["before", "of shape"], "large")),
    ],
    ids=["Expand", "Tile", "ConstantOfShape"],
)
@pytest.mark.parametrize("side", [2**20, 2**15], ids=["terabytes", "gigabytes"])
def test_memory_is_limited(tmp_path: Path, edit: Edit, side: int) -> None:
    """Eight gigabytes would be handed out by most systems; and taken, zero by zero."""

    def smaller(model: Any) -> None:
        edit(model)
        for tensor in model.graph.initializer:
            if tensor.name in {"huge", "times"}:
                sizes = onnx.numpy_helper.to_array(tensor).copy()
                sizes[2:] = side
                tensor.CopyFrom(onnx.numpy_helper.from_array(sizes, tensor.name))

    path = write_tiny(tmp_path / "a.onnx", edit=smaller)
    with pytest.raises(ModelError, match="ONNX Runtime cannot use this network"):
        OnnxEmbedder(path).embed(flat_faces((1, 2, 3)))
