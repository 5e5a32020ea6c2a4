"""``chestx train`` and ``chestx publish``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from chestx.cli.calibrate import (
    AbstainOption,
    KeepTemperatureOption,
    ThresholdForOption,
    ThresholdOption,
    WorkersOption,
    read_rules,
)
from chestx.cli.console import say
from chestx.cli.optimize import print_variant
from chestx.domain import CAVEAT, ChestxError

if TYPE_CHECKING:
    from rich.console import Console

    from chestx.domain import ModelCard
    from chestx.learning.progress import EpochRecord, Progress, StepReport
    from chestx.learning.run import TrainingRun

INSTALL = 'pip install "chestx[train]"'
_PLAIN_SECONDS = 60.0

RunArgument = Annotated[
    Path, typer.Argument(help="Folder that chestx train wrote.", show_default=False)
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")]


def train(
    config: Annotated[
        Path, typer.Argument(help="The configuration, a TOML file.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run.", show_default=False)
    ],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from the last checkpoint in the folder, if any."),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model of one's own on labelled images; writes a run folder."""
    with _training_installed():
        from chestx.learning.run import run_training
    with _show_training(quiet=quiet) as shown:
        run = run_training(
            config,
            output,
            resume=resume,
            on_step=shown.on_step,
            on_epoch=shown.on_epoch,
            on_image=shown.on_image,
        )
    if run.is_first_process and not quiet:
        _print_run(run)


def publish(
    run: RunArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The new model folder.", show_default=False)
    ],
    card: Annotated[
        Path | None,
        typer.Option(
            "--card",
            metavar="FILE",
            help="TOML with what only a person can say: name, version, intended use ...",
            show_default=False,
        ),
    ] = None,
    average_with: Annotated[
        list[Path] | None,
        typer.Option(
            "--average-with",
            metavar="FOLDER",
            help="A run or model folder whose weights are averaged with the run's; repeatable.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            metavar="SHARE",
            help="What the run weighs in the average, above 0 and below 1; default: all alike.",
            show_default=False,
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest", metavar="FILE", help="Where the run's CSV lies now, if it was moved."
        ),
    ] = None,
    threshold: ThresholdOption = "sensitivity=0.95",
    threshold_for: ThresholdForOption = None,
    abstain: AbstainOption = "error=0.5@0.1",
    keep_temperature: KeepTemperatureOption = False,
    precisions: Annotated[
        str,
        typer.Option(
            "--precisions",
            help="Which of bf16, int8 are tried as well, with commas; default: none.",
            show_default=False,
        ),
    ] = "",
    half_weights: Annotated[
        bool,
        typer.Option("--half-weights", help="Store the graph's weights as float16: half the file."),
    ] = False,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Make a model folder of the best weights of a run, calibrated on its validation images."""
    with _training_installed():
        from chestx.learning.card_texts import CardTexts, read_card_texts
        from chestx.learning.publishing import publish_run
        from chestx.models.precision import parse_variants
    texts = (
        CardTexts(
            name=run.resolve().name,
            version="1",
            summary="A model of one's own, published without a description.",
        )
        if card is None
        else read_card_texts(card)
    )
    published = publish_run(
        run,
        output,
        texts=texts,
        average_with=average_with or (),
        share=share,
        rules=read_rules(threshold, threshold_for, abstain, keep_temperature),
        manifest=manifest,
        precisions=parse_variants(precisions),
        half_weights=half_weights,
        workers=workers,
        on_stage=None if quiet else say,
    )
    if not quiet:
        _print_model(published, output)


@contextmanager
def _training_installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] == "chestx":
            raise
        raise ChestxError(
            f"training needs {missing or 'a package'}, which is not installed: {INSTALL}"
        ) from error


class _Shown(Protocol):
    """What is told of a run while it is at work."""

    def on_step(self, report: StepReport) -> None: ...
    def on_epoch(self, progress: Progress) -> None: ...
    def on_image(self) -> None: ...


class _Silence:
    def on_step(self, report: StepReport) -> None: ...
    def on_epoch(self, progress: Progress) -> None: ...
    def on_image(self) -> None: ...


class _Lines:
    """A line each epoch, and one about each minute, for logs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said, self._images = clock(), 0

    def _is_due(self) -> bool:
        now = self._clock()
        if now - self._said < _PLAIN_SECONDS:
            return False
        self._said = now
        return True

    def on_step(self, report: StepReport) -> None:
        if self._is_due():
            say(describe_step(report))

    def on_epoch(self, progress: Progress) -> None:
        self._said = self._clock()
        say(describe_epoch(progress.history[-1]))

    def on_image(self) -> None:
        self._images += 1
        if self._is_due():
            say(f"{self._images:,} images read")


