"""The table of a labelled data set: a CSV that a person can write.

Its columns are described in ``docs/datasets.md``, which a test holds against this file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from chestx.datasets.cells import (
    format_age,
    format_boxes,
    format_target,
    is_wordy_age,
    normalise_split,
    parse_age,
    parse_boxes,
    parse_sex,
    parse_split,
)
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.labels import LABEL, choose_labels
from chestx.datasets.rows import (
    MAX_CELL,
    Condition,
    RawTable,
    guard_cell,
    map_columns,
    quote_names,
    read_rows,
    select_rows,
)
from chestx.datasets.split_record import RECORDED, SPLIT_ID, checksum_split, describe_change
from chestx.datasets.vocabulary import TERMS
from chestx.domain import ChestxError, UsageError
from chestx.files import write_whole

PATH = "path"
TEXT_COLUMNS = (
    "source",
    "patient_id",
    "study_id",
    "group",
    "dup_group",
    "view",
    "population",
    "device",
    "licence",
)
COLUMNS = (PATH, LABEL, "split", *TEXT_COLUMNS, "age", "sex", "boxes")
"""What a manifest calls its columns; any other one is a label's or is kept as it is."""

_WRITTEN = ("split", *TEXT_COLUMNS[:5], "view", "age", "sex", *TEXT_COLUMNS[6:], "boxes")
_MAX_PATH = 4_096


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ManifestTable:
    """A manifest and what reading it left out.

    Attributes:
        manifest: the rows that were asked for.
        left_out: reason -> number of rows.
        sha256: of the file.
        split_problem: why the split is not the one that was made, a sentence; empty where it
            is, or where the file records none. It is about the whole file.
        notes: what else a user must know of the rows, a sentence each.
    """

    manifest: Manifest
    left_out: Mapping[str, int]
    sha256: str
    split_problem: str = ""
    notes: tuple[str, ...] = ()


def read_manifest(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    where: Sequence[str] = (),
) -> ManifestTable:
    """Reads the table of a data set.

    Args:
        path: of the CSV (UTF-8; comma, semicolon or tab). Relative paths in it count from
            its folder.
        columns: name in the manifest -> name in the file, where they differ; an empty one
            leaves out the file's column.
        labels: that are asked for, in this order; None: all. Where an image has one label,
            rows with another one are left out.
        rename: word of the file -> label; several may become one, an empty one is unknown.
        where: conditions that rows must meet, ``view=PA,AP`` or ``view!=L``; a name of the
            manifest or of the file.

    Raises:
        UsageError: what is wrong, with the line.
    """
    table = read_rows(path)
    _check_mapped(columns or {}, labels or ())
    found = map_columns(table, columns or {})
    if PATH not in found:
        raise UsageError(
            f"{table.name}: expected a column 'path', got {quote_names(table.header)}; "
            "say which it is with --column path=COLUMN"
        )
    reserved = {*COLUMNS, *RECORDED, SPLIT_ID}
    reader = choose_labels(table, found, reserved, labels=labels, rename=rename or {})
    conditions = [Condition.parse(text) for text in where]
    kept, left_out = select_rows(table, found, conditions, {"split": normalise_split})
    problem, is_recorded = _check_record(path.parent, table, found)
    other = [name for name in found if name not in COLUMNS and name not in reader.columns]
    examples = []
    for number in kept:
        targets = reader.read(number)
        if isinstance(targets, str):
            left_out[targets] = left_out.get(targets, 0) + 1
        else:
            examples.append(_read_example(table, number, found, targets, other))
    if not examples:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise UsageError(f"{table.name}: expected rows, but every one was left out: {reasons}")
    if left_out and is_recorded:
        # The checksum is that of all rows, so it does not go with a part of them.
        examples = [_drop_record(example) for example in examples]
    manifest = Manifest(
        labels=reader.labels, task=reader.task, examples=tuple(examples), folder=path.parent
    )
    return ManifestTable(
        manifest=manifest,
        left_out=left_out,
        sha256=table.sha256,
        split_problem=problem,
        notes=_note_ages(table, found, kept),
    )


def _note_ages(table: RawTable, found: Mapping[str, int], kept: Sequence[int]) -> tuple[str, ...]:
    if "age" not in found:
        return ()
    ages = Counter(table.rows[number][found["age"]].strip() for number in kept)
    count = sum(times for age, times in ages.items() if is_wordy_age(age))
    if not count:
        return ()
    return (
        f"{count:,} {'age is a word' if count == 1 else 'ages are words'}, not stated in years",
    )


def _check_mapped(columns: Mapping[str, str], labels: Iterable[str]) -> None:
    known = {*COLUMNS, *RECORDED, SPLIT_ID, *TERMS, *labels}
    for name, column in columns.items():
        if column and name not in known:
            raise UsageError(
                f"column {name!r:.80}: expected one of {', '.join(COLUMNS)}, or a label; "
                "write it as NAME IN THE MANIFEST=NAME IN THE FILE"
            )


def _check_record(folder: Path, table: RawTable, found: Mapping[str, int]) -> tuple[str, bool]:
    if SPLIT_ID not in found:
        return "", False
    cells = [found.get(name) for name in RECORDED]
    path = found[PATH]
    computed = checksum_split(
        folder,
        (
            (row[path], *("" if cell is None else row[cell].strip() for cell in cells))
            for row in table.rows
        ),
    )
    return describe_change((row[found[SPLIT_ID]] for row in table.rows), computed), True


