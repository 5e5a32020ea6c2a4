"""Whether a numeric variant of a model answers as the model itself does.

The same labelled validation images are put to both, and the variant must stay within limits
on all of them together, on every source and for every label. The limits are on what was
found, not on its interval: few images let a variant through by luck less often than they
refuse one for a single image that changed sides.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chestx.domain import (
    LabelRole,
    Precision,
    PrecisionFigure,
    PrecisionMeasure,
    PrecisionVariant,
    Report,
    UsageError,
)
from chestx.evaluation.collect import LabelledTable, clean_value, collect_outcomes
from chestx.evaluation.compare import compare
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.pairing import list_slices, pair_outcomes
from chestx.models.classifier import KNOWN_PIXELS, Classifier, load_network
from chestx.models.folder import ModelFolder
from chestx.models.runtime import Runtime, describe_openvino
from chestx.shapes import Bool, Float32, Float64

LIMITS = {
    PrecisionMeasure.AUROC_CHANGE: 0.002,
    PrecisionMeasure.DECISIONS_ALIKE: 0.995,
    PrecisionMeasure.PROBABILITY_CHANGE: 0.02,
    PrecisionMeasure.MAP_CORRELATION: 0.98,
}
"""What a variant must keep within, on every slice and for every label."""

MIN_IMAGES = 100
"""Of fewer images, 99 % are all but one or none."""

FAINT = 0.05
"""Share of a map's full strength under which it shows nothing, so that only noise correlates."""

_REPEATS = 20
"""Draws of the intervals, which decide nothing here."""

_TIMED, _ROUNDS = 8, 9


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionAnswers:
    """What one variant says of labelled images.

    Attributes:
        outcomes: its answers.
        maps: of each image, NaN where it failed; of no size where the network makes none.
    """

    outcomes: Outcomes
    maps: Float32[np.ndarray, "images labels map_height map_width"]


def collect_answers(
    classifier: Classifier,
    table: LabelledTable,
    *,
    map_size: tuple[int, int],
    workers: int | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> PrecisionAnswers:
    """Puts every image to a model and keeps the answers with their maps.

    Args:
        classifier: of one precision.
        table: of validation images.
        map_size: of the network's class activation maps; zeros for none.
        workers: child processes that decode.
        on_image: is called with how many are done and how many there are.
    """
    maps: dict[int, Float32[np.ndarray, "labels map_height map_width"]] = {}

    def keep(row: int, report: Report) -> None:
        if report.maps is not None:
            maps[row] = report.maps

    outcomes = collect_outcomes(
        classifier,
        table,
        workers=workers,
        threads=1,
        keep_embeddings=False,
        on_image=on_image,
        on_report=keep,
    )
    shape = (len(outcomes), len(classifier.card.labels), *map_size)
    kept = np.full(shape, np.nan, dtype=np.float32)
    for row, one in maps.items():
        kept[row] = one
    return PrecisionAnswers(outcomes, kept)


def judge_precision(
    first: PrecisionAnswers, second: PrecisionAnswers
) -> tuple[PrecisionFigure, ...]:
    """Every figure of the gate.

    Args:
        first: of f32.
        second: of the variant, on the same images in the same order.

    Raises:
        UsageError: fewer than MIN_IMAGES assessed images, no label with and without, or not the
            same images for both.
    """
    assessed = int(first.outcomes.is_assessed.sum())
    if assessed < MIN_IMAGES:
        raise UsageError(
            f"precision: expected {MIN_IMAGES} validation images or more that the model assesses, "
            f"to compare on, got {assessed} of {len(first.outcomes)}"
        )
    pair_outcomes(first.outcomes, second.outcomes)
    figures = (*_compare_answers(first.outcomes, second.outcomes), *_compare_maps(first, second))
    if not any(figure.measure is PrecisionMeasure.AUROC_CHANGE for figure in figures):
        raise UsageError(
            "precision: expected validation images with and without a finding, got one kind, "
            "from which nothing can be ranked"
        )
    return figures


def _compare_answers(first: Outcomes, second: Outcomes) -> Iterator[PrecisionFigure]:
    found = compare(first, second, generator=np.random.default_rng(0), repeats=_REPEATS)
    for one in found.differences:
        if one.name == "AUROC":
            yield _make_figure(
                PrecisionMeasure.AUROC_CHANGE, one.slice_key, one.question, one.value, one.n
            )
    for alike in found.agreements:
        at = (alike.slice_key, alike.question)
        if alike.same is not None:
            yield _make_figure(PrecisionMeasure.DECISIONS_ALIKE, *at, alike.same, alike.images)
        if alike.shift_p99 is not None:
            yield _make_figure(
                PrecisionMeasure.PROBABILITY_CHANGE, *at, alike.shift_p99, alike.compared
            )


def _compare_maps(first: PrecisionAnswers, second: PrecisionAnswers) -> Iterator[PrecisionFigure]:
    if not first.maps.size:
        return
    both = first.outcomes.is_assessed & second.outcomes.is_assessed
    for index, label in enumerate(first.outcomes.card.labels):
        if label.role is not LabelRole.FINDING:
            continue
        shown = both & (_find_peaks(first.maps[:, index]) >= FAINT * label.map_scale)
        alike = correlate_maps(first.maps[:, index], second.maps[:, index])
        for slice_key, rows in list_slices(first.outcomes):
            kept = alike[rows][shown[rows]]
            if len(kept):
                yield _make_figure(
                    PrecisionMeasure.MAP_CORRELATION,
                    slice_key,
                    label.key,
                    float(kept.mean()),
                    len(kept),
                )


def _find_peaks(
    maps: Float32[np.ndarray, "images map_height map_width"],
) -> Float32[np.ndarray, " images"]:
    """-inf where there is no map, so that nothing is shown."""
    peaks: Float32[np.ndarray, " images"] = np.nan_to_num(maps, nan=-np.inf).max(axis=(1, 2))
    return peaks


def correlate_maps(
    first: Float32[np.ndarray, "images map_height map_width"],
    second: Float32[np.ndarray, "images map_height map_width"],
) -> Float64[np.ndarray, " images"]:
    """Pearson's correlation over the places of each pair of maps; 0 where one is flat."""
    sides = [maps.reshape(len(maps), -1).astype(np.float64) for maps in (first, second)]
    ours, theirs = (side - side.mean(axis=1, keepdims=True) for side in sides)
    spread = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum(axis=1))
    is_flat: Bool[np.ndarray, " images"] = ~(spread > 0)
    found = (ours * theirs).sum(axis=1) / np.where(is_flat, 1.0, spread)
    return np.asarray(np.where(is_flat, 0.0, found))


