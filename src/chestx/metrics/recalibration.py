"""Calibration slope and intercept: the line that would set the probabilities right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chestx.metrics.calibration import SMALLEST
from chestx.metrics.numbers import Values, Weights, refuse_missing, weigh_once
from chestx.shapes import Bool, Float, Float64

_STEPS, _LARGEST, _CLOSE = 30, 50.0, 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationLine:
    """logit P(true) = intercept + slope * logit(probability); perfect at 0 and 1.

    Attributes:
        slope: below 1, the probabilities are too extreme; above 1, too timid.
        intercept: of the same fit.
        in_the_large: intercept with the slope held at 1: above 0, the finding is more
            common than the probabilities say.
    """

    slope: float
    intercept: float
    in_the_large: float


def fit_calibration(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]
) -> CalibrationLine:
    """Logistic recalibration by Newton's method; NaN where the classes are apart or one is absent.

    Probabilities of 0 and 1 count as 1.2e-7 and its complement.

    Source: Cox, Biometrika 1958;45:562; Van Calster et al., BMC Medicine 2019;17:230.
    """
    found = compute_calibration_lines(y_true, y_prob, weigh_once(len(y_true)))
    return CalibrationLine(*(float(values[0]) for values in found.values()))


def compute_calibration_lines(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], weights: Weights
) -> dict[str, Values]:
    """:func:`fit_calibration` of each draw: ``slope``, ``intercept`` and ``in_the_large``."""
    refuse_missing(y_prob)
    held = np.clip(y_prob.astype(np.float64), SMALLEST, 1 - SMALLEST)
    logits = np.log(held / (1 - held))
    intercept, slope = _fit_line(logits, y_true, weights)
    return {
        "slope": slope,
        "intercept": intercept,
        "in_the_large": _fit_shift(logits, y_true, weights),
    }


def _fit_line(
    logits: Float64[np.ndarray, " n"], y_true: Bool[np.ndarray, " n"], weights: Weights
) -> tuple[Values, Values]:
    """Logistic regression of every draw by Newton's method; NaN where it does not settle."""
    columns = np.stack([np.ones_like(logits), logits])
    squares = (columns[:, None] * columns[None]).reshape(4, -1)
    # From 0, where the likelihood bends most: from a slope of 1 the first step may overshoot.
    found = np.zeros((len(weights), 2))
    step = np.full_like(found, np.inf)
    rows = np.flatnonzero(_has_both(y_true, weights))
    for _ in range(_STEPS):
        drawn = weights[rows]
        fitted = _expit(found[rows] @ columns)
        slopes = (drawn * (y_true - fitted)) @ columns.T
        bends = ((drawn * fitted * (1 - fitted)) @ squares.T).reshape(-1, 2, 2)
        # Where the classes are apart the bend vanishes; the step runs away and shows it.
        step[rows] = np.linalg.solve(bends + 1e-12 * np.eye(2), slopes[:, :, None])[:, :, 0]
        found[rows] = np.clip(found[rows] + np.clip(step[rows], -5, 5), -_LARGEST, _LARGEST)
        # Those that run away to the end of the range do not come back.
        moves = np.abs(step[rows]).max(axis=1) >= _CLOSE
        rows = rows[moves & (np.abs(found[rows]) < _LARGEST).all(axis=1)]
        if not len(rows):
            break
    settled = (np.abs(step) < 1e-6).all(axis=1) & (np.abs(found) < _LARGEST).all(axis=1)
    found[~settled] = np.nan
    return found[:, 0], found[:, 1]


def _fit_shift(
    logits: Float64[np.ndarray, " n"], y_true: Bool[np.ndarray, " n"], weights: Weights
) -> Values:
    """What is added to the logits to make the mean probability true; NaN for one class.

    Newton's method between two bounds, by halves where a step would leave them.
    """
    has_both = _has_both(y_true, weights)
    rows = np.flatnonzero(has_both)
    low, high = np.full(len(weights), -_LARGEST), np.full(len(weights), _LARGEST)
    found = np.where(has_both, 0.0, np.nan)
    for _ in range(2 * _STEPS):
        drawn, before = weights[rows], found[rows]
        fitted = _expit(before[:, None] + logits)
        missing = np.einsum("ij,ij->i", drawn, y_true - fitted)
        bend = np.einsum("ij,ij->i", drawn, fitted * (1 - fitted))
        low[rows] = np.where(missing > 0, before, low[rows])
        high[rows] = np.where(missing < 0, before, high[rows])
        by_newton = before + missing / np.maximum(bend, 1e-12)
        fits = (low[rows] < by_newton) & (by_newton < high[rows])
        found[rows] = np.where(fits, by_newton, (low[rows] + high[rows]) / 2)
        rows = rows[np.abs(found[rows] - before) >= _CLOSE]
        if not len(rows):
            break
    return found


def _has_both(y_true: Bool[np.ndarray, " n"], weights: Weights) -> Bool[np.ndarray, " repeats"]:
    """Whether a draw has images of both classes: of one alone no line can be fitted."""
    true = weights @ y_true.astype(np.float64)
    both: Bool[np.ndarray, " repeats"] = (true > 0) & (true < weights.sum(axis=1))
    return both


def _expit(values: Float64[np.ndarray, "repeats n"]) -> Float64[np.ndarray, "repeats n"]:
    shares: Float64[np.ndarray, "repeats n"] = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return shares
