"""Heatmaps of each kind for the same images, and what is measured of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chestx.datasets.example import Target
from chestx.domain import Prediction
from chestx.evaluation.faithfulness import (
    Probability,
    blur_strongly,
    fill_mean,
    integrate_curve,
    make_centre_map,
    make_random_map,
    measure_curve,
    measure_road,
    rank_pixels,
)
from chestx.evaluation.localisation import Localisation, draw_boxes, measure_localisation
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_sample import choose_stratified, list_sources
from chestx.evaluation.randomised_head import Head, compare_shuffled_heads
from chestx.models.classifier import Classifier
from chestx.models.occlusion import compute_occlusion_maps, compute_rise_maps, score_evidence
from chestx.shapes import Float, Float32, Int, UInt8

CAM, OCCLUSION, RISE = "class activation map", "occlusion map", "RISE map"
RANDOM, CENTRE = "random map", "spot in the middle"
BASELINES = (RANDOM, CENTRE)
"""What a map must beat to be worth looking at."""

DELETION_MEAN = "deletion to mean grey"
DELETION_BLUR = "deletion to blurred"
INSERTION_BLUR = "insertion into blurred"
ROAD = "ROAD"
MEASURES = {DELETION_MEAN: -1, DELETION_BLUR: -1, INSERTION_BLUR: 1, ROAD: 1}
"""Name -> 1 where more is better, -1 where less is."""

Maps = dict[str, Float32[np.ndarray, "labels _ _"]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExplainedImage:
    """Everything measured of one image.

    Attributes:
        row: in the outcomes.
        label: number of the label that is explained.
        maps: kind of map -> the map of each label.
        seconds: kind of map -> wall time to make it; 0 for one that comes with the answer.
        measures: kind of map -> measure -> value.
        localisations: kind of map -> its place; empty where no box is known.
        shuffled_likeness: see ``compare_shuffled_heads``; None where not possible.
    """

    row: int
    label: int
    maps: Maps
    seconds: dict[str, float]
    measures: dict[str, dict[str, float]]
    localisations: dict[str, Localisation]
    shuffled_likeness: float | None


def choose_explained(
    outcomes: Outcomes, rows: Int[np.ndarray, " sample"], *, limit: int, seed: int
) -> list[tuple[int, int]]:
    """Row and label of true positives, at most ``limit``; those with a box come first.

    A true positive is the most probable of the findings that are present by the reference
    standard and at or over their threshold.
    """
    sources = list_sources(outcomes)
    boxed: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for row in rows.tolist():
        found = [
            (float(outcomes.probabilities[row, index]), index)
            for index, label in enumerate(outcomes.card.labels)
            if label.operating_point is not None
            and outcomes.targets[row, index] == Target.PRESENT
            and outcomes.probabilities[row, index] >= label.operating_point.threshold
        ]
        if found:
            index = max(found)[1]
            has_box = any(
                box.label == outcomes.card.labels[index].key for box in outcomes.boxes[row]
            )
            (boxed if has_box else others).append((row, index))
    chosen = _take(boxed, sources, limit=limit, seed=seed)
    return sorted(chosen + _take(others, sources, limit=limit - len(chosen), seed=seed))


def _take(
    items: list[tuple[int, int]], sources: Sequence[str], *, limit: int, seed: int
) -> list[tuple[int, int]]:
    strata = [(index, sources[row]) for row, index in items]
    return [items[i] for i in choose_stratified(strata, limit=limit, seed=seed).tolist()]


def explain_image(
    classifier: Classifier,
    outcomes: Outcomes,
    pixels: UInt8[np.ndarray, "size size"],
    *,
    row: int,
    label: int,
    head: Head | None,
    seed: int,
) -> ExplainedImage:
    """Makes every kind of map for one image and measures all of them.

    Args:
        classifier: the model.
        outcomes: with the boxes.
        pixels: model input.
        row: of the image in the outcomes.
        label: number of the label to explain.
        head: last layer of the model, where it could be taken out.
        seed: of masks, ties and noise.
    """
    generator = np.random.default_rng([seed, row])
    prediction = classifier.predict(pixels[None])[0]
    maps, seconds = make_maps(classifier, pixels, prediction, seed=seed, generator=generator)
    probability = _ask_label(classifier, label)
    measures = {}
    for kind, found in maps.items():
        # The same lot decides ties and noise for every kind of map.
        chance = np.random.default_rng([seed, row])
        measures[kind] = _measure_map(probability, pixels, found[label], generator=chance)
    likeness = None
    if head is not None and CAM in maps:
        likeness = compare_shuffled_heads(head, pixels, maps[CAM], label, generator=generator)
    return ExplainedImage(
        row=row,
        label=label,
        maps=maps,
        seconds=seconds,
        measures=measures,
        localisations=_locate(outcomes, row, label, maps, size=len(pixels)),
        shuffled_likeness=likeness,
    )


def make_maps(
    classifier: Classifier,
    pixels: UInt8[np.ndarray, "size size"],
    prediction: Prediction,
    *,
    seed: int,
    generator: np.random.Generator,
) -> tuple[Maps, dict[str, float]]:
    """Every kind of map of one image, and the time that each took beyond the answer itself."""
    score = score_evidence(classifier)
    labels = len(classifier.card.labels)
    makers: dict[str, Callable[[], np.ndarray]] = {
        OCCLUSION: lambda: compute_occlusion_maps(score, pixels),
        RISE: lambda: compute_rise_maps(score, pixels, seed=seed),
        RANDOM: lambda: _repeat(make_random_map(generator=generator), labels),
        CENTRE: lambda: _repeat(make_centre_map(), labels),
    }
    maps: Maps = {}
    seconds: dict[str, float] = {}
    if classifier.card.heatmap == "cam":
        maps[CAM], seconds[CAM] = prediction.maps, 0.0
    for kind, make in makers.items():
        start = time.perf_counter()
        maps[kind] = make()
        seconds[kind] = time.perf_counter() - start
    return maps, seconds


def _repeat(
    heatmap: Float[np.ndarray, "side side"], labels: int
) -> Float32[np.ndarray, "labels side side"]:
    return np.repeat(heatmap[None].astype(np.float32), labels, axis=0)


def _ask_label(classifier: Classifier, label: int) -> Probability:
    def probability(
        pixels: UInt8[np.ndarray, "batch size size"],
    ) -> Float[np.ndarray, " batch"]:
        predictions = classifier.predict(pixels)
        return np.array([float(prediction.probabilities[label]) for prediction in predictions])

    return probability


def _measure_map(
    probability: Probability,
    pixels: UInt8[np.ndarray, "size size"],
    heatmap: Float32[np.ndarray, "height width"],
    *,
    generator: np.random.Generator,
) -> dict[str, float]:
    order = rank_pixels(heatmap, len(pixels), generator=generator)
    blurred = blur_strongly(pixels)
    curves = {
        DELETION_MEAN: (pixels, fill_mean(pixels)),
        DELETION_BLUR: (pixels, blurred),
        INSERTION_BLUR: (blurred, pixels),
    }
    found = {
        name: integrate_curve(measure_curve(probability, start, end, order))
        for name, (start, end) in curves.items()
    }
    found[ROAD] = measure_road(probability, pixels, order, generator=generator)
    return found


def _locate(
    outcomes: Outcomes, row: int, label: int, maps: Maps, *, size: int
) -> dict[str, Localisation]:
    key = outcomes.card.labels[label].key
    boxes = [box for box in outcomes.boxes[row] if box.label == key]
    rows, columns = outcomes.image_sizes[row].tolist()
    covered = draw_boxes(boxes, rows=rows, columns=columns, size=size)
    if not covered.any():
        return {}
    return {kind: measure_localisation(found[label], covered) for kind, found in maps.items()}
