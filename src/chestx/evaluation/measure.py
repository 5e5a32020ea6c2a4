"""Every figure of an evaluation, from outcomes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from chestx.domain import Figure, UsageError
from chestx.evaluation.averages import has_largest_label, measure_overall
from chestx.evaluation.baselines import measure_baselines
from chestx.evaluation.caveats import FEW_GROUPS, MIN_CLASS, list_caveats
from chestx.evaluation.figures import (
    Resampling,
    Sample,
    Told,
    measure_decisions,
    measure_refused_as_wrong,
    measure_scores,
)
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import (
    ALL,
    Answered,
    Evaluation,
    Point,
    ReliabilityBin,
    RiskPoint,
)
from chestx.evaluation.slices import COLUMNS, Part, count_confusions, list_parts
from chestx.metrics import (
    Curve,
    bin_probabilities,
    compute_precision_recall_curve,
    compute_risk_coverage,
    compute_roc_curve,
)

MAX_REPEATS = 100_000

_ABOVE_ALL = 2.0
"""Threshold of the point of a curve at which no image is positive."""

_CLOSEST = 1e-7
"""Probabilities are held this far from 0 and 1 before a logit."""


def measure(
    outcomes: Outcomes,
    *,
    data: str,
    manifest_sha256: str,
    left_out: Mapping[str, int],
    seed: int = 0,
    repeats: int = 1000,
    columns: Sequence[str] = COLUMNS,
) -> Evaluation:
    """Measures every question on all images and on each value of each column.

    Binary decisions are told twice: with ``uncertain`` forced to the nearer side of the threshold,
    and with it taken out, beside the share that is left. Figures are of assessed images; how many
    were not is in each slice, and sensitivity and specificity are told once more with those
    counted as wrong.

    Args:
        outcomes: of :func:`~chestx.evaluation.collect.collect_outcomes`.
        data: name of the images, e.g. of the manifest and the split that was taken.
        manifest_sha256: of the manifest's file.
        left_out: reason -> rows that the manifest's reader left out; those that the
            collection left out are added.
        seed: of the bootstrap and of the folds of the guesses without lungs.
        repeats: draws of the bootstrap.
        columns: attributes whose values become slices; one that no image states is left out.

    Raises:
        UsageError: no images, a column that was not collected, or repeats out of range.
    """
    _check_request(outcomes, repeats, columns)
    resampling = Resampling(seed, repeats)
    questions = list_questions(outcomes)
    parts, notes = list_parts(outcomes, columns)
    everything = parts[0].slice
    answers = tuple(
        measure_question(outcomes, question, part, data, resampling)
        for part in parts
        for question in questions
    )
    return Evaluation(
        model=outcomes.identity,
        data=data,
        manifest_sha256=manifest_sha256,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        left_out={**left_out, **outcomes.left_out},
        slices=tuple(part.slice for part in parts),
        answers=answers,
        confusions=count_confusions(outcomes, parts) if has_largest_label(outcomes) else (),
        overall=tuple(measure_overall(outcomes, data, resampling)),
        baselines=tuple(
            figure
            for question in questions
            # P(no finding) is any finding's mirror image.
            if question.operating_point is not None
            for figure in measure_baselines(
                outcomes,
                question,
                data,
                resampling,
                min_class=MIN_CLASS,
                told=_list_aurocs(answers, question),
            )
        ),
        notes=(*outcomes.notes, *list_caveats(outcomes, everything), *notes),
        settings={"seed": seed, "repeats": repeats, "level": 0.95, "min_class": MIN_CLASS},
    )


def measure_question(
    outcomes: Outcomes, question: Question, part: Part, data: str, resampling: Resampling
) -> Answered:
    """One question in one slice.

    Args:
        outcomes: of all images.
        question: of these.
        part: the slice and its images.
        data: name of all the images.
        resampling: how intervals are drawn.
    """
    place = (part.slice.key, question.key)
    known = part.is_in & question.is_known
    is_assessed = outcomes.is_assessed
    sample = _take_sample(outcomes, question, part, known & is_assessed, data)
    y_true, y_prob = sample.y_true, sample.y_prob
    positives = int(y_true.sum())
    negatives = len(y_true) - positives
    enough = {"has_positives": positives >= MIN_CLASS, "has_negatives": negatives >= MIN_CLASS}
    has_both = all(enough.values())
    told: Told = {}
    if has_both:
        told |= measure_scores(sample, resampling, *place)
    if any(enough.values()):
        told |= measure_decisions(sample, resampling, *place, **enough)
        told |= measure_refused_as_wrong(
            _take_sample(outcomes, question, part, known, data),
            is_assessed[known],
            resampling,
            *place,
            **enough,
        )
    return Answered(
        slice_key=part.slice.key,
        question=question.key,
        score=question.score,
        n=len(y_true),
        positives=positives,
        figures=tuple(figure for figure in told.values() if figure is not None),
        roc=_to_points(compute_roc_curve(y_true, y_prob)) if has_both else (),
        precision_recall=(
            _to_points(compute_precision_recall_curve(y_true, y_prob)) if has_both else ()
        ),
        reliability=_bin_reliability(sample) if has_both else (),
        risk_coverage=_draw_risk(sample) if has_both else (),
        note=" ".join(_explain(sample, told)),
    )


def _list_aurocs(answers: Sequence[Answered], question: Question) -> dict[str, Figure]:
    """The AUROC of a question in each slice that has one."""
    return {
        answer.slice_key: figure
        for answer in answers
        for figure in answer.figures
        if answer.question == question.key and figure.name == "AUROC"
    }


def check_repeats(repeats: int) -> None:
    """Raises a UsageError for a number of draws out of range, before anything is measured."""
    if not 1 <= repeats <= MAX_REPEATS:
        raise UsageError(f"repeats: expected 1 to {MAX_REPEATS}, got {repeats}")


def _check_request(outcomes: Outcomes, repeats: int, columns: Sequence[str]) -> None:
    if not len(outcomes):
        raise UsageError("evaluation: expected at least one image, got none")
    check_repeats(repeats)
    for column in columns:
        if column not in outcomes.attributes:
            raise UsageError(
                f"columns: expected some of {', '.join(sorted(outcomes.attributes))}, "
                f"got {column!r:.80}; name it as an attribute when the outcomes are collected"
            )


def _take_sample(
    outcomes: Outcomes, question: Question, part: Part, taken: np.ndarray, data: str
) -> Sample:
    return Sample(
        score=question.score,
        data=data if part.slice.key == ALL else f"{data}; {part.slice.key}",
        y_true=question.y_true[taken],
        y_prob=question.y_prob[taken],
        groups=outcomes.groups[taken],
        point=question.operating_point,
    )


def _explain(sample: Sample, told: Told) -> list[str]:
    """Which figures are not there, and why; which are weak."""
    positives = int(sample.y_true.sum())
    negatives = len(sample.y_true) - positives
    groups = len(np.unique(sample.groups))
    sentences = []
    if sample.point is None:
        sentences.append("The model never decides on this label.")
    counts = f"{positives:,} positive and {negatives:,} negative images"
    if max(positives, negatives) < MIN_CLASS:
        sentences.append(f"{counts}: too few for figures, which need {MIN_CLASS} of a kind.")
    elif min(positives, negatives) < MIN_CLASS:
        share = "specificity" if positives < MIN_CLASS else "sensitivity"
        sentences.append(
            f"{counts}: only {share} and its like; an AUROC needs {MIN_CLASS} of both kinds."
        )
    if told and groups < FEW_GROUPS:
        sentences.append(f"Only {groups} patient or duplicate groups: intervals are rough.")
    if missing := [f"{name} ({subject})" for (subject, name), figure in told.items() if not figure]:
        sentences.append(
            "Without a value on these images (a share of nothing, a ratio without end, a line "
            f"between classes that are apart): {', '.join(missing)}."
        )
    return sentences


def _bin_reliability(sample: Sample) -> tuple[ReliabilityBin, ...]:
    bins = bin_probabilities(sample.y_true, sample.y_prob)
    return tuple(
        ReliabilityBin(one.predicted, one.observed, one.low, one.high, one.n) for one in bins
    )


def _to_points(curve: Curve) -> tuple[Point, ...]:
    thresholds = np.where(np.isfinite(curve.threshold), curve.threshold, _ABOVE_ALL)
    return tuple(
        Point(float(x), float(y), float(threshold))
        for x, y, threshold in zip(curve.x, curve.y, thresholds, strict=True)
    )


def _draw_risk(sample: Sample) -> tuple[RiskPoint, ...]:
    """Abstaining on those nearest to the threshold first, by the distance of the logits."""
    if sample.point is None:
        return ()
    confidence = np.abs(_to_logit(sample.y_prob) - _to_logit(np.array(sample.point.threshold)))
    is_wrong = (sample.y_prob >= sample.point.threshold) != sample.y_true
    curve = compute_risk_coverage(is_wrong, confidence)
    return tuple(
        RiskPoint(float(coverage), float(risk))
        for coverage, risk in zip(curve.coverage, curve.risk, strict=True)
    )


def _to_logit(probability: np.ndarray) -> np.ndarray:
    held = np.clip(probability.astype(np.float64), _CLOSEST, 1 - _CLOSEST)
    return np.asarray(np.log(held / (1 - held)))
