from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.tiny_networks import flat_faces, shared_weights, write_tiny
from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.models.embedder import Embedder, GridEmbedder, require_grid
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import ARCFACE, Preprocessing
from whyface.onnx_runtime import open_session, usable_cores


def test_embedding_by_hand(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), threads=1)
    embedding = embedder.embed(flat_faces((10, 0, 0), (0, 20, 10)))
    assert embedding.dtype == np.float32
    raw = np.array([[10, 40], [70, 160]])
    np.testing.assert_allclose(embedding, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-6)
    assert isinstance(embedder, Embedder)
    assert embedder.name == "tiny"
    assert embedder.sha256 == hashlib.sha256((tmp_path / "tiny.onnx").read_bytes()).hexdigest()


def test_inner_tensor_by_hand(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), grid="map", threads=1)
    faces = flat_faces((0, 0, 0))
    faces[0, 0, 16:32, 32:48] = 50
    grid = embedder.grid(faces)
    expected = np.zeros((1, 2, 7, 7))
    expected[0, :, 1, 2] = 50, 200
    np.testing.assert_allclose(grid, expected)
    assert require_grid(embedder) is embedder
    assert isinstance(embedder, GridEmbedder)


def test_the_tap_leaves_the_embedding_alone(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", offset=3)
    faces = np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112), np.uint8)
    tapped = OnnxEmbedder(path, grid="map", threads=1)
    embedding, grid = tapped.embed_with_grid(faces)
    np.testing.assert_array_equal(embedding, OnnxEmbedder(path, threads=1).embed(faces))
    np.testing.assert_array_equal(embedding, tapped.embed(faces))
    np.testing.assert_array_equal(grid, tapped.grid(faces))


def test_preprocessing_is_applied(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", size=(3, 112, 96), weights=((1, 0, 0), (0, 0, 1)))
    preprocessing = Preprocessing(mean=(10, 0, 0), order="bgr", columns=(8, 104))
    embedder = OnnxEmbedder(path, preprocessing=preprocessing, grid="map", threads=1)
    grid = embedder.grid(flat_faces((1, 2, 30)))
    assert grid.shape == (1, 2, 7, 6)
    np.testing.assert_allclose(grid[0, :, 0, 0], [20, 1])


def test_float_faces_give_what_uint8_faces_give(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), preprocessing=ARCFACE, threads=1)
    faces = np.random.default_rng(1).integers(0, 256, (2, 3, 112, 112), np.uint8)
    np.testing.assert_array_equal(embedder.embed(faces), embedder.embed(faces.astype(np.float32)))


def test_black_faces_give_zeros_not_nan(tmp_path: Path) -> None:
    embedding = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), threads=1).embed(flat_faces((0, 0, 0), (9, 0, 0)))
    np.testing.assert_array_equal(embedding[0], 0)
    assert np.linalg.norm(embedding[1]) == pytest.approx(1)


