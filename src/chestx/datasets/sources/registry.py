"""The kinds of folder that ``chestx data scan`` reads."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from chestx.datasets.example import Manifest
from chestx.domain import UsageError

Uncertain = Literal["ones", "zeros", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How a folder is read; what a source has no use for it refuses.

    Attributes:
        labels: a table of labels where the set does not bring one in a known place.
        uncertain: what becomes of readings that the source calls uncertain.
        columns: manifest column -> column of ``labels``.
        rename: word of the folder or of ``labels`` -> label; an empty one is unknown.
    """

    labels: Path | None = None
    uncertain: Uncertain | None = None
    columns: Mapping[str, str] | None = None
    rename: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a folder.

    Attributes:
        manifest: with paths from the folder that was scanned.
        notes: what a user must know: what was passed over and why, traps of the set
            that were met, a sentence each.
    """

    manifest: Manifest
    notes: tuple[str, ...] = ()


Scanner = Callable[[Path, ScanOptions], Scan]

# Name on the command line -> module in this package with a function `scan`.
SOURCES: Mapping[str, str] = {
    "folders": "folders",
    "csv": "table",
    "dicom": "dicom",
    "kermany": "kermany",
    "covid19-radiography": "covid19_radiography",
    "covidx": "covidx",
    "covid-chestxray": "covid_chestxray",
    "nih": "nih",
    "chexpert": "chexpert",
    "rsna": "rsna",
    "mimic-cxr-jpg": "mimic_cxr_jpg",
    "padchest": "padchest",
    "vindr-cxr": "vindr_cxr",
    "montgomery": "montgomery",
    "shenzhen": "shenzhen",
}


def scan_folder(source: str, folder: Path, options: ScanOptions | None = None) -> Scan:
    """Reads a data set in the layout in which it is published.

    Args:
        source: a key of SOURCES.
        folder: where the set lies.
        options: how.

    Raises:
        UsageError: no such source, another layout, unknown columns or labels.
    """
    if source not in SOURCES:
        raise UsageError(f"source: expected one of {', '.join(SOURCES)}, got {source!r:.40}")
    if not folder.is_dir():
        raise UsageError(f"{str(folder)!r}: expected a folder, there is none")
    module = importlib.import_module(f"chestx.datasets.sources.{SOURCES[source]}")
    return cast(Scanner, module.scan)(folder, options or ScanOptions())
