"""A whole evaluation: the model's answers, the figures, and the files for people and programs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from chestx.datasets.manifest import ManifestTable
from chestx.domain import ChestxError, Figure, UsageError
from chestx.evaluation.claim import (
    ClaimItem,
    ClaimMaterial,
    claim_to_json,
    fill_claim,
    write_claim_section,
)
from chestx.evaluation.collect import ATTRIBUTES, collect_outcomes, save_outcomes
from chestx.evaluation.compare import check_margin, compare
from chestx.evaluation.compare_page import write_comparison
from chestx.evaluation.comparison import Comparison
from chestx.evaluation.gallery import choose_cases, make_analyzer, render_gallery
from chestx.evaluation.measure import check_repeats, measure
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page import PageMaterial, build_page
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.probes import run_probes
from chestx.evaluation.result import Evaluation
from chestx.evaluation.slices import COLUMNS
from chestx.evaluation.tables import (
    CONFUSION_COLUMNS,
    CURVE_COLUMNS,
    FIGURE_COLUMNS,
    FORMAT,
    evaluation_to_json,
    list_confusion_rows,
    list_curve_rows,
    list_figure_rows,
    list_image_columns,
    list_image_rows,
    write_csv,
)
from chestx.files import write_text, write_whole
from chestx.models.classifier import Classifier
from chestx.rendering.document import render_document

PAGE, RESULT, OUTCOMES = "evaluation.html", "evaluation.json", "outcomes.npz"
TABLES = ("figures.csv", "images.csv", "confusion.csv", "curves.csv")
CLAIM = "claim.json"
FILES = (PAGE, RESULT, *TABLES, CLAIM, OUTCOMES)
"""What an evaluation writes, and all that --overwrite replaces."""

_MAX_HEAD = 4_096

OnProgress = Callable[[str, int, int], None]
"""Is told the stage, how many images of it are done and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How an evaluation is done.

    Attributes:
        data: name of the images, for every output.
        by: further columns of the manifest to tabulate by.
        margin: largest loss that counts as none in a comparison.
        probes: whether altered images are put to the model.
        explanations: whether heatmaps are measured, too.
        seed: of everything that is drawn.
        repeats: draws of each interval.
        workers, threads: of the analyzer.
        overwrite: replace an earlier evaluation in the folder.
    """

    data: str
    by: tuple[str, ...] = ()
    margin: float = 0.02
    probes: bool = True
    explanations: bool = False
    seed: int = 0
    repeats: int = 1000
    workers: int | None = None
    threads: int | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationRun:
    """What came of it.

    Attributes:
        evaluation, outcomes, probes: as measured.
        comparison: None without another model.
        claim: the checklist.
        output: the folder.
    """

    evaluation: Evaluation
    outcomes: Outcomes
    probes: tuple[ProbeResult, ...]
    comparison: Comparison | None
    claim: tuple[ClaimItem, ...] = field(repr=False)
    output: Path


def evaluate_model(
    classifier: Classifier,
    table: ManifestTable,
    output: Path,
    *,
    options: EvaluationOptions,
    compare_with: Classifier | None = None,
    on_progress: OnProgress | None = None,
) -> EvaluationRun:
    """Puts a manifest to a model, measures, and writes FILES into a folder.

    Args:
        classifier: the model.
        table: of labelled images.
        output: the folder; made if it is not there.
        options: how.
        compare_with: another model, which this one might replace.
        on_progress: is told of every image.

    Raises:
        UsageError: the folder holds an earlier result or files of others, no label or image
            fits the model, or an option is out of range.
        ChestxError: the files cannot be written.
    """
    check_repeats(options.repeats)
    check_margin(options.margin)
    prepare_folder(output, overwrite=options.overwrite)
    tell = on_progress or (lambda stage, done, total: None)
    extra = tuple(column for column in options.by if column not in ATTRIBUTES)

    def collect(model: Classifier, stage: str) -> Outcomes:
        return collect_outcomes(
            model,
            table,
            attributes=extra,
            workers=options.workers,
            threads=options.threads,
            on_image=lambda done, total: tell(stage, done, total),
        )

    outcomes = collect(classifier, "evaluate")
    evaluation = _measure(outcomes, table, options)
    comparison = None
    if compare_with is not None:
        comparison = compare(
            collect(compare_with, "compare"),
            outcomes,
            generator=np.random.default_rng(options.seed),
            margin=options.margin,
            repeats=options.repeats,
        )
    probes: tuple[ProbeResult, ...] = ()
    if options.probes or options.explanations:
        probes = run_probes(
            classifier,
            table.manifest,
            outcomes,
            seed=options.seed,
            explanations=options.explanations,
            workers=options.workers,
            on_image=lambda done, total: tell("probe", done, total),
        )
    page, claim = _build_page(classifier, table, outcomes, evaluation, probes, comparison, options)
    run = EvaluationRun(
        evaluation=evaluation,
        outcomes=outcomes,
        probes=probes,
        comparison=comparison,
        claim=claim,
        output=output,
    )
    _write_files(run, page)
    return run


def prepare_folder(output: Path, *, overwrite: bool) -> None:
    """Makes the folder; an earlier evaluation in it stays until the new one is written.

    Raises:
        UsageError: it holds a result and is not to be overwritten, or files of these names
            that no evaluation wrote, or it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        held = [name for name in FILES if os.path.lexists(output / name)]
        if not held:
            return
        if not overwrite:
            raise UsageError(
                f"{str(output)!r} holds {held[0]} already; name another folder, or give "
                "--overwrite to replace the evaluation there"
            )
        if not _is_own(output):
            raise UsageError(
                f"{str(output)!r} holds {held[0]} that chestx did not write; name another folder"
            )
    except OSError as error:
        raise UsageError(
            f"{str(output)!r}: expected a folder to write to, got: {error.strerror or error}"
        ) from error


