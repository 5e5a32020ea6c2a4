"""The metadata tables (xlsx) of the COVID-19 Radiography Database."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from chestx.datasets.sources.common import check_columns
from chestx.domain import UsageError

COLUMNS = ("FILE NAME", "FORMAT", "SIZE", "URL")
MAX_BYTES = 64 * 1024 * 1024
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_ROWS = 100_000

# Part of an address, in lower case -> the set it belongs to.
_ORIGINS = {
    "rsna-pneumonia-detection": "rsna",
    "chest-xray-pneumonia": "kermany",
    "bimcv": "bimcv",
    "covid-cxnet": "covid-cxnet",
    "covid-chestxray-dataset": "covid-chestxray",
    "covid-19-image-repository": "hannover",
    "sirm.org": "sirm",
    "eurorad": "eurorad",
}


def read_origins(path: Path) -> dict[str, str]:
    """File name (small letters, no spaces, no suffix) -> set that the image came from.

    Args:
        path: of one class's table; where there is none, the answer is empty.

    Raises:
        UsageError: too large, no workbook, other columns.
    """
    if not path.is_file():
        return {}
    _check_size(path)
    try:
        rows = _read_cells(path)
    except UsageError:
        raise
    except Exception as error:  # whatever openpyxl raises on a broken file is the file's fault
        raise UsageError(
            f"{path.name}: expected an xlsx workbook, got a file that cannot be read as one "
            f"({type(error).__name__}); fetch it again"
        ) from error
    header = list(rows[0]) if rows else []
    while header and not header[-1]:
        header.pop()
    check_columns(header, COLUMNS, table=path.name)
    name, url = header.index("FILE NAME"), header.index("URL")
    return {
        row[name].casefold().replace(" ", ""): _name_origin(row[url])
        for row in rows[1:]
        if row[name]
    }


def _check_size(path: Path) -> None:
    """A workbook is a ZIP archive, which may unpack to any size."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        raise UsageError(
            f"{path.name}: expected an xlsx workbook, got another file; fetch it again"
        ) from None
    if size > MAX_BYTES or unpacked > MAX_UNPACKED_BYTES:
        raise UsageError(
            f"{path.name}: expected a workbook of at most {MAX_BYTES:,} bytes and "
            f"{MAX_UNPACKED_BYTES:,} unpacked, got {size:,} and {unpacked:,}"
        )


def _read_cells(path: Path) -> list[list[str]]:
    """The first sheet as text, header first, every row as long as the header."""
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        rows: list[list[str]] = []
        for cells in sheet.iter_rows(values_only=True, max_col=len(COLUMNS) + 8):
            if len(rows) > MAX_ROWS:
                raise UsageError(f"{path.name}: expected at most {MAX_ROWS:,} rows, got more")
            row = ["" if cell is None else str(cell).strip() for cell in cells]
            rows.append(row + [""] * (len(COLUMNS) + 8 - len(row)))
        return rows
    finally:
        book.close()


def _name_origin(url: str) -> str:
    """A short name: a known set, else the host of the address."""
    lowered = url.lower()
    for part, name in _ORIGINS.items():
        if part in lowered:
            return name
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    return re.sub(r"[^a-z0-9.-]+", "", host.removeprefix("www."))[:64] or "not-stated"
