"""Models whose grid carries each face's own weights: a folder on disk, comparison, gallery and gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.factorised_reference import factorised_scores
from helpers.gallery_models import TinyGrids
from helpers.tiny_networks import write_tiny
from whyface.errors import ModelError
from whyface.models.catalogue import read_entry, write_entry
from whyface.xcos.comparison import CosineComparison, XcosComparison, comparisons
from whyface.xcos.grid import factorised_maps
from whyface.xcos.model import XcosModel, open_xcos
from whyface.xcos.open_model import open_model


def random_faces(count: int, seed: int = 0) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 3, 14, 14), np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=2).repeat(8, axis=3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = write_tiny(tmp_path / "tiny.onnx", outputs=("map",))
    write_entry(
        tmp_path,
        {"onnx": network},
        name="tiny",
        kind="xcos",
        embedding_size=98,
        grid=("map", (2, 7, 7)),
        weighed=True,
    )
    return tmp_path


def test_a_folder_says_that_its_grid_is_weighed(folder: Path) -> None:
    entry = read_entry(folder)
    assert entry.grid is not None
    assert entry.grid.weighed
    assert entry.default_attention == "l"
    opened = open_model(folder)
    assert opened.comparison().kind == "l"
    assert isinstance(opened.model, XcosModel)
    assert opened.model.attentions == ("u", "l")


def test_learned_attention_is_the_product_of_the_lengths(folder: Path) -> None:
    model = open_xcos(read_entry(folder))
    first, second = (model.grid(random_faces(4, seed)) for seed in (0, 1))
    found, expected = model.compare_grids(first, second), factorised_maps(first, second)
    for name in ("similarity", "attention", "score"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    comparison = comparisons(model)["l"]
    assert comparison.weighed
    assert comparison.separable() is None
    assert comparison.fixed_weights((2, 7, 7)) is None
    one_with_all = comparison.scores(first[:1], second)
    np.testing.assert_allclose(one_with_all, factorised_scores(first[:1], second)[0], atol=1e-5)


def test_only_learned_attention_is_weighed() -> None:
    model = XcosModel(TinyGrids(), weighed=True)
    assert not XcosComparison(model, "u").weighed
    assert not CosineComparison(TinyGrids()).weighed
    assert XcosModel(TinyGrids()).attentions == ("u",)


def test_a_description_that_is_no_yes_or_no_is_refused(folder: Path) -> None:
    path = folder / "model.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["models"][0]["grid"]["weighed"] = 1
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError, match="weighed must be true or false"):
        read_entry(folder)


def test_gradients_go_through_the_weights() -> None:
    torch = pytest.importorskip("torch")
    from helpers.tiny_torch import linear_embedder
    from whyface.explain.gradient_method import pair_score

    embedder = linear_embedder()
    model = XcosModel(embedder, weighed=True)
    score = pair_score(comparisons(model)["l"])
    first, second = (torch.from_numpy(random_faces(3, seed)).float() for seed in (2, 3))
    first.requires_grad_(True)
    found = score(first, second)
    grid_a, grid_b = (embedder.grid(faces.detach().numpy()) for faces in (first, second))
    expected = model.compare_grids(grid_a, grid_b)
    np.testing.assert_allclose(found.detach().numpy(), expected.score, atol=1e-5)
    [gradient] = torch.autograd.grad(found.sum(), first)
    assert torch.isfinite(gradient).all()
    # Two arguments, terms that add up to the score.
    one, two = score.features(first), score.features(second)
    np.testing.assert_allclose(score.arguments(one, two).terms.sum(dim=1).detach(), expected.score, atol=1e-5)
    # The weights have their part in the gradient: a finite difference sees what they change.
    step = 50 * gradient / gradient.norm()
    with torch.no_grad():
        higher, lower = score(first + step, second), score(first - step, second)
    assert float((higher - lower).sum()) == pytest.approx(float(2 * (gradient * step).sum()), rel=0.02)
