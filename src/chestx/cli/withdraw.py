"""``chestx withdraw``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chestx.cli.console import say
from chestx.domain import format_count


class Reason(StrEnum):
    """Why results are taken back."""

    QUALITY = "quality"
    SUPERSEDED = "superseded"


def withdraw(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="DICOM results of chestx: files, folders, patterns or lists.", show_default=False
        ),
    ],
    reason: Annotated[
        Reason,
        typer.Option(
            "--reason",
            help="quality: not to be relied on; superseded: a newer result is there.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the documents, or a name ending in .dcm for one study.",
            show_default=False,
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace documents that are there.")
    ] = False,
) -> None:
    """Take results back: a DICOM document for each study that tells an archive to hide them.

    The results and the archive are not touched; send the documents to the archive.
    """
    from datetime import datetime

    from chestx.batch.withdraw import withdraw_results
    from chestx.export.key_object import WithdrawalReason

    written = withdraw_results(
        inputs,
        output,
        reason=WithdrawalReason(reason.value),
        at=datetime.now().astimezone(),
        overwrite=overwrite,
    )
    for withdrawal in written:
        say(f"{withdrawal.path}: takes back {format_count(withdrawal.objects, 'object')}")
