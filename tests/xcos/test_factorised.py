"""Attention that factorises: worked out by hand, what must hold for all faces, and torch against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.factorised_reference import LOG_RANGE, factorised_scores, length_logits, place_logits, weigh_grid
from whyface.errors import InputError
from whyface.xcos.grid import (
    factorised_attention,
    factorised_maps,
    flatten_grid,
    grid_cosine,
    place_lengths,
    xcos_score,
)


def grids(seed: int, count: int = 3, channels: int = 4, height: int = 3, width: int = 2) -> NDArray[np.float32]:
    """Draw grids with places of very different lengths."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(rng.normal(size=(count, 1, height, width)))
    return np.asarray(rng.normal(size=(count, channels, height, width)) * lengths, np.float32)


def two_places(*places: tuple[float, float]) -> NDArray[np.float32]:
    """Give one face with two places of two channels each: (1, 2, 1, 2)."""
    return np.asarray(np.array(places, np.float32).T[None, :, None, :])


def test_by_hand_with_two_places() -> None:
    # a = (3, 1), b = (2, 1): W = (6, 1) / 7. Alike at the first place, at right angles at the second.
    a = two_places((3, 0), (1, 0))
    b = two_places((2, 0), (0, 1))
    maps = factorised_maps(a, b)
    np.testing.assert_allclose(maps.attention, [[[6 / 7, 1 / 7]]], rtol=1e-6)
    np.testing.assert_allclose(maps.similarity, [[[1, 0]]], atol=1e-7)
    assert maps.score[0] == pytest.approx(6 / 7)
    assert factorised_scores(a, b)[0, 0] == pytest.approx(6 / 7)


def test_opposite_faces_score_minus_one() -> None:
    a = grids(0)
    np.testing.assert_allclose(np.diag(factorised_scores(a, -a)), -1, atol=1e-6)


def test_given_log_weights_by_hand() -> None:
    # exp(log 3) : exp(log 4), whatever the features' lengths were; 3, 4 and 5 make the squares add up to 1.
    weighed = weigh_grid(two_places((0, 9), (0.5, 0)), np.log([[[3.0, 4.0]]]))
    np.testing.assert_allclose(weighed, two_places((0, 0.6), (0.8, 0)), atol=1e-6)


def test_log_weights_have_a_floor() -> None:
    weighed = weigh_grid(two_places((1, 0), (1, 0)), np.array([[[0.0, -1000.0]]]))
    ratio = place_lengths(weighed)[0, 0, 1] / place_lengths(weighed)[0, 0, 0]
    assert ratio == pytest.approx(np.exp(-LOG_RANGE), rel=1e-4)


def test_the_untrained_special_case_weighs_by_length() -> None:
    raw_a, raw_b = grids(1), grids(2)
    a, b = (weigh_grid(raw, length_logits(raw)) for raw in (raw_a, raw_b))
    product = np.linalg.norm(raw_a, axis=1) * np.linalg.norm(raw_b, axis=1)
    expected = product / product.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(factorised_attention(a, b), expected, rtol=1e-4)
    np.testing.assert_allclose(factorised_scores(raw_a, raw_b), factorised_scores(a, b), atol=1e-6)


