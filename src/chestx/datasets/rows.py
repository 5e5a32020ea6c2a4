"""A CSV from anywhere -> its rows as text, with the line that each begins on."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chestx.domain import UsageError, starts_formula

MAX_BYTES = 512 * 1024 * 1024
MAX_ROWS = 2_000_000
MAX_COLUMNS = 1_000
MAX_CELL = 100_000

_DELIMITERS = ",;\t"
_MAX_HEADER = 1_000_000
_HARMLESS = re.compile(r"-|[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_CONDITION = re.compile(r"\s*([^=!]+?)\s*(!?=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as it stands in the file.

    Attributes:
        name: of the file, for errors.
        header: names of the columns, none twice.
        rows: as many cells each as the header has.
        lines: on which each row begins, from 1.
        sha256: of the file.
    """

    name: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[int]
    sha256: str

    def fail(self, row: int, reason: str) -> UsageError:
        """The error for a row; the caller raises it. The reason holds no patient data."""
        return UsageError(f"{self.name}, line {self.lines[row]}: {reason}")


@dataclass(frozen=True, slots=True)
class Condition:
    """Rows that are meant: ``view=PA,AP`` or ``view!=L``.

    Attributes:
        text: as it was put.
        column: whose cells are compared, as a manifest or as the file names it.
        values: that are meant; an empty one is an empty cell.
        is_negated: whether they are the ones that are not meant.
    """

    text: str
    column: str
    values: frozenset[str]
    is_negated: bool

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Reads ``column=value,value`` or ``column!=value,value``.

        Raises:
            UsageError: it is neither.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise UsageError(
                f"where: expected COLUMN=VALUE,... or COLUMN!=VALUE,..., got {text!r:.80}"
            )
        values = frozenset(value.strip() for value in match[3].split(","))
        return cls(text.strip(), match[1], values, match[2] == "!=")


def read_rows(path: Path) -> RawTable:
    """Reads a table in UTF-8 whose cells are parted by commas, semicolons or tabs.

    Empty lines are passed over. A column without a name gets one from its place, and
    the apostrophe that guards a cell against spreadsheets is taken away.

    Args:
        path: of the table.

    Raises:
        UsageError: it is missing, too large, not UTF-8, no table, or has no row.
    """
    data = _load(path)
    text = _decode(data, path.name)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=_choose_delimiter(text),
        skipinitialspace=True,
        strict=True,
    )
    header: tuple[str, ...] | None = None
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if "field limit" in str(error):
                raise _make_cell_error(path.name, line) from None
            raise UsageError(f"{path.name}, line {line}: expected a CSV, got: {error}") from None
        if cells is None:
            break
        if not any(cells):
            continue
        if header is None:
            header = _check_header(cells, path.name)
            continue
        if len(rows) == MAX_ROWS:
            raise UsageError(f"{path.name}: expected at most {MAX_ROWS:,} rows, got more")
        rows.append(_check_cells(cells, len(header), path.name, line))
        lines.append(line)
    if header is None or not rows:
        raise UsageError(f"{path.name}: expected a header and rows below it, got no row")
    return RawTable(path.name, header, rows, lines, hashlib.sha256(data).hexdigest())


def _load(path: Path) -> bytes:
    if not path.exists():
        raise UsageError(f"{str(path)!r}: expected a CSV, there is no such file")
    if not path.is_file():
        raise UsageError(f"{str(path)!r}: expected a CSV, got something that is no file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path.name}: expected at most {MAX_BYTES:,} bytes, got more")
    return data


def _decode(data: bytes, name: str) -> str:
    place = data.find(b"\0")
    if place < 0:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # Not error.start: that one counts from behind a byte order mark.
            place = len(data) - len(error.object) + error.start
    line = data.count(b"\n", 0, place) + 1
    raise UsageError(
        f"{name}, line {line}: expected UTF-8, got the byte 0x{data[place]:02X} at offset "
        f"{place:,}; save it as CSV UTF-8"
    )


def _choose_delimiter(text: str) -> str:
    """The one that is most frequent in the header, outside quotes; a comma where none is."""
    start = re.sub(r'"[^"]*"', "", text[:_MAX_HEADER]).strip("\r\n")
    header = re.split(r"[\r\n]", start, maxsplit=1)[0]
    return max(_DELIMITERS, key=header.count)


def _check_header(cells: Sequence[str], table: str) -> tuple[str, ...]:
    if len(cells) > MAX_COLUMNS:
        raise UsageError(f"{table}: expected at most {MAX_COLUMNS:,} columns, got {len(cells):,}")
    names = tuple(
        restore_cell(cell.strip()) or f"column {number}" for number, cell in enumerate(cells, 1)
    )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"{table}: expected each column once, got {quote_names(twice)} twice; rename one"
        )
    return names


