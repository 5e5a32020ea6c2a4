"""``chestx report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import say
from chestx.domain import CAVEAT


def report(
    output: Annotated[
        Path, typer.Argument(help="Folder of results of chestx predict.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model that spoke; default: the one shipped."),
    ] = None,
) -> None:
    """Make report.html of a finished run anew."""
    from chestx.batch.report import rebuild_report

    say(f"{rebuild_report(output, model=model)} is written")
    say(CAVEAT)