def _make_figure(
    measure: PrecisionMeasure, slice_key: str, subject: str, value: float, n: int
) -> PrecisionFigure:
    return PrecisionFigure(
        measure=measure,
        slice_key=slice_key,
        subject=subject,
        value=float(value),
        limit=LIMITS[measure],
        n=n,
    )


def try_precisions(
    folder: ModelFolder,
    table: LabelledTable,
    precisions: Sequence[Precision],
    *,
    data: str,
    workers: int | None = None,
    on_stage: Callable[[str], None] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> tuple[PrecisionVariant, ...]:
    """Compares variants of a model with f32 and says which are to be kept.

    Args:
        folder: verified; for int8 with that graph.
        table: of validation images.
        precisions: that are tried.
        data: what the images are, in words.
        workers: child processes that decode.
        on_stage: is told what is done.
        on_image: is called with how many are done and how many there are.

    Raises:
        UsageError: too few images, or labels that the model does not have.
        ChestxError: this processor cannot compute in a precision.
    """
    tell = on_stage or (lambda stage: None)
    # All are compiled before any image is read: one that cannot run here is told at once.
    networks = {one: load_network(folder, precision=one) for one in (Precision.F32, *precisions)}
    map_size = networks[Precision.F32].shape.map_size
    answers = {}
    for precision, network in networks.items():
        tell(f"putting the validation images to {precision}")
        answers[precision] = collect_answers(
            Classifier(folder, network, precision=precision),
            table,
            map_size=map_size if folder.card.heatmap == "cam" else (0, 0),
            workers=workers,
            on_image=on_image,
        )
    return tuple(
        _describe_variant(folder, precision, networks, answers, data=data)
        for precision in precisions
    )


def _describe_variant(
    folder: ModelFolder,
    precision: Precision,
    networks: dict[Precision, Runtime],
    answers: dict[Precision, PrecisionAnswers],
    *,
    data: str,
) -> PrecisionVariant:
    figures = judge_precision(answers[Precision.F32], answers[precision])
    first, second = networks[Precision.F32], networks[precision]
    known = folder.reference.get(KNOWN_PIXELS)
    gap = 0.0
    if known is not None:
        gap = float(
            np.abs(second.run(known[:, None]).logits - first.run(known[:, None]).logits).max()
        )
    return PrecisionVariant(
        precision=precision,
        kept=all(figure.holds for figure in figures),
        data=data,
        images=len(answers[precision].outcomes),
        figures=figures,
        known_gap=gap,
        speed=round(measure_speed(first, second), 3),
        made_by=clean_value(describe_openvino()),
    )


def measure_speed(first: Runtime, second: Runtime) -> float:
    """How many times as fast the second is: medians of rounds in which both take turns."""
    shape = (_TIMED, 1, first.shape.size, first.shape.size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for network, spent in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            network.run(pixels)
            spent.append(time.perf_counter() - start)
    ours, theirs = map(statistics.median, seconds)
    return ours / theirs


def merge_variants(
    old: Sequence[PrecisionVariant], new: Sequence[PrecisionVariant]
) -> tuple[PrecisionVariant, ...]:
    """The new ones in place of older ones of the same precision, in the order of Precision."""
    by_precision = {one.precision: one for one in (*old, *new)}
    return tuple(by_precision[one] for one in Precision if one in by_precision)
