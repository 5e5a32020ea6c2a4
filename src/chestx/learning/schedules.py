"""The course of the learning rate; it follows from the step alone, so a resumed run agrees."""

from __future__ import annotations

import math

from chestx.learning.config import TrainConfig


def compute_rate_factor(step: int, steps: int, config: TrainConfig) -> float:
    """The learning rate of a step as a share of the configured one, 0 to 1.

    ``one_cycle`` rises and falls along cosines (Smith and Topin, 2018), ``cosine`` rises
    along a line and falls along a cosine (Loshchilov and Hutter, 2017). For ``plateau`` it
    is 1: the factor is the run's own.

    Args:
        step: number of the step, from 0.
        steps: of the whole run.
        config: of the run.
    """
    if config.schedule in ("constant", "plateau"):
        return 1.0
    warm = config.warmup_share * steps
    if step < warm:
        share = (step + 1) / (warm + 1)
        if config.schedule == "cosine":
            return share
        return 0.04 + 0.96 * (1 - math.cos(math.pi * share)) / 2
    share = (step - warm) / max(steps - warm, 1)
    return (1 + math.cos(math.pi * share)) / 2
