"""One folder a class, below folders of splits or not."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    DICOM_SUFFIXES,
    RASTER_SUFFIXES,
    list_images,
    make_targets,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

SPLITS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of folders, in lower case -> split of the manifest."""


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Takes the names of folders for labels, and ``train``, ``val``, ``test`` for splits.

    Args:
        folder: holds a folder a class, or folders of splits that hold those.
        options: none is used.

    Raises:
        UsageError: fewer than two classes, names that become no or the same label,
            folders of splits beside folders of classes.
    """
    refuse_options(options, source="folders")
    found = list_images(folder, suffixes=RASTER_SUFFIXES | DICOM_SUFFIXES)
    tops = {PurePosixPath(path).parts[0] for path in found if "/" in path}
    named = {top for top in tops if top.lower() in SPLITS}
    if named and named != tops:
        raise UsageError(
            f"{str(folder)!r}: expected only folders of splits or only folders of classes, "
            f"got {', '.join(sorted(named))} beside {', '.join(sorted(tops - named))}"
        )
    placed = [_place(path, has_splits=bool(named)) for path in found]
    names = {(split, name) for _, split, name in placed if name}
    keys = _make_keys(names, folder)
    labels = tuple(sorted(set(keys.values())))
    examples = tuple(
        Example(
            path=path,
            targets=make_targets(labels, {keys[name]}),
            split=split,
            source=folder.resolve().name,
        )
        for path, split, name in placed
        if name
    )
    manifest = Manifest(labels=labels, task=Task.SINGLE_LABEL, examples=examples, folder=folder)
    return Scan(manifest, _note(outside=len(placed) - len(examples)))


def _place(path: str, *, has_splits: bool) -> tuple[str, str, str]:
    """Path, split and name of the class folder; empty where the file lies in none."""
    parts = PurePosixPath(path).parts[:-1]
    split = SPLITS[parts[0].lower()] if has_splits and parts else ""
    inner = parts[1:] if has_splits else parts
    return path, split, inner[0] if inner else ""


def _make_keys(names: set[tuple[str, str]], folder: Path) -> dict[str, str]:
    """Names of class folders -> labels."""
    keys: dict[str, str] = {}
    taken: dict[tuple[str, str], str] = {}
    for split, name in sorted(names):
        key = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", key):
            raise UsageError(
                f"{str(folder)!r}: expected folders with names that begin with a letter A to Z "
                f"and have at most 64, because they become labels, got {name!r:.80}; rename it"
            )
        if taken.setdefault((split, key), name) != name:
            raise UsageError(
                f"{str(folder)!r}: folders {taken[split, key]!r:.80} and {name!r:.80} would both "
                f"become the label {key}; rename one"
            )
        keys[name] = key
    if len(set(keys.values())) < 2:
        raise UsageError(
            f"{str(folder)!r}: expected at least two folders with images, one a class, below it "
            f"or below train, val and test, got {len(set(keys.values()))}; "
            "is this the folder that holds them?"
        )
    return keys


def _note(*, outside: int) -> tuple[str, ...]:
    notes = [
        "Folders tell no patients: images of one patient can be kept together only where "
        "they are found to be alike."
    ]
    if outside:
        notes.append(f"{outside:,} image files lie in no folder of a class and were left out.")
    return tuple(notes)