class _Live:
    """A line that moves on a terminal, and a line that stays for each epoch."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("reading images", total=None, detail="")
        self._images = 0

    def __enter__(self) -> _Live:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_step(self, report: StepReport) -> None:
        self._bar.update(
            self._task,
            description=f"epoch {report.epoch} of {report.epochs}",
            total=report.steps,
            completed=report.step,
            detail=(
                f"step {report.step:,} of {report.steps:,}, loss {report.loss:.4f}, "
                f"{report.images_per_second:.1f} images/s, {describe_time(report.seconds_left)} "
                "left"
            ),
        )

    def on_epoch(self, progress: Progress) -> None:
        self._bar.console.print(describe_epoch(progress.history[-1]), highlight=False)

    def on_image(self) -> None:
        self._images += 1
        self._bar.update(self._task, detail=f"{self._images:,}")


@contextmanager
def _show_training(*, quiet: bool) -> Iterator[_Shown]:
    if quiet:
        yield _Silence()
    elif sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console

        with _Live(Console(stderr=True)) as live:
            yield live
    else:
        yield _Lines()


def describe_step(report: StepReport) -> str:
    """A line on where a run is."""
    return (
        f"epoch {report.epoch} of {report.epochs}, step {report.step:,} of {report.steps:,}: "
        f"loss {report.loss:.4f}, {report.images_per_second:.1f} images/s, "
        f"{describe_time(report.seconds_left)} left"
    )


def describe_epoch(record: EpochRecord) -> str:
    """A line on a pass that is done."""
    figures = record.figures
    return (
        f"epoch {record.epoch}: training loss {record.train_loss:.4f}, validation loss "
        f"{figures.loss:.4f}, accuracy {figures.accuracy:.3f}, AUROC {figures.macro_auroc:.3f}, "
        f"within sources {figures.within_source_auroc:.3f}, {describe_time(record.seconds)}"
        f"{', best so far' if record.is_best else ''}"
    )


def describe_time(seconds: float) -> str:
    """Hours, minutes and seconds, the larger two that there are."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def _print_run(run: TrainingRun) -> None:
    progress = run.progress
    say(
        f"{progress.epoch} epochs on {run.images:,} images, validated on {run.validation:,}; "
        f"best: epoch {progress.best_epoch}"
    )
    if run.unreadable:
        say(f"{run.unreadable:,} images could not be read and were left out; see run.json")
    say(f"run in {run.folder}/: best.safetensors, training.html, history.csv, run.json")
    say(f"make a model of it: chestx publish {run.folder} -o MODEL")
    say(CAVEAT)


def _print_model(card: ModelCard, output: Path) -> None:
    for label in card.findings:
        if label.operating_point is not None:
            say(f"{label.key}: threshold {label.operating_point.threshold:.3f}")
    say(f"temperature {card.temperature:.4g}")
    for variant in card.precisions:
        print_variant(variant)
    say(f"model {card.name} {card.version} in {output}/")
    say("measure it on images that were not used here: chestx evaluate")
    say(CAVEAT)
