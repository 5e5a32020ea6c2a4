"""DeLong's variance of an AUROC: for one image a patient, and for nothing else.

Images of one patient are no independent evidence, and this variance takes them for it;
:func:`chestx.metrics.bootstrap_figures` with patients as groups does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from chestx.metrics.intervals import expit, to_z
from chestx.metrics.numbers import refuse_missing
from chestx.shapes import Bool, Float, Float64


@dataclass(frozen=True, slots=True)
class DelongComparison:
    """Two scores of the same images.

    Attributes:
        first, second: their AUROCs.
        difference: second - first.
        low, high: its interval.
        z: difference over its standard error; NaN where that is 0.
        p_value: two-sided.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    z: float
    p_value: float


def compute_delong_variance(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"]
) -> float:
    """Variance of the AUROC; NaN with fewer than two images of a class.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837, with the midranks of
    Sun and Xu, IEEE Signal Processing Letters 2014;21:1389.
    """
    return float(_estimate(y_true, y_score[None])[1][0, 0])


def delong_interval(
    y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"], *, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the AUROC on the logit scale, so that it stays between 0 and 1.

    NaN with fewer than two images of a class, and where the AUROC is 0 or 1: there the
    variance is 0, which says that the method ends and not that the AUROC is certain.

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, 5.2.
    """
    aucs, covariance = _estimate(y_true, y_score[None])
    auc, variance = float(aucs[0]), float(covariance[0, 0])
    if math.isnan(variance) or not 0 < auc < 1:
        return math.nan, math.nan
    half = to_z(level) * math.sqrt(variance) / (auc * (1 - auc))
    centre = math.log(auc / (1 - auc))
    return expit(centre - half), expit(centre + half)


def delong_test(
    y_true: Bool[np.ndarray, " n"],
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    *,
    level: float = 0.95,
) -> DelongComparison:
    """Whether two scores of the same images rank them equally well.

    Not for a model against one nested in it that learnt from the same images: the test
    is then too careful (Demler et al., Statistics in Medicine 2012;31:2577).
    """
    aucs, covariance = _estimate(y_true, np.stack([first, second]).astype(np.float64))
    difference = float(aucs[1] - aucs[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if math.isnan(variance):
        low = high = z = p_value = math.nan
    else:
        error = math.sqrt(max(0.0, variance))
        low, high = difference - to_z(level) * error, difference + to_z(level) * error
        z = difference / error if error else math.nan
        p_value = 2 * NormalDist().cdf(-abs(z)) if error else math.nan
    return DelongComparison(float(aucs[0]), float(aucs[1]), difference, low, high, z, p_value)


def _estimate(
    y_true: Bool[np.ndarray, " n"], scores: Float[np.ndarray, "models n"]
) -> tuple[Float64[np.ndarray, " models"], Float64[np.ndarray, "models models"]]:
    """AUROCs and their covariance from the placement of every image in the other class."""
    refuse_missing(scores)
    positives, negatives = int(y_true.sum()), int((~y_true).sum())
    if not (positives and negatives):
        nothing = np.full(len(scores), np.nan)
        return nothing, np.full((len(scores), len(scores)), np.nan)
    above, below = [], []
    for score in scores.astype(np.float64):
        ranks = _rank_middle(score)
        above.append((ranks[y_true] - _rank_middle(score[y_true])) / negatives)
        below.append(1 - (ranks[~y_true] - _rank_middle(score[~y_true])) / positives)
    aucs = np.mean(above, axis=1)
    if positives < 2 or negatives < 2:
        return aucs, np.full((len(scores), len(scores)), np.nan)
    covariance = np.cov(above) / positives + np.cov(below) / negatives
    return aucs, covariance.reshape(len(scores), len(scores))


def _rank_middle(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Ranks from 1, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: Float64[np.ndarray, " levels"] = np.cumsum(counts) - (counts - 1) / 2
    return middles[inverse]
