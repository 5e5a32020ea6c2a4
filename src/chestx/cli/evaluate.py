"""``chestx evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import EXIT_OK, EXIT_SOME_FAILED, Advance, say, show_progress
from chestx.cli.manifest import (
    ColumnOption,
    LabelsOption,
    ManifestArgument,
    RenameOption,
    SeedOption,
    WhereOption,
    read_manifest_options,
    say_reading,
)
from chestx.cli.optimize import PrecisionOption
from chestx.domain import CAVEAT, UsageError

if TYPE_CHECKING:
    from chestx.evaluation.run import EvaluationRun, OnProgress

_SHIPPED = "default"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder or name; `default` for the one shipped.", show_default=False
        ),
    ],
    manifest: ManifestArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)
    ],
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="Another model, which this one might replace."),
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Largest loss that counts as none in a comparison.")
    ] = 0.02,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Only this split of the manifest: train, validation, test."),
    ] = None,
    where: WhereOption = None,
    column: ColumnOption = None,
    rename: RenameOption = None,
    labels: LabelsOption = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="A further column to tabulate by. Repeatable.",
            show_default=False,
        ),
    ] = None,
    probes: Annotated[
        bool, typer.Option("--probes/--no-probes", help="Put altered images to the model, too.")
    ] = True,
    explanations: Annotated[
        bool, typer.Option("--explanations", help="Measure the heatmaps, too; takes longer.")
    ] = False,
    seed: SeedOption = 0,
    repeats: Annotated[int, typer.Option("--repeats", help="Draws of each interval.")] = 1000,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode; default: one a core."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Calls of the model at once; default: one a core."),
    ] = None,
    precision: PrecisionOption = "f32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier evaluation in the folder.")
    ] = False,
    card: Annotated[
        Path | None,
        typer.Option(
            "--card",
            metavar="FOLDER",
            help="Write a copy of the model folder whose card tells these figures.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> int:
    """Measure a model on labelled images: evaluation.html, evaluation.json and tables.

    Exit code 0: all files were read; 3: some could not be; 2: wrong usage.
    """
    import os

    from chestx.evaluation.publish_card import add_performance, select_figures
    from chestx.evaluation.run import EvaluationOptions, evaluate_model, prepare_folder
    from chestx.models.classifier import Classifier

    if card is not None and precision != "f32":
        raise UsageError(
            f"--card: expected --precision f32, got {precision}; the figures of a card are those "
            "of the network itself"
        )
    conditions = [*(where or []), *([f"split={split}"] if split is not None else [])]
    table = read_manifest_options(
        manifest, columns=column, labels=labels, rename=rename, where=conditions
    )
    if card is not None and os.path.lexists(card):
        raise UsageError(f"--card {str(card)!r}: expected a name that is free, got one in use")
    prepare_folder(output, overwrite=overwrite)
    other = None if compare is None else Classifier.load(_name_model(compare), threads=threads)
    classifier = Classifier.load(_name_model(model), threads=threads, precision=precision)
    options = EvaluationOptions(
        data=", ".join([manifest.name, *conditions]),
        by=tuple(by or ()),
        margin=margin,
        probes=probes,
        explanations=explanations,
        seed=seed,
        repeats=repeats,
        workers=workers,
        threads=threads,
        overwrite=overwrite,
    )
    if not quiet:
        say_reading(table)
    with _show_stages(quiet=quiet) as tell:
        run = evaluate_model(
            classifier, table, output, options=options, compare_with=other, on_progress=tell
        )
    if card is not None:
        figures = select_figures(run.evaluation, run.outcomes, run.probes)
        add_performance(classifier.folder, figures, card)
    if not quiet:
        _print_summary(run, card=card)
    return EXIT_SOME_FAILED if run.evaluation.slices[0].failed else EXIT_OK


def _name_model(text: str) -> str | None:
    return None if text == _SHIPPED else text


@contextmanager
def _show_stages(*, quiet: bool) -> Iterator[OnProgress]:
    """A progress bar for each stage in turn."""
    with ExitStack() as stack:
        shown = ""
        advance: Advance | None = None

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal shown, advance
            if stage != shown:
                stack.pop_all().close()
                advance = stack.enter_context(show_progress(total, quiet=quiet))
                shown = stage
            if advance is not None:
                advance()

        yield tell


def _print_summary(run: EvaluationRun, *, card: Path | None) -> None:
    from chestx.evaluation.run import FILES
    from chestx.evaluation.summary import summarise

    for line in summarise(run.evaluation, run.outcomes):
        say(line)
    if run.comparison is not None:
        *each, overall = run.comparison.summary
        # The other figures are on the page.
        for sentence in [*(x for x in each if ", AUROC on " in x), overall]:
            say(f"comparison: {sentence}")
    if card is not None:
        say(f"card: {card}/ holds the model with these figures in its card")
    say(f"results in {run.output}/: {', '.join(FILES)}")
    say(f"model {run.evaluation.model}")
    say(CAVEAT)
