"""Figures of decisions: from how many were called rightly and wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, overload

import numpy as np

from chestx.metrics.numbers import Number, Values, Weights, divide
from chestx.shapes import Bool, Float


@dataclass(frozen=True, slots=True, eq=False)
class Counts(Generic[Number]):
    """Images by reference standard and decision: numbers, or one for each draw.

    Attributes:
        tp: true, called positive.
        fp: false, called positive.
        tn: false, called negative.
        fn: true, called negative.
    """

    tp: Number
    fp: Number
    tn: Number
    fn: Number

    @property
    def positives(self) -> Number:
        """Images in which it is there."""
        total: Number = self.tp + self.fn
        return total

    @property
    def negatives(self) -> Number:
        """Images in which it is not."""
        total: Number = self.tn + self.fp
        return total

    @property
    def n(self) -> Number:
        """All of them."""
        total: Number = self.positives + self.negatives
        return total


@overload
def count_decisions(
    y_true: Bool[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"]
) -> Counts[int | float]: ...
@overload
def count_decisions(
    y_true: Bool[np.ndarray, " n"], is_positive: Bool[np.ndarray, " n"], *, weights: Weights
) -> Counts[Values]: ...
def count_decisions(
    y_true: Bool[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    *,
    weights: Weights | None = None,
) -> Counts[int | float] | Counts[Values]:
    """Counts of all images, or with weights those of each draw."""
    cells = (y_true & is_positive, ~y_true & is_positive, ~y_true & ~is_positive)
    last = y_true & ~is_positive
    if weights is None:
        tp, fp, tn = (int(cell.sum()) for cell in cells)
        return Counts(tp, fp, tn, int(last.sum()))
    tps, fps, tns = (weights @ cell.astype(np.float64) for cell in cells)
    return Counts(tps, fps, tns, weights @ last.astype(np.float64))


def compute_accuracy(counts: Counts[Number]) -> Number:
    """Share of right decisions; it follows the mix of images."""
    return divide(counts.tp + counts.tn, counts.n)


def compute_sensitivity(counts: Counts[Number]) -> Number:
    """Share of the true that are called positive."""
    return divide(counts.tp, counts.positives)


def compute_specificity(counts: Counts[Number]) -> Number:
    """Share of the false that are called negative."""
    return divide(counts.tn, counts.negatives)


def compute_balanced_accuracy(counts: Counts[Number]) -> Number:
    """Mean of sensitivity and specificity."""
    mean: Number = (compute_sensitivity(counts) + compute_specificity(counts)) / 2
    return mean


def compute_ppv(counts: Counts[Number]) -> Number:
    """Share of the called positive that are true, at the share of positives in these images."""
    return divide(counts.tp, counts.tp + counts.fp)


def compute_npv(counts: Counts[Number]) -> Number:
    """Share of the called negative that are false, at the share of positives in these images."""
    return divide(counts.tn, counts.tn + counts.fn)


def compute_f1(counts: Counts[Number]) -> Number:
    """Harmonic mean of ppv and sensitivity; NaN without a positive of either kind."""
    return divide(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def compute_mcc(counts: Counts[Number]) -> Number:
    """Matthews' correlation of reference and decision, -1 to 1; NaN where a margin is empty.

    Source: Matthews, Biochim Biophys Acta 1975;405:442.
    """
    tp, fp, tn, fn = counts.tp, counts.fp, counts.tn, counts.fn
    # Root by root: the product of four margins overflows nothing this way.
    scale: Number = (
        ((tp + fp) ** 0.5) * ((tp + fn) ** 0.5) * ((tn + fp) ** 0.5) * ((tn + fn) ** 0.5)
    )
    return divide(tp * tn - fp * fn, scale)


def compute_positive_likelihood_ratio(counts: Counts[Number]) -> Number:
    """How many times likelier a positive call is in the true: sensitivity / (1 - specificity).

    NaN where no false image is called positive: there the ratio has no upper end.
    """
    return divide(compute_sensitivity(counts), divide(counts.fp, counts.negatives))


def compute_negative_likelihood_ratio(counts: Counts[Number]) -> Number:
    """How many times likelier a negative call is in the true: (1 - sensitivity) / specificity."""
    return divide(divide(counts.fn, counts.positives), compute_specificity(counts))


def compute_decision_figures(counts: Counts[Number]) -> dict[str, Number]:
    """Every figure of this module by its name in reports."""
    return {
        "accuracy": compute_accuracy(counts),
        "balanced accuracy": compute_balanced_accuracy(counts),
        "sensitivity": compute_sensitivity(counts),
        "specificity": compute_specificity(counts),
        "PPV": compute_ppv(counts),
        "NPV": compute_npv(counts),
        "F1": compute_f1(counts),
        "MCC": compute_mcc(counts),
        "LR+": compute_positive_likelihood_ratio(counts),
        "LR-": compute_negative_likelihood_ratio(counts),
    }


def compute_sensitivity_specificity(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, threshold: float
) -> tuple[float, float]:
    """Shares of the true and of the false that fall on their side; positive is >= threshold.

    A share of nothing is NaN.
    """
    counts = count_decisions(y_true, y_prob >= threshold)
    return float(compute_sensitivity(counts)), float(compute_specificity(counts))
