"""Means and quantiles of draws, without writing the draws out."""

from __future__ import annotations

import numpy as np

from chestx.metrics.numbers import Values, Weights, divide, refuse_missing
from chestx.shapes import Float, Float64


def compute_means(values: Float[np.ndarray, " n"], weights: Weights) -> Values:
    """The mean of each draw; NaN for a draw of nothing."""
    refuse_missing(values)
    return divide(weights @ values.astype(np.float64), weights.sum(axis=1))


def compute_quantiles(values: Float[np.ndarray, " n"], weights: Weights, *, share: float) -> Values:
    """The value below which a share of each draw lies; NaN for a draw of nothing.

    Equal to ``numpy.quantile`` of the values, each written as often as it is drawn.
    """
    refuse_missing(values)
    order = np.argsort(values, kind="stable")
    totals = np.cumsum(weights[:, order], axis=1)
    if not len(values):
        return np.full(len(weights), np.nan)
    found = find_quantiles(values[order].astype(np.float64), totals, np.array([share]))[:, 0]
    found[totals[:, -1] == 0] = np.nan
    return found


def find_quantiles(
    ordered: Float64[np.ndarray, " n"],
    totals: Float64[np.ndarray, "repeats n"],
    shares: Float64[np.ndarray, " edges"],
) -> Float64[np.ndarray, "repeats edges"]:
    """numpy.quantile (linear) of every draw.

    Args:
        ordered: rising values.
        totals: how often each and those before it were drawn.
        shares: 0 to 1.
    """
    places = np.maximum(0, totals[:, -1:] - 1) * shares
    below = np.floor(places)
    lower = np.empty(below.shape, dtype=np.int64)
    upper = np.empty(below.shape, dtype=np.int64)
    for row, running in enumerate(totals):
        lower[row] = np.searchsorted(running, below[row], side="right")
        upper[row] = np.searchsorted(running, below[row] + 1, side="right")
    last = len(ordered) - 1
    start, stop = ordered[np.minimum(lower, last)], ordered[np.minimum(upper, last)]
    part, step = places - below, stop - start
    # From the nearer end, as numpy does, so that both ends are met exactly.
    edges: Float64[np.ndarray, "repeats edges"] = np.where(
        part >= 0.5, stop - step * (1 - part), start + step * part
    )
    return edges
