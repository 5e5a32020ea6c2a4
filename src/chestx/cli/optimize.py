"""``chestx model optimize``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import make_console, make_printable, say, show_progress
from chestx.cli.manifest import (
    ColumnOption,
    LabelsOption,
    RenameOption,
    WhereOption,
    read_manifest_options,
    say_reading,
)
from chestx.domain import CAVEAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from chestx.domain import PrecisionFigure, PrecisionMeasure, PrecisionVariant

PrecisionOption = Annotated[
    str,
    typer.Option("--precision", help="f32, or a variant that the model's card keeps."),
]


def optimize_model(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder or name; `default` for the one shipped.", show_default=False
        ),
    ],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="CSV", help="Labelled images.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The new model folder.", show_default=False)
    ],
    precisions: Annotated[
        str, typer.Option("--precisions", help="Which of bf16, int8 are tried, with commas.")
    ] = "bf16,int8",
    column: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode; default: one a core."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> None:
    """Try a model in faster number formats; keep those that answer as it does.

    Compared on the rows of the split validation; rows of the test are never looked at.
    """
    from chestx.learning.optimising import optimise_model
    from chestx.models.folder import load_model_folder, resolve_model
    from chestx.models.precision import parse_variants

    chosen = parse_variants(precisions)
    folder = load_model_folder(resolve_model(None if model == "default" else model))
    table = read_manifest_options(data, columns=column, labels=labels, rename=rename, where=where)
    with _show_images(quiet=quiet) as on_image:
        made = optimise_model(
            folder,
            table,
            output,
            precisions=chosen,
            name=data.name,
            workers=workers,
            on_stage=None if quiet else say,
            on_image=on_image,
        )
    if quiet:
        return
    say_reading(table)
    for variant in made.card.precisions:
        if variant.precision in chosen:
            print_variant(variant)
    say(f"model {made.identity} in {output}/")
    if any(one.kept for one in made.card.precisions):
        say("run a variant that is kept: chestx predict --precision; f32 stays the default")
    say(CAVEAT)


@contextmanager
def _show_images(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over the images of each precision in turn."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        bars: list[Callable[[], None]] = []

        def tell(done: int, total: int) -> None:
            if done == 1:
                stack.pop_all().close()
                bars[:] = [stack.enter_context(show_progress(total, quiet=quiet))]
            bars[0]()

        yield tell


def print_variant(variant: PrecisionVariant) -> None:
    """The verdict, and of each measure its figure on all images and the one nearest to failing."""
    from rich.table import Table
    from rich.text import Text

    from chestx.domain import PrecisionMeasure

    verdict = (
        "kept"
        if variant.kept
        else f"refused: {len(variant.failed)} of {len(variant.figures)} figures beyond their limits"
    )
    say(
        f"{variant.precision}: {verdict}; {variant.speed:.2f} times as fast as f32 on one thread, "
        f"{variant.images} images, {make_printable(variant.made_by)}"
    )
    table = Table("measure", "limit", "on all images", "worst", "", box=None, pad_edge=False)
    for measure in PrecisionMeasure:
        if cells := _describe_measure(measure, variant):
            table.add_row(*(Text(make_printable(cell)) for cell in cells))
    make_console().print(table)


def _describe_measure(measure: PrecisionMeasure, variant: PrecisionVariant) -> list[str]:
    figures = [figure for figure in variant.figures if figure.measure is measure]
    if not figures:
        return []
    pooled = max((x for x in figures if x.slice_key == "all"), key=_excess, default=None)
    worst = max(figures, key=_excess)
    place = f"{worst.subject}, {worst.slice_key}, {worst.n} images"
    return [
        measure.value,
        f"{'<=' if measure.is_distance else '>='} {worst.limit:g}",
        "" if pooled is None else f"{pooled.value:.4f}",
        f"{worst.value:.4f}",
        place if worst.holds else f"{place}: too far",
    ]


def _excess(figure: PrecisionFigure) -> float:
    return figure.excess
