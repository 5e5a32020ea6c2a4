"""What a model said of labelled images, beside what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from chestx.datasets.example import Box, Target, Task
from chestx.domain import (
    ANY_FINDING,
    Decision,
    LabelRole,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
)
from chestx.shapes import Bool, Float32, Float64, Int, Int8, UInt8

THUMBNAIL_SIDE = 16
"""Side in pixels of the thumbnails that the baselines without lungs look at."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcomes:
    """One row an image, in the order of the manifest; nothing is left out.

    Attributes:
        card, identity: of the model that spoke.
        task: of the manifest.
        paths: as in the manifest.
        decisions: of each image; failed and out of scope ones among them.
        reasons: why an image was not assessed: codes of scope reasons, or the failure's text.
        targets: values of Target for the card's labels, in its order.
        logits, probabilities: in the card's order; NaN where the image failed.
        embeddings: NaN where the image failed.
        groups: number of the patient or duplicate group that an image belongs to.
        attributes: column -> a text an image, empty where not stated: ``source``, ``view``,
            ``age_band``, ``sex``, ``population``, ``device``, ``split``, ``patient_stated``
            (``yes`` or ``no``) and others asked for.
        boxes: where readers saw findings.
        image_sizes: rows and columns as shown; 0 where failed.
        formats: of the file, empty where failed.
        thumbnails: the whole image in 16 x 16 pixels; 0 where failed.
        left_out: reason -> rows of the manifest that could not be put to this model.
        notes: what a reader must know of how they were collected.
    """

    card: ModelCard
    identity: ModelIdentity
    task: Task
    paths: tuple[str, ...]
    decisions: tuple[Decision, ...]
    reasons: tuple[tuple[str, ...], ...]
    targets: Int8[np.ndarray, "images labels"]
    logits: Float32[np.ndarray, "images labels"]
    probabilities: Float32[np.ndarray, "images labels"]
    embeddings: Float32[np.ndarray, "images features"]
    groups: Int[np.ndarray, " images"]
    attributes: Mapping[str, tuple[str, ...]]
    boxes: tuple[tuple[Box, ...], ...]
    image_sizes: Int[np.ndarray, "images 2"]
    formats: tuple[str, ...]
    thumbnails: UInt8[np.ndarray, "images 16 16"]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def is_assessed(self) -> Bool[np.ndarray, " images"]:
        """Whether the model's answer stands behind each image's decision."""
        return np.array([decision.is_assessed for decision in self.decisions], dtype=bool)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """A yes or no that is put to every image.

    Attributes:
        key: of a label, or ANY_FINDING.
        score: what is ranked, in words, e.g. ``P(PNEUMONIA)`` or ``1 - P(NORMAL)``.
        operating_point: where the card decides; None where it never does.
        y_true: the reference standard; False where not known.
        is_known: whether there is one.
        y_prob: calibrated probability; NaN where the image failed. In double precision, in
            which it is compared with a threshold when the model is used.
    """

    key: str
    score: str
    operating_point: OperatingPoint | None
    y_true: Bool[np.ndarray, " images"]
    is_known: Bool[np.ndarray, " images"]
    y_prob: Float64[np.ndarray, " images"]


def list_questions(outcomes: Outcomes) -> list[Question]:
    """Any finding first where the card has it, then every label in the card's order."""
    questions = []
    for index, label in enumerate(outcomes.card.labels):
        column = outcomes.targets[:, index]
        y_prob = outcomes.probabilities[:, index].astype(np.float64)
        is_none = label.role is LabelRole.NO_FINDING
        question = Question(
            key=label.key,
            score=f"P({label.key})",
            operating_point=label.operating_point,
            y_true=column == Target.PRESENT,
            is_known=column >= 0,
            y_prob=y_prob,
        )
        questions.append(question)
        if is_none:
            questions.insert(
                0,
                Question(
                    key=ANY_FINDING,
                    score=f"1 - P({label.key})",
                    operating_point=outcomes.card.any_finding,
                    y_true=column == Target.ABSENT,
                    is_known=column >= 0,
                    y_prob=1.0 - y_prob,
                ),
            )
    return questions
