"""The torch module against the plain-array reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.attention_reference import learned_attention
from whyface.errors import InputError
from whyface.models.heads import GridHead
from whyface.xcos import grid as plain
from whyface.xcos.learned import LearnedAttention, Xcos, XcosNetwork, grid_cosine


@pytest.fixture
def attention() -> LearnedAttention:
    torch.manual_seed(3)
    module = LearnedAttention()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.5)
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 2)
            torch.nn.init.normal_(part.bias)
    return module.eval()


@pytest.fixture
def grids() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 5, 32, 7, 7, generator=generator)
    return a, b


def tensors_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_attention_equals_reference(
    attention: LearnedAttention, grids: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> None:
    attention.temperature = temperature
    with torch.no_grad():
        weights = attention(*grids).numpy()
    a, b = (g.numpy() for g in grids)
    expected = learned_attention(a, b, tensors_of(attention), temperature=temperature)
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    np.testing.assert_allclose(weights.sum((1, 2)), 1, atol=1e-5)


def test_metric_equals_reference(attention: LearnedAttention, grids: tuple[torch.Tensor, torch.Tensor]) -> None:
    with torch.no_grad():
        output = Xcos(attention)(*grids)
    similarity = plain.grid_cosine(*(g.numpy() for g in grids))
    np.testing.assert_allclose(output.similarity.numpy(), similarity, atol=1e-5)
    score = plain.xcos_score(similarity, output.attention.numpy())
    np.testing.assert_allclose(output.score.numpy(), score, atol=1e-5)


def test_published_size() -> None:
    assert sum(p.numel() for p in LearnedAttention().parameters()) == 9462


def test_identical_faces_score_one(attention: LearnedAttention, grids: tuple[torch.Tensor, torch.Tensor]) -> None:
    with torch.no_grad():
        np.testing.assert_allclose(Xcos(attention)(grids[0], grids[0]).score.numpy(), 1, atol=1e-5)


def test_temperature_flattens(attention: LearnedAttention, grids: tuple[torch.Tensor, torch.Tensor]) -> None:
    with torch.no_grad():
        sharp = attention(*grids)
        attention.temperature = 1e6
        flat = attention(*grids)
    assert sharp.std() > 1e-4
    np.testing.assert_allclose(flat.numpy(), 1 / 49, atol=1e-5)


def test_shift_normaliser(grids: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        weights = LearnedAttention(normaliser="shift").eval()(*grids)
    np.testing.assert_allclose(weights.sum((1, 2)).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(weights.amin((1, 2)).numpy(), 0, atol=1e-7)


def test_shift_of_a_flat_map_is_uniform() -> None:
    module = LearnedAttention(normaliser="shift").eval()
    with torch.no_grad():
        for parameter in module.out.parameters():
            parameter.zero_()
        weights = module(torch.ones(1, 32, 7, 7), torch.ones(1, 32, 7, 7))
    np.testing.assert_allclose(weights.numpy(), 1 / 49)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": float("nan")}, {"normaliser": "max"}])
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LearnedAttention(**options)  # type: ignore[arg-type]


def test_torch_cosine_of_an_empty_cell_is_zero() -> None:
    assert grid_cosine(torch.zeros(1, 4, 1, 1), torch.ones(1, 4, 1, 1)).item() == 0


def test_gradients_reach_every_part() -> None:
    torch.manual_seed(0)
    backbone = torch.nn.Conv2d(3, 8, 16, 16)
    network = XcosNetwork(backbone, GridHead(8, grid_channels=4), LearnedAttention(4, hidden=2))
    network(torch.rand(3, 3, 112, 112), torch.rand(3, 3, 112, 112)).score.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
    assert backbone.weight.grad is not None
    assert backbone.weight.grad.abs().sum() > 0
