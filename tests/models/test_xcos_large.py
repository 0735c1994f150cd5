"""The model xcos-large as it ships."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers.factorised_reference import factorised_scores
from helpers.tiny_networks import shared_weights
from whyface.demo import demo_photo
from whyface.explain.registry import method_entry
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.catalogue import model_entry
from whyface.xcos.comparison import comparisons
from whyface.xcos.model import XcosModel, open_xcos

PHOTOS = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")


@pytest.fixture(scope="module")
def model() -> XcosModel:
    return open_xcos("xcos-large")


@pytest.fixture(scope="module")
def grids(model: XcosModel) -> np.ndarray:
    return model.grid(stack_faces([load_face(demo_photo(name)) for name in PHOTOS]))


def test_it_is_small_and_says_where_it_comes_from() -> None:
    entry = model_entry("xcos-large")
    assert entry.shipped
    assert sum(file.bytes for file in entry.files.values()) <= 6_000_000
    assert "MIT" in entry.licence
    assert "not stated" in entry.training_data
    assert entry.grid is not None
    assert entry.grid.weighed


def test_its_thresholds_rest_on_all_pairs_of_lfw() -> None:
    entry = model_entry("xcos-large")
    points = [entry.operating_point(fmr=rate) for rate in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
    for low, high in pairwise(points):
        assert low.threshold < high.threshold
        assert low.fnmr < high.fnmr
    for point in points:
        assert (point.impostor_pairs or 0) > 86_000_000
        assert point.target == pytest.approx(point.fmr, rel=0.02)
        assert point.fmr_interval is not None
        assert point.fmr_interval[0] < point.fmr < point.fmr_interval[1]


def test_the_score_consists_of_its_places(model: XcosModel, grids: np.ndarray) -> None:
    first, second = grids[[0, 0, 1]], grids[[1, 2, 2]]
    maps, swapped = model.compare_grids(first, second), model.compare_grids(second, first)
    np.testing.assert_allclose((maps.similarity * maps.attention).sum(axis=(1, 2)), maps.score, atol=1e-6)
    np.testing.assert_allclose(maps.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(swapped.score, maps.score, atol=1e-6)
    np.testing.assert_allclose(factorised_scores(grids, grids)[[0, 0, 1], [1, 2, 2]], maps.score, atol=1e-5)
    np.testing.assert_allclose(comparisons(model)["l"].scores(grids, grids), 1, atol=1e-6)
    assert maps.score[0] > 0.6
    assert maps.score[1:].max() < 0.2


def test_the_torch_network_is_the_same() -> None:
    pytest.importorskip("torch")
    from whyface.models.torch_embedder import open_torch_embedder

    faces = stack_faces([load_face(demo_photo(name)) for name in PHOTOS])
    model, network = open_xcos("xcos-large"), open_torch_embedder("xcos-large")
    grids = network.grid(faces)
    expected = model.grid(faces)
    np.testing.assert_allclose(grids, expected, atol=1e-5)
    # The record of a gradient method names all files that decide, since the trunk's tensors are in the graph.
    entry = model_entry("xcos-large")
    assert network.sha256 == entry.torch_sha256 != entry.files["safetensors"].sha256
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    ours, theirs = (model.compare_grids(one[first], one[second], "l") for one in (grids, expected))
    for name in ("similarity", "attention", "score"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-5)


@pytest.mark.parametrize("role", ["onnx", "safetensors"])
def test_either_file_changes_the_sha256_of_the_torch_network(role: str) -> None:
    entry = model_entry("xcos-large")
    other = replace(entry, files={**entry.files, role: replace(entry.files[role], sha256="0" * 64)})
    assert other.torch_sha256 != entry.torch_sha256
    small = model_entry("xcos-mobilefacenet")
    assert small.torch_sha256 == small.files["safetensors"].sha256


def test_methods_with_gradients_run_on_it() -> None:
    pytest.importorskip("torch")
    from whyface.explain.methods import open_method
    from whyface.explain.pair_method import PairMethod
    from whyface.verification import Verifier

    first, second = (load_face(demo_photo(name)) for name in PHOTOS[:2])
    assert method_entry("gradcam").needs
    verdict = Verifier("xcos-large", threshold=0.3).method
    method = open_method("gradcam", verdict)
    assert isinstance(method, PairMethod)
    maps = method.explain([(first, second)])[0]
    assert maps.map_a is not None
    assert np.isfinite(maps.map_a).all()
    assert np.ptp(maps.map_a) > 0


def test_the_trunk_is_the_published_network_to_the_bit() -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from whyface.models.weights import stored_tensors

    def weights(path: Path) -> list[np.ndarray]:
        model = onnx.load(path)
        convolutions = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        found = {name: values for name, values in stored_tensors(model).items() if name in convolutions}
        initial = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in convolutions}
        return [values for values in {**initial, **found}.values() if values.size > 600 and values.ndim == 4]

    published = weights(shared_weights("mobilefacenet-large.onnx"))
    shipped = weights(model_entry("xcos-large").locate("onnx"))
    for values in published:
        assert any(other.shape == values.shape and np.array_equal(other, values) for other in shipped)
