"""What a reader of an evaluation could be misled by, in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from chestx.domain import Activation
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import Slice

MIN_CLASS = 10
"""Images of a class under which its figures would mean nothing."""

FEW_GROUPS = 30
"""Patients under which intervals themselves are rough."""

MOST_REFUSED = 0.10
"""Share of images without an answer from which on a reader is warned."""

_CHOSEN_ON = frozenset({"validation", "val", "valid", "dev", "train", "training"})


def list_caveats(outcomes: Outcomes, everything: Slice) -> list[str]:
    """Sentences on the whole evaluation, the gravest first.

    Args:
        outcomes: what was measured.
        everything: the slice of all images.
    """
    questions = list_questions(outcomes)
    return [
        *_warn_of_splits(outcomes),
        *_warn_of_sources(outcomes, questions),
        *_warn_of_refusals(everything),
        *_warn_of_patients(outcomes, everything),
        *_warn_of_unknown(outcomes, questions),
        *_warn_of_one_label(outcomes),
    ]


def _warn_of_splits(outcomes: Outcomes) -> list[str]:
    splits = Counter(outcomes.attributes.get("split", ()))
    chosen = sorted(split for split in splits if split.lower() in _CHOSEN_ON)
    if chosen:
        count = sum(splits[split] for split in chosen)
        return [
            f"{count:,} of {len(outcomes):,} images are of the split {' or '.join(chosen)}: a "
            "model learns from such images or has its temperature and thresholds chosen on them. "
            "If this one did, every figure here is too good."
        ]
    if set(splits) <= {""}:
        return [
            "The manifest names no split: whether the model has met these images before is not "
            "known. If it has, every figure here is too good."
        ]
    return []


def _warn_of_sources(outcomes: Outcomes, questions: Sequence[Question]) -> list[str]:
    sources = np.array(outcomes.attributes.get("source", ("",) * len(outcomes)))
    stated = [source for source in np.unique(sources) if source]
    if not stated:
        return [
            "The manifest names no source: whether differences between hospitals help the model "
            "cannot be seen. Name the hospital or data set of every image."
        ]
    notes = []
    for question in questions:
        if len(stated) > 1 and question.key in _list_findings(outcomes):
            notes += _warn_of_one_source(question, sources)
    if len(stated) > 1:
        notes.append(
            "Figures over all sources reward telling the sources apart; read them beside those "
            "within each source and beside what can be guessed without lungs."
        )
    return notes


def _warn_of_one_source(question: Question, sources: np.ndarray) -> list[str]:
    positive = Counter(sources[question.is_known & question.y_true].tolist())
    negative = Counter(sources[question.is_known & ~question.y_true].tolist())
    notes = [
        f"{question.key}: every {word} image comes from one source ({next(iter(places))}). To know "
        "the source is to know the answer, so figures over all sources may show no more than that."
        for word, places in (("positive", positive), ("negative", negative))
        if len(places) == 1 and next(iter(places))
    ]
    both = [x for x in positive if x and min(positive[x], negative[x]) >= MIN_CLASS]
    if not both and positive and negative:
        notes.append(
            f"{question.key}: no source has {MIN_CLASS} images with it and {MIN_CLASS} without, so "
            "nothing here shows that the model sees the finding and not the source."
        )
    elif len(both) == 1:
        notes.append(
            f"{question.key}: only the source {both[0]} has {MIN_CLASS} images with it and "
            f"{MIN_CLASS} without, so what is known within a source is known of that one alone."
        )
    return notes


def _list_findings(outcomes: Outcomes) -> set[str]:
    return {label.key for label in outcomes.card.findings}


def _warn_of_refusals(everything: Slice) -> list[str]:
    refused = everything.out_of_scope + everything.failed
    if not refused:
        return []
    sentence = (
        f"{everything.out_of_scope:,} images were out of scope and {everything.failed:,} failed, "
        f"of {everything.images:,}. Figures are of the assessed ones except where they say that "
        "the others count as wrong."
    )
    if refused > MOST_REFUSED * everything.images:
        sentence += " That is many: the assessed ones may be the easier part."
    return [sentence]


def _warn_of_patients(outcomes: Outcomes, everything: Slice) -> list[str]:
    notes = []
    stated = Counter(outcomes.attributes.get("patient_stated", ()))
    if missing := len(outcomes) - stated["yes"]:
        notes.append(
            f"For {missing:,} of {len(outcomes):,} images no patient is stated. Each counts as a "
            "patient of its own unless the manifest groups it, so intervals may be too narrow."
        )
    if everything.groups < FEW_GROUPS:
        notes.append(
            f"There are only {everything.groups:,} patient or duplicate groups: intervals are "
            "rough, and another set of so few could give quite other figures."
        )
    return notes


def _warn_of_unknown(outcomes: Outcomes, questions: Sequence[Question]) -> list[str]:
    notes = []
    findings = _list_findings(outcomes)
    keys = [label.key for label in outcomes.card.labels]
    for question in questions:
        if question.key not in findings:
            continue
        column = outcomes.targets[:, keys.index(question.key)]
        unsettled, not_asked = int((column == -1).sum()), int((column == -2).sum())
        if unsettled or not_asked:
            notes.append(
                f"{question.key}: the reference standard leaves {unsettled:,} images unsettled and "
                f"was not asked about {not_asked:,}; its figures are of the other "
                f"{len(column) - unsettled - not_asked:,}."
            )
    return notes


def _warn_of_one_label(outcomes: Outcomes) -> list[str]:
    if outcomes.card.activation is Activation.SOFTMAX and len(outcomes.card.labels) > 2:
        return [
            "The model's labels exclude each other, so the negative images of one finding hold the "
            "other findings too: its specificity says how well it is told from those as well."
        ]
    return []
