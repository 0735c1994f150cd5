"""xSSAB and FGGB on a linear network, whose gradients are its matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from helpers.tiny_torch import linear_embedder, linear_parts, random_faces
from whyface.errors import InputError
from whyface.explain.fggb import FggbMethod
from whyface.explain.xssab import XssabMethod

THRESHOLD = 0.1
Array = NDArray[np.float64]


def by_hand() -> tuple[Array, Array, Array]:
    """Embeddings of two faces, and d e_n / d pixels of the first, from the network's matrices alone."""
    (_, conv), (_, full) = (list(part.children()) for part in linear_parts())
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(full, nn.Linear)
    colours = conv.weight.detach().numpy()[:, :, 0, 0].astype(np.float64)
    weights = full.weight.detach().numpy().astype(np.float64).reshape(6, 4, 7, 7)
    pooled = random_faces(2).astype(np.float64).reshape(2, 3, 7, 16, 7, 16).mean(axis=(3, 5))
    assert conv.bias is not None
    spatial = np.einsum("ck,nkij->ncij", colours, pooled) + conv.bias.detach().numpy()[:, None, None]
    raw = np.einsum("dcij,ncij->nd", weights, spatial) + full.bias.detach().numpy()
    norm = np.linalg.norm(raw, axis=1, keepdims=True)
    unit = raw / norm
    slope = np.einsum("dcij,ck->dkij", weights, colours).repeat(16, 2).repeat(16, 3) / 256
    tangent = (np.eye(6) - np.outer(unit[0], unit[0])) / norm[0]
    return unit[0], unit[1], np.einsum("dn,nkij->dkij", tangent, slope)


def test_xssab_by_hand() -> None:
    one, other, slopes = by_hand()
    positive = one * other >= THRESHOLD / 6
    assert 0 < positive.sum() < 6
    for_match = np.abs(np.einsum("d,dkij->kij", other * positive, slopes)).mean(axis=0)
    against = np.abs(np.einsum("d,dkij->kij", other * ~positive, slopes)).mean(axis=0)
    faces = random_faces(2)
    for kind, expected in (("combined", for_match - against), ("positive", for_match), ("negative", -against)):
        method = XssabMethod(linear_embedder(), threshold=THRESHOLD, kind=kind)  # type: ignore[arg-type]
        found = method.maps(faces[:1], faces[1:])
        np.testing.assert_allclose(found.map_a[0], expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(found.score, one @ other, atol=1e-5)
        assert method.settings == {"kind": kind}


@pytest.mark.parametrize("chunk", [2, 4, 5, 64])
def test_fggb_by_hand_whatever_the_chunk(chunk: int) -> None:
    one, other, slopes = by_hand()
    sizes = np.abs(slopes).mean(axis=1)
    sizes /= np.linalg.norm(sizes, axis=(1, 2), keepdims=True)
    expected = np.einsum("d,dij->ij", one * other - THRESHOLD / 6, sizes)
    faces = random_faces(2)
    found = FggbMethod(linear_embedder(), threshold=THRESHOLD, batch_size=chunk).maps(faces[:1], faces[1:])
    np.testing.assert_allclose(found.map_a[0], expected, atol=1e-3 * np.abs(expected).max())
    parts = [
        FggbMethod(linear_embedder(), threshold=THRESHOLD, kind=kind).maps(faces[:1], faces[1:]).map_a
        for kind in ("similar", "dissimilar")
    ]
    assert parts[0].min() >= 0 >= parts[1].max()
    np.testing.assert_allclose(parts[0] + parts[1], found.map_a, atol=1e-4)


def test_some_dimensions_of_fggb_by_hand() -> None:
    one, other, slopes = by_hand()
    sizes = np.abs(slopes).mean(axis=1)
    sizes /= np.linalg.norm(sizes, axis=(1, 2), keepdims=True)
    faces = random_faces(2)
    method = FggbMethod(linear_embedder(), threshold=THRESHOLD, batch_size=4, dimensions=3, seed=5)
    found = method.maps(faces[:1], faces[1:])
    chosen = np.sort(np.random.default_rng(5).choice(6, 3, replace=False))
    expected = np.einsum("d,dij->ij", (one * other - THRESHOLD / 6)[chosen], sizes[chosen])
    np.testing.assert_allclose(found.map_a[0], expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(found.score, one @ other, atol=1e-5)
    assert found.backward == 6
    assert method.settings == {"kind": "combined", "dimensions": 3, "seed": 5}
    every = FggbMethod(linear_embedder(), threshold=THRESHOLD).maps(faces[:1], faces[1:])
    plenty = FggbMethod(linear_embedder(), threshold=THRESHOLD, dimensions=99).maps(faces[:1], faces[1:])
    np.testing.assert_array_equal(plenty.map_a, every.map_a)
    with pytest.raises(InputError, match="at least one dimension"):
        FggbMethod(linear_embedder(), dimensions=0)


def test_the_share_itself_counts_as_positive() -> None:
    """A blank face against itself in a network with one dimension: the argument is exactly the share."""
    from whyface.models.torch_embedder import TorchEmbedder

    torch.manual_seed(0)
    network = TorchEmbedder(nn.AvgPool2d(16), nn.Sequential(nn.Flatten(), nn.Linear(147, 1)))
    face = random_faces(1)
    terms = network.embed(face) ** 2
    np.testing.assert_array_equal(terms, 1)
    found = XssabMethod(network, threshold=1.0, kind="negative").maps(face, face)
    assert np.abs(found.map_a).max() == 0


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="combined, positive, negative"):
        XssabMethod(linear_embedder(), kind="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="combined, similar, dissimilar"):
        FggbMethod(linear_embedder(), kind="both")  # type: ignore[arg-type]
