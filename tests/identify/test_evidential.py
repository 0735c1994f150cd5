from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from whyface.errors import InputError
from whyface.identify.evidential import (
    EVIDENCE_KINDS,
    EvidenceKind,
    concentration,
    evidence,
    expected_probability,
    uncertainty,
)
from whyface.train.losses import (
    LOSS_KINDS,
    LossKind,
    annealing,
    digamma_loss,
    evidential_loss,
    kl_to_uniform,
    log_loss,
    misleading,
    mse_loss,
    torch_evidence,
)

LOGITS = np.array([[-30.0, -1.0, 0.0, 0.5, 3.0, 40.0]])


def random_alpha(rows: int = 5, people: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(1 + np.random.default_rng(seed).gamma(0.7, 5, (rows, people)))


def test_evidence_by_hand() -> None:
    np.testing.assert_allclose(evidence(LOGITS, "relu"), [[0, 0, 0, 0.5, 3, 40]])
    np.testing.assert_allclose(
        evidence(LOGITS, "exp"), [[math.exp(-20), math.exp(-1), 1, math.exp(0.5), math.exp(3), math.exp(20)]]
    )
    np.testing.assert_allclose(evidence(np.array([0.0]), "softplus"), [math.log(2)])
    assert np.isfinite(evidence(np.array([1e4, -1e4]), "softplus")).all()


@pytest.mark.parametrize("kind", EVIDENCE_KINDS)
def test_evidence_equals_torch(kind: EvidenceKind) -> None:
    np.testing.assert_allclose(evidence(LOGITS, kind), torch_evidence(torch.from_numpy(LOGITS), kind), rtol=1e-12)


def test_no_evidence_is_full_uncertainty_and_much_is_little() -> None:
    assert uncertainty(concentration(np.zeros((1, 7)))) == pytest.approx(1)
    # 4 people and evidence 36 for one of them: u = 4 / 40, p = 37 / 40.
    alpha = concentration(np.array([36.0, 0, 0, 0]))
    assert uncertainty(alpha) == pytest.approx(0.1)
    np.testing.assert_allclose(expected_probability(alpha), [0.925, 0.025, 0.025, 0.025])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_beliefs_and_uncertainty_add_up_to_one(values: list[float]) -> None:
    alpha = concentration(np.array(values))
    beliefs = np.array(values) / alpha.sum()
    assert beliefs.sum() + uncertainty(alpha) == pytest.approx(1)
    assert 0 < uncertainty(alpha) <= 1
    assert expected_probability(alpha).sum() == pytest.approx(1)


def test_more_evidence_for_anyone_lowers_uncertainty() -> None:
    before = concentration(np.array([1.0, 2.0, 0.0]))
    assert uncertainty(before + np.array([0, 0, 0.5])) < uncertainty(before)


def test_bad_evidence_is_refused() -> None:
    with pytest.raises(InputError, match="not negative"):
        concentration(np.array([1.0, -0.1]))
    with pytest.raises(InputError, match="finite"):
        concentration(np.array([np.nan]))
    with pytest.raises(InputError, match="at least 1"):
        uncertainty(np.array([0.5, 2]))
    with pytest.raises(InputError, match="K >= 1"):
        uncertainty(np.zeros((3, 0)))
    with pytest.raises(InputError, match="relu, exp, softplus"):
        evidence(LOGITS, "tanh")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="relu, exp, softplus"):
        torch_evidence(torch.zeros(1), "tanh")  # type: ignore[arg-type]


def test_divergence_equals_torch_distributions() -> None:
    alpha = random_alpha()
    expected = torch.distributions.kl_divergence(
        torch.distributions.Dirichlet(alpha), torch.distributions.Dirichlet(torch.ones_like(alpha))
    )
    torch.testing.assert_close(kl_to_uniform(alpha), expected)
    torch.testing.assert_close(kl_to_uniform(torch.ones(2, 9, dtype=torch.float64)), torch.zeros(2).double())


