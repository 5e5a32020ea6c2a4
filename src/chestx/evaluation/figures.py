"""Figures of one question on one part of the images, each with its interval."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from chestx.domain import Figure, OperatingPoint
from chestx.metrics import (
    Estimate,
    bootstrap_figures,
    compute_aurocs,
    compute_average_precisions,
    compute_briers,
    compute_calibration_lines,
    compute_debiased_eces,
    compute_decision_figures,
    compute_eces,
    compute_npv_at,
    compute_ppv_at,
    count_decisions,
    decompose_brier,
    delong_interval,
    logit_interval,
    wilson_interval,
)
from chestx.metrics.numbers import Values, Weights, divide
from chestx.shapes import Bool, Float64, Int

PREVALENCES = (0.01, 0.05, 0.10, 0.20)
"""Shares of positives that predictive values are given for, beside the share in the images."""

FORCED = "uncertain forced"
ABSTAINING = "uncertain taken out"
REFUSED_WRONG = "uncertain forced, out of scope and failed counted as wrong"

_RECENTRED = frozenset({"ECE", "ECE debiased"})

Compute = Callable[[Weights], Mapping[str, Values]]


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are drawn.

    Attributes:
        seed: of all draws; each place has its own stream of it, so that one more slice
            changes no other's figures.
        repeats: draws of whole groups.
    """

    seed: int
    repeats: int

    def start_generator(self, *place: str) -> np.random.Generator:
        """The stream of draws for one place."""
        return np.random.default_rng([self.seed, zlib.crc32("\0".join(place).encode())])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """Images of one slice in which one question has an answer and the model gave one.

    Attributes:
        score: what is ranked, in words.
        data: which images, in words.
        y_true: the reference standard.
        y_prob: calibrated probability.
        groups: patient or duplicate group.
        point: where the card decides; None where it never does.
    """

    score: str
    data: str
    y_true: Bool[np.ndarray, " n"]
    y_prob: Float64[np.ndarray, " n"]
    groups: Int[np.ndarray, " n"]
    point: OperatingPoint | None

    @property
    def is_independent(self) -> bool:
        """Whether every image is a group of its own."""
        return len(np.unique(self.groups)) == len(self.groups)


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """A proportion as the images that it is of and those that count.

    Attributes:
        counts: whether each image counts.
        among: whether each image is one of those.
    """

    counts: Bool[np.ndarray, " n"]
    among: Bool[np.ndarray, " n"]

    def draw(self, weights: Weights) -> Values:
        """The proportion in each draw."""
        among = weights @ self.among.astype(np.float64)
        return divide(weights @ (self.counts & self.among).astype(np.float64), among)


def make_figure(
    name: str,
    subject: str,
    data: str,
    value: float,
    ends: tuple[float, float],
    *,
    n: int,
    interval: str,
    note: str = "",
) -> Figure | None:
    """A figure from an estimate; None where there is no finite value.

    Args:
        name, subject, data, value, n: of the figure.
        ends: of the interval, NaN where there is none.
        interval: kind of interval, in words; where there is none, the note says so instead.
        note: what else a reader must know.
    """
    if not math.isfinite(value):
        return None
    low: float | None = ends[0]
    high: float | None = ends[1]
    if not all(map(math.isfinite, ends)):
        low = high = None
        interval = "no interval: these images give none"
    elif low == high:
        low = high = None
        interval = "no interval: every draw gave the same value, which is no sign of certainty"
    return Figure(
        name=name,
        subject=subject,
        data=data,
        value=value,
        n=n,
        low=low,
        high=high,
        note="; ".join(filter(None, (note, interval))),
    )


