"""Figures from plain arrays; numpy alone, no state, no randomness of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


def compute_auroc(y_true: Bool[np.ndarray, " n"], y_score: Float[np.ndarray, " n"]) -> float:
    """Area under the ROC curve, ties counted half; NaN where a class is absent.

    Source: Hanley and McNeil, Radiology 1982;143:29 (the Mann-Whitney form).
    """
    positives, negatives = int(y_true.sum()), int((~y_true).sum())
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(y_score, return_inverse=True, return_counts=True)
    midranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(midranks[inverse][y_true].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def compute_ece(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, bins: int = 15
) -> float:
    """Expected calibration error over bins of equal mass; 0 is perfect.

    Equal probabilities share a bin, so the order of the images does not matter.

    Source: Nixon et al., Measuring Calibration in Deep Learning, 2019 (adaptive bins).
    """
    edges = np.quantile(y_prob, np.linspace(0, 1, bins + 1)[1:-1])
    index = np.searchsorted(edges, y_prob, side="right")
    gaps = np.bincount(index, weights=y_prob.astype(np.float64) - y_true, minlength=bins)
    return float(np.abs(gaps).sum() / len(y_true))


def compute_sensitivity_specificity(
    y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"], *, threshold: float
) -> tuple[float, float]:
    """Shares of the true and of the false that fall on their side; positive is >= threshold.

    A share of nothing is NaN.
    """
    positive = y_prob >= threshold
    sensitivity = positive[y_true].mean() if y_true.any() else math.nan
    specificity = (~positive[~y_true]).mean() if (~y_true).any() else math.nan
    return float(sensitivity), float(specificity)


def bootstrap_interval(
    statistic: Callable[[Int[np.ndarray, " m"]], float],
    groups: Shaped[np.ndarray, " n"],
    *,
    generator: np.random.Generator,
    repeats: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic, resampling whole groups with replacement.

    Images of one patient are no independent evidence; resampling them one by one
    would make the interval too narrow.

    Args:
        statistic: from the positions of the drawn images to a figure; NaN where a
            draw has none (e.g. one class only), which is left out.
        groups: patient or duplicate group of each image.
        generator: source of the draws.
        repeats: number of draws.
        level: coverage wanted.

    Raises:
        ValueError: more than half of the draws gave no figure.

    Source: Field and Welsh, Bootstrapping clustered data, JRSS B 2007;69:369.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    figures = []
    for _ in range(repeats):
        drawn = generator.integers(len(members), size=len(members))
        figures.append(statistic(np.concatenate([members[i] for i in drawn])))
    known = np.array([figure for figure in figures if not math.isnan(figure)])
    if len(known) * 2 < repeats:
        raise ValueError(f"bootstrap: only {len(known)} of {repeats} draws gave a figure")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share.

    Source: Wilson, JASA 1927;22:209.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
