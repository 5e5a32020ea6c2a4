"""The band of probabilities in which nothing is decided, from validation outputs only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chestx.domain import UsageError
from chestx.shapes import Bool, Float, Float64, Int, Shaped

_Table = Float64[np.ndarray, "lows highs"]


def choose_abstention_band(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    threshold: float,
    max_share: float = 0.10,
    error_ratio: float = 0.5,
) -> tuple[float, float]:
    """The smallest band ``low <= p < high`` around a threshold in which nothing is decided.

    Smallest in images left undecided, such that the share of wrong answers among the
    decided is at most ``error_ratio`` of that without a band. Where no band of at most
    ``max_share`` of the images does it, the one with the fewest wrong among the decided.

    Source: Chow, On optimum recognition error and reject tradeoff, 1970; with two limits
    found by search, since the two kinds of error lie differently around the threshold.

    Raises:
        UsageError: a share or ratio outside 0 to 1.
    """
    if not (0 <= max_share <= 1 and 0 <= error_ratio <= 1):
        raise UsageError(
            f"abstention: expected a share and a ratio of 0 to 1, got {max_share} and {error_ratio}"
        )
    n, overall = len(y_prob), float(((y_prob >= threshold) != y_true).mean())

    def weigh(undecided: Int[np.ndarray, "lows highs"], rate: _Table) -> _Table:
        allowed = undecided <= max_share * n
        reached = allowed & (rate <= error_ratio * overall)
        if reached.any():
            return np.where(reached, undecided + rate, np.inf)
        return np.where(allowed, rate + undecided / (1e3 * n**2), np.inf)

    return _search_band(y_true, y_prob, threshold, weigh)


def choose_band_for_risk(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    threshold: float,
    risk: float,
) -> tuple[float, float]:
    """The smallest band that leaves at most a share ``risk`` of the decided images wrong.

    The risk is that of the mix of these images, and it is met on them; on others it is
    met on average only. :func:`choose_conformal_band` promises more.

    Raises:
        UsageError: a risk outside [0, 1), or no band that leaves an image decided reaches it.
    """
    if not 0 <= risk < 1:
        raise UsageError(f"risk: expected 0 or more and below 1, got {risk:g}")
    n = len(y_prob)

    def weigh(undecided: Int[np.ndarray, "lows highs"], rate: _Table) -> _Table:
        reached = (undecided < n) & (rate <= risk)
        if not reached.any():
            best = rate[undecided < n].min(initial=1.0)
            raise UsageError(
                f"abstention: expected a band with a risk of at most {risk:g}, got {best:.3f} at "
                f"best on {n} validation images; allow more risk or move the threshold"
            )
        return np.where(reached, undecided + rate, np.inf)

    return _search_band(y_true, y_prob, threshold, weigh)


def choose_band_for_coverage(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    *,
    threshold: float,
    coverage: float,
) -> tuple[float, float]:
    """The band with the fewest wrong among the decided that decides at least a share ``coverage``.

    Raises:
        UsageError: a coverage outside (0, 1].
    """
    if not 0 < coverage <= 1:
        raise UsageError(f"coverage: expected above 0 and at most 1, got {coverage:g}")
    n = len(y_prob)

    def weigh(undecided: Int[np.ndarray, "lows highs"], rate: _Table) -> _Table:
        allowed = n - undecided >= coverage * n - 1e-9
        return np.where(allowed, rate + undecided / (1e3 * n**2), np.inf)

    return _search_band(y_true, y_prob, threshold, weigh)


def choose_conformal_band(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"],
    *,
    threshold: float,
    max_missed: float,
    max_false_alarms: float,
) -> tuple[float, float]:
    """The band with a promise: of new patients' images, few of each kind are called wrongly.

    Split conformal prediction for each class by itself. Of images with the finding at most
    a share ``max_missed`` is called negative, of those without at most a share
    ``max_false_alarms`` positive, whatever the model and the mix of images; on average
    over validation sets of this size, for patients like those in it (the same
    hospitals, detectors and way of choosing them). Of each patient the hardest image of a
    class counts, so that several images of one patient are no several proofs.

    Args:
        y_true: the reference standard.
        y_prob: calibrated probability.
        groups: patient or duplicate group of each image.
        threshold: the band is widened to hold it.
        max_missed, max_false_alarms: the promised shares.

    Source: Vovk, Conditional validity of inductive conformal predictors, Machine Learning
    2013;92:349; Angelopoulos and Bates, Conformal Prediction: A Gentle Introduction,
    Foundations and Trends in Machine Learning 2023;16:494.

    Raises:
        UsageError: a share outside (0, 1), or too few patients to promise it.
    """
    scores = y_prob.astype(np.float64)
    low = _find_conformal_limit(scores[y_true], groups[y_true], max_missed, "positive")
    # The negatives' highest scores are their hardest: the same rule on a mirrored scale.
    highest = -_find_conformal_limit(
        -scores[~y_true], groups[~y_true], max_false_alarms, "negative"
    )
    if highest >= 1:
        raise UsageError(
            f"abstention: expected at most {max_false_alarms:g} of the negative validation images "
            "at the probability 1, got more: nothing could be called positive"
        )
    return min(low, threshold), max(math.nextafter(highest, 1.0), threshold)


def _find_conformal_limit(
    scores: Float64[np.ndarray, " n"], groups: Shaped[np.ndarray, " n"], share: float, kind: str
) -> float:
    """A score under which at most the share of new groups' lowest scores falls."""
    if not 0 < share < 1:
        raise UsageError(f"abstention: expected shares above 0 and below 1, got {share:g}")
    names, inverse = np.unique(groups, return_inverse=True)
    hardest = np.full(len(names), np.inf)
    np.minimum.at(hardest, inverse, scores)
    rank = math.floor(share * (len(names) + 1) + 1e-9)
    if rank < 1:
        raise UsageError(
            f"abstention: only {len(names)} patients with {kind} validation images: an error of "
            f"{share:g} cannot be promised; use at least {math.ceil(1 / share - 1e-9) - 1} or "
            f"allow at least {math.ceil(1000 / (len(names) + 1)) / 1000:g}"
        )
    return float(np.sort(hardest)[rank - 1])


def _search_band(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    threshold: float,
    weigh: Callable[[Int[np.ndarray, "lows highs"], _Table], _Table],
) -> tuple[float, float]:
    """The band whose undecided images and share of errors among the rest weigh least."""
    scores = np.sort(y_prob.astype(np.float64))
    wrong = ((y_prob >= threshold) != y_true)[np.argsort(y_prob, kind="stable")]
    wrong_before = np.concatenate([[0], np.cumsum(wrong)])
    lows = _thin(np.concatenate([[threshold], np.unique(scores[scores < threshold])[::-1]]))
    highs = _thin(np.concatenate([[threshold], np.unique(scores[scores > threshold])]))
    start = np.searchsorted(scores, lows)[:, None]
    stop = np.searchsorted(scores, highs)[None, :]
    undecided = stop - start
    left_wrong = wrong.sum() - (wrong_before[stop] - wrong_before[start])
    cost = weigh(undecided, left_wrong / np.maximum(1, len(scores) - undecided))
    row, column = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(lows[row]), float(highs[column])


def _thin(edges: Float[np.ndarray, " m"]) -> Float[np.ndarray, " k"]:
    """At most 1,000 of the candidates, both ends kept: the search looks at every pair."""
    return edges[np.unique(np.linspace(0, len(edges) - 1, 1000).astype(np.int64))]
