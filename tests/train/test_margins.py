"""Margin logits by hand."""

from __future__ import annotations

import math

import pytest
import torch

from whyface.errors import InputError
from whyface.train.losses import MarginHead


def head(kind: str, **options: float) -> MarginHead:
    module = MarginHead(2, 2, kind, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    return module


def at_angle(theta: float) -> torch.Tensor:
    return 5 * torch.tensor([[math.cos(theta), math.sin(theta)]])


def test_softmax_is_a_scaled_cosine() -> None:
    logits = head("softmax")(at_angle(0.3), torch.tensor([0]))
    assert logits[0].tolist() == pytest.approx([30 * math.cos(0.3), 30 * math.sin(0.3)], abs=1e-4)


def test_cosface_takes_the_margin_from_the_true_class_only() -> None:
    logits = head("cosface")(at_angle(0.3), torch.tensor([0]))
    assert logits[0].tolist() == pytest.approx([30 * (math.cos(0.3) - 0.35), 30 * math.sin(0.3)], abs=1e-4)


@pytest.mark.parametrize("theta", [0.0, 0.3, 1.5, 2.5])
def test_arcface_turns_the_true_class(theta: float) -> None:
    logits = head("arcface")(at_angle(theta), torch.tensor([0]))
    assert logits[0, 0].item() == pytest.approx(64 * math.cos(theta + 0.5), abs=2e-2)


def test_arcface_falls_back_behind_pi() -> None:
    theta = math.pi - 0.2
    logits = head("arcface")(at_angle(theta), torch.tensor([0]))
    assert logits[0, 0].item() == pytest.approx(64 * (math.cos(theta) - 0.5 * math.sin(0.5)), abs=2e-2)


def test_gradient_is_finite_on_the_class_centre() -> None:
    embedding = at_angle(0.0).requires_grad_()
    head("arcface")(embedding, torch.tensor([0])).sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="arcface"):
        MarginHead(2, 2, "sphereface")  # type: ignore[arg-type]
