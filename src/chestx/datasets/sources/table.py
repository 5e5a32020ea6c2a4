"""Any CSV that names images, under the columns that it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chestx.datasets.manifest import read_manifest
from chestx.datasets.sources.common import (
    DICOM_SUFFIXES,
    RASTER_SUFFIXES,
    compare_files,
    join_name,
    list_images,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

_LAYOUT = "paths that count from the scanned folder"


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads a table as a manifest is read, and keeps the rows whose files are there.

    Args:
        folder: that the paths in the table count from, wherever the table lies.
        options: ``labels`` is the table where the folder does not hold exactly one CSV;
            ``columns`` maps columns of a manifest to those of the table, ``rename`` its words
            to labels.

    Raises:
        UsageError: no table, a path that leaves the folder, none of the files there, or
            whatever is wrong with a manifest.
    """
    refuse_options(options, source="csv", allowed=("labels", "columns", "rename"))
    table = options.labels or _find_table(folder)
    read = read_manifest(table, columns=options.columns, rename=options.rename)
    manifest = read.manifest
    paths = [join_name("", example.path, table=table.name) for example in manifest.examples]
    there = {path for path in paths if (folder / path).is_file()}
    found = there.union(list_images(folder, suffixes=RASTER_SUFFIXES | DICOM_SUFFIXES))
    notes = compare_files(paths, found, table=table.name, layout=_LAYOUT)
    examples = tuple(
        replace(example, path=path)
        for example, path in zip(manifest.examples, paths, strict=True)
        if path in there
    )
    notes += tuple(f"{count:,} rows were left out: {why}." for why, count in read.left_out.items())
    notes += read.notes + ((read.split_problem,) if read.split_problem else ())
    return Scan(replace(manifest, examples=examples, folder=folder), notes)


def _find_table(folder: Path) -> Path:
    tables = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables[:5]) or "none"
        raise UsageError(
            f"{str(folder)!r}: expected exactly one CSV in it, got {names}; name the table with "
            "--labels-csv"
        )
    return tables[0]
