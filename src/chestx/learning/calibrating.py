"""What is chosen and measured on the validation images of a run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chestx.datasets.manifest import ManifestTable
from chestx.domain import Decision, Limits, ModelCard
from chestx.evaluation.collect import collect_outcomes
from chestx.evaluation.measure import measure
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.recalibrate import CalibrationRules, decide_again, recalibrate
from chestx.evaluation.result import ALL, Evaluation
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import check_readable
from chestx.learning.reference import summarise_for_drift
from chestx.models.classifier import Classifier, apply_temperature
from chestx.models.scope import Reference
from chestx.shapes import Float, Float32

log = logging.getLogger(__name__)

DISTANCE_QUANTILE, DISTANCE_STEP, LEAST_GROUP = 0.98, 0.05, 20
"""The limit of the distance lets this share of the validation images of every source through,
rounded up to the step; of sources with at least so many images."""

_MAP_QUANTILE = 0.99
_PUBLISHED_FIGURES = ("AUROC", "ECE", "sensitivity", "specificity", "coverage")


def calibrate_draft(
    draft: Path,
    card: ModelCard,
    *,
    arrays: dict[str, np.ndarray],
    table: ManifestTable,
    config: TrainConfig,
    rules: CalibrationRules | None,
    workers: int | None,
) -> tuple[ModelCard, dict[str, np.ndarray]]:
    """Everything that is chosen on validation images, and what is measured there.

    Raises:
        UsageError: too many of them cannot be read, or too few carry a rule.
    """
    validation = take_validation(table, config)
    classifier = Classifier.load(draft, threads=1)
    outcomes = collect_outcomes(classifier, validation, workers=workers)
    card = _note_unreadable(card, outcomes, config.validation_split)
    reference = Reference.from_arrays(arrays)
    limit = choose_distance_limit(reference, outcomes.embeddings, outcomes.attributes["source"])
    outcomes = refuse_unlike(outcomes, reference, limit)
    peaks, greys = _look_at_inputs(classifier, validation, config, workers)
    card = replace(card, scope=replace(card.scope, max_distance=limit))
    card = recalibrate(replace(outcomes, card=card), rules or CalibrationRules())
    labels = tuple(
        replace(label, map_scale=max(round(float(scale), 4), 1e-3))
        for label, scale in zip(card.labels, np.quantile(peaks, _MAP_QUANTILE, axis=0), strict=True)
    )
    card = replace(card, labels=labels)
    assessed = outcomes.logits[outcomes.is_assessed]
    arrays = arrays | summarise_for_drift(
        apply_temperature(assessed, card), outcomes.embeddings[outcomes.is_assessed], greys
    )
    figures = _measure_validation(outcomes, card, table)
    return replace(card, performance=figures), arrays


def take_validation(table: ManifestTable, config: TrainConfig) -> ManifestTable:
    """The validation images of a manifest, alone."""
    examples = tuple(
        example for example in table.manifest.examples if example.split == config.validation_split
    )
    return replace(table, manifest=replace(table.manifest, examples=examples))


def choose_distance_limit(
    reference: Reference,
    embeddings: Float32[np.ndarray, "images features"],
    sources: tuple[str, ...],
) -> float:
    """The limit by the rule at DISTANCE_QUANTILE."""
    known = np.isfinite(embeddings).all(axis=1)
    distances = np.array([reference.distance(row) for row in embeddings[known]])
    names = np.array(sources)[known]
    kept = [name for name in np.unique(names) if (names == name).sum() >= LEAST_GROUP]
    parts = [distances[names == name] for name in kept] or [distances]
    highest = max(float(np.quantile(part, DISTANCE_QUANTILE)) for part in parts)
    return round(float(np.ceil(highest / DISTANCE_STEP) * DISTANCE_STEP), 4)


def refuse_unlike(outcomes: Outcomes, reference: Reference, limit: float) -> Outcomes:
    """The outcomes as a model with this limit has them."""
    decisions, reasons = list(outcomes.decisions), list(outcomes.reasons)
    for row, embedding in enumerate(outcomes.embeddings):
        if decisions[row] is Decision.FAILED or reference.distance(embedding) <= limit:
            continue
        decisions[row] = Decision.OUT_OF_SCOPE
        reasons[row] = (*reasons[row], "unlike_training")
    return replace(outcomes, decisions=tuple(decisions), reasons=tuple(reasons))


def _note_unreadable(card: ModelCard, outcomes: Outcomes, split: str) -> ModelCard:
    """The card with how many images of the split are missing, where only a few are."""
    failures = {
        path: " ".join(reasons)
        for path, decision, reasons in zip(
            outcomes.paths, outcomes.decisions, outcomes.reasons, strict=True
        )
        if decision is Decision.FAILED
    }
    check_readable(failures, len(outcomes), split)
    if not failures:
        return card
    sentence = (
        f"{len(failures)} of {len(outcomes)} {split} images could not be read when it was "
        "published; its settings and figures come from the others."
    )
    log.warning(sentence)
    return replace(card, limitations=(*card.limitations, sentence))


def _look_at_inputs(
    classifier: Classifier, table: ManifestTable, config: TrainConfig, workers: int | None
) -> tuple[Float[np.ndarray, "images labels"], Float[np.ndarray, " images"]]:
    """Highest value of each map, and mean grey, of every validation image."""
    manifest = table.manifest
    preparation = Preparation(input=config.input, preview_size=0, limits=Limits())
    peaks, greys = [], []
    paths = [manifest.resolve(example) for example in manifest.examples]
    for image in prepare_images(paths, preparation, workers=workers):
        if not isinstance(image, PreparationError):
            [prediction] = classifier.predict(image.pixels[None])
            peaks.append(prediction.maps.max(axis=(1, 2)).astype(np.float64))
            greys.append(float(image.pixels.mean()))
    return np.stack(peaks), np.array(greys)


def _measure_validation(
    outcomes: Outcomes, card: ModelCard, table: ManifestTable
) -> tuple[Any, ...]:
    again = decide_again(outcomes, card, identity=outcomes.identity)
    evaluation: Evaluation = measure(
        again,
        data="validation",
        manifest_sha256=table.sha256,
        left_out={},
        columns=("source",),
    )
    remark = "settings were chosen on these images, so it is somewhat too good"
    return tuple(
        replace(figure, note=f"{figure.note}; {remark}" if figure.note else remark)
        for answered in evaluation.answers
        if answered.slice_key == ALL or answered.slice_key.startswith("source=")
        for figure in answered.figures
        if figure.name in _PUBLISHED_FIGURES and "counted as wrong" not in figure.subject
    )
