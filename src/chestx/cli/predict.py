"""``chestx predict``."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import (
    EXIT_OK,
    EXIT_SOME_FAILED,
    configure_logging,
    read_standard_input,
    say,
    show_progress,
)
from chestx.cli.optimize import PrecisionOption
from chestx.domain import CAVEAT, Decision, ModelIdentity, UsageError
from chestx.models.devices import Device

if TYPE_CHECKING:
    from chestx.batch.options import BatchOptions, BatchSummary, ObjectSummary
    from chestx.export.table import Row

log = logging.getLogger("chestx.predict")


class HeatmapFormat(StrEnum):
    """Of the pictures in ``heatmaps/``."""

    JPG = "jpg"
    PNG = "png"


class RuntimeName(StrEnum):
    """What computes the network."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


class ReportForm(StrEnum):
    """Of the DICOM structured report."""

    COMPREHENSIVE_3D = "comprehensive-3d"
    COMPREHENSIVE = "comprehensive"


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
    site_profile: Annotated[
        Path | None,
        typer.Option(
            "--site-profile",
            envvar="CHESTX_SITE_PROFILE",
            help="Thresholds of this site, as chestx commission wrote them.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish an interrupted run in the folder.")
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
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write report.html, the worklist.")
    ] = True,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Write results.jsonl too.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write results.parquet too.")] = False,
    dicom: Annotated[
        Path | None,
        typer.Option(
            "--dicom", help="Folder for DICOM objects of the answers.", show_default=False
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            "--objects",
            help="Which of sc, sr, gsps, kos, with commas; default: sc,sr.",
            show_default=False,
        ),
    ] = None,
    sr: Annotated[
        ReportForm | None,
        typer.Option(
            "--sr",
            help="Form of the structured report; default: comprehensive-3d.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode; default: one a core."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Calls of the model at once; default: one a core."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="The most images of one call of the model.")
    ] = 8,
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds that one file may take to read.")
    ] = 60.0,
    memory: Annotated[
        int, typer.Option("--memory", help="MiB that a child process may take.")
    ] = 3072,
    reduced_jpeg2000: Annotated[
        bool,
        typer.Option(
            "--reduced-jpeg2000",
            help="Decode JPEG 2000 only as fine as is needed: much faster, not quite the same.",
        ),
    ] = False,
    runtime: Annotated[
        RuntimeName, typer.Option("--runtime", help="What computes the network.")
    ] = RuntimeName.OPENVINO,
    precision: PrecisionOption = "f32",
    device: Annotated[
        Device, typer.Option("--device", help="Where onnxruntime computes.")
    ] = Device.CPU,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Events as JSON lines on standard error.")
    ] = False,
) -> int:
    """Answer for radiographs: results.csv, studies.csv, run.json and a heatmap for each image.

    With --dicom also objects for a PACS, of every DICOM image and its study.

    Exit code 0: all files were read; 3: some could not be; 2: wrong usage.
    """
    from chestx.batch.inputs import STANDARD_INPUT, collect_inputs
    from chestx.batch.options import BatchOptions, parse_objects
    from chestx.batch.record import describe_command
    from chestx.batch.run import predict_files, prepare_folders
    from chestx.models.classifier import Classifier

    configure_logging(as_json=log_json)
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other")
    if dicom is None and (objects is not None or sr is not None):
        raise UsageError("--objects and --sr say what goes into --dicom; name its folder")
    options = BatchOptions(
        heatmaps=heatmaps,
        heatmap_format=heatmap_format.value,
        heatmap_size=heatmap_size,
        report=report,
        json_lines=jsonl,
        parquet=parquet,
        dicom="" if dicom is None else str(dicom),
        objects=parse_objects(objects),
        sr=(sr or ReportForm.COMPREHENSIVE_3D).value,
        runtime=runtime.value,
        device=device.value,
        workers=workers,
        threads=threads,
        batch_size=batch_size,
        timeout_s=timeout,
        memory_mb=memory,
        reduced_jpeg2000=reduced_jpeg2000,
    )
    found = collect_inputs(
        inputs,
        standard_input=read_standard_input() if STANDARD_INPUT in inputs else b"",
        exclude=output,
    )
    classifier = Classifier.load(
        model,
        runtime=options.runtime,
        threads=threads,
        site_profile=site_profile,
        precision=precision,
        device=device,
    )
    prepare_folders(output, options=options, overwrite=overwrite, resume=resume)
    log.info("started", extra={"fields": {"images": len(found.paths)}})
    with show_progress(len(found.paths), quiet=quiet) as advance:
        number = 0

        def on_row(row: Row) -> None:
            nonlocal number
            number += 1
            failed = row["status"] == "failed"
            if failed:
                fields = {"row": number, "sha256": row["sha256"]}
                log.info("a file could not be read", extra={"fields": fields})
            advance(failed=failed)

        summary = predict_files(
            found.paths,
            output,
            classifier=classifier,
            options=options,
            resume=resume,
            skipped=found.skipped,
            command=describe_command(),
            on_row=on_row,
        )
    log.info("finished", extra={"fields": {"images": summary.images, "failed": summary.failed}})
    if not quiet:
        _print_summary(summary, options=options, identity=classifier.identity)
    return EXIT_SOME_FAILED if summary.is_incomplete else EXIT_OK


def _print_summary(
    summary: BatchSummary, *, options: BatchOptions, identity: ModelIdentity
) -> None:
    from chestx.terminology import describe_calibration

    rate = (summary.images - summary.resumed) / max(summary.seconds, 1e-9)
    images, studies = _count(summary.images, "image"), _count(summary.studies, "study")
    say(f"{images}, {studies} in {summary.seconds:.1f} s ({rate:.1f} images/s)")
    if summary.resumed:
        say(f"  resumed after {summary.resumed:>6}  done by an earlier run")
    for decision in Decision:
        if summary.decisions[decision]:
            say(f"  {decision.replace('_', ' '):<13} {summary.decisions[decision]:>6}")
    if summary.skipped:
        say(f"  passed over   {summary.skipped:>6}  (hidden and system files, results of chestx)")
    page = "report.html, " if summary.has_report else ""
    say(f"results in {summary.output}/: {page}results.csv, studies.csv, run.json")
    if summary.objects is not None:
        _print_objects(summary.objects, folder=options.dicom)
    at = "" if identity.precision == "f32" else f" at {identity.precision}"
    say(f"model {identity}{at}; {describe_calibration(identity)}")
    say(CAVEAT)


def _print_objects(objects: ObjectSummary, *, folder: str) -> None:
    written = ", ".join(f"{number} {kind}" for kind, number in objects.written.items())
    say(f"DICOM objects in {folder}/: {written}")
    for reason, number in objects.without_source.items():
        say(f"  no object for {_count(number, 'image')}: {reason}")
    if objects.repeated:
        say(f"  given before: {_count(objects.repeated, 'image')}; objects are written once")
    for reason, number in objects.not_made.items():
        say(f"  could not be made: {number} {reason}")


def _count(number: int, noun: str) -> str:
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
