"""The part of an ONNX network behind a tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_networks import write_tiny
from helpers.tiny_torch import random_faces
from whyface.errors import ModelError
from whyface.explain.cells import CellsMethod
from whyface.explain.places import PlacesMethod
from whyface.models.linear_head import linear_head, measure_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_tap import cut_graph, free_batch, summarise
from whyface.onnx_runtime import open_session


def test_the_head_alone_is_what_the_network_does_behind_the_map(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", offset=3), grid="map")
    maps = np.random.default_rng(0).normal(size=(5, 2, 7, 7)).astype(np.float32)
    np.testing.assert_allclose(embedder.open_head()(maps), maps.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


def test_measuring_a_mean_gives_one_over_the_number_of_cells(tmp_path: Path) -> None:
    head = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), grid="map").open_head()
    weights = measure_head(head, (2, 7, 7))
    expected = np.eye(2)[:, :, None, None] * np.full((7, 7), 1 / 49)
    np.testing.assert_allclose(weights, expected, atol=1e-7)


def test_the_cut_keeps_nothing_in_front(tmp_path: Path) -> None:
    part = cut_graph(write_tiny(tmp_path / "tiny.onnx").read_bytes(), "map", "y")
    assert list(summarise(part).tensors) == ["y"]
    assert b"kernel" not in part or list(summarise(part).tensors.values()) == ["GlobalAveragePool"]


@pytest.mark.parametrize(("start", "end"), [("y", "map"), ("map", "pooled"), ("map", "nowhere")])
def test_what_the_tensor_does_not_lead_to_is_refused(tmp_path: Path, start: str, end: str) -> None:
    with pytest.raises(ValueError, match="is not made from"):
        cut_graph(write_tiny(tmp_path / "tiny.onnx").read_bytes(), start, end)


def test_an_output_that_takes_a_way_round_the_map_is_refused(tmp_path: Path) -> None:
    def bypass(model: Any) -> None:
        import onnx

        model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", ["pooled"], ["colour"]))
        model.graph.node.append(onnx.helper.make_node("Concat", ["y", "colour"], ["z"], axis=1))
        model.graph.output[0].name = "z"

    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=bypass), grid="map")
    with pytest.raises(ModelError, match="'z' is not made from 'map' alone"):
        embedder.open_head()


def test_a_curved_head_is_refused() -> None:
    with pytest.raises(ModelError, match="not a sum over places"):
        measure_head(lambda maps: np.maximum(maps.reshape(len(maps), -1), 0), (2, 3, 3))


def test_no_grid_and_a_changed_file_are_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match="no spatial map was named"):
        OnnxEmbedder(path).open_head()
    embedder = OnnxEmbedder(path, grid="map")
    write_tiny(path, offset=1)
    with pytest.raises(ModelError, match="SHA-256"):
        embedder.open_head()


def constant_reshape(batch: int, kind: str = "raw", head: str = "Reshape") -> Callable[[Any], None]:
    """Put a Reshape to a constant shape, which names the batch, and a product in the place of the mean.

    ``kind`` says how the shape is written; ``head`` "Mul" puts a product with batch numbers in front, which nothing
    can free.
    """

    def edit(model: Any) -> None:
        import onnx

        helper, array = onnx.helper, onnx.numpy_helper.from_array
        weights = np.random.default_rng(1).normal(size=(98, 5)).astype(np.float32)
        del model.graph.node[-1]
        model.graph.node.append(helper.make_node("Reshape", ["map", "shape"], ["flat"]))
        model.graph.node.append(helper.make_node("MatMul", ["flat", "product"], ["y"]))
        shape = array(np.array([batch, 98], np.int64), "shape")
        if kind == "numbers":
            shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [batch, 98])
        if kind == "node":
            model.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=shape))
        else:
            model.graph.initializer.append(shape)
        if head == "Mul":
            model.graph.initializer.append(array(np.ones((batch, 1), np.float32), "ones"))
            model.graph.node[-2].output[0] = "loose"
            model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("Mul", ["loose", "ones"], ["flat"]))
        model.graph.initializer.append(array(weights, "product"))

    return edit


@pytest.mark.parametrize("head", ["Reshape", "Mul"])
@pytest.mark.parametrize("kind", ["raw", "numbers", "node"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_head_that_names_its_batch_runs(tmp_path: Path, batch: int, kind: str, head: str) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", batch=batch, edit=constant_reshape(batch, kind, head))
    embedder = OnnxEmbedder(path, grid="map")
    assert embedder.batch_size == batch
    maps = np.random.default_rng(0).normal(size=(6, 2, 7, 7)).astype(np.float32)
    product = np.random.default_rng(1).normal(size=(98, 5))
    np.testing.assert_allclose(embedder.open_head()(maps), maps.reshape(6, 98) @ product, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(linear_head(embedder)[1].weights.reshape(5, 98), product.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 4])
def test_cells_and_places_of_such_a_network(tmp_path: Path, batch: int) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", batch=batch, edit=constant_reshape(batch))
    embedder = OnnxEmbedder(path, grid="map")
    faces = random_faces(6)
    cells = CellsMethod(embedder).maps(faces[:3], faces[3:])
    np.testing.assert_allclose(cells.map_a.sum(axis=(1, 2)), cells.score, atol=1e-5)
    places = PlacesMethod(embedder, reference=np.zeros((2, 7, 7))).maps(faces[:3], faces[3:])
    np.testing.assert_allclose(places.score, cells.score, atol=1e-5)


@pytest.mark.parametrize("kind", ["raw", "numbers", "node"])
def test_a_freed_batch_takes_any_number_of_rows(tmp_path: Path, kind: str) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", batch=4, edit=constant_reshape(4, kind))
    data = path.read_bytes()
    freed = cut_graph(free_batch(data, 4), "map", "y")
    maps = np.random.default_rng(0).normal(size=(3, 2, 7, 7)).astype(np.float32)
    (found,) = open_session(freed).run(["y"], {"map": maps})
    np.testing.assert_allclose(found, OnnxEmbedder(path, grid="map").open_head()(maps), rtol=1e-5, atol=1e-5)
    # Another batch is not in there, so nothing is changed.
    assert summarise(free_batch(data, 3)) == summarise(data)
    with pytest.raises(Exception, match="eshape"):
        open_session(cut_graph(free_batch(data, 3), "map", "y")).run(["y"], {"map": maps})


def test_a_head_that_contradicts_the_networks_batch_is_one_line(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=constant_reshape(3)), grid="map")
    with pytest.raises(ModelError, match=r"tiny\.onnx: the part after the spatial map cannot be run") as refused:
        embedder.open_head()(np.zeros((2, 2, 7, 7), np.float32))
    assert "\n" not in str(refused.value)
