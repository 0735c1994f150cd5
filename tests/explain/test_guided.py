"""The guided map has the evidence's signs and the gradient's places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.tiny_torch import curved_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.gradcam import XcosGuidedMethod, scaled, smoothed
from whyface.explain.gradient_method import XcosScore
from whyface.models.torch_embedder import TorchEmbedder

THRESHOLD = 0.2


@pytest.fixture
def score() -> XcosScore:
    return XcosScore(curved_embedder(), torch.full((7, 7), 1 / 49))


def test_the_sign_in_the_middle_of_every_cell_is_the_cells(score: XcosScore) -> None:
    faces = random_faces(2)
    found = XcosGuidedMethod(score.embedder, score=score, threshold=THRESHOLD, sigma=0.5, erasure=0).maps(
        faces[:1], faces[1:]
    )
    with torch.no_grad():
        grids = score.features(score.embedder.pixels(faces))
        cells = score.cells(grids[:1], grids[1:])
    evidence = cells.similarity[0].numpy() - THRESHOLD
    assert found.map_a.shape == (1, 112, 112)
    np.testing.assert_allclose(found.score, cells.score.numpy(), atol=1e-6)
    # The corner's value reaches to the border unmixed.
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert np.sign(found.map_a[0, row, column]) == np.sign(evidence[row, column])
    assert found.map_a.min() < 0 < found.map_a.max()


def test_faces_swap_and_company_changes_nothing(score: XcosScore) -> None:
    faces = random_faces(6)
    method = XcosGuidedMethod(score.embedder, score=score, threshold=THRESHOLD, batch_size=4)
    together, back = method.maps(faces[:3], faces[3:]), method.maps(faces[3:], faces[:3])
    scale = np.abs(together.map_a).max()
    np.testing.assert_allclose(together.map_a, back.map_b, atol=1e-4 * scale)
    alone = method.maps(faces[1:2], faces[4:5])
    np.testing.assert_allclose(together.map_a[1], alone.map_a[0], atol=1e-4 * scale)
    same = method.maps(faces[:1], faces[:1])
    np.testing.assert_allclose(same.map_a, same.map_b, atol=1e-9)


def test_pixels_that_the_network_does_not_see_get_nothing() -> None:
    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = torch.nn.Conv2d(3, 5, 16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv(x[..., :56] / 255))

    embedder = TorchEmbedder(Half(), torch.nn.Flatten())
    score = XcosScore(embedder, torch.full((7, 3), 1 / 21))
    found = XcosGuidedMethod(embedder, score=score, threshold=THRESHOLD, sigma=1.0).maps(*random_faces(2)[:, None])
    assert np.abs(found.map_a[0, :, :40]).max() > 0
    assert np.abs(found.map_a[0, :, 62:]).max() == 0


def test_the_second_map_is_the_first_order_loss_of_erasing() -> None:
    score = XcosScore(curved_embedder(), torch.full((7, 7), 1 / 49))
    faces = random_faces(2)
    plain, mixed = (
        XcosGuidedMethod(score.embedder, score=score, threshold=THRESHOLD, sigma=2.0, erasure=weight)
        .maps(faces[:1], faces[1:])
        .map_a
        for weight in (0.0, 3.0)
    )
    pixels = score.embedder.pixels(faces).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(score(pixels[:1], pixels[1:]).sum(), pixels)
    away = pixels.detach() - pixels.detach().mean(dim=(2, 3), keepdim=True)
    loss = (gradient * away).sum(dim=1)[:1].numpy()
    expected = 3 * scaled(smoothed(loss, 2.0))
    np.testing.assert_allclose(mixed - plain, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(np.abs(plain).mean(), 1, rtol=1e-4)


def test_scaling_leaves_zeros() -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[1] = -4
    np.testing.assert_array_equal(scaled(maps)[:, 0, 0], [0, -1])


def test_smoothing_keeps_a_constant_and_the_total() -> None:
    point = np.zeros((2, 31, 31), np.float32)
    point[:, 15, 15] = 1
    found = smoothed(point, 2.0)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-4)
    assert found[0].argmax() == 15 * 31 + 15
    np.testing.assert_allclose(smoothed(np.ones((1, 9, 9), np.float32), 3.0), 1, rtol=1e-5)


def test_bad_input(score: XcosScore) -> None:
    with pytest.raises(ModelError, match="'xcos-guided' needs a model with attention"):
        XcosGuidedMethod(curved_embedder())
    with pytest.raises(InputError, match="sigma"):
        XcosGuidedMethod(score.embedder, score=score, sigma=0.0)
    with pytest.raises(InputError, match="erasure"):
        XcosGuidedMethod(score.embedder, score=score, erasure=-1.0)
