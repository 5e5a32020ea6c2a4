"""What the sources share: names that stay in the folder, files, targets, ages, options."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Example, Target
from chestx.datasets.sources.published import Row, check_columns, read_lines, read_table
from chestx.datasets.sources.registry import ScanOptions
from chestx.domain import UsageError

__all__ = [
    "DICOM_SUFFIXES",
    "MAX_AGE_YEARS",
    "RASTER_SUFFIXES",
    "Row",
    "check_columns",
    "compare_files",
    "index_names",
    "join_name",
    "list_images",
    "make_targets",
    "note_shared_patients",
    "parse_age",
    "parse_sex",
    "read_lines",
    "read_table",
    "refuse_options",
]

MAX_FILES = 5_000_000
MAX_AGE_YEARS = 120.0

RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic"})

_MAX_NAME = 1_024
_OPTIONS = {
    "labels": "--labels-csv",
    "uncertain": "--uncertain",
    "columns": "--column",
    "rename": "--rename",
}
_AGE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*([YMWD]?)", re.IGNORECASE)
_UNITS_A_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}
_SEX = {
    "m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O",
}  # fmt: skip


def join_name(folder: str, name: str, *, table: str) -> str:
    """A path below a folder from a name that a table gives.

    Args:
        folder: relative to the scanned folder, with ``/``; empty for that folder itself.
        name: from the table, perhaps with folders of its own.
        table: name of the file, for errors.

    Returns:
        The path relative to the scanned folder, with ``/``.

    Raises:
        UsageError: the name is empty, absolute or leaves the folder.
    """
    parts = PurePosixPath(name).parts
    is_bad = (
        not parts
        or len(name) > _MAX_NAME
        or name.startswith("/")
        or ".." in parts
        or "\\" in name
        or (len(parts[0]) >= 2 and parts[0][1] == ":")  # A Windows drive.
        or not name.isprintable()
    )
    if is_bad:
        raise UsageError(
            f"{table}: expected the name of a file inside the data set's folder, got {name!r:.80}"
        )
    return str(PurePosixPath(folder, *parts))


def list_images(
    folder: Path, under: str = "", *, suffixes: Collection[str] | None = RASTER_SUFFIXES
) -> list[str]:
    """The image files below a folder, sorted by path.

    Hidden files and what macOS leaves behind (``__MACOSX``, ``._name``) are passed over.
    Linked folders are followed, each real one once.

    Args:
        folder: the scanned folder.
        under: where to look in it, with ``/``.
        suffixes: in lower case; None takes every file, whatever its name.

    Returns:
        Paths relative to ``folder``, with ``/``.

    Raises:
        UsageError: more files than MAX_FILES.
    """
    found: list[str] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder / under, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        base = PurePosixPath(Path(here).relative_to(folder).as_posix())
        found += [
            str(base / name)
            for name in files
            if not name.startswith(".")
            and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes)
        ]
        if len(found) > MAX_FILES:
            raise UsageError(
                f"{str(folder)!r}: expected at most {MAX_FILES:,} image files, got more"
            )
    return sorted(found)


def index_names(found: Iterable[str], *, folder: Path) -> dict[str, str]:
    """File names -> where they are, for tables that name a file but not its folder.

    Args:
        found: paths as of list_images.
        folder: the scanned one, for the error.

    Raises:
        UsageError: two files have the same name.
    """
    places: dict[str, str] = {}
    for path in found:
        name = PurePosixPath(path).name
        if name in places:
            raise UsageError(
                f"{str(folder)!r}: expected each file name once, because the set's table names "
                f"no folders, got {places[name]!r:.120} and {path!r:.120}; remove one"
            )
        places[name] = path
    return places


def compare_files(
    named: Iterable[str], found: Collection[str], *, table: str, layout: str
) -> tuple[str, ...]:
    """What a user must know where a table and a folder do not hold the same files.

    Only examples whose file was found belong into a manifest.

    Args:
        named: paths that the table names.
        found: paths in the folder.
        table: name of the file.
        layout: what the folder should look like, for the error.

    Returns:
        No sentence where they agree.

    Raises:
        UsageError: none of the files that the table names is there.
    """
    wanted, there = set(named), set(found)
    missing, surplus = wanted - there, there - wanted
    if wanted and missing == wanted:
        raise UsageError(
            f"{table}: expected {layout}, but none of the {len(wanted):,} files "
            f"that it names is there ({min(wanted)!r:.120} is the first)"
        )
    notes = []
    if missing:
        notes.append(
            f"{len(missing):,} of the {len(wanted):,} files that {table} names are not in the "
            f"folder and were left out: {_count_folders(missing)}."
        )
    if surplus:
        notes.append(
            f"{len(surplus):,} image files are not named by {table} and were left out: "
            f"{_count_folders(surplus)}."
        )
    return tuple(notes)


def _count_folders(paths: Iterable[str], most: int = 12) -> str:
    """``5 in images_002, 3 in images_001``: the fullest folders first, then by name."""
    tally = Counter(str(PurePosixPath(path).parent) for path in paths)
    counts = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{count:,} {_name_place(folder)}" for folder, count in counts[:most])
    rest = len(counts) - most
    return shown + (f" and others in {rest:,} more folders" if rest > 0 else "")


def _name_place(folder: str) -> str:
    if folder == ".":
        return "without a folder"
    return f"in {folder:.80}" if folder.isprintable() else f"in {folder!r:.80}"


def note_shared_patients(examples: Iterable[Example]) -> tuple[str, ...]:
    """What a user must know where the set's own splits part a patient's images.

    Returns:
        No sentence where they do not.
    """
    splits: dict[tuple[str, str], set[str]] = {}
    for example in examples:
        if example.patient_id and example.split:
            splits.setdefault((example.source, example.patient_id), set()).add(example.split)
    shared = sum(len(met) > 1 for met in splits.values())
    if not shared:
        return ()
    return (
        f"{shared:,} of {len(splits):,} patients have images in more than one of the set's own "
        "splits: figures on those splits flatter; split anew by patient.",
    )


def make_targets(
    labels: Sequence[str],
    present: Collection[str],
    *,
    unknown: Collection[str] = (),
    absent: Collection[str] | None = None,
) -> tuple[Target, ...]:
    """Targets in the order of the labels.

    Args:
        labels: of the manifest.
        present: terms that the source says are there; it wins over the others.
        unknown: terms that were asked and not settled.
        absent: terms that the source says are not there; what is in none of the three was
            not asked. None: all the others are absent.

    Raises:
        ValueError: a term that is none of the labels.
    """
    for term in (*present, *unknown, *(absent or ())):
        if term not in labels:
            raise ValueError(f"expected one of the labels {', '.join(labels)}, got {term!r}")
    default = Target.ABSENT if absent is None else Target.NOT_ASKED
    settled = dict.fromkeys(absent or (), Target.ABSENT)
    settled |= dict.fromkeys(unknown, Target.UNKNOWN) | dict.fromkeys(present, Target.PRESENT)
    return tuple(settled.get(label, default) for label in labels)


def parse_age(text: str) -> float | None:
    """An age in years, from ``58``, ``58.0``, ``058Y``, ``011M``, ``003W`` or ``010D``.

    Returns:
        None where the text is no age or one past MAX_AGE_YEARS; the caller counts those.
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    years = float(match[1]) / _UNITS_A_YEAR[match[2].upper()]
    return years if years <= MAX_AGE_YEARS else None


def parse_sex(text: str) -> str:
    """``M``, ``F``, ``O`` or empty for anything else."""
    return _SEX.get(text.strip().lower(), "")


def refuse_options(options: ScanOptions, *, source: str, allowed: Collection[str] = ()) -> None:
    """Holds a caller to the options that a source has a use for.

    Args:
        options: as given.
        source: name for the error.
        allowed: fields of ScanOptions that it uses.

    Raises:
        UsageError: another one is set.
    """
    for name, option in _OPTIONS.items():
        if name not in allowed and getattr(options, name) is not None:
            taken = ", ".join(_OPTIONS[name] for name in sorted(allowed))
            raise UsageError(
                f"{option}: {source} has no use for this option"
                f"{f' (it takes {taken})' if taken else ''}; leave it out"
            )
