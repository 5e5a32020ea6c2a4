"""Parts of the images that figures are taken on, with every image accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestx.domain import Decision
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import ALL, Confusion, Slice
from chestx.shapes import Bool

COLUMNS = ("source", "view", "age_band", "sex", "population", "device")
"""Attributes that tables are made by where nobody asks for others."""

MOST_VALUES = 20
"""Slices of one column; a column of more values is a list, not a table."""

NOT_STATED = "not stated"
"""Value of images that say nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A slice and the images that are in it.

    Attributes:
        slice: what is told of it.
        is_in: whether each image is in it.
    """

    slice: Slice
    is_in: Bool[np.ndarray, " images"]


def list_parts(outcomes: Outcomes, columns: Sequence[str]) -> tuple[list[Part], list[str]]:
    """All images first, then each value of each column, the most frequent first.

    A column that no image states is left out.

    Returns:
        The parts, and what was left out of them, in words.
    """
    questions = list_questions(outcomes)
    everything = np.ones(len(outcomes), dtype=bool)
    parts = [Part(_describe_slice(outcomes, questions, everything, "", ""), everything)]
    notes = []
    for column in columns:
        texts = outcomes.attributes.get(column, ())
        values = np.array([text or NOT_STATED for text in texts])
        counts = Counter(values.tolist())
        if set(counts) <= {NOT_STATED}:
            continue
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        for value in ranked[:MOST_VALUES]:
            is_in = values == value
            parts.append(Part(_describe_slice(outcomes, questions, is_in, column, value), is_in))
        if rest := ranked[MOST_VALUES:]:
            notes.append(
                f"{column}: {len(rest)} of {len(counts)} values, the rarest, have no table of "
                f"their own ({sum(counts[value] for value in rest)} images)."
            )
    return parts, notes


def count_confusions(outcomes: Outcomes, parts: Sequence[Part]) -> tuple[Confusion, ...]:
    """Reference standard against the largest label, for all images and for each source.

    An image that was refused or failed stands in a column of its own; one whose label is not
    settled stands nowhere.
    """
    keys = tuple(label.key for label in outcomes.card.labels)
    columns = (*keys, Decision.OUT_OF_SCOPE.value, Decision.FAILED.value)
    is_single = find_single_labelled(outcomes)
    answers = np.full(len(outcomes), -1)
    assessed = outcomes.is_assessed
    answers[assessed] = outcomes.probabilities[assessed].argmax(axis=1)
    for row, decision in enumerate(outcomes.decisions):
        if not decision.is_assessed:
            answers[row] = columns.index(decision.value, len(keys))
    labels = outcomes.targets.argmax(axis=1)
    confusions = []
    for part in parts:
        if part.slice.key != ALL and part.slice.column != "source":
            continue
        taken = part.is_in & is_single
        counts = np.zeros((len(keys), len(columns)), dtype=np.int64)
        np.add.at(counts, (labels[taken], answers[taken]), 1)
        confusions.append(
            Confusion(
                slice_key=part.slice.key,
                rows=keys,
                columns=columns,
                counts=tuple(tuple(map(int, row)) for row in counts),
            )
        )
    return tuple(confusions)


def find_single_labelled(outcomes: Outcomes) -> Bool[np.ndarray, " images"]:
    """Images of which the reference standard names one label and settles or never asked the others.

    Where labels exclude each other, one that was never asked is absent beside one that is present.
    """
    is_one = (outcomes.targets == 1).sum(axis=1) == 1
    return np.asarray(is_one & (outcomes.targets != -1).all(axis=1))


def _describe_slice(
    outcomes: Outcomes,
    questions: Sequence[Question],
    is_in: Bool[np.ndarray, " images"],
    column: str,
    value: str,
) -> Slice:
    rows = np.flatnonzero(is_in)
    decisions = Counter(outcomes.decisions[row] for row in rows)
    failed, refused = decisions[Decision.FAILED], decisions[Decision.OUT_OF_SCOPE]
    reasons = Counter(
        reason
        for row in rows
        if outcomes.decisions[row] is Decision.OUT_OF_SCOPE
        for reason in outcomes.reasons[row]
    )
    reasons.update({Decision.FAILED.value: failed} if failed else {})
    return Slice(
        key=f"{column}={value}" if column else ALL,
        column=column,
        value=value,
        images=len(rows),
        assessed=len(rows) - failed - refused,
        out_of_scope=refused,
        failed=failed,
        groups=len(np.unique(outcomes.groups[rows])),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        positives={q.key: int((is_in & q.is_known & q.y_true).sum()) for q in questions},
        negatives={q.key: int((is_in & q.is_known & ~q.y_true).sum()) for q in questions},
    )