def _drop_record(example: Example) -> Example:
    kept = {name: text for name, text in example.other.items() if name != SPLIT_ID}
    return replace(example, other=MappingProxyType(kept))


def _read_example(
    table: RawTable,
    number: int,
    found: Mapping[str, int],
    targets: tuple[Target, ...],
    other: Sequence[str],
) -> Example:
    row = table.rows[number]
    cells = {name: row[found[name]].strip() for name in COLUMNS if name in found}
    path = row[found[PATH]]
    if not path.strip() or len(path) > _MAX_PATH:
        raise table.fail(number, f"path: expected 1 to {_MAX_PATH:,} characters, got {len(path):,}")
    try:
        return Example(
            path=path,
            targets=targets,
            split=parse_split(cells.get("split", "")),
            age_years=parse_age(cells.get("age", "")),
            sex=parse_sex(cells.get("sex", "")),
            boxes=parse_boxes(cells.get("boxes", "")),
            other=MappingProxyType({name: row[found[name]] for name in other}),
            source=cells.get("source", ""),
            patient_id=cells.get("patient_id", ""),
            study_id=cells.get("study_id", ""),
            group=cells.get("group", ""),
            dup_group=cells.get("dup_group", ""),
            view=cells.get("view", ""),
            population=cells.get("population", ""),
            device=cells.get("device", ""),
            licence=cells.get("licence", ""),
        )
    except ValueError as error:
        raise table.fail(number, str(error)) from None


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Writes a manifest that :func:`read_manifest` reads back as it is.

    Relative paths are rewritten to count from the new file's folder; the file appears whole or
    not at all, and replaces one of that name. Columns without any text are not written.
    What a spreadsheet would take for a formula gets an apostrophe, which reading takes away.

    Args:
        manifest: to write.
        path: of the CSV.

    Raises:
        UsageError: the manifest cannot be written as a table.
        ChestxError: the system does not let it be written.
    """
    header, makers = _plan_columns(manifest)
    move = _make_mover(manifest.folder, path.parent)
    lines = [",".join(map(_quote, header))]
    for number, example in enumerate(manifest.examples, start=1):
        cells = [move(example.path), *(make(example) for make in makers)]
        if any("\0" in cell or len(cell) > MAX_CELL for cell in cells):
            raise UsageError(
                f"example {number}: expected cells without NUL of at most {MAX_CELL:,} characters"
            )
        lines.append(",".join(map(_quote, cells)))
    try:
        data = ("\n".join(lines) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            "a file name or text is not UTF-8, which a manifest must be; rename that file"
        ) from None
    _replace_file(path, data)


def _plan_columns(manifest: Manifest) -> tuple[list[str], list[Callable[[Example], str]]]:
    planned: dict[str, Callable[[Example], str]] = {}
    if manifest.task is Task.SINGLE_LABEL:
        planned[LABEL] = lambda example: _format_label(manifest.labels, example)
    else:
        for place, label in enumerate(manifest.labels):
            planned[label] = partial(_format_target_at, place)
    written = {name: _make_writer(name) for name in _WRITTEN}
    planned |= {
        name: write for name, write in written.items() if any(map(write, manifest.examples))
    }
    other = dict.fromkeys(name for example in manifest.examples for name in example.other)
    clash = [
        name for name in other if not name.strip() or name in COLUMNS or name in manifest.labels
    ]
    if clash:
        raise UsageError(
            f"expected names for further columns that the manifest does not use itself, "
            f"got {quote_names(clash)}"
        )
    planned |= {name: partial(_get_other, name) for name in other}
    return [PATH, *planned], list(planned.values())


def _format_target_at(place: int, example: Example) -> str:
    return format_target(example.targets[place])


def _get_other(name: str, example: Example) -> str:
    return example.other.get(name, "")


def _make_writer(name: str) -> Callable[[Example], str]:
    if name == "age":
        return lambda example: format_age(example.age_years)
    if name == "boxes":
        return lambda example: format_boxes(example.boxes)
    return lambda example: str(getattr(example, name))


def _format_label(labels: Sequence[str], example: Example) -> str:
    targets = example.targets
    if Target.PRESENT in targets:
        if targets.count(Target.ABSENT) == len(targets) - 1:
            return labels[targets.index(Target.PRESENT)]
    elif set(targets) == {Target.UNKNOWN}:
        return ""
    elif set(targets) == {Target.NOT_ASKED}:
        return "-"
    raise UsageError(
        "an image with one label of several: expected that label present and all others absent, "
        "or all unknown, or all not asked; use the multi-label task for anything else"
    )


def _make_mover(old: Path, new: Path) -> Callable[[str], str]:
    """Rewrites a path that counts from one folder to count from another."""
    # By their real places: `..` out of a linked folder leads elsewhere than its name says.
    way = os.path.relpath(os.path.realpath(old), os.path.realpath(new))
    if way == os.curdir:
        return str
    return lambda path: path if os.path.isabs(path) else os.path.join(way, path)


def _quote(text: str) -> str:
    cell = guard_cell(text)
    if not cell or any(sign in cell for sign in ',;\t"\r\n') or cell[0] == " ":
        return '"' + cell.replace('"', '""') + '"' if cell else ""
    return cell


def _replace_file(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as file:
            file.write(data)
    except OSError as error:
        raise ChestxError(f"{str(path)!r}: cannot be written: {error.strerror}") from error