def _check_cells(cells: list[str], wanted: int, table: str, line: int) -> tuple[str, ...]:
    while len(cells) > wanted and not cells[-1]:
        cells.pop()
    if len(cells) != wanted:
        raise UsageError(
            f"{table}, line {line}: expected {wanted} cells as in the header, got {len(cells)}"
        )
    if max(map(len, cells)) > MAX_CELL:
        raise _make_cell_error(table, line)
    # Nearly all cells begin with something else, and there can be many millions.
    return tuple(restore_cell(cell) if cell[:1] == "'" else cell for cell in cells)


def _make_cell_error(table: str, line: int) -> UsageError:
    return UsageError(
        f"{table}, line {line}: expected at most {MAX_CELL:,} characters in a cell, got more; "
        "a quotation mark that is not closed takes all that follows into its cell"
    )


def guard_cell(text: str) -> str:
    """Puts an apostrophe before what a spreadsheet would take for a formula.

    Numbers and a single ``-`` stay as they are. Text that looks guarded already gets one
    more apostrophe, so :func:`restore_cell` gives back every text exactly.
    """
    if _is_guarded(text) or (starts_formula(text) and not _HARMLESS.fullmatch(text)):
        return f"'{text}"
    return text


def restore_cell(text: str) -> str:
    """The text that :func:`guard_cell` was given."""
    return text[1:] if _is_guarded(text) else text


def _is_guarded(text: str) -> bool:
    return text[:1] == "'" and starts_formula(text.lstrip("'"))


def map_columns(table: RawTable, columns: Mapping[str, str]) -> dict[str, int]:
    """Where the columns of a manifest stand in a table.

    A column of the file whose name another one takes is kept as ``NAME_original``.

    Args:
        table: as read.
        columns: name in the manifest -> name in the file; an empty one leaves out the
            file's column of that name.

    Returns:
        Name in the manifest -> number of the cell, in the order of the file.

    Raises:
        UsageError: a column that the file does not have, or two that would get one name.
    """
    for name, column in columns.items():
        if (column or name) not in table.header:
            close = difflib.get_close_matches(column or name, table.header, n=1)
            hint = f"; perhaps {close[0]!r:.80}" if close else ""
            raise UsageError(
                f"{table.name}: expected the column {column or name!r:.80}, "
                f"the file has {quote_names(table.header)}{hint}"
            )
    takers: dict[str, list[str]] = {}
    for name, column in columns.items():
        takers.setdefault(column, []).append(name)
    found: dict[str, int] = {}
    for number, column in enumerate(table.header):
        own = [] if columns.get(column) == "" else [column]
        if own and column in columns and column not in takers.get(column, ()):
            own = [f"{column}_original"]
        for name in takers.get(column, own):
            if name in found:
                raise UsageError(
                    f"{table.name}: two columns would be called {name!r:.80}; rename one"
                )
            found[name] = number
    return found


def select_rows(
    table: RawTable,
    columns: Mapping[str, int],
    conditions: Iterable[Condition],
    normalise: Mapping[str, Callable[[str], str]],
) -> tuple[list[int], dict[str, int]]:
    """The rows that meet all conditions.

    Args:
        table: as read.
        columns: name in the manifest -> number of the cell.
        conditions: on names of the manifest or of the file.
        normalise: name in the manifest -> what both sides go through before they are compared.

    Returns:
        Numbers of the rows, and condition -> how many it left out.

    Raises:
        UsageError: a condition on a column that is not there.
    """
    kept = list(range(len(table.rows)))
    left_out: dict[str, int] = {}
    for condition in conditions:
        if condition.column in columns:
            cell = columns[condition.column]
        elif condition.column in table.header:
            cell = table.header.index(condition.column)
        else:
            raise UsageError(
                f"where {condition.text!r:.80}: expected a column of {table.name}, "
                f"which has {quote_names(table.header)}"
            )
        change = normalise.get(condition.column, str)
        values = condition.values | frozenset(map(change, condition.values))
        before = len(kept)
        kept = [
            row
            for row in kept
            if (change(table.rows[row][cell].strip()) in values) != condition.is_negated
        ]
        if before > len(kept):
            reason = f"not {condition.text}"
            left_out[reason] = left_out.get(reason, 0) + before - len(kept)
    return kept, left_out


def quote_names(names: Iterable[str], most: int = 20) -> str:
    """``'a', 'b' and 12 more`` for an error."""
    every = list(names)
    text = ", ".join(f"{name!r:.80}" for name in every[:most])
    return f"{text} and {len(every) - most:,} more" if len(every) > most else text
