"""Options that several commands share: how a manifest is read, and the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chestx.cli.console import say
from chestx.domain import UsageError

if TYPE_CHECKING:
    from chestx.datasets.manifest import ManifestTable

MAX_SEED = 2**32 - 1


def check_seed(seed: int) -> int:
    """A seed that every generator takes, said before anything is read.

    Raises:
        UsageError: out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed: expected 0 to {MAX_SEED}, got {seed}")
    return seed


SeedOption = Annotated[
    int, typer.Option("--seed", callback=check_seed, help="Of everything that is drawn.")
]
ManifestArgument = Annotated[
    Path, typer.Argument(help="The CSV of the data set.", show_default=False)
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        "-c",
        metavar="NAME=COLUMN",
        help="A manifest's column and what the file calls it; NAME= leaves it out. Repeatable.",
        show_default=False,
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        metavar="LABEL,...",
        help="The labels that are asked for, in this order; default: all.",
        show_default=False,
    ),
]
RenameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="WORD=LABEL",
        help="What a label of the file is called; several can become one. Repeatable.",
        show_default=False,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE,...",
        help="Only rows with these values, or with != without them. Repeatable.",
        show_default=False,
    ),
]


def parse_columns(texts: Sequence[str] | None) -> dict[str, str]:
    """``NAME=COLUMN`` -> name and column.

    Raises:
        UsageError: no ``=``, or a name twice.
    """
    return _parse_pairs("column", [text.partition("=") for text in texts or ()])


def parse_renames(texts: Sequence[str] | None) -> dict[str, str]:
    """``WORD=LABEL`` -> word and label; a word may hold ``=``.

    Raises:
        UsageError: no ``=``, or a word twice.
    """
    return _parse_pairs("rename", [text.rpartition("=") for text in texts or ()])


def read_manifest_options(
    manifest: Path,
    *,
    columns: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    rename: Sequence[str] | None = None,
    where: Sequence[str] | None = None,
) -> ManifestTable:
    """Reads a manifest as the options of a command say.

    Raises:
        UsageError: an option or the manifest is not as it must be.
    """
    from chestx.datasets.manifest import read_manifest

    asked = [label.strip() for text in labels or () for label in text.split(",")]
    return read_manifest(
        manifest,
        columns=parse_columns(columns),
        labels=asked or None,
        rename=parse_renames(rename),
        where=where or (),
    )


def say_reading(table: ManifestTable) -> None:
    """What of the manifest was not taken, a line a reason, and what else a user must know."""
    for reason, count in table.left_out.items():
        say(f"left out {count:>8,}  {reason}")
    for note in table.notes:
        say(f"note: {note}")
    if table.split_problem:
        say(f"warning: {table.split_problem}")


def _parse_pairs(option: str, parts: Sequence[tuple[str, str, str]]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for left, sign, right in parts:
        name = left.strip()
        if not sign or not name or name in pairs:
            raise UsageError(
                f"--{option}: expected NAME=VALUE with every name once, "
                f"got {left + sign + right!r:.80}"
            )
        pairs[name] = right.strip()
    return pairs