def test_divergence_equals_difference_of_scipy_entropies() -> None:
    alpha = random_alpha(seed=1)
    # Against the uniform density (K - 1)!, the divergence is log (K - 1)! less the entropy.
    expected = [-stats.dirichlet(row).entropy() - math.lgamma(alpha.shape[1]) for row in alpha.numpy()]
    np.testing.assert_allclose(kl_to_uniform(alpha), expected, rtol=1e-9)


def test_losses_are_the_expectations_that_they_claim_to_be() -> None:
    alpha = random_alpha(rows=3, seed=2)
    labels = torch.tensor([0, 3, 1])
    rng = np.random.default_rng(0)
    for row, label in enumerate(labels.tolist()):
        drawn = rng.dirichlet(alpha[row].numpy(), size=200_000)
        truth = np.eye(alpha.shape[1])[label]
        cross_entropy = -np.log(drawn[:, label])
        squared = ((truth - drawn) ** 2).sum(axis=1)
        error = 5 / math.sqrt(len(drawn))
        assert digamma_loss(alpha, labels)[row] == pytest.approx(cross_entropy.mean(), abs=error * cross_entropy.std())
        assert mse_loss(alpha, labels)[row] == pytest.approx(squared.mean(), abs=error * squared.std())
        assert log_loss(alpha, labels)[row] == pytest.approx(-math.log(drawn[:, label].mean()), abs=error * 5)


def test_mse_equals_the_published_form() -> None:
    alpha, labels = random_alpha(seed=3), torch.tensor([0, 1, 2, 3, 0])
    total = alpha.sum(1, keepdim=True)
    truth = torch.eye(4).double()[labels]
    published = ((truth - alpha / total) ** 2 + alpha * (total - alpha) / (total**2 * (total + 1))).sum(1)
    torch.testing.assert_close(mse_loss(alpha, labels), published)


@pytest.mark.parametrize("kind", LOSS_KINDS)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_gradients_equal_finite_differences(kind: LossKind, weight: float) -> None:
    alpha = (random_alpha(seed=4) + 0.1).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(lambda a: evidential_loss(a, labels, kind, kl_weight=weight), (alpha,))


@pytest.mark.parametrize("kind", LOSS_KINDS)
def test_evidence_for_the_right_person_lowers_every_loss(kind: LossKind) -> None:
    labels = torch.tensor([1])
    none, right, wrong = (torch.tensor([row]) for row in ([1.0, 1, 1], [1.0, 9, 1], [9.0, 1, 1]))
    values = [evidential_loss(alpha, labels, kind).item() for alpha in (right, none, wrong)]
    assert values == sorted(values)
    assert len(set(values)) == 3


def test_divergence_spares_evidence_for_the_truth() -> None:
    alpha, labels = torch.tensor([[1.0, 50.0, 1.0]]), torch.tensor([1])
    torch.testing.assert_close(misleading(alpha, labels), torch.ones(1, 3))
    plain = evidential_loss(alpha, labels, "log")
    torch.testing.assert_close(evidential_loss(alpha, labels, "log", kl_weight=1.0), plain)
    wrong = torch.tensor([0])
    assert evidential_loss(alpha, wrong, "log", kl_weight=1.0) > evidential_loss(alpha, wrong, "log")


def test_annealing_rises_to_one_in_ten_epochs() -> None:
    assert [annealing(epoch) for epoch in (0, 1, 5, 10, 99)] == [0.0, 0.1, 0.5, 1.0, 1.0]
    with pytest.raises(InputError, match="count from 0"):
        annealing(-1)


def test_bad_losses_are_refused() -> None:
    alpha, labels = torch.ones(2, 3), torch.tensor([0, 1])
    with pytest.raises(InputError, match="log, digamma, mse"):
        evidential_loss(alpha, labels, "hinge")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="negative"):
        evidential_loss(alpha, labels, kl_weight=-1)
    with pytest.raises(InputError, match="do not fit"):
        evidential_loss(alpha, torch.tensor([0]))
    with pytest.raises(InputError, match="do not fit"):
        evidential_loss(alpha[:0], labels[:0])
