"""One figure for several labels: the largest label, and means over the findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chestx.datasets.example import Task
from chestx.domain import Activation, Figure, LabelRole
from chestx.evaluation.figures import (
    Compute,
    Resampling,
    Share,
    make_figure,
    measure_share,
    say_bootstrap,
)
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.slices import find_single_labelled
from chestx.metrics import (
    Average,
    Counts,
    average_figures,
    bootstrap_figures,
    compute_f1,
    compute_multilabel_auroc,
    compute_ppv,
    compute_sensitivity,
    compute_specificity,
    count_decisions,
)
from chestx.metrics.numbers import Values, Weights
from chestx.shapes import Bool, Int

Labels = Int[np.ndarray, " n"]


def measure_overall(outcomes: Outcomes, data: str, resampling: Resampling) -> list[Figure]:
    """Figures over all labels, on every image that was assessed."""
    figures = measure_findings(outcomes, data, resampling)
    if has_largest_label(outcomes):
        figures = measure_largest_label(outcomes, data, resampling) + figures
    return figures


def has_largest_label(outcomes: Outcomes) -> bool:
    """Whether labels exclude each other, for the model and in the manifest."""
    is_single = outcomes.task is Task.SINGLE_LABEL
    return is_single and outcomes.card.activation is Activation.SOFTMAX


def measure_largest_label(outcomes: Outcomes, data: str, resampling: Resampling) -> list[Figure]:
    """Figures of answering with the most probable label, whatever the thresholds."""
    is_single, is_assessed = find_single_labelled(outcomes), outcomes.is_assessed
    labels = outcomes.targets.argmax(axis=1)
    answers = np.where(
        is_assessed, np.nan_to_num(outcomes.probabilities).argmax(axis=1), len(labels)
    )
    taken = is_single & is_assessed
    if not taken.any():
        return []
    everybody = measure_accuracy(
        answers[is_single] == labels[is_single],
        "largest label, out of scope and failed counted as wrong",
        data,
        outcomes.groups[is_single],
        resampling,
    )
    assessed = measure_accuracy(
        answers[taken] == labels[taken], "largest label", data, outcomes.groups[taken], resampling
    )
    averages = _average_classes(outcomes, labels, answers, taken, data, resampling)
    return [*assessed, *everybody, *averages]


def measure_accuracy(
    is_right: Bool[np.ndarray, " n"],
    subject: str,
    data: str,
    groups: Int[np.ndarray, " n"],
    resampling: Resampling,
) -> list[Figure]:
    """Share of right answers; empty without images."""
    share = Share(is_right, np.ones(len(is_right), dtype=bool))
    drawn = bootstrap_figures(
        lambda weights: {"accuracy": share.draw(weights)},
        groups,
        generator=resampling.start_generator("overall", subject),
        repeats=resampling.repeats,
    )
    figure = measure_share("accuracy", subject, data, share, groups, drawn=drawn["accuracy"])
    return [] if figure is None else [figure]


def _average_classes(
    outcomes: Outcomes,
    labels: Labels,
    answers: Labels,
    taken: Bool[np.ndarray, " n"],
    data: str,
    resampling: Resampling,
) -> list[Figure]:
    """Macro and weighted figures over the labels that occur; micro ones equal the accuracy."""
    keys = [label.key for label in outcomes.card.labels]
    there = [index for index in range(len(keys)) if (labels[taken] == index).any()]
    truth = [labels[taken] == index for index in there]
    called = [answers[taken] == index for index in there]

    def compute(weights: Weights) -> dict[str, Values]:
        counts = [
            count_decisions(true, positive, weights=weights)
            for true, positive in zip(truth, called, strict=True)
        ]
        averages = _average_counts(counts)
        recall = averages.pop(f"{Average.MACRO} sensitivity")
        return {"balanced accuracy": recall} | {
            name: values for name, values in averages.items() if not name.startswith("micro")
        }

    groups = outcomes.groups[taken]
    return _draw_figures(
        compute,
        f"largest label of {', '.join(keys[index] for index in there)}",
        data,
        groups,
        resampling,
    )


def measure_findings(outcomes: Outcomes, data: str, resampling: Resampling) -> list[Figure]:
    """Means over the findings: AUROC, and figures at the card's thresholds, uncertain forced."""
    questions = _choose_findings(outcomes)
    if not questions:
        return []
    is_assessed = outcomes.is_assessed
    known = np.stack([q.is_known[is_assessed] for q in questions], axis=1)
    truth = np.stack([q.y_true[is_assessed] for q in questions], axis=1)
    scores = np.stack([q.y_prob[is_assessed] for q in questions], axis=1)
    thresholds = [q.operating_point.threshold for q in questions if q.operating_point]
    called = scores >= np.array(thresholds)
    groups = outcomes.groups[is_assessed]
    names = ", ".join(q.key for q in questions)

    def rank(weights: Weights) -> dict[str, Values]:
        return {
            f"{average} AUROC": compute_multilabel_auroc(
                truth, scores, is_known=known, average=average, weights=weights
            )
            for average in Average
        }

    def decide(weights: Weights) -> dict[str, Values]:
        return _average_counts(
            [
                count_decisions(
                    truth[:, column], called[:, column], weights=weights * known[:, column]
                )
                for column in range(len(questions))
            ]
        )

    ranked = _draw_figures(rank, f"findings {names}", data, groups, resampling)
    subject = f"findings {names} at their thresholds, uncertain forced"
    return ranked + _draw_figures(decide, subject, data, groups, resampling)


def _choose_findings(outcomes: Outcomes) -> list[Question]:
    """Findings of which assessed images are known that have it and that have it not."""
    findings = {x.key for x in outcomes.card.labels if x.role is LabelRole.FINDING}
    chosen = []
    for question in list_questions(outcomes):
        known = question.is_known & outcomes.is_assessed
        has_both = len(np.unique(question.y_true[known])) == 2
        if question.key in findings and has_both:
            chosen.append(question)
    return chosen


def _average_counts(counts: Sequence[Counts[Values]]) -> dict[str, Values]:
    """Macro, micro and weighted sensitivity, specificity, PPV and F1."""
    together = Counts(
        *(np.sum([getattr(c, cell) for c in counts], axis=0) for cell in ("tp", "fp", "tn", "fn"))
    )
    supports = np.stack([one.positives for one in counts])
    found: dict[str, Values] = {}
    for name, compute in (
        ("sensitivity", compute_sensitivity),
        ("specificity", compute_specificity),
        ("PPV", compute_ppv),
        ("F1", compute_f1),
    ):
        values = np.stack([compute(one) for one in counts])
        found[f"{Average.MACRO} {name}"] = average_figures(values)
        found[f"{Average.MICRO} {name}"] = compute(together)
        found[f"{Average.WEIGHTED} {name}"] = average_figures(values, supports)
    return found


def _draw_figures(
    compute: Compute,
    subject: str,
    data: str,
    groups: Int[np.ndarray, " n"],
    resampling: Resampling,
) -> list[Figure]:
    estimates = bootstrap_figures(
        compute,
        groups,
        generator=resampling.start_generator("overall", subject),
        repeats=resampling.repeats,
    )
    figures = (
        make_figure(
            name,
            subject,
            data,
            estimate.value,
            (estimate.low, estimate.high),
            n=len(groups),
            interval=say_bootstrap(groups),
        )
        for name, estimate in estimates.items()
    )
    return [figure for figure in figures if figure is not None]
