"""Why an embedding found whom it found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn

from helpers.gallery_models import tiny_xcos
from helpers.tiny_networks import write_tiny
from helpers.tiny_torch import curved_parts, linear_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.cells import cell_parts, cell_terms, spread_constant
from whyface.gallery.gallery import Gallery
from whyface.gallery.search import explain_cells, with_cells
from whyface.models.linear_head import linear_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.torch_embedder import TorchEmbedder


@pytest.mark.parametrize("storage", ["int16", "float32"])
def test_cells_of_the_probe_add_up_to_the_score(tmp_path: Path, storage: Literal["int16", "float32"]) -> None:
    model, faces = linear_embedder(), random_faces(7)
    with Gallery.create(tmp_path / "g", model, storage=storage) as gallery:
        gallery.add(gallery.features(faces[1:]), list("abcdef"), "s")
        (found,) = gallery.search(gallery.features(faces[:1]), k=6)
        explained = explain_cells(gallery, faces[0], found)
        assert with_cells(gallery, faces[0], found)[0].cells is not None
        assert with_cells(gallery, faces[0], []) == []
    assert [candidate.record for candidate in explained] == [candidate.record for candidate in found]
    maps = []
    for candidate in explained:
        assert candidate.cells is not None
        assert candidate.cells.shape == (7, 7)
        assert candidate.cells.sum() == pytest.approx(candidate.score, abs=2e-4)
        maps.append(candidate.cells)
    # The same numbers as from both pictures, although only one of them is at hand here.
    grids, head = linear_head(model)
    for candidate, cells in zip(explained, maps, strict=True):
        both = cell_parts(grids.grid(faces[[0, candidate.record + 1]]), head.weights)
        terms = cell_terms(both[:1], both[1:], head.constant)
        np.testing.assert_allclose(cells, spread_constant(terms.first, terms.constant_first)[0], atol=1e-5)
    assert np.abs(maps[0] - maps[1]).max() > 1e-4


def test_a_file_of_ones_own_network(tmp_path: Path) -> None:
    model = OnnxEmbedder(write_tiny(tmp_path / "net.onnx"), grid="map")
    faces = random_faces(3)
    with Gallery.create(tmp_path / "g", model) as gallery:
        gallery.add(gallery.features(faces[1:]), ["a", "b"], "s")
        (found,) = gallery.search(gallery.features(faces[:1]))
        for candidate in with_cells(gallery, faces[0], found):
            assert candidate.cells is not None
            assert candidate.cells.sum() == pytest.approx(candidate.score, abs=2e-4)
            assert candidate.to_dict()["cells"][0][0] == pytest.approx(float(candidate.cells[0, 0]))


def test_no_reasons_where_none_can_be_given(tmp_path: Path) -> None:
    faces = random_faces(2)
    head = nn.Sequential(nn.Flatten(), nn.Linear(245, 4), nn.ReLU())
    with Gallery.create(tmp_path / "curved", TorchEmbedder(curved_parts()[0], head.eval())) as gallery:
        gallery.add(gallery.features(faces[1:]), "a", "s")
        (found,) = gallery.search(gallery.features(faces[:1]))
        with pytest.raises(ModelError, match="not a sum over places"):
            explain_cells(gallery, faces[0], found)
        assert with_cells(gallery, faces[0], found) == found
    with Gallery.create(tmp_path / "xcos", tiny_xcos()) as gallery:
        gallery.add(gallery.features(faces[1:]), "a", "s")
        (found,) = gallery.search(gallery.features(faces[:1]))
        with pytest.raises(InputError, match="already have maps"):
            explain_cells(gallery, faces[0], found)
        assert with_cells(gallery, faces[0], found) == found
