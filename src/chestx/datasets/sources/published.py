"""Published tables and lists: read strictly, row by row, within limits."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chestx.domain import UsageError

MAX_TABLE_BYTES = 1024 * 1024 * 1024
"""Of text, unpacked; the largest published table (PadChest with its reports) has 0.1 GiB."""
MAX_ROWS = 5_000_000
MAX_COLUMNS = 1_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        table: name of the file, for errors.
        line: where the row ends in the file, from 1.
        cells: column -> text, without spaces around it.
    """

    table: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def fail(self, reason: str) -> UsageError:
        """The error for this row; the caller raises it. The reason holds no patient data."""
        return UsageError(f"{self.table}, line {self.line}: {reason}")


def read_table(
    path: Path,
    columns: Collection[str] | None,
    *,
    optional: Collection[str] = (),
    delimiter: str = ",",
) -> Iterator[Row]:
    """Reads a CSV with the header that is expected, row by row.

    UTF-8 with or without a byte order mark; a name that ends in ``.gz`` is unpacked. Surplus
    empty cells at the end of a line, the header among them, are passed over.

    Args:
        path: of the table.
        columns: that must be there; None where any header will do.
        optional: columns that may be there too.
        delimiter: between cells.

    Raises:
        UsageError: missing, too large, not text, a column unknown or missing or there twice,
            a row with another number of cells.
    """
    _require_file(path)
    try:
        with open(path, "rb") as file:
            raw = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            bounded = io.BufferedReader(_Limited(raw, path))
            text = io.TextIOWrapper(bounded, encoding="utf-8-sig", newline="")
            yield from _read_rows(text, path, columns, optional, delimiter)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{str(path)!r}: expected a table, got: {reason}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{str(path)!r}: expected a table in UTF-8, got other bytes; save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise UsageError(f"{str(path)!r}: expected a CSV, got: {error}") from None


def _require_file(path: Path) -> None:
    """Never waits for a pipe."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{str(path)!r}: expected a file, got a folder or something else")


class _Limited(io.RawIOBase):
    """A stream that refuses to go past MAX_TABLE_BYTES, which a packed file may hide."""

    def __init__(self, raw: io.IOBase, path: Path) -> None:
        self._raw, self._path, self._taken = raw, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._raw.read(len(view))
        self._taken += len(data)
        if self._taken > MAX_TABLE_BYTES:
            raise UsageError(
                f"{str(self._path)!r}: expected a table of at most {MAX_TABLE_BYTES:,} bytes, "
                "got a larger one"
            )
        view[: len(data)] = data
        return len(data)


def _read_rows(
    text: Iterable[str],
    path: Path,
    columns: Collection[str] | None,
    optional: Collection[str],
    delimiter: str,
) -> Iterator[Row]:
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    header = _drop_surplus(next(reader, []), 0)
    check_columns(header, columns, optional=optional, table=path.name)
    for count, cells in enumerate(reader):
        if not any(cells):
            continue
        cells = _drop_surplus(cells, len(header))
        if len(cells) != len(header):
            raise UsageError(
                f"{path.name}, line {reader.line_num}: expected {len(header)} cells "
                f"as in the header, got {len(cells)}"
            )
        if count >= MAX_ROWS:
            raise UsageError(f"{path.name}: expected at most {MAX_ROWS:,} rows, got more")
        yield Row(path.name, reader.line_num, dict(zip(header, cells, strict=True)))


def _drop_surplus(cells: list[str], wanted: int) -> list[str]:
    """Cells without spaces around them, and without empty ones past the wanted number."""
    cells = [cell.strip() for cell in cells]
    while len(cells) > wanted and not cells[-1]:
        cells.pop()
    return cells


def check_columns(
    header: Sequence[str],
    columns: Collection[str] | None,
    *,
    optional: Collection[str] = (),
    table: str,
) -> None:
    """Holds a header to what is expected.

    Args:
        header: as it stands in the file.
        columns: that must be there, in any order; None where any header will do.
        optional: columns that may be there too.
        table: name of the file, for errors.

    Raises:
        UsageError: a column unknown, missing or there twice, or too many.
    """
    if not header or len(header) > MAX_COLUMNS:
        raise UsageError(
            f"{table}: expected a header of 1 to {MAX_COLUMNS} columns, got {len(header)}"
        )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise UsageError(f"{table}: expected no column twice, got {_quote(twice)} again")
    if columns is None:
        return
    missing = [name for name in columns if name not in header]
    unknown = [name for name in header if name not in columns and name not in optional]
    if missing or unknown:
        wrong = (["is missing " + _quote(missing)] if missing else []) + (
            ["has unknown " + _quote(unknown)] if unknown else []
        )
        raise UsageError(
            f"{table}: expected the columns {_quote(columns)}, but it {' and '.join(wrong)}; "
            "is this the set that was named, and an edition that is known?"
        )


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"{name!r:.80}" for name in names)


def read_lines(path: Path) -> list[str]:
    """The lines of a list of names, without spaces around them and without empty ones.

    Raises:
        UsageError: missing, too large or not UTF-8.
    """
    _require_file(path)
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UsageError(
                f"{str(path)!r}: expected a list of at most {MAX_TABLE_BYTES:,} bytes, "
                "got a larger one"
            )
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{str(path)!r}: expected a list, got: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{str(path)!r}: expected a list in UTF-8, got other bytes") from None
    return [line.strip() for line in lines if line.strip()]
