"""The sum of winning pixels and xCos evidence is the sum of its parts, and follows the network's weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_torch import CornerTrunk, curved_embedder, linear_embedder, random_faces
from whyface.bench.randomised import randomised_score
from whyface.errors import InputError, ModelError
from whyface.explain.ebp import EbpMethod
from whyface.explain.evidence_sum import EvidenceSumMethod
from whyface.explain.gradcam import XcosGuidedMethod, scaled, smoothed
from whyface.explain.gradient_method import XcosScore
from whyface.explain.methods import open_method
from whyface.models.torch_embedder import TorchEmbedder

THRESHOLD = 0.2


@pytest.fixture
def score() -> XcosScore:
    return XcosScore(curved_embedder(), torch.full((7, 7), 1 / 49))


def method(score: XcosScore, **options: Any) -> EvidenceSumMethod:
    return EvidenceSumMethod(score.embedder, score=score, threshold=THRESHOLD, **options)


def test_without_biases_the_first_map_is_that_of_ebp_smoothed_and_squared() -> None:
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 16, 16, bias=False), torch.nn.PReLU(6))
    embedder = TorchEmbedder(trunk, torch.nn.Flatten())
    score = XcosScore(embedder, torch.full((7, 7), 1 / 49))
    first, second = random_faces(4).reshape(2, 2, 3, 112, 112)
    found = method(score, sigma=5.0, weight=0.0).maps(first, second)
    plain = EbpMethod(embedder, score=score).maps(first, second)
    np.testing.assert_allclose(found.score, plain.score, atol=1e-6)
    for one, other in ((found.map_a, plain.map_a), (found.map_b, plain.map_b)):
        wide = smoothed(other, 5.0)
        np.testing.assert_allclose(one, scaled(np.sign(wide) * wide**2), rtol=1e-3, atol=1e-3)


def test_the_second_map_is_that_of_xcos_guided(score: XcosScore) -> None:
    first, second = random_faces(2)[:, None]
    none, some = (method(score, weight=weight).maps(first, second) for weight in (0.0, 0.7))
    guided = XcosGuidedMethod(score.embedder, score=score, threshold=THRESHOLD).maps(first, second)
    np.testing.assert_allclose(some.map_a - none.map_a, 0.7 * scaled(guided.map_a), atol=1e-4)
    np.testing.assert_allclose(some.map_b - none.map_b, 0.7 * scaled(guided.map_b), atol=1e-4)


def test_faces_swap_and_company_changes_nothing(score: XcosScore) -> None:
    faces = random_faces(6)
    together, back = method(score).maps(faces[:3], faces[3:]), method(score).maps(faces[3:], faces[:3])
    np.testing.assert_allclose(together.map_a, back.map_b, atol=1e-3)
    alone = method(score).maps(faces[1:2], faces[4:5])
    np.testing.assert_allclose(together.map_a[1], alone.map_a[0], atol=1e-3)


def test_the_same_picture_twice_has_one_map_twice(score: XcosScore) -> None:
    face = random_faces(1)
    found = method(score).maps(face, face)
    np.testing.assert_allclose(found.map_a, found.map_b, atol=1e-6)
    np.testing.assert_allclose(found.score, 1, atol=1e-6)


def test_pixels_that_the_network_does_not_see_get_nothing() -> None:
    embedder = TorchEmbedder(CornerTrunk(), torch.nn.Flatten())
    score = XcosScore(embedder, torch.full((2, 2), 1 / 4))
    # The evidence of a 2 x 2 grid is drawn over the whole picture, but its gradient ends with the corner.
    found = method(score, sigma=1.0).maps(*random_faces(2)[:, None])
    assert np.abs(found.map_a[0, :32, :32]).max() > 0
    assert np.abs(found.map_a[0, 70:, 70:]).max() == 0


def test_other_weights_give_another_map(score: XcosScore) -> None:
    first, second = random_faces(8).reshape(2, 4, 3, 112, 112)
    own = method(score).maps(first, second).map_a
    shuffled = randomised_score(score, 1.0, seed=1)
    assert isinstance(shuffled, XcosScore)
    other = method(shuffled).maps(first, second).map_a
    alike = [np.corrcoef(one.ravel(), two.ravel())[0, 1] for one, two in zip(own, other, strict=True)]
    assert np.mean(alike) < 0.5


def test_what_it_refuses(score: XcosScore) -> None:
    for wrong in ({"sigma": 0.0}, {"weight": -0.1}, {"sigma": float("nan")}):
        with pytest.raises(InputError, match="must"):
            method(score, **wrong)
    with pytest.raises(ModelError, match="'evidence-sum' needs a model with attention"):
        open_method("evidence-sum", embedder=linear_embedder())
