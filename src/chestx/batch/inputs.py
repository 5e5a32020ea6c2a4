"""What a person names on the command line -> the files that are meant, in a stable order."""

from __future__ import annotations

import csv
import glob
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chestx.batch.options import OBJECT_NAME
from chestx.domain import UsageError

LITTER = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})
"""Files that systems leave beside images (lower case); so is every name with a leading dot."""

LIST_SUFFIXES = frozenset({".txt", ".csv", ".lst"})
"""Endings of a file that is taken for a list of paths."""

PATH_COLUMNS = ("path", "file", "filename")
"""Header names under which a CSV list may hold its paths."""

STANDARD_INPUT = "-"

OWN_RESULT = frozenset({"results.csv", "run.json"})
"""A folder with both holds results of chestx, whose pictures are no radiographs."""

MAX_PATH_CHARACTERS = 16_384
"""Longer than any system opens; a longer line of a list is no path."""

MAX_LIST_BYTES = 256 * 1024 * 1024


@dataclass(slots=True)
class Inputs:
    """The files that are meant.

    Attributes:
        paths: in the order in which they were named, folders in the order of their names.
        skipped: names in folders that were passed over: litter, and results of chestx.
    """

    paths: list[str] = field(default_factory=list)
    skipped: int = 0


def collect_inputs(
    arguments: Sequence[str],
    *,
    standard_input: bytes,
    exclude: Path | None = None,
    skip_objects: bool = False,
) -> Inputs:
    """Finds the files behind files, folders, patterns and lists.

    Nothing that a list names is checked here: a path that does not exist becomes
    a row that says so. An argument that names nothing at all is a mistake.

    Args:
        arguments: files, folders (searched through and through), patterns
            (``*.dcm``, ``**/*.png``), ``.txt``/``.csv`` lists, or ``-``.
        standard_input: what it holds where an argument is ``-``: one path a line.
        exclude: a folder that is not searched, namely the output.
        skip_objects: whether DICOM objects of chestx in folders are passed over: their
            pictures are no radiographs.

    Raises:
        UsageError: an argument that names nothing, or a list that cannot be read.
    """
    inputs = Inputs()
    skip = _Skipped(_identify(exclude) if exclude is not None else None, skip_objects)
    for argument in arguments:
        before = len(inputs.paths)
        if argument == STANDARD_INPUT:
            inputs.paths += _read_lines(_decode_list(standard_input))
        elif os.path.isdir(argument):
            _walk_folder(argument, inputs, skip)
        elif Path(argument).suffix.lower() in LIST_SUFFIXES and os.path.isfile(argument):
            inputs.paths += _read_list(Path(argument))
        elif os.path.lexists(argument):
            inputs.paths.append(argument)
        elif glob.has_magic(argument):
            for match in sorted(glob.glob(argument, recursive=True)):
                if os.path.isdir(match):
                    _walk_folder(match, inputs, skip)
                else:
                    inputs.paths.append(match)
        else:
            raise UsageError(f"{argument!r}: there is no such file or folder")
        if len(inputs.paths) == before:
            name = "standard input" if argument == STANDARD_INPUT else repr(argument)
            raise UsageError(f"{name}: no file found in it")
    for number, path in enumerate(inputs.paths, start=1):
        if len(path) > MAX_PATH_CHARACTERS:
            raise UsageError(
                f"path {number}: expected at most {MAX_PATH_CHARACTERS} characters, "
                f"got {len(path)}; is the list one of paths?"
            )
    return inputs


@dataclass(frozen=True, slots=True)
class _Skipped:
    """What is passed over in folders: one folder, hidden files, litter, our own objects."""

    folder: tuple[int, int] | None
    objects: bool

    def has(self, name: str) -> bool:
        if name.startswith(".") or name.lower() in LITTER:
            return True
        return self.objects and OBJECT_NAME.fullmatch(name) is not None


def _identify(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _walk_folder(folder: str, inputs: Inputs, skip: _Skipped) -> None:
    """Depth first, names in order; links to folders are followed once each.

    With a stack of its own: folders can be nested deeper than Python may recurse.
    """
    seen: set[tuple[int, int]] = set()
    stack = [iter(_list_folder(folder, inputs, seen, skip.folder))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif skip.has(entry.name):
            inputs.skipped += 1
        elif _is_folder(entry):
            stack.append(iter(_list_folder(entry.path, inputs, seen, skip.folder)))
        else:
            inputs.paths.append(entry.path)


def _list_folder(
    folder: str,
    inputs: Inputs,
    seen: set[tuple[int, int]],
    excluded: tuple[int, int] | None,
) -> list[os.DirEntry[str]]:
    """What is in a folder, nothing where it was seen already or is the output."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        # A folder that may not be read must not vanish from the result: it becomes a failed row.
        inputs.paths.append(folder)
        return []
    identity = (status.st_dev, status.st_ino)
    if identity in seen or identity == excluded:
        return []
    seen.add(identity)
    if {entry.name for entry in entries} >= OWN_RESULT:
        inputs.skipped += 1
        return []
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _read_lines(text: str) -> list[str]:
    # Not splitlines(): names may hold the rarer characters that it takes for line ends.
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _decode_list(data: bytes) -> str:
    """Paths may hold bytes that are no Unicode; they come out as the system knows them."""
    return data.decode("utf-8-sig", "surrogateescape")


def _read_list(path: Path) -> list[str]:
    """Paths in a list count from the folder of the list."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise UsageError(f"{str(path)!r}: a list of more than {MAX_LIST_BYTES >> 20} MiB")
        text = _decode_list(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    names = _read_csv_column(text, path) if path.suffix.lower() == ".csv" else _read_lines(text)
    return [os.path.join(path.parent, name) for name in names]


def _read_csv_column(text: str, path: Path) -> list[str]:
    try:
        rows = list(_parse_csv(text))
    except csv.Error as error:
        raise UsageError(f"{str(path)!r}: not a CSV list: {error}") from error
    if not rows:
        return []
    header = [cell.strip().lower() for cell in rows[0]]
    for name in PATH_COLUMNS:
        if name in header:
            column = header.index(name)
            return [row[column] for row in rows[1:] if len(row) > column and row[column].strip()]
    raise UsageError(
        f"{str(path)!r}: expected a column named {', '.join(PATH_COLUMNS)}, "
        f"got {', '.join(rows[0][:8])}"
    )


def _parse_csv(text: str) -> Iterator[list[str]]:
    try:
        dialect = csv.Sniffer().sniff(text[:8192].splitlines()[0], delimiters=",;\t")
    except (csv.Error, IndexError):
        yield from csv.reader(io.StringIO(text, newline=""))
    else:
        yield from csv.reader(io.StringIO(text, newline=""), dialect)
