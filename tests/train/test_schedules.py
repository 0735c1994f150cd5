"""Learning rates at known steps."""

import pytest

from whyface.train.config import OptimiserConfig, rate_factor


@pytest.mark.parametrize(
    ("epoch", "factor"), [(0, 1), (11, 1), (12, 0.1), (14, 0.1), (15, 0.01), (18, 0.001), (19, 0.001)]
)
def test_the_paper_divides_by_ten_after_12_15_and_18_epochs(epoch: int, factor: float) -> None:
    for step in (epoch * 7, epoch * 7 + 6):
        assert rate_factor(OptimiserConfig(), step, steps=140, epoch_steps=7) == pytest.approx(factor)


def test_the_public_code_barely_falls() -> None:
    config = OptimiserConfig(schedule="step", every=8, gamma=0.99)
    assert rate_factor(config, 8 * 3 - 1, steps=300, epoch_steps=3) == 1
    assert rate_factor(config, 99 * 3, steps=300, epoch_steps=3) == pytest.approx(0.99**12)


def test_cosine_with_warm_up() -> None:
    config = OptimiserConfig(schedule="cosine", warmup=10)
    assert rate_factor(config, 0, steps=100, epoch_steps=5) == pytest.approx(0.1)
    assert rate_factor(config, 50, steps=100, epoch_steps=5) == pytest.approx(0.5)
    assert rate_factor(config, 100, steps=100, epoch_steps=5) == pytest.approx(0, abs=1e-12)


def test_constant() -> None:
    assert rate_factor(OptimiserConfig(schedule="constant"), 999, steps=1000, epoch_steps=1) == 1
