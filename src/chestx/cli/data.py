"""``chestx data scan|stats|split|audit``."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from chestx.cli.console import EXIT_OK, EXIT_SOME_FAILED, say, say_error, show_progress
from chestx.cli.data_tables import print_split, print_statistics, summarise
from chestx.cli.manifest import (
    ColumnOption,
    LabelsOption,
    ManifestArgument,
    RenameOption,
    SeedOption,
    WhereOption,
    parse_columns,
    parse_renames,
    read_manifest_options,
    say_reading,
)
from chestx.domain import CAVEAT, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    help="Labelled images: scan a folder, count, split by patient, audit.",
    no_args_is_help=True,
)

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="The CSV to write.", show_default=False)
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result of that name.")
]


class Uncertain(StrEnum):
    """What becomes of readings that a source calls uncertain."""

    ONES = "ones"
    ZEROS = "zeros"
    IGNORE = "ignore"


class Keep(StrEnum):
    """Parts of an existing split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    NONE = "none"


@app.command("scan")
def scan_source(
    source: Annotated[
        str,
        typer.Argument(help="Kind of folder, such as kermany, nih, folders, csv, dicom."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where the data set lies.")],
    output: OutputOption,
    labels_csv: Annotated[
        Path | None,
        typer.Option(
            "--labels-csv",
            help="Table of labels, where the set does not bring one itself.",
            show_default=False,
        ),
    ] = None,
    uncertain: Annotated[
        Uncertain | None,
        typer.Option("--uncertain", help="What uncertain readings become.", show_default=False),
    ] = None,
    column: ColumnOption = None,
    rename: RenameOption = None,
    overwrite: OverwriteOption = False,
) -> int:
    """Write the manifest of a data set, read in its published layout."""
    from chestx.datasets.manifest import write_manifest
    from chestx.datasets.sources.registry import ScanOptions, scan_folder
    from chestx.datasets.stats import describe_manifest

    _refuse_existing(output, overwrite=overwrite)
    scan = scan_folder(
        source,
        folder,
        ScanOptions(
            labels=labels_csv,
            uncertain=cast(
                'Literal["ones", "zeros", "ignore"] | None', uncertain and uncertain.value
            ),
            columns=parse_columns(column) or None,
            rename=parse_renames(rename) or None,
        ),
    )
    write_manifest(scan.manifest, output)
    print_statistics(describe_manifest(scan.manifest))
    for note in scan.notes:
        say(f"note: {note}")
    say(f"manifest in {output}")
    say(CAVEAT)
    return EXIT_OK


@app.command("stats")
def show_statistics(
    manifest: ManifestArgument,
    column: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> int:
    """Count labels, patients, splits, sources, views, ages."""
    from chestx.datasets.stats import describe_manifest

    table = read_manifest_options(
        manifest, columns=column, labels=labels, rename=rename, where=where
    )
    statistics = describe_manifest(table.manifest)
    if as_json:
        record = {
            "manifest": str(manifest),
            "sha256": table.sha256,
            "left_out": dict(table.left_out),
            "notes": list(table.notes),
            "split_problem": table.split_problem,
            **statistics.to_json(),
            "caveat": CAVEAT,
        }
        say(json.dumps(record, indent=2))
        return EXIT_OK
    print_statistics(statistics)
    say_reading(table)
    say(CAVEAT)
    return EXIT_OK


@app.command("split")
def split_data(
    manifest: ManifestArgument,
    output: OutputOption,
    shares: Annotated[
        str, typer.Option("--shares", help="Of train/validation/test, in per cent.")
    ] = "70/15/15",
    folds: Annotated[
        int | None,
        typer.Option("--folds", help="Cut into folds for cross-validation instead."),
    ] = None,
    fold_by_source: Annotated[
        bool, typer.Option("--fold-by-source", help="Make every source a fold instead.")
    ] = False,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            "--hold-out", help="Source that becomes the test part. Repeatable.", show_default=False
        ),
    ] = None,
    keep: Annotated[
        list[Keep] | None,
        typer.Option(
            "--keep",
            help="Part of an existing split that stays; none: replace it. Repeatable.",
            show_default=False,
        ),
    ] = None,
    leave_out_leaks: Annotated[
        bool,
        typer.Option(
            "--leave-out-leaks",
            help="Put images that share a patient or picture with a kept part into no part.",
        ),
    ] = False,
    seed: SeedOption = 0,
    column: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    overwrite: OverwriteOption = False,
) -> int:
    """Cut into parts or folds by patient and duplicate group.

    Parts are alike in labels and sources. A checksum is recorded.

    Exit code 3: the split that is to be kept leaks.
    """
    from chestx.datasets.manifest import write_manifest
    from chestx.datasets.split_record import compute_split_id
    from chestx.datasets.splits import LeakageError, SplitOptions, split_manifest

    _refuse_existing(output, overwrite=overwrite)
    options = SplitOptions(
        shares=_parse_shares(shares),
        folds=folds,
        fold_by_source=fold_by_source,
        hold_out=tuple(hold_out or ()),
        keep=_parse_keep(keep),
        leave_out_leaks=leave_out_leaks,
        seed=seed,
    )
    table = read_manifest_options(
        manifest, columns=column, labels=labels, rename=rename, where=where
    )
    try:
        split = split_manifest(table.manifest, options)
    except LeakageError as error:
        say_error(str(error))
        return EXIT_SOME_FAILED
    write_manifest(split, output)
    print_split(split)
    say_reading(table)
    say(f"manifest in {output}, split_id {compute_split_id(split)}, seed {seed}")
    say(CAVEAT)
    return EXIT_OK


@app.command("audit")
def audit_data(
    manifest: ManifestArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)
    ],
    seed: SeedOption = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Child processes that decode; default: one a core."),
    ] = None,
    column: ColumnOption = None,
    labels: LabelsOption = None,
    rename: RenameOption = None,
    where: WhereOption = None,
    overwrite: OverwriteOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> int:
    """Look for leaks, bad files, and labels guessed without lungs.

    Exit code 3: a patient or a picture is on both sides of the split.
    """
    from chestx.datasets.audit import audit_manifest
    from chestx.datasets.groups import name_duplicates
    from chestx.datasets.manifest import write_manifest

    for name in ("audit.html", "audit.json", "grouped.csv"):
        _refuse_existing(output / name, overwrite=overwrite)
    table = read_manifest_options(
        manifest, columns=column, labels=labels, rename=rename, where=where
    )
    with show_progress(len(table.manifest.examples), quiet=quiet) as advance:
        audit = audit_manifest(table.manifest, output, seed=seed, workers=workers, on_image=advance)
    same = [(pair.first, pair.second) for pair in audit.pairs if pair.likeness.is_duplicate]
    write_manifest(name_duplicates(table.manifest, same), output / "grouped.csv")
    if not quiet:
        say(summarise(table.manifest))
        say_reading(table)
        for leak in audit.leaks:
            say(f"leakage: {leak}")
        for warning in audit.warnings:
            say(f"warning: {warning}")
        say(f"results in {output}/: audit.html, audit.json, grouped.csv")
        if same:
            say(
                "grouped.csv is the table with duplicates in one dup_group; "
                "`chestx data split` keeps them together"
            )
        say(CAVEAT)
    return EXIT_SOME_FAILED if audit.leaks else EXIT_OK


def _parse_shares(text: str) -> Mapping[str, float]:
    from chestx.datasets.cells import SPLITS

    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= len(SPLITS):
        raise UsageError(
            f"--shares: expected per cent of train/validation/test such as 70/15/15 or 80/20, "
            f"got {text!r:.40}"
        )
    whole = 100 if sum(numbers) > 1.5 else 1
    return dict(zip(SPLITS, (number / whole for number in numbers), strict=False))


def _parse_keep(parts: list[Keep] | None) -> tuple[str, ...] | None:
    if parts is None:
        return None
    if Keep.NONE in parts and len(set(parts)) > 1:
        raise UsageError("--keep: expected none alone, or parts that stay")
    return tuple(part.value for part in parts if part is not Keep.NONE)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise UsageError(
            f"{str(path)!r} is there already; name another, or give --overwrite to replace it"
        )
    if path.is_dir():
        raise UsageError(f"{str(path)!r}: expected the name of a file, there is a folder")
