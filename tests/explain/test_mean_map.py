"""Mean maps: a plain mean, kept in a file, found by the network's hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from helpers.tiny_torch import curved_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.places import (
    FEWEST,
    known_mean_map,
    mean_map,
    read_mean_map,
    save_mean_map,
    shipped_mean_maps,
)
from whyface.models.catalogue import known_models, model_entry


def test_it_is_the_mean_however_it_is_cut() -> None:
    embedder, faces = curved_embedder(), random_faces(FEWEST + 1)
    seen: list[tuple[int, int]] = []
    found = mean_map(embedder, faces, batch_size=5, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(found, embedder.grid(faces).mean(axis=0), atol=1e-5)
    assert seen == [(5, 13), (10, 13), (13, 13)]
    assert found.dtype == np.float32


def test_too_few_faces() -> None:
    with pytest.raises(InputError, match="11 faces are too few"):
        mean_map(curved_embedder(), random_faces(FEWEST - 1))


def test_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    path = tmp_path / "mean.safetensors"
    save_mean_map(path, values, {"model": "made up"})
    np.testing.assert_allclose(read_mean_map(path), values, atol=2e-3)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ModelError, match="no mean map"):
        read_mean_map(path)
    with pytest.raises(ModelError, match="no mean map"):
        read_mean_map(tmp_path / "none.safetensors")


def test_unknown_networks_have_none() -> None:
    assert known_mean_map(curved_embedder()) is None


def test_what_ships_belongs_to_known_networks() -> None:
    files = sorted(shipped_mean_maps().glob("*.safetensors"))
    with_maps = {entry.name for entry in known_models() if entry.kind == "cosine" and entry.grid is not None}
    assert {path.stem for path in files} == with_maps
    for path in files:
        entry = model_entry(path.stem)
        with safe_open(path, framework="numpy") as file:
            assert file.metadata()["sha256"] == entry.files["onnx"].sha256
        assert entry.grid is not None
        assert read_mean_map(path).shape == entry.grid.shape
        known = curved_embedder()
        known._sha256 = entry.files["onnx"].sha256
        np.testing.assert_array_equal(known_mean_map(known), read_mean_map(path))
