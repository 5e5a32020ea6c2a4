"""What a model says of the same images, altered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chestx.domain import (
    ANY_FINDING,
    InputSpec,
    LabelRole,
    Limits,
    ModelCard,
    Prediction,
    Quality,
    Radiograph,
)
from chestx.evaluation.alterations import Alteration
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError, PreparedImage
from chestx.images.preprocessing import preprocess
from chestx.images.quality import assess_quality
from chestx.models.classifier import Classifier, to_findings
from chestx.shapes import Bool, Float32, Int, UInt8
from chestx.terminology import decide_image

UNALTERED = Alteration("unaltered", "unaltered", lambda pixels, _aspect, _generator: pixels)

OnImage = Callable[[int, int], None]
"""Is called with how many images are done and how many there are."""

_OF_THE_FILE = "too_small"
"""The reason for refusal that the model-sized copy of an image cannot be judged by."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AlteredAnswers:
    """Answers for each image under each alteration.

    Attributes:
        card: of the model.
        alterations: in the order of the arrays; ``unaltered`` first.
        rows: of the images in the outcomes; those that could not be read again are missing.
        probabilities: calibrated, in the order of the card's labels.
        urgencies: of the decision that the model's numbers alone lead to.
        is_refused: whether the pixels, or the distance of the embedding to the training
            images, put the altered image out of scope.
        inputs: row -> unaltered model input, for the rows that were asked for.
    """

    card: ModelCard
    alterations: tuple[Alteration, ...]
    rows: Int[np.ndarray, " images"]
    probabilities: Float32[np.ndarray, "alterations images labels"]
    urgencies: Int[np.ndarray, "alterations images"]
    is_refused: Bool[np.ndarray, "alterations images"]
    inputs: dict[int, UInt8[np.ndarray, "size size"]]

    def find(self, key: str) -> int:
        """Position of an alteration."""
        return [alteration.key for alteration in self.alterations].index(key)

    def score(self, alteration: int, question: str) -> Float32[np.ndarray, " images"]:
        """What is ranked for a question: a label's probability, or 1 - P(no finding)."""
        table = self.probabilities[alteration]
        for index, label in enumerate(self.card.labels):
            if label.key == question:
                return np.array(table[:, index])
            if question == ANY_FINDING and label.role is LabelRole.NO_FINDING:
                return np.array(np.float32(1) - table[:, index])
        raise ValueError(f"question: expected a label of the card, got {question!r:.80}")


def collect_altered(
    classifier: Classifier,
    paths: Sequence[str],
    *,
    rows: Int[np.ndarray, " images"],
    alterations: Sequence[Alteration],
    seed: int,
    keep_inputs: Collection[int] = (),
    workers: int | None = None,
    on_image: OnImage | None = None,
) -> AlteredAnswers:
    """Reads images once each and puts them to the model under every alteration.

    Args:
        classifier: the model.
        paths: of the images.
        rows: number of each image in the outcomes.
        alterations: what is done to them; unaltered ones are asked as well.
        seed: of what the alterations leave to chance; each image has draws of its own.
        keep_inputs: rows whose unaltered model input is wanted back.
        workers: child processes that read; None for one a usable core.
        on_image: progress.
    """
    everything = (UNALTERED, *alterations)
    # Only resized: filters of the model come after the alteration.
    preparation = Preparation(
        input=InputSpec(size=classifier.card.input.size), preview_size=0, limits=Limits()
    )
    found: list[int] = []
    probabilities, urgencies, refused, inputs = [], [], [], {}
    for position, image in enumerate(prepare_images(paths, preparation, workers=workers)):
        if not isinstance(image, PreparationError):
            row = int(rows[position])
            generator = np.random.default_rng([seed, row])
            squares = alter_image(image, everything, generator=generator)
            pixels = np.stack([preprocess(square, classifier.card.input) for square in squares])
            predictions = classifier.predict(pixels)
            found.append(row)
            probabilities.append([prediction.probabilities for prediction in predictions])
            urgencies.append([_decide(classifier.card, prediction) for prediction in predictions])
            refused.append(
                [
                    _is_refused(classifier, image, square, prediction)
                    for square, prediction in zip(squares, predictions, strict=True)
                ]
            )
            if row in keep_inputs:
                inputs[row] = pixels[0]
        if on_image is not None:
            on_image(position + 1, len(paths))
    shape = (len(found), len(everything))
    table = np.array(probabilities, np.float32).reshape(*shape, len(classifier.card.labels))
    return AlteredAnswers(
        card=classifier.card,
        alterations=everything,
        rows=np.array(found, dtype=np.int64),
        probabilities=np.ascontiguousarray(table.swapaxes(0, 1)),
        urgencies=np.array(urgencies, dtype=np.int64).reshape(shape).T,
        is_refused=np.array(refused, dtype=bool).reshape(shape).T,
        inputs=inputs,
    )


def alter_image(
    image: PreparedImage, alterations: Sequence[Alteration], *, generator: np.random.Generator
) -> list[UInt8[np.ndarray, "size size"]]:
    """One square under each alteration, before the model's own filters."""
    aspect = image.header.columns / image.header.rows
    return [alteration.apply(image.pixels, aspect, generator) for alteration in alterations]


def _decide(card: ModelCard, prediction: Prediction) -> int:
    findings, any_finding = to_findings(card, prediction.probabilities)
    return decide_image(findings, any_finding).urgency


def _is_refused(
    classifier: Classifier,
    image: PreparedImage,
    square: UInt8[np.ndarray, "size size"],
    prediction: Prediction,
) -> bool:
    quality = _judge_square(image, square)
    if any(reason.code != _OF_THE_FILE for reason in quality.reasons):
        return True
    limit = classifier.card.scope.max_distance
    # Not "more than": a distance that is not a number is over every limit.
    distance = classifier.measure_distance(prediction.embedding)
    return limit is not None and distance is not None and not distance <= limit


def _judge_square(image: PreparedImage, square: UInt8[np.ndarray, "size size"]) -> Quality:
    header = replace(image.header, rows=square.shape[0], columns=square.shape[1])
    return assess_quality(Radiograph(square.copy(), header))
