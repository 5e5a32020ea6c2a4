"""What abstaining buys, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np

from chestx.metrics.decisions import (
    compute_accuracy,
    compute_npv,
    compute_ppv,
    compute_sensitivity,
    compute_specificity,
    count_decisions,
)
from chestx.metrics.numbers import Values, Weights, divide, refuse_missing, weigh_once
from chestx.shapes import Bool, Float, Float64

_Runs = Float64[np.ndarray, "repeats levels"]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """Share of errors among the decided, when the surest are decided first.

    Attributes:
        coverage: share of the images decided, rising to 1.
        risk: share of wrong decisions among those.
    """

    coverage: Float64[np.ndarray, " points"]
    risk: Float64[np.ndarray, " points"]


def compute_risk_coverage(
    is_wrong: Bool[np.ndarray, " n"], confidence: Float[np.ndarray, " n"], *, points: int = 200
) -> RiskCoverage:
    """The curve with a point where each level of confidence ends, at most ``points``.

    Args:
        is_wrong: whether the decision, were it made, is wrong.
        confidence: higher is decided earlier, e.g. the distance to the threshold.

    Source: El-Yaniv and Wiener, JMLR 2010;11:1605.
    """
    if not len(is_wrong):
        return RiskCoverage(np.empty(0), np.empty(0))
    counts, wrong = _count_runs(is_wrong, confidence, weigh_once(len(is_wrong)))
    decided, errors = np.cumsum(counts[0]), np.cumsum(wrong[0])
    kept = np.unique(
        np.searchsorted(decided, np.linspace(decided[0], decided[-1], min(points, len(decided))))
    )
    return RiskCoverage(decided[kept] / decided[-1], errors[kept] / decided[kept])


def compute_aurc(is_wrong: Bool[np.ndarray, " n"], confidence: Float[np.ndarray, " n"]) -> float:
    """Mean risk over all coverages; 0 is perfect, the share of errors is what chance gives.

    Images of equal confidence are decided in random order, so their own order does not matter.

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019.
    """
    return float(compute_aurcs(is_wrong, confidence, weigh_once(len(is_wrong)))[0])


def compute_aurcs(
    is_wrong: Bool[np.ndarray, " n"], confidence: Float[np.ndarray, " n"], weights: Weights
) -> Values:
    """:func:`compute_aurc` of each draw."""
    if not len(is_wrong):
        return np.full(len(weights), np.nan)
    counts, wrong = _count_runs(is_wrong, confidence, weights)
    decided, errors = np.cumsum(counts, axis=1), np.cumsum(wrong, axis=1)
    before, errors_before = decided - counts, errors - wrong
    rate = wrong / np.maximum(counts, 1)
    # In a run of equal confidence the k-th image has the risk
    # (errors_before + k rate) / (before + k); over k this sums to harmonic numbers.
    largest = int(decided[:, -1].max())
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, largest + 1))])
    span = harmonic[decided.astype(np.int64)] - harmonic[before.astype(np.int64)]
    return divide((wrong + (errors_before - rate * before) * span).sum(axis=1), decided[:, -1])


@overload
def compute_selective_figures(
    y_true: Bool[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    *,
    is_decided: Bool[np.ndarray, " n"],
) -> dict[str, int | float]: ...
@overload
def compute_selective_figures(
    y_true: Bool[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    *,
    is_decided: Bool[np.ndarray, " n"],
    weights: Weights,
) -> dict[str, Values]: ...
def compute_selective_figures(
    y_true: Bool[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    *,
    is_decided: Bool[np.ndarray, " n"],
    weights: Weights | None = None,
) -> dict[str, int | float] | dict[str, Values]:
    """Figures at an abstention band.

    ``coverage`` is the share decided; ``risk`` the share of errors, and ``sensitivity``,
    ``specificity``, ``PPV`` and ``NPV`` are those, among the decided. An abstention
    misses nobody and reassures nobody, hence also: ``missed``, the share of all the
    true that are called negative, and ``false alarms``, the share of all the false that
    are called positive.

    Args:
        y_true: the reference standard.
        is_positive: what is said where something is said.
        is_decided: whether it is.
        weights: draws; without them numbers are given, with them one a draw.
    """
    table = weigh_once(len(y_true)) if weights is None else weights
    counts = count_decisions(y_true, is_positive, weights=table * is_decided)
    true, everything = table @ y_true.astype(np.float64), table.sum(axis=1)
    figures = {
        "coverage": divide(counts.n, everything),
        "risk": 1 - compute_accuracy(counts),
        "sensitivity": compute_sensitivity(counts),
        "specificity": compute_specificity(counts),
        "PPV": compute_ppv(counts),
        "NPV": compute_npv(counts),
        "missed": divide(counts.fn, true),
        "false alarms": divide(counts.fp, everything - true),
    }
    if weights is None:
        return {name: float(values[0]) for name, values in figures.items()}
    return figures


def _count_runs(
    is_wrong: Bool[np.ndarray, " n"], confidence: Float[np.ndarray, " n"], weights: Weights
) -> tuple[_Runs, _Runs]:
    """Images and errors of every level of confidence, the highest first."""
    refuse_missing(confidence)
    order = np.argsort(-confidence.astype(np.float64), kind="stable")
    ordered = confidence[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(ordered, prepend=np.inf))
    drawn = weights[:, order]
    wrong = drawn * is_wrong[order]
    if len(starts) == len(ordered):
        return drawn, wrong
    return np.add.reduceat(drawn, starts, axis=1), np.add.reduceat(wrong, starts, axis=1)
