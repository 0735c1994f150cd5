"""Places: S and W by hand, what all faces share does not count, and the deployed cosine stays what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.tiny_networks import shared_weights, write_tiny
from helpers.tiny_torch import curved_embedder, curved_parts, linear_embedder, random_faces
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.explain.methods import default_methods
from whyface.explain.places import PlacesMethod, compare_places, mean_map, neighbourhoods
from whyface.explain.provenance import ThresholdSource
from whyface.explain.verdict import VerdictMethod
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.catalogue import open_embedder
from whyface.models.embedder import Embedder
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.torch_embedder import TorchEmbedder, open_torch_embedder
from whyface.xcos.comparison import CosineComparison

ALONE = 1e-3
"""So narrow a neighbourhood that every place is by itself."""


def test_two_places_by_hand() -> None:
    one = np.array([[3.0, 0.0], [4.0, 2.0]]).reshape(1, 2, 1, 2)
    other = np.array([[4.0, 0.0], [3.0, -6.0]]).reshape(1, 2, 1, 2)
    found = compare_places(one, other, ALONE)
    # (3, 4) against (4, 3): 24 / 25, lengths 5 and 5; (0, 2) against (0, -6): -1, lengths 2 and 6.
    np.testing.assert_allclose(found.similarity[0, 0], [0.96, -1], atol=1e-6)
    np.testing.assert_allclose(found.attention[0, 0], [25 / 37, 12 / 37], atol=1e-6)


def test_neighbours_count_by_their_distance() -> None:
    parts = np.zeros((1, 1, 3, 4))
    parts[0, 0, 1, 2] = 2
    sums = neighbourhoods(parts, 1.5)[0, 0]
    row, column = np.indices((3, 4))
    np.testing.assert_allclose(sums, 2 * np.exp(-((row - 1) ** 2 + (column - 2) ** 2) / (2 * 1.5**2)), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.floats(0.3, 4), st.integers(0, 2**31))
def test_invariants(size: int, height: int, width: int, sigma: float, seed: int) -> None:
    one, other = np.random.default_rng(seed).normal(size=(2, 3, size, height, width))
    there, back = compare_places(one, other, sigma), compare_places(other, one, sigma)
    np.testing.assert_allclose(there.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    assert there.attention.min() >= 0
    assert np.abs(there.similarity).max() <= 1
    np.testing.assert_allclose(there.similarity, back.similarity, atol=1e-6)
    np.testing.assert_allclose(there.attention, back.attention, atol=1e-6)
    np.testing.assert_allclose(compare_places(one, 3 * one, sigma).similarity, 1, atol=1e-5)
    np.testing.assert_allclose(compare_places(one, 3 * other, sigma).attention, there.attention, atol=1e-6)


def test_a_mean_face_has_nothing_of_its_own() -> None:
    nothing = np.zeros((1, 2, 2, 3))
    found = compare_places(nothing, nothing, 1.0)
    assert (found.similarity == 0).all()
    np.testing.assert_allclose(found.attention, 1 / 6)


NETWORKS: dict[str, Callable[[], TorchEmbedder]] = {
    "flatten and fully connected": linear_embedder,
    "depthwise": curved_embedder,
    "mean": lambda: TorchEmbedder(
        curved_parts()[0], nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 8))
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_score_is_the_deployed_cosine_and_the_map_the_evidence(kind: str) -> None:
    check(NETWORKS[kind]())


def check(embedder: Embedder, faces: Any = None, **options: Any) -> None:
    """Compare with the formula, written out place by place."""
    faces = random_faces(4) if faces is None else faces
    options = options or {"reference": mean_map(embedder, random_faces(12))}
    method = PlacesMethod(embedder, threshold=0.3, batch_size=3, **options)
    found = method.maps(faces[:2], faces[2:])
    embeddings = embedder.embed(faces)
    np.testing.assert_allclose(found.score, (embeddings[:2] * embeddings[2:]).sum(axis=1), atol=1e-5)
    own = method._grids.grid(faces) - method.mean
    height, width = own.shape[2:]
    parts = {
        (i, j): own[:, :, i, j].astype(float) @ method.head.weights[:, :, i, j].T
        for i in range(height)
        for j in range(width)
    }
    for pair in range(2):
        similarity, lengths = np.empty((height, width)), np.empty((height, width))
        for i, j in parts:
            near = sum(
                np.exp(-((i - k) ** 2 + (j - m) ** 2) / 2) * values[[pair, pair + 2]]
                for (k, m), values in parts.items()
            )
            size = np.linalg.norm(near, axis=1)
            similarity[i, j], lengths[i, j] = near[0] @ near[1] / size.prod(), size.prod()
        weights = lengths / lengths.sum()
        np.testing.assert_allclose(found.map_a[pair], (similarity - 0.3) * weights, atol=1e-5)
        np.testing.assert_allclose(found.details[pair]["similarity"], similarity, atol=1e-4)
        np.testing.assert_allclose(found.details[pair]["attention"], weights, atol=1e-5)
        assert found.details[pair]["places_score"] == pytest.approx((similarity * weights).sum(), abs=1e-5)
    np.testing.assert_array_equal(found.map_a, found.map_b)
    assert (found.forward, found.backward) == (2, 0)


def test_what_all_faces_share_does_not_count() -> None:
    class Shifted(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.trunk, self.by = curved_parts()[0], by

        def forward(self, x: Any) -> Any:
            return self.trunk(x) + self.by

    maps = []
    for by in (0.0, 7.0):
        embedder = TorchEmbedder(Shifted(by), curved_parts()[1])
        method = PlacesMethod(embedder, reference=mean_map(embedder, random_faces(12)))
        maps.append(method.maps(*random_faces(2)[:, None]).map_a)
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)


def test_identical_photos_are_alike_everywhere() -> None:
    embedder = curved_embedder()
    method = PlacesMethod(embedder, threshold=0.25, reference=mean_map(embedder, random_faces(12)))
    face = random_faces(1)
    found = method.maps(face, face)
    np.testing.assert_allclose(found.score, 1, atol=1e-5)
    np.testing.assert_allclose(found.details[0]["similarity"], 1, atol=1e-5)
    assert found.map_a.sum() == pytest.approx(0.75, abs=1e-5)


def test_onnx_without_gradients(tmp_path: Path) -> None:
    check(OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx", offset=2), grid="map"))


@pytest.mark.parametrize("name", ["mobilefacenet-ms1m", "mobilefacenet-large", "mobilefacenet-casia"])
def test_known_networks_need_no_reference(name: str) -> None:
    folder = shared_weights(f"{name}.onnx").parent
    photos = ("obama-portrait.jpg", "obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
    faces = stack_faces([load_face(demo_photo(photo)) for photo in photos])
    embedder = open_embedder(name, directory=folder)
    check(embedder, faces, sigma=1.0)
    same, other = (one["places_score"] for one in PlacesMethod(embedder).maps(faces[:2], faces[2:]).details)
    assert same > other + 0.2
    verdict = VerdictMethod(CosineComparison(embedder), threshold=0.3, source=ThresholdSource(name="made up"))
    assert default_methods(verdict) == ("places", "xface")


def test_torch_and_onnx_agree_on_a_known_network() -> None:
    folder = shared_weights("mobilefacenet-ms1m.safetensors").parent
    faces = stack_faces([load_face(demo_photo(photo)) for photo in ("obama-portrait.jpg", "biden-portrait.jpg")])
    maps = [
        PlacesMethod(opened("mobilefacenet-ms1m", directory=folder)).maps(faces[:1], faces[1:]).map_a
        for opened in (open_embedder, open_torch_embedder)
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


def test_settings_say_which_mean() -> None:
    embedder = curved_embedder()
    settings_of = [
        dict(PlacesMethod(embedder, reference=mean_map(embedder, faces)).settings)
        for faces in (random_faces(12), random_faces(12), random_faces(13))
    ]
    assert settings_of[0] == settings_of[1] != settings_of[2]
    assert len(settings_of[0]["mean_map_sha256"]) == 64


def test_bad_input() -> None:
    embedder = curved_embedder()
    with pytest.raises(ModelError, match=r"needs the mean map of.*--reference"):
        PlacesMethod(embedder)
    mean = mean_map(embedder, random_faces(12))
    for bad in (mean[:, :3], np.full_like(mean, np.nan)):
        with pytest.raises(InputError, match="the mean map is"):
            PlacesMethod(embedder, reference=bad)
    with pytest.raises(InputError, match="sigma must be positive"):
        PlacesMethod(embedder, reference=mean, sigma=0)
    method = PlacesMethod(embedder, reference=mean)
    with pytest.raises(InputError, match="cannot pair"):
        method.maps(random_faces(2), random_faces(1))
    with pytest.raises(InputError, match="no pairs"):
        method.maps(random_faces(1)[:0], random_faces(1)[:0])
    with pytest.raises(InputError, match="do not fit"):
        compare_places(np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 3)), 1.0)
