"""Temperature, thresholds and abstention bands, from validation outputs only.

Never from test images: a setting chosen on them makes every figure on them too good.
"""

from __future__ import annotations

import math

import numpy as np

from chestx.domain import Activation, UsageError
from chestx.evaluation.abstention import (
    choose_abstention_band,
    choose_band_for_coverage,
    choose_band_for_risk,
    choose_conformal_band,
)
from chestx.evaluation.thresholds import (
    choose_threshold,
    choose_threshold_by_cost,
    choose_threshold_by_youden,
    choose_threshold_for_ppv,
    choose_threshold_for_specificity,
)
from chestx.shapes import Bool, Float

__all__ = [
    "choose_abstention_band",
    "choose_band_for_coverage",
    "choose_band_for_risk",
    "choose_conformal_band",
    "choose_threshold",
    "choose_threshold_by_cost",
    "choose_threshold_by_youden",
    "choose_threshold_for_ppv",
    "choose_threshold_for_specificity",
    "fit_temperature",
]

_LOG_TEMPERATURE_RANGE = (math.log(0.05), math.log(20.0))
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(
    logits: Float[np.ndarray, "n labels"],
    y_true: Bool[np.ndarray, "n labels"],
    *,
    activation: Activation = Activation.SOFTMAX,
) -> float:
    """The temperature of the smallest negative log-likelihood, 0.05 to 20.

    The likelihood is convex in 1/T, so it has one minimum over log T as well and a
    golden-section search finds it without derivatives.

    Args:
        logits: as the network gives them.
        y_true: which labels are true; exactly one a row for softmax.

    Raises:
        UsageError: the minimum lies at an end of the range, which happens when the
            logits separate the labels perfectly or not at all.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(wide / math.exp(log_temperature), y_true, activation)

    low, high = _LOG_TEMPERATURE_RANGE
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    best = (low + high) / 2
    if min(abs(best - end) for end in _LOG_TEMPERATURE_RANGE) < 1e-6:
        raise UsageError(
            "temperature: expected a best value between 0.05 and 20, got none; the logits separate "
            f"the {len(logits)} validation images perfectly or not at all; use more of them"
        )
    return math.exp(best)


def _negative_log_likelihood(
    scaled: Float[np.ndarray, "n labels"],
    y_true: Bool[np.ndarray, "n labels"],
    activation: Activation,
) -> float:
    if activation is Activation.SOFTMAX:
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[y_true]).mean())
    return float(np.logaddexp(0, np.where(y_true, -scaled, scaled)).mean())