def find_auroc_ends(
    estimate: Estimate, y_true: Bool[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> tuple[tuple[float, float], str]:
    """Interval of an AUROC from the spread of its draws on the logit scale, and its kind in words.

    Where the AUROC is 0 or 1 that scale ends. As many pairs of a group with and one without as
    the rarer class has groups are independent, and all of them are ranked alike: theirs is
    Wilson's interval of a share.
    """
    fewest = min(len(np.unique(groups[y_true])), len(np.unique(groups[~y_true])))
    if estimate.value in (0, 1) and fewest:
        low, high = wilson_interval(fewest if estimate.value else 0, fewest)
        # Wilson's ends at 0 and 1 may miss them by a rounding error.
        ends = min(low, estimate.value), max(high, estimate.value)
        return ends, f"interval: Wilson on {fewest:,} pairs of groups, since all are ranked alike"
    ends = logit_interval(estimate.value, estimate.error, groups=fewest)
    return ends, f"{say_bootstrap(groups)}, on the logit scale"


def say_bootstrap(groups: Int[np.ndarray, " n"]) -> str:
    """The kind of interval, for a figure's note."""
    return f"interval: bootstrap of {len(np.unique(groups)):,} patient or duplicate groups"


def measure_share(
    name: str,
    subject: str,
    data: str,
    share: Share,
    groups: Int[np.ndarray, " n"],
    *,
    drawn: Estimate,
) -> Figure | None:
    """A proportion with the interval that fits how its images hang together.

    Wilson where each image is a group of its own, else the bootstrap's; where that has no width
    because all images agree, Wilson on the number of groups.
    """
    n, k = int(share.among.sum()), int((share.among & share.counts).sum())
    if not n:
        return None
    count = len(np.unique(groups[share.among]))
    if count == n:
        low, high = wilson_interval(k, n)
        kind = "interval: Wilson"
    elif k in (0, n):
        low, high = wilson_interval(count if k else 0, count)
        kind = f"interval: Wilson on {count:,} groups, since all images agree"
    else:
        low, high, kind = drawn.low, drawn.high, say_bootstrap(groups)
    value = k / n
    # Wilson's ends at 0 and 1 may miss them by a rounding error.
    ends = min(low, value), max(high, value)
    return make_figure(name, subject, data, value, ends, n=n, interval=kind)


Told = dict[tuple[str, str], Figure | None]
"""Subject and name -> the figure, None where these images give no value."""


def measure_scores(sample: Sample, resampling: Resampling, *place: str) -> Told:
    """Figures that need no threshold: ranking and calibration. Both classes must be there."""
    y_true, y_prob = sample.y_true, sample.y_prob

    def compute(weights: Weights) -> dict[str, Values]:
        lines = compute_calibration_lines(y_true, y_prob, weights)
        return {
            "AUROC": compute_aurocs(y_true, y_prob, weights),
            "PR-AUC": compute_average_precisions(y_true, y_prob, weights),
            "Brier": compute_briers(y_true, y_prob, weights),
            "ECE": compute_eces(y_true, y_prob, weights),
            "ECE debiased": compute_debiased_eces(y_true, y_prob, weights),
            "calibration slope": lines["slope"],
            "calibration intercept": lines["intercept"],
            "calibration in the large": lines["in_the_large"],
        }

    estimates = bootstrap_figures(
        compute,
        sample.groups,
        generator=resampling.start_generator(*place, "scores"),
        repeats=resampling.repeats,
        recentred=_RECENTRED,
    )
    ends = {name: (estimate.low, estimate.high) for name, estimate in estimates.items()}
    kinds = dict.fromkeys(estimates, say_bootstrap(sample.groups))
    ends["AUROC"], kinds["AUROC"] = find_auroc_ends(estimates["AUROC"], y_true, sample.groups)
    if sample.is_independent and 0 < estimates["AUROC"].value < 1:
        ends["AUROC"] = delong_interval(y_true, y_prob)
        kinds["AUROC"] = "interval: DeLong, on the logit scale"
    kinds |= {name: f"{kinds[name]}, recentred" for name in _RECENTRED}
    told: Told = {
        (sample.score, name): make_figure(
            name,
            sample.score,
            sample.data,
            estimate.value,
            ends[name],
            n=len(y_true),
            interval=kinds[name],
            note="15 bins of equal mass" if name in _RECENTRED else "",
        )
        for name, estimate in estimates.items()
    }
    return told | _part_brier(sample)


def _part_brier(sample: Sample) -> Told:
    parts = decompose_brier(sample.y_true, sample.y_prob)
    return {
        (sample.score, f"Brier {name}"): Figure(
            name=f"Brier {name}",
            subject=sample.score,
            data=sample.data,
            value=getattr(parts, name),
            n=len(sample.y_true),
            note="part of the Brier score over 15 bins of equal mass",
        )
        for name in ("reliability", "resolution", "uncertainty")
    }


def measure_decisions(
    sample: Sample,
    resampling: Resampling,
    *place: str,
    has_positives: bool = True,
    has_negatives: bool = True,
) -> Told:
    """Figures at the card's operating point: uncertain forced, and uncertain taken out.

    Args:
        sample: its point must be there.
        resampling: how intervals are drawn.
        place: names the stream of draws.
        has_positives, has_negatives: whether there are enough for figures of them; with
            one class alone only its own shares are given.
    """
    point = sample.point
    if point is None:
        return {}
    y_true, p = sample.y_true, sample.y_prob
    is_positive = p >= point.threshold
    is_decided = ~((point.uncertain_low <= p) & (p < point.uncertain_high))
    sides = {FORCED: np.ones(len(p), dtype=bool), ABSTAINING: is_decided}
    shares = {
        (side, name): share
        for side, taken in sides.items()
        for name, share in _list_shares(y_true, is_positive, taken, is_decided).items()
    }

    def compute(weights: Weights) -> dict[str, Values]:
        figures: dict[str, Values] = {}
        for side, taken in sides.items():
            counts = count_decisions(y_true, is_positive, weights=weights * taken)
            decided = compute_decision_figures(counts)
            decided |= _predictive_values(decided["sensitivity"], decided["specificity"])
            figures |= {f"{side}|{name}": values for name, values in decided.items()}
        for (side, name), share in shares.items():
            figures.setdefault(f"{side}|{name}", share.draw(weights))
        return figures

    estimates = bootstrap_figures(
        compute,
        sample.groups,
        generator=resampling.start_generator(*place, "decisions"),
        repeats=resampling.repeats,
    )
    told: Told = {}
    for key, estimate in estimates.items():
        side, name = key.split("|")
        if not _is_told(name, has_positives=has_positives, has_negatives=has_negatives):
            continue
        subject = f"{sample.score} at {point.threshold:.3g}, {side}"
        if share := shares.get((side, name)):
            figure = measure_share(name, subject, sample.data, share, sample.groups, drawn=estimate)
        else:
            figure = make_figure(
                name,
                subject,
                sample.data,
                estimate.value,
                (estimate.low, estimate.high),
                n=int(sides[side].sum()),
                interval=say_bootstrap(sample.groups),
            )
        told[subject, name] = figure
    return told


def measure_refused_as_wrong(
    sample: Sample,
    is_assessed: Bool[np.ndarray, " n"],
    resampling: Resampling,
    *place: str,
    has_positives: bool = True,
    has_negatives: bool = True,
) -> Told:
    """Sensitivity and specificity of all images with an answer, assessed or not.

    Args:
        sample: of all images; the probability of one that was not assessed is not looked at.
        is_assessed: whether the model answered.
        resampling, place, has_positives, has_negatives: of :func:`measure_decisions`.
    """
    if sample.point is None:
        return {}
    is_positive = np.where(is_assessed, sample.y_prob, 0) >= sample.point.threshold
    shares = {}
    if has_positives:
        shares["sensitivity"] = Share(is_assessed & is_positive, sample.y_true)
    if has_negatives:
        shares["specificity"] = Share(is_assessed & ~is_positive, ~sample.y_true)
    estimates = bootstrap_figures(
        lambda weights: {name: share.draw(weights) for name, share in shares.items()},
        sample.groups,
        # The draws of the decisions: where nothing was refused it is the same figure.
        generator=resampling.start_generator(*place, "decisions"),
        repeats=resampling.repeats,
    )
    subject = f"{sample.score} at {sample.point.threshold:.3g}, {REFUSED_WRONG}"
    return {
        (subject, name): measure_share(
            name, subject, sample.data, share, sample.groups, drawn=estimates[name]
        )
        for name, share in shares.items()
    }


def _list_shares(
    y_true: Bool[np.ndarray, " n"],
    is_positive: Bool[np.ndarray, " n"],
    taken: Bool[np.ndarray, " n"],
    is_decided: Bool[np.ndarray, " n"],
) -> dict[str, Share]:
    """Figures that are proportions of images, by name."""
    shares = {
        "accuracy": Share(is_positive == y_true, taken),
        "sensitivity": Share(is_positive, taken & y_true),
        "specificity": Share(~is_positive, taken & ~y_true),
        "PPV": Share(y_true, taken & is_positive),
        "NPV": Share(~y_true, taken & ~is_positive),
    }
    if taken is is_decided:
        shares["coverage"] = Share(is_decided, np.ones(len(y_true), dtype=bool))
        shares["uncertain among positives"] = Share(~is_decided, y_true)
        shares["uncertain among negatives"] = Share(~is_decided, ~y_true)
    return shares


def _predictive_values(sensitivity: Values, specificity: Values) -> dict[str, Values]:
    """What a call means where the finding is as rare as PREVALENCES."""
    values = {}
    for prevalence in PREVALENCES:
        at = f"at {prevalence:.0%} prevalence".replace("%", " %")
        known = {"sensitivity": sensitivity, "specificity": specificity}
        values[f"PPV {at}"] = compute_ppv_at(prevalence, **known)
        values[f"NPV {at}"] = compute_npv_at(prevalence, **known)
    return values


def _is_told(name: str, *, has_positives: bool, has_negatives: bool) -> bool:
    if has_positives and has_negatives:
        return True
    of_positives = ("sensitivity", "uncertain among positives")
    of_negatives = ("specificity", "uncertain among negatives")
    return (has_positives and name in of_positives) or (has_negatives and name in of_negatives)
