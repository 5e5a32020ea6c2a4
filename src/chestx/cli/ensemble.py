"""``chestx model join``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import say
from chestx.domain import CAVEAT, UsageError


def join(
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="MEMBER...",
            help="Model folders or names, or default for the shipped one.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The new model folder.", show_default=False),
    ],
    views: Annotated[
        str,
        typer.Option(
            "--views",
            metavar="VIEW,...",
            help="What every member sees of an image: plain, and flip and zoom if wanted.",
        ),
    ] = "plain",
    name: Annotated[
        str | None,
        typer.Option("--name", help="Of the ensemble; default: its first member's and -ensemble."),
    ] = None,
    version: Annotated[str, typer.Option("--version", help="Of the ensemble.")] = "1",
) -> None:
    """Join models, or views of an image, into one that answers with their mean."""
    from chestx.models.ensemble import View
    from chestx.models.folder import load_model_folder, resolve_model
    from chestx.models.join import join_models

    wanted = [text.strip() for text in views.split(",")]
    known = [view.value for view in View]
    if unknown := [text for text in wanted if text not in known]:
        raise UsageError(f"--views: expected some of {', '.join(known)}, got {unknown[0]!r:.40}")
    folders = [
        load_model_folder(resolve_model(None if member == "default" else member))
        for member in members
    ]
    joined = join_models(
        folders, output, views=[View(text) for text in wanted], name=name, version=version
    )
    for folder in folders:
        say(f"member {folder.identity}")
    say(f"model {joined.identity} in {output}")
    say("its thresholds are the means of its members'; choose its own: chestx calibrate")
    say(CAVEAT)
