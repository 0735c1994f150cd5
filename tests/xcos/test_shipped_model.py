"""The shipped files: graphs, tensors and plain arrays agree, and the zoo describes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.attention_reference import learned_attention
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import load_face
from whyface.models.backbones import MobileFaceNet
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.models.heads import PlacedGridHead
from whyface.train.networks import read_safetensors
from whyface.xcos.grid import AttentionKind, flatten_grid, grid_cosine, xcos_score
from whyface.xcos.learned import LearnedAttention, XcosNetwork
from whyface.xcos.model import CORRELATED_TENSOR, XcosModel, open_xcos


@pytest.fixture(scope="module")
def model() -> XcosModel:
    return open_xcos(FAST_MODEL)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    names = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
    return stack_faces([load_face(demo_photo(name)) for name in names])


@pytest.fixture(scope="module")
def network() -> XcosNetwork:
    tensors = read_safetensors(model_entry(FAST_MODEL).locate("safetensors"))
    tensors.pop(CORRELATED_TENSOR)
    network = XcosNetwork(MobileFaceNet(), PlacedGridHead(), LearnedAttention()).eval()
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network


def test_graphs_equal_torch_on_real_faces(model: XcosModel, network: XcosNetwork, faces: np.ndarray) -> None:
    grid = model.grid(faces)
    assert grid.shape == (3, 32, 7, 7)
    with torch.no_grad():
        expected = network.features(torch.from_numpy(faces).float())
        output = network.xcos(expected, expected.flip(0))
    # Features have the size of tens; what counts is their direction.
    np.testing.assert_allclose(flatten_grid(grid), flatten_grid(expected.numpy()), atol=1e-5)
    maps = model.compare(faces, faces[::-1])
    np.testing.assert_allclose(maps.similarity, output.similarity.numpy(), atol=1e-5)
    np.testing.assert_allclose(maps.attention, output.attention.numpy(), atol=1e-5)
    np.testing.assert_allclose(maps.score, output.score.numpy(), atol=1e-5)


def test_graphs_equal_plain_arrays_on_real_faces(model: XcosModel, network: XcosNetwork, faces: np.ndarray) -> None:
    grid = model.grid(faces)
    tensors = {name: value.numpy() for name, value in network.xcos.attention.state_dict().items()}
    maps = model.compare_grids(grid, grid[::-1].copy())
    similarity = grid_cosine(grid, grid[::-1])
    attention = learned_attention(grid, grid[::-1], tensors)
    np.testing.assert_allclose(maps.similarity, similarity, atol=1e-5)
    np.testing.assert_allclose(maps.attention, attention, atol=1e-5)
    np.testing.assert_allclose(maps.score, xcos_score(similarity, attention), atol=1e-5)


@pytest.mark.parametrize("kind", ["u", "p", "l"])
def test_invariants(model: XcosModel, faces: np.ndarray, kind: AttentionKind) -> None:
    maps = model.compare(faces, np.roll(faces, 1, axis=0), kind)
    back = model.compare(np.roll(faces, 1, axis=0), faces, kind)
    same = model.compare(faces, faces, kind)
    np.testing.assert_allclose(maps.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose((maps.similarity * maps.attention).sum(axis=(1, 2)), maps.score, atol=1e-5)
    np.testing.assert_allclose(maps.score, back.score, atol=1e-5)
    np.testing.assert_allclose(maps.similarity, back.similarity, atol=1e-5)
    np.testing.assert_allclose(same.score, 1, atol=1e-4)
    assert np.abs(maps.similarity).max() <= 1 + 1e-6


def test_batches_do_not_change_results(model: XcosModel, faces: np.ndarray) -> None:
    together = model.grid(faces)
    apart = np.concatenate([model.grid(face[None]) for face in faces])
    np.testing.assert_allclose(flatten_grid(together), flatten_grid(apart), atol=1e-5)


def test_identification_embedding(model: XcosModel, faces: np.ndarray) -> None:
    embedding = model.embedder.embed(faces)
    assert embedding.shape == (3, 1568)
    np.testing.assert_allclose(embedding, flatten_grid(model.grid(faces)), atol=1e-6)


def test_the_zoo_describes_the_files() -> None:
    entry = model_entry(FAST_MODEL)
    assert set(entry.files) == {"onnx", "pair", "safetensors"}
    for role, file in entry.files.items():
        path = entry.locate(role)
        assert path.stat().st_size == file.bytes <= 5_000_000
    assert set(entry.thresholds) == {"u", "p", "l"}
    rates = [f"FMR 1e-{power}" for power in range(2, 7)]
    for points in entry.thresholds.values():
        assert [point.name for point in points] == ["EER", *rates]


def test_what_a_model_lacks_is_said(model: XcosModel, faces: np.ndarray) -> None:
    bare = XcosModel(model.embedder)
    assert bare.attentions == ("u",)
    with pytest.raises(ModelError, match="no attention 'l'"):
        bare.compare(faces, faces, "l")
    with pytest.raises(InputError, match="cannot pair"):
        model.compare(faces, faces[:2])


def test_a_black_picture_gives_numbers(model: XcosModel) -> None:
    black = stack_faces([Face(np.zeros((112, 112, 3), np.uint8))])
    assert np.isfinite(model.compare(black, black).score).all()
