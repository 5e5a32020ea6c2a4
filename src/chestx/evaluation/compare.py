"""Two models on the same labelled images: is the second better, worse, or as good?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chestx.domain import UsageError
from chestx.evaluation.caveats import MIN_CLASS
from chestx.evaluation.comparison import Agreement, Comparison, Difference
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.pairing import Answers, Pair, list_pairs, pair_outcomes
from chestx.evaluation.result import ALL
from chestx.evaluation.verdicts import (
    Verdict,
    adjust_p_values,
    compute_p_value,
    judge_difference,
    widen_certainty,
)
from chestx.metrics import (
    Estimate,
    bootstrap_figures,
    compute_accuracy,
    compute_aurocs,
    compute_eces,
    compute_quantiles,
    compute_sensitivity,
    compute_specificity,
    count_decisions,
)
from chestx.metrics.numbers import Values, Weights, divide

LEVEL = 0.95
"""Coverage of every interval."""

SHARE_MOVED = 0.99
"""Of the images, the share whose move in probability is told."""

_LOWER_IS_BETTER = frozenset({"ECE"})


@dataclass(frozen=True, slots=True)
class _Rules:
    """How differences are drawn and judged."""

    generator: np.random.Generator
    margin: float
    repeats: int


def compare(
    first: Outcomes,
    second: Outcomes,
    *,
    generator: np.random.Generator,
    margin: float = 0.02,
    repeats: int = 2000,
) -> Comparison:
    """Every figure of both models on the same images, paired, with what may be said of it.

    AUROC, sensitivity, specificity, accuracy and ECE are of images that both models
    assessed, so that neither gains by refusing hard ones; what refusing costs is in the
    coverage, the share of images with a reference standard that a model decides. Each
    decides at its own operating points, an uncertain answer forced to the nearer side.
    A slice with one class has no AUROC, and a source has no figure of fewer than
    MIN_CLASS images, which would only add to the number of looks.

    Args:
        first: of the model that there is.
        second: of the one that might take its place.
        generator: source of the draws, which take whole patient or duplicate groups.
        margin: largest loss, in the unit of each figure, that counts as none.
        repeats: number of draws.

    Raises:
        UsageError: other images, other reference standards or no question in common, a
            margin outside (0, 1), or no image.
    """
    check_margin(margin)
    ordered, notes = pair_outcomes(first, second)
    rules = _Rules(generator, margin, repeats)
    pairs = list_pairs(first, ordered)
    found = [_compare_pair(pair, rules) for pair in pairs]
    differences = _adjust([one for differences, _ in found for one in differences])
    return Comparison(
        first=first.identity,
        second=second.identity,
        images=len(first),
        groups=len(np.unique(first.groups)),
        margin=margin,
        level=LEVEL,
        repeats=repeats,
        differences=differences,
        agreements=tuple(agreement for _, agreement in found),
        summary=_summarise(differences),
        notes=(
            *notes,
            *_note_sameness(first, second, pairs),
            *_list_contradictions(differences),
        ),
    )


def check_margin(margin: float) -> None:
    """Raises a UsageError for a loss that no figure could have, before anything is measured."""
    if not 0 < margin < 1:
        raise UsageError(f"margin: expected above 0 and below 1, got {margin:g}")


def _compare_pair(pair: Pair, rules: _Rules) -> tuple[list[Difference], Agreement]:
    estimates = bootstrap_figures(
        lambda weights: _compute_figures(pair, weights),
        pair.groups,
        generator=rules.generator,
        repeats=rules.repeats,
        level=LEVEL,
    )
    common = pair.is_common
    true, false = common & pair.y_true, common & ~pair.y_true
    carriers = {
        "sensitivity": (true,),
        "specificity": (false,),
        "AUROC": (true, false),
        "coverage": (pair.is_known,),
    }
    differences = []
    for name in _list_names(pair):
        estimate = estimates[name]
        if math.isnan(estimate.value):
            continue
        rows = carriers.get(name, (common,))
        if pair.slice_key != ALL and min(int(row.sum()) for row in rows) < MIN_CLASS:
            continue
        groups = min(pair.count_groups(row) for row in rows)
        # Nothing moved on any image, so the difference is 0 by what the models say and not
        # because nobody happened to change sides.
        is_nothing = pair.is_same or (name == "AUROC" and pair.is_ranked_alike)
        difference = (
            estimate if is_nothing else widen_certainty(estimate, groups=groups, level=LEVEL)
        )
        verdict = judge_difference(
            difference, margin=rules.margin, higher_is_better=name not in _LOWER_IS_BETTER
        )
        differences.append(
            Difference(
                slice_key=pair.slice_key,
                question=pair.question,
                name=name,
                first=estimates[f"first {name}"].value,
                second=estimates[f"second {name}"].value,
                value=difference.value,
                low=_to_optional(difference.low),
                high=_to_optional(difference.high),
                n=sum(int(row.sum()) for row in rows),
                higher_is_better=name not in _LOWER_IS_BETTER,
                p_value=_to_optional(compute_p_value(difference, groups=groups)),
                adjusted_p_value=None,
                verdict=verdict,
            )
        )
    return differences, _describe_agreement(pair, estimates)


def _list_names(pair: Pair) -> list[str]:
    decided = ["sensitivity", "specificity", "accuracy", "coverage"] if pair.is_decided else []
    return ["AUROC", *decided, "ECE"]


def _compute_figures(pair: Pair, weights: Weights) -> dict[str, Values]:
    """Figures of each model, their differences, and how alike the answers are."""
    sides = [_compute_side(pair, answers, weights) for answers in (pair.first, pair.second)]
    figures: dict[str, Values] = {}
    for name in _list_names(pair):
        one, other = (side[name] for side in sides)
        figures |= {f"first {name}": one, f"second {name}": other, name: other - one}
    both = pair.first.has_prob & pair.second.has_prob
    moved = np.abs(pair.second.y_prob - pair.first.y_prob)[both]
    figures["shift"] = compute_quantiles(moved, weights[:, both], share=SHARE_MOVED)
    is_same = (pair.first.said == pair.second.said).astype(np.float64)
    figures["same"] = divide(weights @ is_same, weights.sum(axis=1))
    return figures


def _compute_side(pair: Pair, answers: Answers, weights: Weights) -> dict[str, Values]:
    common = np.flatnonzero(pair.is_common)
    y_true, y_prob, drawn = pair.y_true[common], answers.y_prob[common], weights[:, common]
    counts = count_decisions(y_true, answers.is_positive[common], weights=drawn)
    known = pair.is_known.astype(np.float64)
    return {
        "AUROC": compute_aurocs(y_true, y_prob, drawn),
        "ECE": compute_eces(y_true, y_prob, drawn),
        "sensitivity": compute_sensitivity(counts),
        "specificity": compute_specificity(counts),
        "accuracy": compute_accuracy(counts),
        "coverage": divide(weights @ (answers.is_decided * known), weights @ known),
    }


def _describe_agreement(pair: Pair, estimates: dict[str, Estimate]) -> Agreement:
    both = pair.first.has_prob & pair.second.has_prob
    moved = np.abs(pair.second.y_prob - pair.first.y_prob)[both]
    same, shift = estimates["same"], estimates["shift"]
    common = pair.is_common & pair.is_decided
    gained = common & pair.second.is_positive & ~pair.first.is_positive
    lost = common & pair.first.is_positive & ~pair.second.is_positive
    return Agreement(
        slice_key=pair.slice_key,
        question=pair.question,
        images=len(pair.y_true),
        same=same.value if pair.is_decided else None,
        same_low=_to_optional(same.low) if pair.is_decided else None,
        same_high=_to_optional(same.high) if pair.is_decided else None,
        compared=int(both.sum()),
        shift_p99=_to_optional(shift.value),
        shift_p99_low=_to_optional(shift.low),
        shift_p99_high=_to_optional(shift.high),
        shift_max=float(moved.max()) if len(moved) else None,
        known=int(common.sum()),
        true_gained=int((gained & pair.y_true).sum()),
        true_lost=int((lost & pair.y_true).sum()),
        false_gained=int((lost & ~pair.y_true).sum()),
        false_lost=int((gained & ~pair.y_true).sum()),
    )


def _adjust(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    p_values = [math.nan if one.p_value is None else one.p_value for one in differences]
    return tuple(
        replace(one, adjusted_p_value=_to_optional(p))
        for one, p in zip(differences, adjust_p_values(p_values), strict=True)
    )


def _to_optional(value: float) -> float | None:
    return None if math.isnan(value) else value


def _summarise(differences: Sequence[Difference]) -> tuple[str, ...]:
    """Every pooled difference in words, then how far to trust so many."""
    pooled = [describe_difference(one) for one in differences if one.is_pooled]
    clear = [one for one in differences if one.verdict in _CLEAR]
    holding = [
        one
        for one in clear
        if one.adjusted_p_value is not None and one.adjusted_p_value < 1 - LEVEL
    ]
    return (
        *pooled,
        f"{len(differences)} differences were looked at, of which {len(clear)} have an interval "
        f"clear of 0; about one in {round(1 / (1 - LEVEL))} would by chance alone. "
        f"{len(holding)} of them still differ after Holm's correction for looking at so many.",
    )


_CLEAR = frozenset({Verdict.BETTER, Verdict.WORSE, Verdict.INFERIOR})


def describe_difference(one: Difference) -> str:
    """A sentence: what each model reached, the difference with its interval, the verdict."""
    interval = (
        "no interval"
        if one.low is None or one.high is None
        else f"{LEVEL:.0%} interval {one.low:+.3f} to {one.high:+.3f}".replace("%", " %")
    )
    return (
        f"{one.question}, {one.name} on {one.n:,} images: {one.first:.3f} to {one.second:.3f} "
        f"({one.value:+.3f}, {interval}): {one.verdict.value}."
    )


def _note_sameness(first: Outcomes, second: Outcomes, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """That both models are one, or say the same, which explains intervals without width."""
    if first.identity == second.identity:
        return ("Both models are the same one.",)
    same = [pair.question for pair in pairs if pair.slice_key == ALL and pair.is_same]
    if not same:
        return ()
    return (
        f"{', '.join(same)}: both models give every one of these {len(first):,} images the same "
        "probability and the same answer, so every difference is 0.",
    )


def _list_contradictions(differences: Sequence[Difference]) -> tuple[str, ...]:
    """Where a pooled gain hides a loss within a source."""
    gains = {
        (one.question, one.name)
        for one in differences
        if one.is_pooled and one.verdict is Verdict.BETTER
    }
    return tuple(
        f"{one.question}: the second model's {one.name} is better on all images and "
        f"{one.verdict.value} on {one.slice_key}; the pooled figure may reward telling the sources "
        "apart."
        for one in differences
        if not one.is_pooled
        and (one.question, one.name) in gains
        and one.verdict in (Verdict.WORSE, Verdict.INFERIOR)
    )
