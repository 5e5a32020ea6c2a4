"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chestx.metrics.intervals import wilson_interval
from chestx.metrics.numbers import Values, Weights, divide, refuse_missing, weigh_once
from chestx.metrics.quantiles import find_quantiles
from chestx.shapes import Bool, Float, Float64

BINS = 15
SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are held this far from 0 and 1 before a logarithm: float32 knows no closer."""

Cut = Float64[np.ndarray, "repeats bins"]


@dataclass(frozen=True, slots=True)
class ProbabilityBin:
    """Images of like probability.

    Attributes:
        predicted: mean probability.
        observed: share that is true, with its Wilson interval from low to high.
        n: number of images.
    """

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class BrierParts:
    """reliability - resolution + uncertainty + within = the Brier score.

    Attributes:
        reliability: squared distance of the bins' probabilities to their shares; 0 is best.
        resolution: how far the bins' shares lie from the share of all; more is better.
        uncertainty: of the mix of images alone.
        within: what the bins' width adds or takes away.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def compute_ece(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, bins: int = BINS
) -> float:
    """Expected calibration error over bins of equal mass; 0 is perfect.

    Equal probabilities share a bin, so the order of the images does not matter. Chance
    alone makes it larger than 0, the more the fewer images there are.

    Source: Nixon et al., Measuring Calibration in Deep Learning, 2019 (adaptive bins).
    """
    return float(compute_eces(y_true, y_prob, weigh_once(len(y_true)), bins=bins)[0])


def compute_eces(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    weights: Weights,
    *,
    bins: int = BINS,
) -> Values:
    """:func:`compute_ece` of each draw."""
    counts, predicted, true = _fill_bins(y_true, y_prob, weights, bins)
    return divide(np.abs(predicted - true).sum(axis=1), counts.sum(axis=1))


def compute_debiased_ece(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, bins: int = BINS
) -> float:
    """Root of the mean squared calibration error over the same bins, without what chance adds.

    Of every bin's squared gap, the variance of its share of true images is taken off;
    a sum below 0 gives 0. As a root of squares it is larger than the ECE where the
    bins' gaps differ, so the two are not compared with each other.

    Source: Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019, definition 4.1.
    """
    return float(compute_debiased_eces(y_true, y_prob, weigh_once(len(y_true)), bins=bins)[0])


def compute_debiased_eces(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    weights: Weights,
    *,
    bins: int = BINS,
) -> Values:
    """:func:`compute_debiased_ece` of each draw."""
    counts, predicted, true = _fill_bins(y_true, y_prob, weights, bins)
    held = np.maximum(counts, 1)
    share = true / held
    # A bin of one image says nothing of its variance; the largest there is stands in.
    variance = np.where(counts > 1, share * (1 - share) / np.maximum(counts - 1, 1), 0.25)
    squared = counts * ((predicted - true) ** 2 / held**2 - variance)
    root: Values = np.sqrt(np.maximum(0, divide(squared.sum(axis=1), counts.sum(axis=1))))
    return root


def bin_probabilities(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, bins: int = BINS
) -> tuple[ProbabilityBin, ...]:
    """The bins of :func:`compute_ece` that hold images, by rising probability."""
    counts, predicted, true = _fill_bins(y_true, y_prob, weigh_once(len(y_true)), bins)
    found = []
    for n, summed, hits in zip(counts[0], predicted[0], true[0], strict=True):
        if n:
            low, high = wilson_interval(int(hits), int(n))
            found.append(ProbabilityBin(float(summed / n), float(hits / n), low, high, int(n)))
    return tuple(found)


def compute_brier(y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]) -> float:
    """Mean squared distance of probability and truth; 0 is perfect.

    Source: Brier, Monthly Weather Review 1950;78:1 (the half of it that is used since).
    """
    return float(compute_briers(y_true, y_prob, weigh_once(len(y_true)))[0])


def compute_briers(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], weights: Weights
) -> Values:
    """:func:`compute_brier` of each draw."""
    refuse_missing(y_prob)
    return divide(weights @ (y_prob.astype(np.float64) - y_true) ** 2, weights.sum(axis=1))


def decompose_brier(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, bins: int = BINS
) -> BrierParts:
    """The Brier score's parts over bins of equal mass; they add up to it exactly.

    Source: Murphy, J Appl Meteorology 1973;12:595; ``within`` after Stephenson, Coelho and
    Jolliffe, Weather and Forecasting 2008;23:752.
    """
    counts, predicted, true = (
        part[0] for part in _fill_bins(y_true, y_prob, weigh_once(len(y_true)), bins)
    )
    held, n, base = counts > 0, len(y_true), float(y_true.mean())
    counts, predicted, true = counts[held], predicted[held], true[held]
    reliability = float((counts * (predicted / counts - true / counts) ** 2).sum() / n)
    resolution = float((counts * (true / counts - base) ** 2).sum() / n)
    uncertainty = base * (1 - base)
    within = compute_brier(y_true, y_prob) - (reliability - resolution + uncertainty)
    return BrierParts(reliability, resolution, uncertainty, within)


def compute_log_loss(y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]) -> float:
    """Mean negative logarithm of the probability given to what is true; 0 is perfect.

    Probabilities of 0 and 1 count as 1.2e-7 and its complement.
    """
    return float(compute_log_losses(y_true, y_prob, weigh_once(len(y_true)))[0])


def compute_log_losses(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], weights: Weights
) -> Values:
    """:func:`compute_log_loss` of each draw."""
    refuse_missing(y_prob)
    held = np.clip(y_prob.astype(np.float64), SMALLEST, 1 - SMALLEST)
    losses = -np.log(np.where(y_true, held, 1 - held))
    return divide(weights @ losses, weights.sum(axis=1))


def _fill_bins(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], weights: Weights, bins: int
) -> tuple[Cut, Cut, Cut]:
    """Of each draw's bins: images, sum of their probabilities, and how many are true."""
    refuse_missing(y_prob)
    order = np.argsort(y_prob, kind="stable")
    ordered = y_prob[order].astype(np.float64)
    drawn = weights[:, order]
    if not len(ordered):
        nothing = np.zeros((len(weights), bins))
        return nothing, nothing, nothing
    totals = np.cumsum(drawn, axis=1)
    edges = find_quantiles(ordered, totals, np.linspace(0, 1, bins + 1)[1:-1])
    # Images up to an edge, for every draw; a probability equal to an edge lies above it.
    cuts = np.searchsorted(ordered, edges.ravel(), side="left").reshape(edges.shape)

    def sum_bins(running: Float64[np.ndarray, "repeats n"]) -> Cut:
        before_cuts = np.take_along_axis(running, np.maximum(cuts - 1, 0), axis=1)
        at_cuts = np.where(cuts > 0, before_cuts, 0.0)
        return np.diff(at_cuts, prepend=0, append=running[:, -1:], axis=1)

    return (
        sum_bins(totals),
        sum_bins(np.cumsum(drawn * ordered, axis=1)),
        sum_bins(np.cumsum(drawn * y_true[order], axis=1)),
    )
