"""Intervals of many figures on the same images, from one set of draws of whole patients.

``metrics.bootstrap_interval`` draws anew for every figure and calls a function a draw.
Probes measure hundreds of figures and their differences on the same images; here a draw
is a row of weights, and a figure of all draws is a few array operations.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

REPEATS = 1000


def draw_weights(
    groups: Int[np.ndarray, " images"], *, generator: np.random.Generator, repeats: int = REPEATS
) -> Float[np.ndarray, "repeats images"]:
    """How often each image is drawn when whole groups are drawn with replacement.

    Args:
        groups: patient or duplicate group of each image.
        generator: source of the draws.
        repeats: number of draws.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    drawn = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=repeats)
    return drawn[:, inverse].astype(np.float64)


def compute_drawn_aurocs(
    y_true: Bool[np.ndarray, " images"],
    y_score: Float[np.ndarray, " images"],
    weights: Float[np.ndarray, "repeats images"],
) -> Float[np.ndarray, " repeats"]:
    """AUROC of each draw, ties counted half; NaN where a draw has one class only."""
    order = np.argsort(y_score, kind="stable")
    ordered = y_score[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn = weights[:, order]
    positives = np.add.reduceat(drawn * y_true[order], starts, axis=1)
    negatives = np.add.reduceat(drawn * ~y_true[order], starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return _divide(won, pairs)


def compute_drawn_means(
    values: Float[np.ndarray, " images"], weights: Float[np.ndarray, "repeats images"]
) -> Float[np.ndarray, " repeats"]:
    """Mean of each draw; NaN where nothing was drawn."""
    return _divide(weights @ values, weights.sum(axis=1))


def _divide(
    a: Float[np.ndarray, " repeats"], b: Float[np.ndarray, " repeats"]
) -> Float[np.ndarray, " repeats"]:
    """NaN where there is nothing to divide by."""
    found = np.full(len(b), np.nan)
    np.divide(a, b, out=found, where=b > 0)
    return found


def find_interval(
    value: float, drawn: Float[np.ndarray, " repeats"]
) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile interval that holds the value; none where most draws had no figure."""
    known = drawn[~np.isnan(drawn)]
    if len(known) * 2 < len(drawn) or math.isnan(value):
        return None, None
    low, high = np.quantile(known, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)
