"""How well a score tells the true from the false, whatever the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chestx.metrics.numbers import Values, Weights, divide, refuse_missing, weigh_once
from chestx.shapes import Bool, Float, Float64, Int


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points of a ROC or precision-recall curve, by falling threshold.

    Attributes:
        x: 1 - specificity (ROC) or sensitivity (precision-recall).
        y: sensitivity (ROC) or ppv (precision-recall).
        threshold: at or above it an image is called positive; infinite where none is.
    """

    x: Float64[np.ndarray, " points"]
    y: Float64[np.ndarray, " points"]
    threshold: Float64[np.ndarray, " points"]


def compute_auroc(y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"]) -> float:
    """Area under the ROC curve, ties counted half; NaN where a class is absent.

    Source: Hanley and McNeil, Radiology 1982;143:29 (the Mann-Whitney form).
    """
    return float(compute_aurocs(y_true, y_score, weigh_once(len(y_true)))[0])


def compute_aurocs(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], weights: Weights
) -> Values:
    """:func:`compute_auroc` of each draw."""
    order, ends = _order_scores(y_score)
    drawn = weights[:, order]
    true = np.where(y_true[order], drawn, 0.0)
    false = drawn - true
    if len(ends) < len(order):
        starts = np.concatenate([[0], ends[:-1] + 1])
        true, false = (np.add.reduceat(counts, starts, axis=1) for counts in (true, false))
    above = np.cumsum(true, axis=1)
    wins = np.einsum("ij,ij->i", above, false) - np.einsum("ij,ij->i", true, false) / 2
    return divide(wins, true.sum(axis=1) * false.sum(axis=1))


def compute_average_precision(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"]
) -> float:
    """Area under the precision-recall curve as a sum of steps; NaN without positives.

    Equal to scikit-learn's ``average_precision_score``. By chance it is the share of
    positives, so it is comparable between sets of the same share only.
    """
    return float(compute_average_precisions(y_true, y_score, weigh_once(len(y_true)))[0])


def compute_average_precisions(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], weights: Weights
) -> Values:
    """:func:`compute_average_precision` of each draw."""
    true, false, _ = _count_above(y_true, y_score, weights)
    precision = true / np.maximum(1, true + false)
    return divide((np.diff(true, prepend=0, axis=1) * precision).sum(axis=1), true[:, -1])


def compute_roc_curve(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], *, points: int = 200
) -> Curve:
    """The ROC curve from (0, 0) to (1, 1), thinned to at most ``points`` points.

    Raises:
        ValueError: a class is absent.
    """
    true, false, thresholds = _count_once(y_true, y_score)
    x, y = false / false[-1], true / true[-1]
    # Corners alone carry the curve: a point between two in line adds nothing.
    turns = np.ones(len(x), dtype=bool)
    turns[1:-1] = np.diff(np.diff(false) * 1j + np.diff(true)) != 0
    x, y, thresholds = x[turns], y[turns], thresholds[turns]
    return _thin(
        Curve(
            np.concatenate([[0.0], x]),
            np.concatenate([[0.0], y]),
            np.concatenate([[np.inf], thresholds]),
        ),
        # Equal steps along the curve's length, so that steep parts keep their points.
        along=np.concatenate([[0.0], x + y]),
        points=points,
    )


def compute_precision_recall_curve(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], *, points: int = 200
) -> Curve:
    """Precision (ppv) over recall (sensitivity), thinned to at most ``points`` points.

    Raises:
        ValueError: a class is absent.
    """
    true, false, thresholds = _count_once(y_true, y_score)
    precision = true / (true + false)
    curve = Curve(true / true[-1], precision, thresholds)
    length = np.abs(np.diff(curve.x, prepend=0)) + np.abs(np.diff(curve.y, prepend=precision[0]))
    return _thin(curve, along=np.cumsum(length), points=points)


def _count_once(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"]
) -> tuple[
    Float64[np.ndarray, " levels"], Float64[np.ndarray, " levels"], Float64[np.ndarray, " levels"]
]:
    if y_true.all() or not y_true.any():
        raise ValueError(
            f"curve: expected positive and negative images, got {int(y_true.sum())} positive "
            f"of {len(y_true)}"
        )
    true, false, thresholds = _count_above(y_true, y_score, weigh_once(len(y_true)))
    return true[0], false[0], thresholds


def _count_above(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], weights: Weights
) -> tuple[
    Float64[np.ndarray, "repeats levels"],
    Float64[np.ndarray, "repeats levels"],
    Float64[np.ndarray, " levels"],
]:
    """True and false positives with each score as the threshold, the highest first."""
    order, ends = _order_scores(y_score)
    if not len(order):
        return np.zeros((len(weights), 1)), np.zeros((len(weights), 1)), np.zeros(1)
    drawn = weights[:, order]
    everything = np.cumsum(drawn, axis=1)
    true = np.cumsum(np.where(y_true[order], drawn, 0.0), axis=1)
    if len(ends) < len(order):
        everything, true = everything[:, ends], true[:, ends]
    return true, everything - true, y_score[order[ends]].astype(np.float64)


def _order_scores(
    y_score: Float[np.ndarray, " n"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " levels"]]:
    """Images by falling score, and the places where a run of equal scores ends.

    Images of equal score pass a threshold together: only the last of them is one.
    """
    refuse_missing(y_score)
    order = np.argsort(-y_score.astype(np.float64), kind="stable")
    return order, np.flatnonzero(np.diff(y_score[order].astype(np.float64), append=-np.inf))


def _thin(curve: Curve, *, along: Float64[np.ndarray, " n"], points: int) -> Curve:
    """Both ends and equal steps of ``along`` between them."""
    if len(along) <= points:
        return curve
    wanted = np.linspace(along[0], along[-1], points)
    kept = np.unique(np.searchsorted(along, wanted).clip(0, len(along) - 1))
    return Curve(curve.x[kept], curve.y[kept], curve.threshold[kept])
