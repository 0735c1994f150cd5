"""All-pairs comparison, balanced loss, tied attention, weight average."""

from __future__ import annotations

import pytest
import torch

from whyface.train.losses import (
    WeightAverage,
    all_pairs,
    balanced_regression,
    compare_all,
    tie_pair_halves,
)
from whyface.xcos.learned import LearnedAttention, Xcos


@pytest.fixture
def grids() -> torch.Tensor:
    return torch.randn(6, 32, 7, 7, generator=torch.Generator().manual_seed(0))


def test_all_pairs_equals_pair_by_pair(grids: torch.Tensor) -> None:
    torch.manual_seed(0)
    attention = LearnedAttention().eval()
    pairs = all_pairs(6)
    together = compare_all(grids, attention, pairs)
    apart = Xcos(attention)(grids[pairs.first], grids[pairs.second])
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_every_unordered_pair_once() -> None:
    pairs = all_pairs(4)
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == {(i, j) for i in range(4) for j in range(i + 1, 4)}


def test_tied_attention_ignores_the_order_and_stays_so(grids: torch.Tensor) -> None:
    torch.manual_seed(0)
    attention = LearnedAttention().eval()
    assert not torch.allclose(attention(grids, grids.flip(0)), attention(grids.flip(0), grids), atol=1e-6)
    tie_pair_halves(attention)
    optimiser = torch.optim.AdamW(attention.parameters(), lr=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        attention(grids, grids.flip(0))[:, 3, 3].sum().backward()
        optimiser.step()
    torch.testing.assert_close(attention(grids, grids.flip(0)), attention(grids.flip(0), grids), atol=1e-6, rtol=0)


def test_loss_weighs_both_groups_alike() -> None:
    score, target = torch.tensor([0.0, 0.0, 0.0, 0.0]), torch.tensor([1.0, 0.1, 0.1, 0.1])
    plain = {"floor": -1.0, "below": 1.0}
    assert balanced_regression(score, target, split=0.5, **plain).item() == pytest.approx((1 + 0.01) / 2)
    assert balanced_regression(score, target, split=2.0, **plain).item() == pytest.approx((1 + 0.03) / 4)


def test_loss_asks_little_about_how_unlike_strangers_are() -> None:
    target = torch.tensor([-0.4, 0.2])

    def loss(*score: float) -> float:
        return balanced_regression(torch.tensor(score), target).item()

    assert loss(0.05, 0.2) == pytest.approx(0)
    assert loss(-0.05, 0.2) == pytest.approx(0.1 * 0.01 / 2)
    assert loss(0.15, 0.2) == pytest.approx(0.01 / 2)
    assert loss(0.05, 0.1) == pytest.approx(0.1 * 0.01 / 2)


def test_average_converges_to_constant_weights() -> None:
    module = torch.nn.Linear(2, 2)
    average = WeightAverage(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(1)
    for step in range(1, 200):
        average.update(module, step)
    torch.testing.assert_close(average.state["weight"], torch.ones(2, 2), atol=1e-4, rtol=0)


def test_average_follows_a_module_to_its_device() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = WeightAverage(module, 0.9)
    kept = average.state
    # No tensor of this device holds numbers, but it is another one on every machine.
    average.update(module.to("meta"), 1)
    assert {tensor.device.type for tensor in kept.values()} == {"meta"}
