"""Temperature, thresholds and abstention bands, from validation outputs only.

Never from test images: a setting chosen on them makes every figure on them too good.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from chestx.domain import Activation, UsageError

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


def choose_threshold(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, sensitivity: float
) -> float:
    """The highest threshold whose sensitivity reaches the wanted one.

    A second reader is set by what it may miss. Youden's index is not offered: it
    weighs a missed pneumonia like a false alarm and moves with the mix of images.

    Raises:
        UsageError: sensitivity outside (0, 1], or no image is positive.
    """
    if not 0 < sensitivity <= 1:
        raise UsageError(f"sensitivity: expected above 0 and at most 1, got {sensitivity}")
    scores = np.sort(y_prob[y_true].astype(np.float64))[::-1]
    if not len(scores):
        raise UsageError("threshold: expected positive validation images, got none")
    # The product may land a rounding error above a whole number (0.07 x 100).
    needed = math.ceil(sensitivity * len(scores) - 1e-9)
    return float(scores[needed - 1])


def choose_abstention_band(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    threshold: float,
    max_share: float = 0.10,
    error_ratio: float = 0.5,
) -> tuple[float, float]:
    """The smallest band ``low <= p < high`` around a threshold in which nothing is decided.

    Smallest in images left undecided, such that the share of wrong answers among the
    decided is at most ``error_ratio`` of that without a band. Where no band of at most
    ``max_share`` of the images does it, the one with the fewest wrong among the decided.

    Source: Chow, On optimum recognition error and reject tradeoff, 1970; with two limits
    found by search, since the two kinds of error lie differently around the threshold.

    Raises:
        UsageError: a share or ratio outside 0 to 1.
    """
    if not (0 <= max_share <= 1 and 0 <= error_ratio <= 1):
        raise UsageError(
            f"abstention: expected a share and a ratio of 0 to 1, got {max_share} and {error_ratio}"
        )
    scores = np.sort(y_prob.astype(np.float64))
    wrong = ((y_prob >= threshold) != y_true)[np.argsort(y_prob, kind="stable")]
    wrong_before = np.concatenate([[0], np.cumsum(wrong)])
    lows = _thin(np.concatenate([[threshold], np.unique(scores[scores < threshold])[::-1]]))
    highs = _thin(np.concatenate([[threshold], np.unique(scores[scores > threshold])]))
    start = np.searchsorted(scores, lows)[:, None]
    stop = np.searchsorted(scores, highs)[None, :]
    undecided = stop - start
    left_wrong = wrong.sum() - (wrong_before[stop] - wrong_before[start])
    rate = left_wrong / np.maximum(1, len(scores) - undecided)
    allowed = undecided <= max_share * len(scores)
    reached = allowed & (rate <= error_ratio * wrong.mean())
    if reached.any():
        cost = np.where(reached, undecided + rate, np.inf)
    else:
        cost = np.where(allowed, rate + undecided / (1e3 * len(scores) ** 2), np.inf)
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(lows[row]), float(highs[column])


def _thin(edges: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """At most 1,000 of the candidates, both ends kept: the search looks at every pair."""
    return edges[np.unique(np.linspace(0, len(edges) - 1, 1000).astype(np.int64))]
