"""The xCos evidence adds up to the margin."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tiny_torch import random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.cells import XcosEvidenceMethod
from whyface.explain.usual import find_usual
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.xcos.comparison import CosineComparison, comparisons
from whyface.xcos.model import XcosModel, open_xcos


@pytest.fixture(scope="module")
def model() -> XcosModel:
    return open_xcos(FAST_MODEL)


@pytest.mark.parametrize("attention", ["u", "p", "l"])
def test_evidence_adds_up_to_the_margin_and_products_to_the_score(model: XcosModel, attention: str) -> None:
    faces = random_faces(4)
    comparison, options = comparisons(model)[attention], {"threshold": 0.3, "batch_size": 3}
    evidence = XcosEvidenceMethod(comparison, **options).maps(faces[:2], faces[2:])  # type: ignore[arg-type]
    plain = XcosEvidenceMethod(comparison, excess=False, **options).maps(faces[:2], faces[2:])  # type: ignore[arg-type]
    expected = model.compare(faces[:2], faces[2:], attention)  # type: ignore[arg-type]
    np.testing.assert_allclose(evidence.score, expected.score, atol=1e-6)
    np.testing.assert_allclose(evidence.map_a.sum(axis=(1, 2)), expected.score - 0.3, atol=1e-5)
    np.testing.assert_allclose(plain.map_a, expected.similarity * expected.attention, atol=1e-6)
    np.testing.assert_array_equal(evidence.map_a, evidence.map_b)
    np.testing.assert_array_equal(np.sign(evidence.map_a), np.sign(expected.similarity - np.float32(0.3)))


def test_what_is_usual_at_a_place_moves_shares_between_places_but_not_their_sum(model: XcosModel) -> None:
    faces, comparison = random_faces(4), comparisons(model)["l"]
    usual = find_usual(model_entry(FAST_MODEL), comparison.sha256)
    assert usual is not None
    plain = XcosEvidenceMethod(comparison, threshold=0.3).maps(faces[:2], faces[2:])
    found = XcosEvidenceMethod(comparison, threshold=0.3, usual=usual).maps(faces[:2], faces[2:])
    np.testing.assert_allclose(found.map_a.sum(axis=(1, 2)), found.score - 0.3, atol=1e-5)
    # Each share changes by W times what is usual, less its mean by W.
    w = comparison.maps(comparison.features(faces[:2]), comparison.features(faces[2:])).attention  # type: ignore[union-attr]
    mean = (w * usual.middle).sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(plain.map_a - found.map_a, w * (usual.middle - mean), atol=1e-5)
    assert XcosEvidenceMethod(comparison, usual=usual).settings["usual"] == usual.source


def test_bad_input(model: XcosModel) -> None:
    faces = random_faces(2)
    with pytest.raises(InputError, match="cannot pair"):
        XcosEvidenceMethod(comparisons(model)["l"]).maps(faces, faces[:1])
    with pytest.raises(ModelError, match="needs an xCos score"):
        XcosEvidenceMethod(CosineComparison(model.embedder))
