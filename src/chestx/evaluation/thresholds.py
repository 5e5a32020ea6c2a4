"""Where a calibrated probability becomes a call, from validation outputs only.

Positive is at or above the threshold. Every rule looks at the thresholds that the
images themselves offer, and refuses what their number cannot carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chestx.domain import UsageError
from chestx.metrics import compute_ppv_at
from chestx.shapes import Bool, Float, Float64

_ROUNDING = 1e-9
"""A product may land a rounding error above a whole number (0.07 x 100)."""


def choose_threshold(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, sensitivity: float
) -> float:
    """The highest threshold whose sensitivity reaches the wanted one.

    A second reader is set by what it may miss.

    Raises:
        UsageError: sensitivity outside (0, 1], no image is positive, or too few are to
            tell the wanted sensitivity from 1.
    """
    scores = np.sort(y_prob[y_true].astype(np.float64))[::-1]
    _check_share("sensitivity", sensitivity, "positive", len(scores))
    needed = math.ceil(sensitivity * len(scores) - _ROUNDING)
    return float(scores[needed - 1])


def choose_threshold_for_specificity(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, specificity: float
) -> float:
    """The lowest threshold whose specificity reaches the wanted one.

    Raises:
        UsageError: specificity outside (0, 1], no image is negative, too few are to tell
            it from 1, or too many share the probability 1.
    """
    scores = np.sort(y_prob[~y_true].astype(np.float64))
    _check_share("specificity", specificity, "negative", len(scores))
    needed = math.ceil(specificity * len(scores) - _ROUNDING)
    highest = scores[needed - 1]
    above = y_prob[y_prob > highest]
    if len(above):
        return float(above.min())
    if highest >= 1:
        raise UsageError(
            f"threshold: expected one with a specificity of {specificity:g}, got none; "
            "negative validation images have the probability 1"
        )
    return math.nextafter(highest, 1.0)


def choose_threshold_by_youden(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]
) -> float:
    """The threshold of the largest sensitivity + specificity - 1; the lowest of equals.

    It weighs a missed finding like a false alarm, whatever either costs, and is the
    least stable of the rules: many thresholds are nearly as good.

    Source: Youden, Cancer 1950;3:32.

    Raises:
        UsageError: a class is absent.
    """
    points = _list_points(y_true, y_prob)
    best = np.argmax(_settle(points.sensitivity + points.specificity))
    return float(points.threshold[best])


def choose_threshold_by_cost(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    cost_ratio: float,
    prevalence: float,
) -> float:
    """The threshold of the smallest expected cost; the lowest of equals.

    Args:
        y_true: the reference standard.
        y_prob: calibrated probability.
        cost_ratio: what a missed finding costs, in false alarms.
        prevalence: share of images with the finding where the model is to be used.

    Source: Metz, Seminars in Nuclear Medicine 1978;8:283.

    Raises:
        UsageError: a cost that is not positive, a prevalence outside (0, 1), or a class
            is absent.
    """
    if not (cost_ratio > 0 and math.isfinite(cost_ratio)):
        raise UsageError(f"cost ratio: expected a positive number, got {cost_ratio:g}")
    _check_prevalence(prevalence)
    points = _list_points(y_true, y_prob)
    cost = prevalence * cost_ratio * (1 - points.sensitivity) + (1 - prevalence) * (
        1 - points.specificity
    )
    return float(points.threshold[np.argmin(_settle(cost))])


def choose_threshold_for_ppv(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    ppv: float,
    prevalence: float,
) -> float:
    """The lowest threshold whose PPV reaches the wanted one at a prevalence.

    The PPV is that of the sensitivity and specificity here at the share of positives
    there. A threshold that no negative image passes is not offered: its specificity of
    1 rests on their small number and would promise a PPV of 1 anywhere.

    Raises:
        UsageError: a PPV or prevalence outside (0, 1), a class is absent, or no
            threshold reaches it.
    """
    if not 0 < ppv < 1:
        raise UsageError(f"PPV: expected above 0 and below 1, got {ppv:g}")
    _check_prevalence(prevalence)
    points = _list_points(y_true, y_prob)
    found = compute_ppv_at(
        prevalence, sensitivity=points.sensitivity, specificity=points.specificity
    )
    found = np.where((points.specificity < 1) & (points.sensitivity > 0), found, 0.0)
    reached = np.flatnonzero(found >= ppv - _ROUNDING)
    if not len(reached):
        raise UsageError(
            f"threshold: expected one with a PPV of {ppv:g} at a prevalence of {prevalence:g}, "
            f"got at most {found.max():.3f}; {int((~y_true).sum())} negative validation images "
            "show no specificity high enough; use more of them or ask for less"
        )
    return float(points.threshold[reached[0]])


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """What each threshold gives, by rising threshold."""

    threshold: Float64[np.ndarray, " points"]
    sensitivity: Float64[np.ndarray, " points"]
    specificity: Float64[np.ndarray, " points"]


def _list_points(y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]) -> _Points:
    """Every score as a threshold, and one above them all where there is room."""
    if y_true.all() or not y_true.any():
        raise UsageError(
            "threshold: expected positive and negative validation images, got "
            f"{int(y_true.sum())} positive of {len(y_true)}"
        )
    scores = y_prob.astype(np.float64)
    thresholds = np.unique(scores)
    if thresholds[-1] < 1:
        thresholds = np.append(thresholds, math.nextafter(thresholds[-1], 1.0))
    true, false = np.sort(scores[y_true]), np.sort(scores[~y_true])
    return _Points(
        thresholds,
        1 - np.searchsorted(true, thresholds) / len(true),
        np.searchsorted(false, thresholds) / len(false),
    )


def _settle(values: Float64[np.ndarray, " points"]) -> Float64[np.ndarray, " points"]:
    """Rounding errors must not decide between equals."""
    return np.round(values, 12)


def _check_share(what: str, share: float, kind: str, n: int) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"{what}: expected above 0 and at most 1, got {share}")
    if not n:
        raise UsageError(f"threshold: expected {kind} validation images, got none")
    if share < 1 and (1 - share) * n < 1 - _ROUNDING:
        raise UsageError(
            f"{what}: only {n} {kind} validation images: a {what} of {share:g} cannot be told "
            f"from 1; use at least {math.ceil(1 / (1 - share) - _ROUNDING)} of them, "
            f"or ask for 1 or for at most {math.floor((1 - 1 / n) * 1000) / 1000:g}"
        )


def _check_prevalence(prevalence: float) -> None:
    if not 0 < prevalence < 1:
        raise UsageError(f"prevalence: expected above 0 and below 1, got {prevalence:g}")