def test_a_network_that_gives_nan_is_reported(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", offset=float("nan"))
    with pytest.raises(ModelError, match="'y' has values that are not finite"):
        OnnxEmbedder(path, threads=1).embed(flat_faces((1, 1, 1)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_fixed_batch_sizes_are_looped_over(tmp_path: Path, batch: int, count: int) -> None:
    faces = np.random.default_rng(2).integers(0, 256, (count, 3, 112, 112), np.uint8)
    fixed = OnnxEmbedder(write_tiny(tmp_path / "fixed.onnx", batch=batch), grid="map", threads=1)
    free = OnnxEmbedder(write_tiny(tmp_path / "free.onnx"), grid="map", threads=1)
    for one, other in zip(fixed.embed_with_grid(faces), free.embed_with_grid(faces), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_many_faces_are_cut_into_runs(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), threads=1)
    faces = flat_faces(*[(i, 2 * i, 200 - i) for i in range(70)])
    np.testing.assert_allclose(embedder.embed(faces)[40:41], embedder.embed(faces[40:41]), rtol=1e-6)


def test_free_names_for_every_dimension(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", size=("c", "h", "w"))
    assert OnnxEmbedder(path, threads=1).embed(flat_faces((1, 0, 0))).shape == (1, 2)


@pytest.mark.parametrize("elem", ["UINT8", "FLOAT16"])
def test_other_pixel_types(tmp_path: Path, elem: str) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", elem=elem)
    embedding = OnnxEmbedder(path, threads=1).embed(flat_faces((10, 0, 0)))
    np.testing.assert_allclose(embedding, np.array([[1, 4]]) / np.sqrt(17), rtol=1e-6)


def test_a_declared_output_can_be_the_grid(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", outputs=("map", "y"))
    embedder = OnnxEmbedder(path, grid="map", threads=1)
    embedding, grid = embedder.embed_with_grid(flat_faces((10, 0, 0)))
    assert embedding.shape == (1, 2)
    assert grid.shape == (1, 2, 7, 7)


def test_a_grid_alone_is_flattened_to_the_embedding(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", outputs=("map",))
    embedding, grid = OnnxEmbedder(path, grid="map", threads=1).embed_with_grid(flat_faces((3, 1, 4)))
    np.testing.assert_allclose(embedding, grid.reshape(1, -1) / np.linalg.norm(grid), rtol=1e-6)


def test_an_inner_tensor_can_be_the_embedding(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), output="pooled", threads=1)
    assert embedder.embed(flat_faces((1, 2, 3))).shape == (1, 3 * 49)


def test_several_threads_may_ask_at_once(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), threads=1)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(embedder.embed, [flat_faces((10, 0, 0))] * 8))
    assert all((answer == answers[0]).all() for answer in answers)


@pytest.mark.parametrize(
    ("alone", "threads", "spins"),
    [(False, None, "0"), (True, None, "1"), (True, 1, "1"), (True, usable_cores() + 1, "0")],
)
def test_waiting_threads_look_for_work_only_where_they_take_nothing_from_anybody(
    tmp_path: Path, alone: bool, threads: int | None, spins: str
) -> None:
    network = write_tiny(tmp_path / "n.onnx").read_bytes()
    options = open_session(network, threads=threads, alone=alone).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == spins


def test_a_network_alone_gives_the_same(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "n.onnx")
    faces = flat_faces((10, 0, 0), (0, 20, 10))
    np.testing.assert_array_equal(OnnxEmbedder(path, alone=True).embed(faces), OnnxEmbedder(path).embed(faces))


def test_no_grid_named(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), threads=1)
    assert not embedder.has_grid
    with pytest.raises(ModelError, match=r"no spatial map was named.*'map'"):
        embedder.grid(flat_faces((1, 1, 1)))
    with pytest.raises(ModelError, match="no spatial grid"):
        require_grid(embedder)


@pytest.mark.parametrize("role", ["grid", "output"])
def test_unknown_tensor_lists_likely_ones(tmp_path: Path, role: str) -> None:
    path = write_tiny(tmp_path / "tiny.onnx")
    names: dict[str, Any] = {role: "mapp"}
    with pytest.raises(ModelError, match=r"no tensor 'mapp'; likely ones are 'map', 'pooled'"):
        OnnxEmbedder(path, **names)


def test_grid_that_is_not_spatial(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")

    def flatten(model: Any) -> None:
        model.graph.node.append(onnx.helper.make_node("Flatten", ["y"], ["flat"]))

    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=flatten), grid="flat", threads=1)
    with pytest.raises(ModelError, match=r"'flat' has the shape \(1, 2\), not \(N, C, H, W\)"):
        embedder.grid(flat_faces((1, 1, 1)))


def test_tensor_without_a_row_per_face(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")

    def total(model: Any) -> None:
        model.graph.node.append(onnx.helper.make_node("ReduceMean", ["y"], ["mean"], axes=[0], keepdims=1))

    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=total), output="mean", threads=1)
    with pytest.raises(ModelError, match="a row per face"):
        embedder.embed(flat_faces((1, 1, 1), (2, 2, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (112, 112, 3), "weights": np.ones((2, 3))}, "ONNX Runtime cannot use"),
        ({"size": (3, 112, 96)}, "takes 112 x 96 pixels; a face is a square"),
        ({"inputs": ("x", "x2")}, "has 2 inputs"),
        ({"elem": "INT32"}, r"takes tensor\(int32\)"),
        ({"elem": "DOUBLE"}, r"takes tensor\(double\)"),
    ],
)
def test_input_that_is_no_face(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", **options), threads=1)
    with pytest.raises(ModelError, match=message) as caught:
        embedder.embed(flat_faces((1, 1, 1)))
    assert "\n" not in str(caught.value)


def test_uint8_network_with_a_normalisation(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx", elem="UINT8")
    with pytest.raises(ModelError, match="takes uint8 pixels"):
        OnnxEmbedder(path, preprocessing=ARCFACE).embed(flat_faces((1, 1, 1)))


def test_custom_operator_is_refused_in_one_line(tmp_path: Path) -> None:
    def custom(model: Any) -> None:
        model.graph.node[2].op_type = "MadeUp"

    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=custom))
    with pytest.raises(ModelError, match=r"tiny\.onnx: ONNX Runtime cannot use this network.*MadeUp") as caught:
        embedder.embed(flat_faces((1, 1, 1)))
    assert "\n" not in str(caught.value)


