"""Two models' answers to the same questions, image by image."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from chestx.domain import UsageError
from chestx.evaluation.caveats import FEW_GROUPS
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import ALL
from chestx.shapes import Bool, Float64, Int

Flags = Bool[np.ndarray, " images"]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one model says to one question.

    Attributes:
        y_prob: calibrated probability; 0 where there is none.
        has_prob: whether there is one.
        is_assessed: whether the model stands behind it.
        is_positive: on or above its threshold; false for a question that is never decided.
        is_decided: assessed and not uncertain.
        said: a number for each thing that can be said: negative, positive, uncertain,
            out of scope, failed.
    """

    y_prob: Float64[np.ndarray, " images"]
    has_prob: Flags
    is_assessed: Flags
    is_positive: Flags
    is_decided: Flags
    said: Int[np.ndarray, " images"]

    def take(self, rows: Int[np.ndarray, " rows"]) -> Answers:
        """Those for some of the images."""
        return Answers(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pair:
    """Both models' answers to one question on one slice.

    Attributes:
        slice_key: ``all`` or ``source=...``.
        question: label key or ANY_FINDING.
        y_true: the reference standard.
        is_known: whether there is one.
        groups: patient or duplicate group.
        first, second: the answers.
        is_decided: whether both models have an operating point for it.
        is_same: whether both models give every image of the comparison, not of this slice alone,
            the same probability and the same answer.
        is_ranked_alike: whether both put all those images in the same order.
    """

    slice_key: str
    question: str
    y_true: Flags
    is_known: Flags
    groups: Int[np.ndarray, " images"]
    first: Answers
    second: Answers
    is_decided: bool
    is_same: bool
    is_ranked_alike: bool

    @property
    def is_common(self) -> Flags:
        """Images with a reference standard that both models assessed."""
        common: Flags = self.is_known & self.first.is_assessed & self.second.is_assessed
        return common

    def count_groups(self, rows: Flags) -> int:
        """Groups that some of the images are of."""
        return len(np.unique(self.groups[rows]))


def pair_outcomes(first: Outcomes, second: Outcomes) -> tuple[Outcomes, tuple[str, ...]]:
    """The second in the order of the first, and questions that only one was asked, in words.

    Raises:
        UsageError: other images, an image twice, another reference standard, no image, or
            no question in common.
    """
    if not len(first):
        raise UsageError("comparison: expected labelled images, got none")
    places = {path: place for place, path in enumerate(second.paths)}
    if len(places) < len(second) or len(set(first.paths)) < len(first):
        raise UsageError("comparison: expected every image once, got some twice")
    missing = sum(path not in places for path in first.paths)
    if missing or len(first) != len(second):
        raise UsageError(
            f"comparison: expected the same images for both models, got {len(first)} and "
            f"{len(second)} with {len(first) - missing} in common; evaluate both on one manifest"
        )
    rows = np.array([places[path] for path in first.paths])
    ordered = second if (rows == np.arange(len(rows))).all() else _take(second, rows)
    ours = {question.key: question for question in list_questions(first)}
    theirs = {question.key: question for question in list_questions(ordered)}
    common = [key for key in ours if key in theirs]
    if not common:
        raise UsageError(
            "comparison: expected models with a label in common, got "
            f"{', '.join(ours)} and {', '.join(theirs)}"
        )
    for key in common:
        _check_reference(ours[key], theirs[key])
    return ordered, tuple(
        f"{key}: asked of the {which} model only, not compared"
        for which, asked, other in (("first", ours, theirs), ("second", theirs, ours))
        for key in asked
        if key not in other
    )


def _take(outcomes: Outcomes, rows: Int[np.ndarray, " rows"]) -> Outcomes:
    changes: dict[str, Any] = {
        name: tuple(getattr(outcomes, name)[row] for row in rows)
        for name in ("paths", "decisions", "reasons", "boxes", "formats")
    }
    changes |= {
        name: getattr(outcomes, name)[rows]
        for name in (
            "targets",
            "logits",
            "probabilities",
            "embeddings",
            "groups",
            "image_sizes",
            "thumbnails",
        )
    }
    attributes = {
        column: tuple(values[row] for row in rows) for column, values in outcomes.attributes.items()
    }
    return replace(outcomes, attributes=attributes, **changes)


def _check_reference(ours: Question, theirs: Question) -> None:
    differs = (ours.is_known != theirs.is_known) | (
        ours.is_known & theirs.is_known & (ours.y_true != theirs.y_true)
    )
    if differs.any():
        raise UsageError(
            f"comparison: expected one reference standard of {ours.key}, got another for "
            f"{int(differs.sum())} of {len(differs)} images; evaluate both models on one manifest"
        )


def list_pairs(first: Outcomes, second: Outcomes) -> list[Pair]:
    """Every question that both answer, on all images and then on each source.

    Args:
        first: of one model.
        second: of the other, in the same order (:func:`pair_outcomes`).
    """
    theirs = {question.key: question for question in list_questions(second)}
    asked = [question for question in list_questions(first) if question.key in theirs]
    answers = {
        one.key: (_read_answers(first, one), _read_answers(second, theirs[one.key]))
        for one in asked
    }
    enough = len(np.unique(first.groups)) >= FEW_GROUPS
    same = {key: enough and _are_same(*pair) for key, pair in answers.items()}
    ranked = {key: enough and _are_ranked_alike(*pair) for key, pair in answers.items()}
    return [
        Pair(
            slice_key=key,
            question=one.key,
            y_true=one.y_true[rows],
            is_known=one.is_known[rows],
            groups=first.groups[rows],
            first=answers[one.key][0].take(rows),
            second=answers[one.key][1].take(rows),
            is_decided=None not in (one.operating_point, theirs[one.key].operating_point),
            is_same=same[one.key],
            is_ranked_alike=ranked[one.key],
        )
        for key, rows in list_slices(first)
        for one in asked
    ]


def _are_same(first: Answers, second: Answers) -> bool:
    return all(
        np.array_equal(getattr(first, one.name), getattr(second, one.name))
        for one in fields(Answers)
    )


def _are_ranked_alike(first: Answers, second: Answers) -> bool:
    """Whether the two put all images in one order: a new temperature, for example, may not."""
    common = first.is_assessed & second.is_assessed
    if not (common.any() and np.array_equal(first.is_assessed, second.is_assessed)):
        return False
    ours, theirs = (np.unique(x.y_prob[common], return_inverse=True)[1] for x in (first, second))
    return bool(np.array_equal(ours, theirs) and ours.max() > 0)


def list_slices(outcomes: Outcomes) -> list[tuple[str, Int[np.ndarray, " rows"]]]:
    """All images, then those of each source where there are several: key and rows."""
    slices = [(ALL, np.arange(len(outcomes)))]
    sources = np.array(outcomes.attributes.get("source", ("",) * len(outcomes)))
    names = np.unique(sources)
    if len(names) > 1:
        slices += [
            (f"source={name or 'not stated'}", np.flatnonzero(sources == name)) for name in names
        ]
    return slices


def _read_answers(outcomes: Outcomes, question: Question) -> Answers:
    y_prob = question.y_prob.astype(np.float64)
    has_prob = np.isfinite(y_prob)
    y_prob = np.where(has_prob, y_prob, 0.0)
    is_assessed = outcomes.is_assessed & has_prob
    is_positive = is_uncertain = np.zeros(len(y_prob), dtype=bool)
    if point := question.operating_point:
        is_positive = y_prob >= point.threshold
        is_uncertain = (point.uncertain_low <= y_prob) & (y_prob < point.uncertain_high)
    said = np.where(is_uncertain, 2, is_positive.astype(np.int64))
    refused = np.array([3 + decision.urgency for decision in outcomes.decisions])
    return Answers(
        y_prob,
        has_prob,
        is_assessed,
        is_positive,
        is_assessed & ~is_uncertain,
        np.where(is_assessed, said, refused),
    )