def test_a_weighed_grid_is_a_vector_of_length_one() -> None:
    weighed = weigh_grid(grids(3), np.random.default_rng(3).normal(size=(3, 3, 2)))
    np.testing.assert_allclose(np.linalg.norm(weighed.reshape(3, -1), axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(flatten_grid(weighed), weighed.reshape(3, -1), atol=1e-6)


def test_equal_log_weights_are_uniform_attention() -> None:
    a, b = (weigh_grid(raw, np.zeros((3, 3, 2))) for raw in (grids(4), grids(5)))
    np.testing.assert_allclose(factorised_attention(a, b), 1 / 6, rtol=1e-5)
    np.testing.assert_allclose(factorised_maps(a, b).score, grid_cosine(a, b).mean(axis=(1, 2)), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_for_all_faces(seed: int, shift: float) -> None:
    raw_a, raw_b = grids(seed), grids(seed + 1)
    rng = np.random.default_rng(seed)
    logits_a, logits_b = np.clip(rng.normal(scale=2, size=(2, 3, 3, 2)), -LOG_RANGE / 2, LOG_RANGE / 2)
    a, b = weigh_grid(raw_a, logits_a), weigh_grid(raw_b, logits_b)
    maps, turned = factorised_maps(a, b), factorised_maps(b, a)
    np.testing.assert_allclose(maps.attention.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert (maps.attention > 0).all()
    for one, other in zip(maps, turned, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    # Two products, pair by pair, and <S, W> are one number.
    np.testing.assert_allclose(np.diag(factorised_scores(a, b)), maps.score, atol=2e-6)
    np.testing.assert_allclose(xcos_score(maps.similarity, maps.attention), maps.score, atol=1e-6)
    # The product of what each face says, whatever is added to all of a face's log weights.
    expected = np.exp(logits_a + logits_b)
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps.attention, expected, rtol=1e-3)
    np.testing.assert_allclose(weigh_grid(raw_a, logits_a + shift), a, atol=1e-6)
    # Another contrast of the features changes nothing either.
    np.testing.assert_allclose(weigh_grid(7 * raw_a, logits_a), a, atol=1e-6)
    same = factorised_maps(a, a)
    np.testing.assert_allclose(same.score, 1, atol=1e-6)
    np.testing.assert_allclose(same.similarity, 1, atol=1e-6)


def test_all_pairs_are_the_pairs_one_by_one() -> None:
    a, b = grids(6, count=4), grids(7, count=5)
    scores = factorised_scores(a, b)
    assert scores.shape == (4, 5)
    for i in range(4):
        one = factorised_maps(np.repeat(a[i : i + 1], 5, axis=0), b)
        np.testing.assert_allclose(scores[i], one.score, atol=2e-6)


def test_faces_without_a_place_in_common() -> None:
    a, b = two_places((1, 0), (0, 0)), two_places((0, 0), (1, 0))
    maps = factorised_maps(a, b)
    np.testing.assert_allclose(maps.attention, 0.5)
    assert maps.score[0] == 0
    assert factorised_scores(a, b)[0, 0] == 0
    assert np.isfinite(factorised_scores(np.zeros_like(a), a)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: place_lengths(np.zeros((2, 3))), "shape"),
        (lambda: weigh_grid(grids(0), np.zeros((3, 2, 3))), "log weight"),
        (lambda: factorised_scores(grids(0), grids(0, channels=5)), "fit together"),
        (lambda: factorised_attention(grids(0), grids(0, count=2)), "fit together"),
        (lambda: place_logits(grids(0), {}), "missing"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


class TestTorch:
    """The torch modules against plain arrays."""

    torch = pytest.importorskip("torch")

    def trained(self, seed: int = 0) -> Any:
        """Give a module u whose tensors are all drawn."""
        from whyface.models.placed_fc import PlaceLogits

        torch = self.torch
        module = PlaceLogits(4, hidden=5)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in module.parameters():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        return module.eval()

    def test_u_and_weighed_grids_are_those_of_numpy(self) -> None:
        from whyface.models.placed_fc import WeighedHead

        torch = self.torch
        u, raw = self.trained(), grids(8)
        tensors = {name: tensor.numpy() for name, tensor in u.state_dict().items()}
        expected = place_logits(raw, tensors)
        with torch.no_grad():
            np.testing.assert_allclose(u(torch.from_numpy(raw)).numpy(), expected, rtol=1e-4, atol=1e-4)
            weighed = WeighedHead(torch.nn.Identity(), u)(torch.from_numpy(raw)).numpy()
        np.testing.assert_allclose(weighed, weigh_grid(raw, expected), atol=1e-5)

    def test_maps_and_scores_are_those_of_numpy(self) -> None:
        from whyface.xcos.learned import FactorisedXcos

        torch = self.torch
        a, b = grids(9), grids(10)
        metric = FactorisedXcos()
        output = metric(torch.from_numpy(a), torch.from_numpy(b))
        for found, expected in zip(output, factorised_maps(a, b), strict=True):
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
        scores = metric.scores(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        np.testing.assert_allclose(scores, factorised_scores(a, b), atol=1e-6)

    def test_untrained_u_weighs_by_length(self) -> None:
        from whyface.models.placed_fc import PlaceLogits

        torch = self.torch
        raw = grids(11)
        with torch.no_grad():
            logits = PlaceLogits(4)(torch.from_numpy(raw)).numpy()
            alike = PlaceLogits(4, by_length=0)(torch.from_numpy(raw)).numpy()
        np.testing.assert_allclose(weigh_grid(raw, logits), weigh_grid(raw, length_logits(raw)), atol=1e-5)
        np.testing.assert_allclose(alike, 0, atol=1e-6)

    def test_places_without_features_train_without_nan(self) -> None:
        from whyface.models.placed_fc import WeighedHead
        from whyface.xcos.learned import FactorisedXcos

        torch = self.torch
        raw = torch.from_numpy(grids(12))
        raw[:, :, 0, 0] = 0
        raw[0] = 0
        raw.requires_grad_(True)
        weighed = WeighedHead(torch.nn.Identity(), self.trained())(raw)
        score = FactorisedXcos()(weighed, weighed.flip(0)).score
        score.sum().backward()
        assert torch.isfinite(score).all()
        assert torch.isfinite(raw.grad).all()
