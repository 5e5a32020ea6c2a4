"""What may be said of a difference between two models, by rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import NormalDist

from chestx.metrics import Estimate, wilson_interval


class Verdict(StrEnum):
    """What a difference's interval shows; the difference is turned so that more is better."""

    BETTER = "better"
    """The whole interval lies above 0."""
    INFERIOR = "inferior"
    """The whole interval lies below minus the margin."""
    WORSE = "worse"
    """The whole interval lies below 0, and not all of it below minus the margin."""
    NON_INFERIOR = "non-inferior within the margin"
    """The interval holds 0 and lies above minus the margin."""
    NOT_SHOWN = "not shown to differ"
    """The interval holds 0 and minus the margin, and lies below the margin."""
    INCONCLUSIVE = "inconclusive"
    """The interval holds minus the margin and the margin, or there is none."""


def judge_difference(difference: Estimate, *, margin: float, higher_is_better: bool) -> Verdict:
    """The verdict of the interval, by the first rule of :class:`Verdict` that holds.

    Args:
        difference: second - first.
        margin: largest loss that is accepted, above 0.
        higher_is_better: whether more of the figure is better.
    """
    if not difference.has_interval:
        return Verdict.INCONCLUSIVE
    low, high = difference.low, difference.high
    if not higher_is_better:
        low, high = -high, -low
    rules = (
        (low > 0, Verdict.BETTER),
        (high < -margin, Verdict.INFERIOR),
        (high < 0, Verdict.WORSE),
        (low > -margin, Verdict.NON_INFERIOR),
        (high < margin, Verdict.NOT_SHOWN),
    )
    return next((verdict for holds, verdict in rules if holds), Verdict.INCONCLUSIVE)


def widen_certainty(difference: Estimate, *, groups: int, level: float) -> Estimate:
    """The estimate, with a wider interval where all draws gave the same difference.

    That no group changed sides in these images does not prove that none would: of as many
    others, up to the upper Wilson limit of 0 may. Without this, two models that both find
    the only three positives would be as good as each other for certain.

    Args:
        difference: second - first.
        groups: patient or duplicate groups that the figure is of.
        level: coverage of the interval.
    """
    if not (difference.has_interval and difference.low == difference.high and groups):
        return difference
    _, slack = wilson_interval(0, groups, level=level)
    return replace(difference, low=difference.low - slack, high=difference.high + slack)


def compute_p_value(difference: Estimate, *, groups: int) -> float:
    """Two-sided, from the difference over the standard deviation of its draws.

    Where all draws gave the same: 1 for no difference, else that of a sign test in which
    every group fell to the same side. NaN where there is no interval.

    Args:
        difference: second - first.
        groups: patient or duplicate groups that the figure is of.
    """
    if not difference.has_interval:
        return math.nan
    if difference.error == 0:
        return 1.0 if difference.value == 0 else min(1.0, 2 * 0.5**groups)
    return 2 * NormalDist().cdf(-abs(difference.value) / difference.error)


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment; NaN stays and counts as no comparison.

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = largest
    return adjusted
