"""``chestx predict``."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import (
    EXIT_OK,
    EXIT_SOME_FAILED,
    configure_logging,
    make_printable,
    say,
    show_progress,
)
from chestx.domain import CAVEAT, Decision, Failure, ModelIdentity, Result

if TYPE_CHECKING:
    from chestx.batch.run import BatchSummary

log = logging.getLogger("chestx.predict")


class HeatmapFormat(StrEnum):
    """Of the pictures in ``heatmaps/``."""

    JPG = "jpg"
    PNG = "png"


class RuntimeName(StrEnum):
    """What computes the network."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders (searched through and through), patterns, "
            "a .txt or .csv list of paths, or - for a list on standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model folder or name; default: the one shipped."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")
    ] = False,
    heatmaps: Annotated[
        bool, typer.Option("--heatmaps/--no-heatmaps", help="Write a picture for each image.")
    ] = True,
    heatmap_format: Annotated[
        HeatmapFormat, typer.Option("--heatmap-format", help="Format of the pictures.")
    ] = HeatmapFormat.JPG,
    heatmap_size: Annotated[
        int, typer.Option("--heatmap-size", help="Long side of the radiograph in them, pixels.")
    ] = 512,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Images in work at once; default: one a core."),
    ] = None,
    runtime: Annotated[
        RuntimeName, typer.Option("--runtime", help="What computes the network.")
    ] = RuntimeName.OPENVINO,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Events as JSON lines on standard error.")
    ] = False,
) -> int:
    """Answer for radiographs: results.csv, studies.csv, run.json and a heatmap for each image.

    Exit code 0: all files were read; 3: some could not be; 2: wrong usage.
    """
    from chestx.batch.inputs import collect_inputs
    from chestx.batch.run import BatchOptions, describe_command, predict_files, prepare_output
    from chestx.models.classifier import Classifier

    configure_logging(as_json=log_json)
    options = BatchOptions(
        heatmaps=heatmaps,
        heatmap_format=heatmap_format.value,
        heatmap_size=heatmap_size,
        threads=threads,
        runtime=runtime.value,
    )
    found = collect_inputs(inputs, standard_input=sys.stdin, exclude=output)
    classifier = Classifier.load(model, runtime=options.runtime, threads=threads)
    prepare_output(output, overwrite=overwrite)
    log.info("started", extra={"fields": {"images": len(found.paths)}})
    with show_progress(len(found.paths), quiet=quiet) as advance:
        row = 0

        def on_result(result: Result) -> None:
            nonlocal row
            row += 1
            failed = isinstance(result, Failure)
            if failed:
                log.info(
                    "a file could not be read",
                    extra={"fields": {"row": row, "sha256": result.sha256}},
                )
            advance(failed=failed)

        summary = predict_files(
            found.paths,
            output,
            classifier=classifier,
            options=options,
            skipped=found.skipped,
            command=describe_command(),
            on_result=on_result,
        )
    log.info("finished", extra={"fields": {"images": summary.images, "failed": summary.failed}})
    if not quiet:
        _print_summary(summary, identity=classifier.identity)
    return EXIT_SOME_FAILED if summary.failed else EXIT_OK


def _print_summary(summary: BatchSummary, *, identity: ModelIdentity) -> None:
    rate = summary.images / max(summary.seconds, 1e-9)
    say(
        f"{summary.images} images, {summary.studies} studies "
        f"in {summary.seconds:.1f} s ({rate:.1f} images/s)"
    )
    for decision in Decision:
        if summary.decisions[decision]:
            say(f"  {decision.replace('_', ' '):<13} {summary.decisions[decision]:>6}")
    if summary.skipped:
        say(f"  passed over   {summary.skipped:>6}  (hidden and system files)")
    say(f"results in {make_printable(str(summary.output))}/: results.csv, studies.csv, run.json")
    say(f"model {identity}")
    say(CAVEAT)