def _is_own(output: Path) -> bool:
    """Whether an evaluation of chestx lies there, by the first line of its result."""
    path = output / RESULT
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(_MAX_HEAD)


def _measure(outcomes: Outcomes, table: ManifestTable, options: EvaluationOptions) -> Evaluation:
    columns = (*COLUMNS, *(column for column in options.by if column not in COLUMNS))
    evaluation = measure(
        outcomes,
        data=options.data,
        manifest_sha256=table.sha256,
        left_out=table.left_out,
        seed=options.seed,
        repeats=options.repeats,
        columns=columns,
    )
    settings = {
        **evaluation.settings,
        "chestx": version("chestx"),
        "by": ", ".join(columns),
        "probes": "yes" if options.probes or options.explanations else "no",
        "explanations": "yes" if options.explanations else "no",
    }
    problem = (table.split_problem,) if table.split_problem else ()
    return replace(evaluation, settings=settings, notes=(*problem, *evaluation.notes, *table.notes))


def _build_page(
    classifier: Classifier,
    table: ManifestTable,
    outcomes: Outcomes,
    evaluation: Evaluation,
    probes: tuple[ProbeResult, ...],
    comparison: Comparison | None,
    options: EvaluationOptions,
) -> tuple[str, tuple[ClaimItem, ...]]:
    cases = choose_cases(outcomes)
    with make_analyzer(classifier, workers=options.workers, threads=options.threads) as analyzer:
        gallery = render_gallery(cases, outcomes, table.manifest, analyzer=analyzer)
    material = ClaimMaterial(
        evaluation=evaluation,
        outcomes=outcomes,
        probes=tuple(probe.name for probe in probes),
        pictures=len(cases),
    )
    claim = fill_claim(material)
    page = PageMaterial(
        evaluation=evaluation,
        outcomes=outcomes,
        probes=probes,
        gallery=gallery,
        comparison=None if comparison is None else write_comparison(comparison),
        claim=write_claim_section(claim),
    )
    return render_document(build_page(page)), claim


def _write_files(run: EvaluationRun, page: str) -> None:
    """The result first, by which the folder is known as ours, the page last."""
    identity, outcomes = run.evaluation.model, run.outcomes
    extra: dict[str, Any] = {
        "probes": [dataclasses.asdict(probe) for probe in run.probes],
        "comparison": None if run.comparison is None else dataclasses.asdict(run.comparison),
    }
    others: Mapping[str, Sequence[Figure]] = {
        f"probe {probe.name}": probe.figures for probe in run.probes
    }
    tables = (
        (FIGURE_COLUMNS, list_figure_rows(run.evaluation, others)),
        (list_image_columns(outcomes), list_image_rows(outcomes)),
        (CONFUSION_COLUMNS, list_confusion_rows(run.evaluation)),
        (CURVE_COLUMNS, list_curve_rows(run.evaluation)),
    )
    claim = json.dumps(
        claim_to_json(run.claim, evaluation=run.evaluation), indent=1, ensure_ascii=False
    )
    try:
        text = evaluation_to_json(run.evaluation, extra, outputs=FILES)
        write_text(run.output / RESULT, text)
        save_outcomes(outcomes, run.output / OUTCOMES)
        for name, (columns, rows) in zip(TABLES, tables, strict=True):
            with write_whole(run.output / name) as file:
                file.write(write_csv(columns, rows, identity=identity))
        write_text(run.output / CLAIM, f"{claim}\n")
        write_text(run.output / PAGE, page)
    except OSError as error:
        raise ChestxError(
            f"{str(run.output)!r} cannot be written: {error.strerror or error}"
        ) from error
