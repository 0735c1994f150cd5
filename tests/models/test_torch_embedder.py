"""Torch networks behind the embedder protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiny_networks import shared_weights
from helpers.tiny_torch import curved_embedder, curved_parts, linear_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.models.catalogue import open_embedder
from whyface.models.embedder import GridEmbedder
from whyface.models.preprocessing import ARCFACE, Preprocessing
from whyface.models.torch_embedder import TorchEmbedder, open_torch_embedder


def test_it_is_an_embedder_with_a_grid() -> None:
    embedder = curved_embedder()
    assert isinstance(embedder, GridEmbedder)
    faces = random_faces(3)
    embedding, grid = embedder.embed(faces), embedder.grid(faces)
    assert embedding.shape == (3, 6)
    assert grid.shape == (3, 5, 7, 7)
    assert embedding.dtype == grid.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)
    assert embedder.embed(faces[:0]).shape == (0, 6)


def test_folding_changes_nothing_and_leaves_the_callers_network_alone() -> None:
    trunk, head = curved_parts()
    trunk.train()
    faces = random_faces(2)
    plain = TorchEmbedder(trunk, head, fold=False)
    folded = TorchEmbedder(trunk, head)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.trunk.modules())
    np.testing.assert_allclose(folded.embed(faces), plain.embed(faces), atol=1e-5)
    assert trunk.training
    assert all(parameter.requires_grad for parameter in trunk.parameters())
    assert plain.sha256 == folded.sha256
    with torch.no_grad():
        next(iter(head.parameters())).add_(1)
    assert TorchEmbedder(trunk, head).sha256 != plain.sha256


def test_more_faces_than_fit_at_once_give_the_same() -> None:
    embedder = linear_embedder()
    faces = random_faces(40)
    np.testing.assert_allclose(embedder.embed(faces)[35:], embedder.embed(faces[35:]), atol=1e-6)


@pytest.mark.parametrize(
    "how", [ARCFACE, Preprocessing(order="bgr", divisor=255), Preprocessing(columns=(8, 104)), Preprocessing()]
)
def test_preprocessing_is_the_plain_one_and_lets_gradients_through(how: Preprocessing) -> None:
    trunk = nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Conv2d(3, 2, 1))
    embedder = TorchEmbedder(trunk, nn.Flatten(), preprocessing=how, fold=False)
    faces = random_faces(2)
    with torch.no_grad():
        expected = trunk(torch.from_numpy(how.apply(faces))).numpy()
    np.testing.assert_allclose(embedder.grid(faces), expected, rtol=1e-4, atol=1e-4)
    pixels = embedder.pixels(faces).requires_grad_()
    (gradient,) = torch.autograd.grad(embedder.forward_tensor(pixels)[:, 0].sum(), pixels)
    assert gradient.abs().sum() > 0


def test_a_network_is_split_behind_any_layer() -> None:
    trunk, head = curved_parts()
    whole = nn.Sequential(trunk, head).eval()
    faces = random_faces(2)
    split = TorchEmbedder.from_layer(whole, "0.4")
    expected = TorchEmbedder(trunk, head, fold=False)
    np.testing.assert_allclose(split.grid(faces), expected.grid(faces), atol=1e-5)
    np.testing.assert_allclose(split.embed(faces), expected.embed(faces), atol=1e-6)
    pixels = split.pixels(faces).requires_grad_()
    (gradient,) = torch.autograd.grad(split.forward_tensor(pixels)[:, 1].sum(), pixels)
    (wanted,) = torch.autograd.grad(expected.forward_tensor(pixels)[:, 1].sum(), pixels)
    torch.testing.assert_close(gradient, wanted)


def test_a_missing_layer_is_named_with_likely_ones() -> None:
    with pytest.raises(ModelError, match=r"no layer '0\.44'; likely ones are .*'0\.4'"):
        TorchEmbedder.from_layer(nn.Sequential(*curved_parts()), "0.44")


def test_what_is_no_map_or_no_batch_is_refused() -> None:
    embedder = TorchEmbedder(nn.Flatten(), nn.Identity(), name="flat")
    with pytest.raises(ModelError, match="'flat'.*not a spatial map"):
        embedder.embed(random_faces(1))
    with pytest.raises(InputError, match="112"):
        linear_embedder().embed(np.zeros((1, 3, 96, 96), np.uint8))


def test_values_that_are_not_finite_are_refused() -> None:
    embedder = TorchEmbedder(nn.Sequential(nn.AvgPool2d(16), nn.Threshold(1e9, float("inf"))), nn.Flatten())
    with pytest.raises(ModelError, match="not finite"):
        embedder.grid(random_faces(1))


def test_the_shipped_model_equals_its_onnx_graph() -> None:
    faces = random_faces(2)
    network, graph = open_torch_embedder("xcos-mobilefacenet"), open_embedder("xcos-mobilefacenet")
    np.testing.assert_allclose(network.embed(faces), graph.embed(faces), atol=1e-5)
    np.testing.assert_allclose(network.grid(faces), graph.grid(faces), atol=1e-3)


def test_the_published_network_equals_its_onnx_graph() -> None:
    folder = shared_weights("mobilefacenet-ms1m.safetensors").parent
    faces = random_faces(2)
    network = open_torch_embedder("mobilefacenet-ms1m", directory=folder)
    graph = open_embedder("mobilefacenet-ms1m", directory=folder)
    np.testing.assert_allclose(network.embed(faces), graph.embed(faces), atol=1e-5)
    assert network.grid(faces).shape == (2, 512, 7, 7)


def test_a_model_without_torch_network_is_refused() -> None:
    with pytest.raises(ModelError, match="'mobilefacenet-large' is not known as a torch network.*xcos-mobilefacenet"):
        open_torch_embedder("mobilefacenet-large")
