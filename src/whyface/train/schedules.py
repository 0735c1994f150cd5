"""Learning rates by step, as factors of the rate that was asked for."""

from __future__ import annotations

import math

from whyface.train.config import OptimiserConfig


def rate_factor(config: OptimiserConfig, step: int, *, steps: int, epoch_steps: int) -> float:
    """Give the factor at a step (from 0).

    ``milestones``: x gamma after each of these epochs (the paper: x 0.1 after 12, 15 and 18); ``step``: x gamma every
    so many epochs; ``cosine``: from 1 to 0 over the run; ``constant``: 1. Warm-up rises linearly over the first steps.

    Parameters
    ----------
    config
        The schedule.
    step
        From 0.
    steps
        Length of the run.
    epoch_steps
        Steps per epoch.
    """
    epoch = step // epoch_steps
    factor = 1.0
    if config.schedule == "milestones":
        factor = config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    elif config.schedule == "step":
        factor = config.gamma ** (epoch // config.every)
    elif config.schedule == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))
    return factor * min(1.0, (step + 1) / config.warmup) if config.warmup else factor
