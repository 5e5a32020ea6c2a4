"""What figures on labelled images do not show: shortcuts, fragile answers, empty heatmaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from chestx.datasets.example import Manifest
from chestx.domain import UsageError
from chestx.evaluation.alterations import FLIP, ROBUSTNESS, SHORTCUTS
from chestx.evaluation.altered import AlteredAnswers, OnImage, collect_altered
from chestx.evaluation.embedding_probe import probe_age, probe_source
from chestx.evaluation.explained import ExplainedImage, choose_explained, explain_image
from chestx.evaluation.explanations import judge_explanations
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.probe_sample import choose_sample, list_finding_questions, list_parts
from chestx.evaluation.randomised_head import load_head
from chestx.evaluation.robustness import probe_flip, probe_robustness
from chestx.evaluation.without_lungs import probe_shortcuts
from chestx.models.classifier import Classifier
from chestx.shapes import Int

EMBEDDED = 2000
"""Images whose embeddings are looked at; they are known, so no image is read for it."""

EXPLAINED = 40
"""Images whose heatmaps are measured; each takes a thousand forward passes and more."""


def run_probes(
    classifier: Classifier,
    manifest: Manifest,
    outcomes: Outcomes,
    *,
    seed: int,
    limit: int = 500,
    explanations: bool,
    explained: int = EXPLAINED,
    workers: int | None = None,
    on_image: OnImage | None = None,
) -> tuple[ProbeResult, ...]:
    """Puts altered images and hidden parts to a model and judges what it says.

    Args:
        classifier: the model that the outcomes are of.
        manifest: the table that the outcomes are of.
        outcomes: what the model said of the unaltered images.
        seed: of the sample, the alterations and the intervals.
        limit: the most images that are altered; by labels and source.
        explanations: whether heatmaps are measured, too.
        explained: the most images whose heatmaps are measured.
        workers: child processes that read files; None for one a usable core.
        on_image: progress over the altered and then the explained images.

    Returns:
        ``shortcuts``, ``flip``, ``robustness``, ``source_from_embedding`` and
        ``age_from_embedding``, then with explanations ``faithfulness``, ``localisation`` (where
        readers drew boxes) and ``sanity``. One that could not be measured says why in its verdict.

    Raises:
        UsageError: a limit below 1, or images of the outcomes are not in the manifest.
    """
    for name, value in (("limit", limit), ("explained", explained)):
        if value < 1:
            raise UsageError(f"{name}: expected 1 or more images, got {value}")
    rows = choose_sample(outcomes, limit=limit, seed=seed)
    examples = {example.path: example for example in manifest.examples}
    embedded = choose_sample(outcomes, limit=EMBEDDED, seed=seed)
    if missing := sum(outcomes.paths[row] not in examples for row in {*rows, *embedded}):
        raise UsageError(
            f"probes: expected the table that the outcomes were measured on, got one without "
            f"{missing} of their images"
        )
    if not len(rows):
        return (_say_nothing("No image was assessed whose label is known."),)
    chosen = choose_explained(outcomes, rows, limit=explained, seed=seed) if explanations else []
    step = _count_progress(on_image, len(rows) + len(chosen))
    answers = collect_altered(
        classifier,
        [manifest.resolve(examples[outcomes.paths[row]]) for row in rows],
        rows=rows,
        alterations=(*SHORTCUTS, FLIP, *ROBUSTNESS),
        seed=seed,
        keep_inputs={row for row, _ in chosen},
        workers=workers,
        on_image=step,
    )
    if not len(answers.rows):
        return (_say_nothing("No image could be read again."),)
    ages = np.array(
        [_read_age(examples[outcomes.paths[row]].age_years) for row in embedded], dtype=np.float64
    )
    found = _probe_answers(answers, outcomes, seed=seed)
    lost = len(rows) - len(answers.rows)
    note = _say_sample(outcomes, rows, seed=seed)
    note += f" {lost} of them could not be read again." if lost else ""
    results = [_add_note(result, note) for result in found]
    note = _say_sample(outcomes, embedded, seed=seed)
    results += [
        _add_note(probe_source(outcomes, embedded, seed=seed), note),
        _add_note(probe_age(outcomes, embedded, ages, seed=seed), note),
    ]
    if not explanations:
        return tuple(results)
    head = load_head(classifier.folder.graph) if classifier.card.heatmap == "cam" else None
    images: list[ExplainedImage] = []
    for row, label in chosen:
        if row in answers.inputs:
            images.append(
                explain_image(
                    classifier,
                    outcomes,
                    answers.inputs[row],
                    row=row,
                    label=label,
                    head=head,
                    seed=seed,
                )
            )
        step(len(rows) + len(images), 0)
    judged = judge_explanations(images, outcomes, seed=seed)
    note = f"On {len(images)} true positives of the sample, at most {explained}."
    return (*results, *(_add_note(result, note) for result in judged))


def _probe_answers(
    answers: AlteredAnswers, outcomes: Outcomes, *, seed: int
) -> tuple[ProbeResult, ...]:
    questions = list_finding_questions(outcomes)
    parts = list_parts(outcomes, answers.rows, generator=np.random.default_rng(seed))
    return (
        probe_shortcuts(answers, questions, parts),
        probe_flip(answers, questions, parts),
        probe_robustness(answers, questions, parts),
    )


def _count_progress(on_image: OnImage | None, total: int) -> Callable[[int, int], None]:
    """Progress over all stages: the number done of one is put against the total of all."""

    def step(done: int, _of_stage: int) -> None:
        if on_image is not None:
            on_image(done, total)

    return step


def _read_age(age_years: float | None) -> float:
    return math.nan if age_years is None else age_years


def _say_nothing(reason: str) -> ProbeResult:
    return ProbeResult(
        name="probes", what="Altered images and hidden parts.", figures=(), verdict=reason
    )


def _say_sample(outcomes: Outcomes, rows: Int[np.ndarray, " sample"], *, seed: int) -> str:
    everything = int((outcomes.is_assessed & (outcomes.targets >= 0).any(axis=1)).sum())
    note = f"On {len(rows)} of {everything} assessed images with a known label"
    if len(rows) < everything:
        note += f", chosen evenly by labels and source (seed {seed})"
    return f"{note}."


def _add_note(result: ProbeResult, note: str) -> ProbeResult:
    return replace(result, note=f"{result.note} {note}".strip())
