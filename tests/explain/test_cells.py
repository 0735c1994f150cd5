"""The split into cells is exact, whatever the linear head is made of, and anything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.tiny_networks import shared_weights, write_tiny
from helpers.tiny_torch import CornerTrunk, curved_embedder, curved_parts, linear_embedder, random_faces
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.explain.cells import CellsMethod, cell_parts, cell_terms, spread_constant
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.catalogue import open_embedder
from whyface.models.embedder import Embedder
from whyface.models.heads import FcHead, GdcHead
from whyface.models.linear_head import linear_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.torch_embedder import TorchEmbedder, open_torch_embedder


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**31))
def test_every_split_adds_up(channels: int, size: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(size, channels, height, width))
    constant = rng.normal(size=size)
    maps = rng.normal(size=(2, 3, channels, height, width))
    terms = cell_terms(cell_parts(maps[0], weights), cell_parts(maps[1], weights), constant)
    whole = np.einsum("dchw,snchw->snd", weights, maps) + constant
    whole /= np.linalg.norm(whole, axis=2, keepdims=True)
    expected = (whole[0] * whole[1]).sum(axis=1)
    np.testing.assert_allclose(terms.score, expected, atol=1e-9)
    np.testing.assert_allclose(terms.first.sum(axis=(1, 2)) + terms.constant_first, expected, atol=1e-9)
    np.testing.assert_allclose(terms.second.sum(axis=(1, 2)) + terms.constant_second, expected, atol=1e-9)
    rest = terms.same_place.sum(axis=(1, 2)) + terms.cross_place + terms.constant
    np.testing.assert_allclose(rest, expected, atol=1e-9)
    np.testing.assert_allclose(spread_constant(terms.first, terms.constant_first).sum(axis=(1, 2)), expected, atol=1e-4)


def test_two_cells_by_hand() -> None:
    weights = np.ones((1, 1, 1, 2)) * [[[[1.0, 2.0]]]]
    parts = [cell_parts(np.array([[[values]]]), weights) for values in ([3.0, 4.0], [-1.0, 5.0])]
    terms = cell_terms(parts[0], parts[1], np.array([1.0]))
    # e_A = 3 + 8 + 1 = 12, e_B = -1 + 10 + 1 = 10; everything over 120.
    np.testing.assert_allclose(terms.first[0, 0] * 120, [30, 80])
    np.testing.assert_allclose(terms.second[0, 0] * 120, [-12, 120])
    np.testing.assert_allclose(terms.same_place[0, 0] * 120, [-3, 80])
    np.testing.assert_allclose(terms.cross_place * 120, [3 * 10 + 8 * -1])
    np.testing.assert_allclose(terms.constant_first * 120, [10])
    np.testing.assert_allclose(terms.constant * 120, [11 + 9 + 1])


def with_head(head: nn.Module) -> TorchEmbedder:
    torch.manual_seed(0)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            part.running_mean.normal_()
    return TorchEmbedder(curved_parts()[0], head)


EMBEDDERS: dict[str, Callable[[], Embedder]] = {
    "flatten and fully connected": linear_embedder,
    "depthwise": curved_embedder,
    "mean": lambda: with_head(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 8))),
    "ArcFace's": lambda: with_head(FcHead(5, embedding_size=9)),
    "MobileFaceNet's": lambda: with_head(GdcHead(5, embedding_size=9)),
    "corner": lambda: TorchEmbedder(CornerTrunk(), nn.Flatten()),
    "split at a layer": lambda: TorchEmbedder.from_layer(nn.Sequential(*curved_parts()), "0"),
    "the shipped model's": lambda: open_torch_embedder("xcos-mobilefacenet"),
    "the shipped graph's": lambda: open_embedder("xcos-mobilefacenet"),
}


@pytest.mark.parametrize("kind", EMBEDDERS)
def test_maps_add_up_to_the_deployed_cosine(kind: str) -> None:
    check(EMBEDDERS[kind](), random_faces(4))


@pytest.mark.parametrize(
    ("name", "opened"), [("mobilefacenet-ms1m", open_torch_embedder), ("mobilefacenet-large", open_embedder)]
)
def test_published_networks_on_real_faces(name: str, opened: Callable[..., Embedder]) -> None:
    folder = shared_weights(f"{name}.onnx").parent
    names = ("obama-portrait.jpg", "obama-speech.jpg", "obama-portrait.jpg", "biden-portrait.jpg")
    check(opened(name, directory=folder), stack_faces([load_face(demo_photo(photo)) for photo in names]))


def check(embedder: Embedder, faces: np.ndarray) -> None:
    method = CellsMethod(embedder, batch_size=3)
    found = method.maps(faces[::2], faces[1::2])
    embeddings = embedder.embed(faces)
    cosines = (embeddings[::2] * embeddings[1::2]).sum(axis=1)
    np.testing.assert_allclose(found.score, cosines, atol=1e-5)
    np.testing.assert_allclose(found.map_a.sum(axis=(1, 2)), cosines, atol=1e-5)
    np.testing.assert_allclose(found.map_b.sum(axis=(1, 2)), cosines, atol=1e-5)
    for detail, cosine in zip(found.details, cosines, strict=True):
        total = np.sum(detail["same_place"]) + detail["cross_place"] + detail["constant"]
        assert total == pytest.approx(float(cosine), abs=1e-5)


def test_it_needs_no_gradients(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", offset=2), grid="map")
    check(embedder, random_faces(4))


def test_swap_and_identity() -> None:
    method = CellsMethod(curved_embedder())
    one, other = random_faces(2)[:, None]
    there, back = method.maps(one, other), method.maps(other, one)
    np.testing.assert_allclose(there.map_a, back.map_b, atol=1e-6)
    same = method.maps(one, one)
    np.testing.assert_allclose(same.map_a, same.map_b, atol=1e-6)
    np.testing.assert_allclose(same.score, 1, atol=1e-6)


def test_a_cell_without_features_adds_nothing() -> None:
    parts = np.random.default_rng(0).normal(size=(1, 3, 2, 2))
    parts[..., 0, 1] = 0
    terms = cell_terms(parts, parts, np.zeros(3))
    assert terms.first[0, 0, 1] == terms.same_place[0, 0, 1] == 0


@pytest.mark.parametrize(
    "head",
    [nn.Sequential(nn.Flatten(), nn.Linear(245, 4), nn.ReLU()), nn.Sequential(nn.ReLU(), nn.Flatten())],
    ids=["activation at the end", "activation at the start"],
)
def test_a_curved_head_is_refused(head: nn.Module) -> None:
    with pytest.raises(ModelError, match="not a sum over places"):
        CellsMethod(TorchEmbedder(curved_parts()[0], head))


def test_a_head_that_normalises_is_refused() -> None:
    class Unit(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.normalize(torch.flatten(x, 1))

    with pytest.raises(ModelError, match="no L2 normalisation"):
        linear_head(TorchEmbedder(curved_parts()[0], Unit()))


def test_what_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no spatial grid"):
        CellsMethod(OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx")))

    class Other:
        name, sha256 = "other", "0" * 64

        def embed(self, batch: np.ndarray) -> np.ndarray:
            return np.ones((len(batch), 2), np.float32)

        def grid(self, batch: np.ndarray) -> np.ndarray:
            return np.ones((len(batch), 2, 1, 1), np.float32)

    with pytest.raises(ModelError, match="'other'.*cannot be inspected"):
        CellsMethod(Other())


def test_bad_arrays() -> None:
    with pytest.raises(InputError, match="do not fit"):
        cell_parts(np.zeros((1, 2, 3, 3)), np.zeros((4, 2, 3, 2)))
    parts = np.zeros((1, 2, 1, 1))
    with pytest.raises(InputError, match="do not fit"):
        cell_terms(parts, parts, np.zeros(3))
    with pytest.raises(InputError, match="all zeros"):
        cell_terms(parts, parts, np.zeros(2))
    faces = random_faces(2)
    with pytest.raises(InputError, match="cannot pair"):
        CellsMethod(linear_embedder()).maps(faces, faces[:1])
