"""``chestx adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import read_standard_input, say, show_progress
from chestx.cli.manifest import SeedOption
from chestx.domain import CAVEAT, UsageError


def adapt(
    model: Annotated[
        str, typer.Argument(help="Model folder or name, or default for the one shipped.")
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Unlabelled images of the site: files, folders, patterns, lists or -.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The new model folder.", show_default=False),
    ],
    site: Annotated[
        str, typer.Option("--site", help="What these images are, for the card.")
    ] = "an unnamed site",
    share: Annotated[
        float, typer.Option("--share", help="Of the site's statistics in the mixture, up to 1.")
    ] = 0.25,
    version: Annotated[
        str | None,
        typer.Option("--version", help="Of the new model; default: the old one and +adapted."),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", help="Of more images a sample of so many is drawn.")
    ] = 2000,
    seed: SeedOption = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode; default: one a core."),
    ] = None,
) -> None:
    """Fit a model's batch-norm statistics to unlabelled images of a site; a new model folder."""
    from chestx.batch.inputs import collect_inputs
    from chestx.models.folder import load_model_folder, resolve_model

    try:
        from chestx.learning.adaptation import adapt_model
    except ModuleNotFoundError as error:
        raise UsageError(
            f"adapt: expected the training extra, {error.name} is not installed; "
            'pip install "chestx[train]"'
        ) from error
    folder = load_model_folder(resolve_model(None if model == "default" else model))
    standard_input = read_standard_input() if "-" in images else b""
    paths = collect_inputs(images, standard_input=standard_input).paths
    with show_progress(min(len(paths), most), quiet=False) as advance:
        found = adapt_model(
            folder,
            paths,
            output,
            site=site,
            share=share,
            version=version,
            most=most,
            seed=seed,
            workers=workers,
            on_image=advance,
        )
    reasons = "".join(f", {number} refused as {reason}" for reason, number in found.refused.items())
    say(f"looked at {found.images} images{reasons}, {found.unreadable} unreadable")
    for move in found.moves:
        say(
            f"{move.key}: mean probability {move.before:.3f} -> {move.after:.3f}, moved by "
            f"{move.moved:.3f} on average, {move.decided_anew:.1%} of the images decided anew"
        )
    if found.too_far is not None:
        say(
            f"too far from the training images: {found.too_far[0]:.1%} -> "
            f"{found.too_far[1]:.1%} of the images"
        )
    say(f"model {found.folder.identity} in {output}")
    say("no label was looked at, so it may be worse: measure it on labelled images of the site")
    say(CAVEAT)
