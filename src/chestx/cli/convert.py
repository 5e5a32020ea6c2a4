"""``chestx convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import say
from chestx.domain import CAVEAT


def convert(
    source: Annotated[Path, typer.Argument(help="A DICOM or picture file.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The PNG to write.", show_default=False)],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.")
    ] = False,
) -> None:
    """Turn one radiograph into a PNG as chestx sees it: window applied, bright is dense."""
    from chestx.batch.convert import convert_file

    header = convert_file(source, target, overwrite=overwrite)
    say(f"{target}: {header.columns} x {header.rows}, {header.photometric}, {header.display}")
    for note in header.notes:
        say(f"  {note}")
    say(CAVEAT)