def test_a_refusal_ends_with_what_is_wrong(tmp_path: Path) -> None:
    def newer(model: Any) -> None:
        model.ir_version = 99

    with pytest.raises(ModelError, match="Unsupported model IR version: 99"):
        OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", edit=newer)).embed(flat_faces((1, 1, 1)))


def test_external_data_are_refused_at_once(tmp_path: Path) -> None:
    def outside(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        tensor.external_data.add(key="location", value="../secret.bin")

    path = write_tiny(tmp_path / "tiny.onnx", edit=outside)
    with pytest.raises(ModelError, match="lie in other files; save the network as one file"):
        OnnxEmbedder(path)


def test_files_that_are_no_network(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    short = tmp_path / "short.onnx"
    whole = write_tiny(tmp_path / "tiny.onnx").read_bytes()
    short.write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty.onnx"
    empty.touch()
    for path in (text, short, empty, tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError) as caught:
            OnnxEmbedder(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_hash_and_options_are_checked(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.onnx")
    OnnxEmbedder(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelIntegrityError, match="on record"):
        OnnxEmbedder(path, sha256="0" * 64)
    with pytest.raises(ModelError, match="threads"):
        OnnxEmbedder(path, threads=0)
    with pytest.raises(InputError, match="shape"):
        OnnxEmbedder(path).embed(np.zeros((112, 112, 3), np.uint8))


def test_real_network_gives_its_last_map_and_the_same_embedding() -> None:
    path = shared_weights("mobilefacenet-ms1m.onnx")
    faces = np.random.default_rng(3).integers(0, 256, (2, 3, 112, 112), np.uint8)
    tapped = OnnxEmbedder(path, grid="/m/conv2/conv2.2/Clip_output_0", threads=1)
    embedding, grid = tapped.embed_with_grid(faces)
    assert grid.shape == (2, 512, 7, 7)
    assert grid.min() == 0
    assert grid.max() <= 6
    np.testing.assert_array_equal(embedding, OnnxEmbedder(path, threads=1).embed(faces))


def test_real_networks_own_head_takes_the_tapped_map_to_its_embedding() -> None:
    onnx = pytest.importorskip("onnx")
    path = shared_weights("mobilefacenet-ms1m.onnx")
    faces = np.random.default_rng(4).integers(0, 256, (2, 3, 112, 112), np.uint8)
    tapped = OnnxEmbedder(path, grid="/m/conv2/conv2.2/Clip_output_0", threads=1)
    embedding, grid = tapped.embed_with_grid(faces)
    graph = onnx.load(str(path)).graph
    named = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    depthwise, pointwise = (node for node in list(graph.node)[-12:] if node.op_type == "Conv")
    kernel, bias = (named[name] for name in depthwise.input[1:])
    pooled = np.einsum("nchw,chw->nc", grid, kernel[:, 0]) + bias
    weight, offset = (named[name] for name in pointwise.input[1:])
    raw = pooled @ weight[:, :, 0, 0].T + offset
    np.testing.assert_allclose(embedding, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
