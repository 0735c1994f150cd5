"""Scores of every way of comparing faces: bounded, and the sum of S and W."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces, tiny_xcos
from whyface.gallery.gallery import Gallery
from whyface.xcos.comparison import SearchableComparison, comparisons

WAYS = [*comparisons(tiny_xcos()).values(), *comparisons(TinyGrids()).values()]


@pytest.mark.parametrize("comparison", WAYS, ids=lambda way: way.kind)
def test_a_face_and_itself_score_one_and_no_more(comparison: SearchableComparison) -> None:
    """Rounding made up to 1.0000002 of it."""
    features = comparison.features(faces(1000))
    scores = comparison.scores(features, features)
    assert scores.dtype == np.float32
    assert scores.max() <= 1
    assert {f"{score:.4f}" for score in scores} == {"1.0000"}
    maps = comparison.maps(features, features)
    if maps is not None:
        np.testing.assert_array_equal(maps.score, scores)
        np.testing.assert_allclose((maps.similarity.astype(float) * maps.attention).sum((1, 2)), maps.score, atol=1e-6)


@pytest.mark.parametrize("comparison", WAYS, ids=lambda way: way.kind)
def test_a_face_and_its_opposite_score_no_less_than_minus_one(comparison: SearchableComparison) -> None:
    features = comparison.features(faces(1000))
    scores = comparison.scores(features, -features)
    assert scores.min() >= -1
    assert {f"{score:.4f}" for score in scores} == {"-1.0000"}


@pytest.mark.parametrize("comparison", WAYS, ids=lambda way: way.kind)
def test_other_pairs_are_not_changed(comparison: SearchableComparison) -> None:
    first, second = comparison.features(faces(500)), comparison.features(faces(500, seed=1))
    scores = comparison.scores(first, second)
    assert -1 < scores.min() < scores.max() < 1
    maps = comparison.maps(first, second)
    if maps is not None:
        np.testing.assert_allclose((maps.similarity.astype(float) * maps.attention).sum((1, 2)), maps.score, atol=1e-6)


def test_a_search_returns_no_score_above_one(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos(), storage="float32") as gallery:
        features = gallery.features(faces(200))
        gallery.add(features, "x", "s")
        for kind in gallery.model.kinds:
            best = [found[0] for found in gallery.search(features, k=1, attention=kind)]
            assert [candidate.record for candidate in best] == list(range(200))
            assert max(candidate.score for candidate in best) <= 1
            for candidate in best:
                assert candidate.similarity is not None
                assert candidate.attention is not None
                total = (candidate.similarity.astype(float) * candidate.attention).sum()
                assert total == pytest.approx(candidate.score, abs=1e-6)
