"""What a person names on the command line -> the files that are meant, in a stable order."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chestx.batch.options import OBJECT_NAME, OWN_NAMES, RESULTS, RUN
from chestx.domain import CAVEAT, UsageError

LITTER = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})
"""Files that systems leave beside images (lower case); so is every name with a leading dot."""

LIST_SUFFIXES = frozenset({".txt", ".csv", ".lst"})
"""Endings of a file that is taken for a list of paths."""

PATH_COLUMNS = ("path", "file", "filename")
"""Header names under which a CSV list may hold its paths."""

STANDARD_INPUT = "-"

_MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Of the record of a run; a larger file of its name is none."""

MAX_PATH_CHARACTERS = 16_384
"""Longer than any system opens; a longer line of a list is no path."""

MAX_LIST_BYTES = 256 * 1024 * 1024


@dataclass(slots=True)
class Inputs:
    """The files that are meant.

    Attributes:
        paths: in the order in which they were named, folders in the order of their names.
        passed_over: what folders and patterns hold besides: litter, and results of chestx.
    """

    paths: list[str] = field(default_factory=list)
    passed_over: set[str] = field(default_factory=set)

    @property
    def skipped(self) -> int:
        """How many files and folders were passed over, each once."""
        return len(self.passed_over)


def collect_inputs(
    arguments: Sequence[str],
    *,
    standard_input: bytes,
    exclude: Path | None = None,
    take_objects: bool = False,
) -> Inputs:
    """Finds the files behind files, folders, patterns and lists.

    Nothing that a list names is checked here: a path that does not exist becomes
    a row that says so. An argument that names nothing at all is a mistake.

    Args:
        arguments: files, folders (searched through and through), patterns
            (``*.dcm``, ``**/*.png``), ``.txt``/``.csv`` lists, or ``-``.
        standard_input: what it holds where an argument is ``-``: one path a line.
        exclude: a folder that is not searched, namely the output.
        take_objects: whether DICOM objects of chestx, known by their names, are meant; else
            they are passed over in folders and patterns, for their pictures are no radiographs.

    Raises:
        UsageError: an argument that names nothing, or a list that cannot be read.
    """
    inputs = Inputs()
    skip = _Skipped(_identify(exclude) if exclude is not None else None, take_objects)
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
            _expand_pattern(argument, inputs, skip)
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
    """What is passed over in folders: one folder, hidden files, litter, what chestx wrote."""

    folder: tuple[int, int] | None
    takes_objects: bool

    def has(self, name: str) -> bool:
        """Whether a file or folder of this name is passed over in a folder."""
        return name.startswith(".") or self.has_written(name)

    def has_written(self, name: str) -> bool:
        """Whether a name is one that systems or chestx give, wherever the file lies."""
        if name.lower() in LITTER:
            return True
        return not self.takes_objects and OBJECT_NAME.fullmatch(name) is not None


def _expand_pattern(pattern: str, inputs: Inputs, skip: _Skipped) -> None:
    """Every file once, though ``**`` names a folder and what is in it."""
    found = Inputs()
    for match in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isdir(match):
            _walk_folder(match, found, skip)
        else:
            found.paths.append(match)
    # What a person names outright is meant, also in a folder that would be passed over.
    named = pattern
    while glob.has_magic(named):
        named = os.path.dirname(named)
    known: dict[str, tuple[bool, bool]] = {}
    for path in dict.fromkeys(found.paths):
        is_written = skip.has_written(os.path.basename(path))
        above = path if is_written else _find_passed_over(path, skip, named=named, known=known)
        if above:
            found.passed_over.add(above)
        else:
            inputs.paths.append(path)
    inputs.passed_over |= found.passed_over


def _find_passed_over(
    path: str, skip: _Skipped, *, named: str, known: dict[str, tuple[bool, bool]]
) -> str:
    """The folder that is not searched, or what a run wrote, where a path leads there; else "".

    Args:
        path: of a file.
        skip: what is passed over.
        named: the folder above it at which the search began; nothing above that matters.
        known: folder -> whether it holds results and whether it is not searched; is filled.
    """
    folder, name = os.path.split(path)
    while name:
        if folder not in known:
            here = folder or "."
            is_excluded = skip.folder is not None and _identify(Path(here)) == skip.folder
            known[folder] = _is_own_result(here), is_excluded
        is_own, is_excluded = known[folder]
        if is_excluded:
            return folder or "."
        if is_own and name in OWN_NAMES:
            return os.path.join(folder, name)
        if folder == named:
            break
        folder, name = os.path.split(folder)
    return ""


def _is_own_result(folder: str) -> bool:
    """Whether a folder holds results of chestx, by the record of their run."""
    try:
        if not os.path.exists(os.path.join(folder, RESULTS)):
            return False
        with open(os.path.join(folder, RUN), "rb") as file:
            record = json.loads(file.read(_MAX_RECORD_BYTES))
        return bool(record["caveat"] == CAVEAT)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


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
    stack = [iter(_list_folder(folder, inputs, seen, skip))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif skip.has(entry.name):
            inputs.passed_over.add(entry.path)
        elif _is_folder(entry):
            stack.append(iter(_list_folder(entry.path, inputs, seen, skip)))
        else:
            inputs.paths.append(entry.path)


def _list_folder(
    folder: str,
    inputs: Inputs,
    seen: set[tuple[int, int]],
    skip: _Skipped,
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
    if identity in seen or identity == skip.folder:
        return []
    seen.add(identity)
    if {RESULTS, RUN} <= {entry.name for entry in entries} and _is_own_result(folder):
        # Radiographs may lie beside the results: they are not passed over with them.
        inputs.passed_over.update(entry.path for entry in entries if entry.name in OWN_NAMES)
        return [entry for entry in entries if entry.name not in OWN_NAMES]
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
        found = csv.Sniffer().sniff(text[:8192].splitlines()[0], delimiters=",;\t").delimiter
    except (csv.Error, IndexError):
        found = ","
    # Of what is sniffed in one line the delimiter alone: a header tells nothing of quotes.
    yield from csv.reader(io.StringIO(text, newline=""), delimiter=found)
