"""Intervals by formula, for images that are independent of each other."""

from __future__ import annotations

import math
from statistics import NormalDist

from chestx.metrics.decisions import (
    Counts,
    compute_negative_likelihood_ratio,
    compute_positive_likelihood_ratio,
    compute_sensitivity,
    compute_specificity,
)
from chestx.metrics.prevalence import compute_npv_at, compute_ppv_at

Interval = tuple[float, float]
_Cells = tuple[int | float, int | float, int | float, int | float]
_NONE = (math.nan, math.nan)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Score interval of a share.

    Source: Wilson, JASA 1927;22:209.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z = to_z(level)
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends it is exactly 0 or 1; rounding may leave the share itself outside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)


def likelihood_ratio_intervals(
    counts: Counts[int | float], *, level: float = 0.95
) -> tuple[Interval, Interval]:
    """Intervals of the positive and of the negative likelihood ratio, by their logarithms.

    NaN where a count that the ratio is made of is 0: its logarithm has no variance then.

    Source: Simel, Samsa and Matchar, J Clin Epidemiol 1991;44:763.
    """
    positive, negative = counts.positives, counts.negatives
    return (
        _log_interval(
            compute_positive_likelihood_ratio(counts),
            (counts.tp, positive, counts.fp, negative),
            level,
        ),
        _log_interval(
            compute_negative_likelihood_ratio(counts),
            (counts.fn, positive, counts.tn, negative),
            level,
        ),
    )


def _log_interval(ratio: float, parts: _Cells, level: float) -> Interval:
    above, above_n, below, below_n = parts
    if not (above and below):
        return _NONE
    variance = 1 / above - 1 / above_n + 1 / below - 1 / below_n
    factor = math.exp(to_z(level) * math.sqrt(variance))
    return ratio / factor, ratio * factor


def predictive_value_intervals(
    counts: Counts[int | float], *, prevalence: float, level: float = 0.95
) -> tuple[Interval, Interval]:
    """Intervals of ppv and npv at a prevalence that is known, by their logits.

    NaN where a count that the value is made of is 0 or the prevalence is 0 or 1.

    Source: Mercaldo, Lau and Zhou, Statistics in Medicine 2007;26:2170.

    Raises:
        ValueError: a prevalence outside 0 to 1.
    """
    sensitivity, specificity = compute_sensitivity(counts), compute_specificity(counts)
    ppv = compute_ppv_at(prevalence, sensitivity=sensitivity, specificity=specificity)
    npv = compute_npv_at(prevalence, sensitivity=sensitivity, specificity=specificity)
    tp, fp, tn, fn = counts.tp, counts.fp, counts.tn, counts.fn
    return _logit_interval(ppv, (tp, fn, fp, tn), level), _logit_interval(
        npv, (tn, fp, fn, tp), level
    )


def _logit_interval(value: float, cells: _Cells, level: float) -> Interval:
    """The logit of a predictive value is ln(a / n1) - ln(b / n2) + a constant."""
    a, rest_a, b, rest_b = cells
    if not (a and b and 0 < value < 1):
        return _NONE
    variance = rest_a / (a * (a + rest_a)) + rest_b / (b * (b + rest_b))
    centre, half = math.log(value / (1 - value)), to_z(level) * math.sqrt(variance)
    return expit(centre - half), expit(centre + half)


def to_z(level: float) -> float:
    """Standard normal quantile of a two-sided interval.

    Raises:
        ValueError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected between 0 and 1, got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def expit(value: float) -> float:
    """The share whose logit it is."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))


def logit_interval(
    value: float, error: float, *, groups: int, level: float = 0.95
) -> tuple[float, float]:
    """Interval of a figure between 0 and 1 from its standard error, on the logit scale.

    For an AUROC with the standard deviation of clustered draws: percentiles of those draws
    are too narrow where the figure is high or the groups are few. With few groups
    Student's t is wider than the normal distribution.

    Args:
        value: of the figure.
        error: its standard error.
        groups: independent ones behind it: of the rarer class for an AUROC.
        level: coverage wanted.

    Returns:
        NaN where the figure is 0 or 1, or with fewer than two groups.

    Source: Pepe, The Statistical Evaluation of Medical Tests, 2003, 5.2, with the
    bootstrap's standard error in the place of DeLong's.
    """
    if not (0 < value < 1 and math.isfinite(error) and groups > 1):
        return math.nan, math.nan
    half = _to_t(level, groups - 1) * error / (value * (1 - value))
    centre = math.log(value / (1 - value))
    return expit(centre - half), expit(centre + half)


def _to_t(level: float, freedom: int) -> float:
    """Two-sided quantile of Student's t; within 2 % from 4 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z, v = to_z(level), float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
