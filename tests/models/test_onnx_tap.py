from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tiny_networks import write_tiny
from whyface.models.onnx_tap import add_output, summarise


def test_summary_of_a_tiny_network(tmp_path: Path) -> None:
    summary = summarise(write_tiny(tmp_path / "a.onnx").read_bytes())
    assert summary.outputs == ("y",)
    assert summary.tensors == {
        "pixels": "Cast",
        "pooled": "AveragePool",
        "map": "Conv",
        "y": "GlobalAveragePool",
    }
    assert summary.external == ()
    assert summary.spatial() == ["pooled", "map"]


def test_an_added_output_is_one_for_protobuf_too(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    data = write_tiny(tmp_path / "a.onnx").read_bytes()
    before, after = onnx.load_from_string(data), onnx.load_from_string(add_output(data, "map", "pooled"))
    assert [output.name for output in after.graph.output] == ["y", "map", "pooled"]
    assert summarise(add_output(data, "map", "pooled")).outputs == ("y", "map", "pooled")
    del after.graph.output[1:]
    assert after == before


def test_long_names_need_long_lengths(tmp_path: Path) -> None:
    name = "/" + "long/" * 60
    data = add_output(write_tiny(tmp_path / "a.onnx").read_bytes(), name)
    assert summarise(data).outputs == ("y", name)


def test_nothing_to_add_changes_nothing(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "a.onnx").read_bytes()
    assert summarise(add_output(data)) == summarise(data)


def _initializer(model: Any) -> None:
    _point_outside(model.graph.initializer[0])


def _constant(model: Any) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Constant", [], ["c"], value=onnx.helper.make_tensor("w", 1, [1], [0.0]))
    _point_outside(node.attribute[0].t)
    model.graph.node.insert(0, node)


def _in_a_branch(model: Any) -> None:
    onnx = pytest.importorskip("onnx")
    inner = onnx.helper.make_graph([], "branch", [], [], [onnx.helper.make_tensor("w", 1, [1], [0.0])])
    _point_outside(inner.initializer[0])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))


def _sparse(model: Any) -> None:
    onnx = pytest.importorskip("onnx")
    values = onnx.helper.make_tensor("w", 1, [1], [0.0])
    _point_outside(values)
    indices = onnx.helper.make_tensor("i", 7, [1], [0])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [4]))


def _function(model: Any) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Constant", [], ["c"], value=onnx.helper.make_tensor("w", 1, [1], [0.0]))
    _point_outside(node.attribute[0].t)
    model.functions.append(onnx.helper.make_function("own", "F", [], ["c"], [node], []))


def _point_outside(tensor: Any) -> None:
    tensor.name = "outside"
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="secret.bin")


@pytest.mark.parametrize("edit", [_initializer, _constant, _in_a_branch, _sparse, _function])
def test_external_data_are_found_wherever_they_hide(tmp_path: Path, edit: Any) -> None:
    assert "outside" in summarise(write_tiny(tmp_path / "a.onnx", edit=edit).read_bytes()).external


def test_external_data_cannot_hide_in_the_high_bits_of_the_enum(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "a.onnx", edit=_initializer).read_bytes()
    # Field 14 = 1, written as 2**32 + 1 with one spare byte of the name's length taken along.
    tensor = b"\x70" + b"\x81\x80\x80\x80\x10" + b"\x42\x07outside"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    assert summarise(data + b"\x3a" + bytes([len(graph)]) + graph).external == ("outside", "outside")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"this is text, not a network", "protobuf"),
        (b"\x00" * 20, "protobuf"),
        (b"\x08\x08", "no graph"),
        (b"\x3a\x00", "no graph"),
        (b"\x3a\x05abc", "cut short"),
        (b"\x3a\xff", "cut short"),
        (b"\x20\x00\x00\x00ORTM" + b"\x00" * 40, "own format"),
    ],
)
def test_other_bytes_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        summarise(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_walk(data: bytes) -> None:
    try:
        summarise(data)
    except ValueError:
        return


def test_every_truncation_is_noticed_or_still_an_honest_summary(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "a.onnx").read_bytes()
    for end in range(0, len(data), 7):
        try:
            summary = summarise(data[:end])
        except ValueError:
            continue
        assert summary.tensors["y"] == "GlobalAveragePool"
