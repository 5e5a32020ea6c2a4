"""What makes a batch resumable: its plan in ``run.json``, its rows in ``results.csv``.

Rows are appended in input order, after their pictures. So after Ctrl-C, a kill or a
power cut the whole rows at the beginning of the table are what is done. They are taken
over only if the plan is the same and the files still have the same content.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from chestx import __version__
from chestx.batch.options import (
    HEATMAPS,
    OWN_FILES,
    OWN_NAMES,
    PARTS,
    PICTURES,
    RESULTS,
    RUN,
    BatchOptions,
    ObjectSummary,
)
from chestx.domain import (
    CAVEAT,
    ChestxError,
    InvalidModelError,
    UnreadableImageError,
    UsageError,
)
from chestx.export.table import Row, WrittenAnswer, neutralise_cell, to_json_record
from chestx.images.reading import load_bytes
from chestx.models.classifier import Classifier
from chestx.models.records import build_record

_SYNC_S = 2.0
_NOT_SYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EROFS})
# These change how fast a run is, not what it writes.
_SPEED_OPTIONS = ("workers", "threads", "batch_size")
_OWN_PICTURE = re.compile(r"(\d{6,})(_[A-Za-z0-9._-]+)?\.(jpg|png|json)")
_NUMBERED_FOLDERS = (
    HEATMAPS,
    f"{PICTURES}/views",
    f"{PICTURES}/thumbnails",
    f"{PICTURES}/maps",
    PARTS,
)

Plan = dict[str, Any]


def describe_plan(paths: Sequence[str], *, classifier: Classifier, options: BatchOptions) -> Plan:
    """All that decides the bytes of the results, apart from the files' content."""
    names = "\0".join(paths).encode("utf-8", "surrogateescape")
    chosen = asdict(options)
    for name in _SPEED_OPTIONS:
        del chosen[name]
    return {
        "inputs": {"count": len(paths), "sha256": hashlib.sha256(names).hexdigest()},
        "model": asdict(classifier.identity),
        "options": chosen,
        "chestx": __version__,
    }


def prepare_output(folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
    """Makes the output folder; what is there already is kept unless told otherwise.

    Args:
        folder: made if it is not there.
        overwrite: take away what an earlier run of chestx wrote there, and only that.
        resume: leave it for the run to go on from.

    Raises:
        UsageError: something of that name is there already and must not be touched, or the
            folder cannot be made.
        ChestxError: what an earlier run wrote cannot be taken away.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{str(folder)!r}: cannot be made: {error.strerror}") from error
    held = [name for name in OWN_NAMES if os.path.lexists(folder / name)]
    if not held:
        return
    _refuse_links(folder)
    if not (overwrite or resume):
        raise UsageError(
            f"{str(folder)!r} holds {held[0]} already; name another folder, or give "
            "--resume to finish the run there or --overwrite to replace its result"
        )
    if not _is_own(folder):
        raise UsageError(
            f"{str(folder)!r} holds {held[0]} that chestx did not write; name another folder"
        )
    if overwrite:
        try:
            with lock_output(folder):
                _remove_earlier(folder)
        except OSError as error:
            name = Path(str(error.filename)).name if error.filename else str(folder)
            raise ChestxError(f"{name!r} cannot be removed: {error.strerror}") from error


@contextmanager
def lock_output(folder: Path) -> Iterator[None]:
    """Keeps a second run out of the folder; the lock ends with the process.

    Raises:
        UsageError: another run is at work there.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{str(folder)!r}: another run is at work there") from error
        yield
    finally:
        os.close(descriptor)


def find_done(
    folder: Path,
    paths: Sequence[str],
    *,
    plan: Plan,
    columns: Sequence[str],
    has_report: bool,
    has_objects: Callable[[int], bool] | None = None,
) -> list[Row]:
    """The rows that an interrupted run has done and that still hold.

    The table is cut to exactly these rows, so that it can be appended to.

    Args:
        folder: output of the earlier run.
        paths: inputs of this run.
        plan: of this run.
        columns: of this run's table.
        has_report: whether the run writes pictures for the report.
        has_objects: whether the DICOM objects of a row are whole, by its position.

    Raises:
        UsageError: the earlier run had another plan, or an input has changed since.
    """
    if not (folder / RESULTS).exists():
        return []
    _compare_plans(_read_plan(folder), plan)
    lines = (folder / RESULTS).read_bytes().split(b"\n")
    if lines[0] != ",".join(columns).encode():
        if len(lines) == 1 or not lines[0].strip(b"\0"):
            # Cut in its first line by a power cut.
            return []
        raise UsageError(
            f"cannot resume: {str(folder / RESULTS)!r} was changed since it was written; "
            "give --overwrite to start anew"
        )
    rows = []
    # What follows the last line end is a row that was cut, or nothing.
    for position, line in enumerate(lines[1:-1]):
        row = _parse_row(line, columns)
        if row is None or position >= len(paths):
            break
        if not all(map(_is_whole, _list_pictures(folder, row, position, has_report=has_report))):
            break
        if has_objects is not None and not has_objects(position):
            break
        if row["path"] != neutralise_cell(paths[position]):
            raise UsageError(f"cannot resume: row {position + 1} is of another file; start anew")
        rows.append(row)
    rows = rows[: _count_unchanged(rows, paths)]
    kept = sum(len(line) + 1 for line in lines[: len(rows) + 1])
    os.truncate(folder / RESULTS, kept)
    return rows


def wrote_objects_to(folder: Path, dicom: str) -> bool:
    """Whether the run whose results a folder holds writes its DICOM objects to ``dicom``."""
    try:
        return bool(_read_plan(folder)["options"]["dicom"] == dicom)
    except (UsageError, KeyError, TypeError):
        return False


def read_finished_objects(folder: Path) -> ObjectSummary | None:
    """What the run whose results a folder holds wrote of DICOM objects; None before all are."""
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))["objects"]
        return build_record(ObjectSummary, record, where=str(folder / RUN))
    except (OSError, ValueError, KeyError, TypeError, InvalidModelError):
        return None


class RowWriter:
    """Appends rows to ``results.csv``; each is there for a reader at once, and soon on the disk."""

    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._file = file
        self._writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        self._synced = time.monotonic()

    def write_header(self) -> None:
        """The first line."""
        self._writer.writeheader()

    def write(self, row: Row) -> None:
        """One row."""
        self._writer.writerow(row)
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Waits until all that was written is on the disk."""
        self._file.flush()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            # A device or a pipe in place of the table cannot be synced; a disk that lost what
            # was written says so here, and the run must not go on as if it were there.
            if error.errno not in _NOT_SYNCABLE:
                raise
        self._synced = time.monotonic()


def _read_plan(folder: Path) -> Plan:
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
        plan = record["plan"]
        if record["caveat"] != CAVEAT or not isinstance(plan["inputs"]["count"], int):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot resume: {str(folder / RUN)!r} does not say what was run; "
            "give --overwrite to start anew"
        ) from error
    found: Plan = plan
    return found


def _compare_plans(earlier: Plan, plan: Plan) -> None:
    what = {
        "inputs": "the list of input files",
        "model": "the model",
        "options": "the options",
        "chestx": "the version of chestx",
    }
    # Through JSON, as the earlier one went.
    plan = json.loads(json.dumps(plan))
    for name, words in what.items():
        if earlier.get(name) != plan[name]:
            details = _describe_difference(earlier.get(name), plan[name])
            raise UsageError(
                f"cannot resume: {words} changed since ({details}); give --overwrite to start anew"
            )


def _describe_difference(earlier: Any, now: Any) -> str:
    if isinstance(earlier, dict) and isinstance(now, dict):
        for name in now:
            if earlier.get(name) != now[name]:
                return f"{name}: {earlier.get(name)} then, {now[name]} now"
    return f"{earlier} then, {now} now"


def _parse_row(line: bytes, columns: Sequence[str]) -> Row | None:
    """A whole row, or None: after a power cut a line may be anything."""
    try:
        cells = next(csv.reader(io.StringIO(line.decode("utf-8")), strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        return None
    row = dict(zip(columns, cells, strict=False))
    if len(cells) != len(columns) or row["status"] not in ("ok", "failed"):
        return None
    try:
        WrittenAnswer.from_row(row)
        to_json_record(row, columns)
    except (ValueError, KeyError):
        return None
    return row


def _list_pictures(folder: Path, row: Row, position: int, *, has_report: bool) -> list[Path]:
    """The files that go with a row."""
    pictures = [folder / row["heatmap"]] if row["heatmap"] else []
    if has_report and row["status"] == "ok":
        number = f"{position + 1:06d}"
        endings = (("views", "jpg"), ("thumbnails", "jpg"), ("maps", "json"))
        pictures += [folder / PICTURES / name / f"{number}.{end}" for name, end in endings]
    return pictures


def _is_whole(path: Path) -> bool:
    """Whether a picture was written to its end; after a power cut it may be empty or cut."""
    try:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - 12, 0))
            tail = file.read()
    except OSError:
        return False
    if path.suffix == ".json":
        return tail.endswith(b"]")
    return tail.endswith(b"\xff\xd9") or b"IEND" in tail


def _count_unchanged(rows: Sequence[Row], paths: Sequence[str]) -> int:
    """How many rows at the beginning still hold.

    Raises:
        UsageError: a file that was done has another content by now.
    """
    pool = ThreadPoolExecutor(4)
    try:
        digests = pool.map(_hash_file, paths[: len(rows)])
        for position, (row, digest) in enumerate(zip(rows, digests, strict=True)):
            if row["sha256"] == digest:
                continue
            if row["status"] == "failed" and not row["sha256"]:
                # It could not be read then, and can now: it is done anew, and what follows.
                return position
            raise UsageError(
                f"cannot resume: the file of row {position + 1} changed since "
                f"(sha256 {row['sha256'][:12]} then, {digest[:12] or 'none'} now); "
                "give --overwrite to start anew"
            )
        return len(rows)
    finally:
        pool.shutdown(cancel_futures=True)


def _hash_file(path: str) -> str:
    try:
        return hashlib.sha256(load_bytes(path)).hexdigest()
    except UnreadableImageError:
        return ""


def _refuse_links(folder: Path) -> None:
    for name in (*OWN_NAMES, *_NUMBERED_FOLDERS):
        if (folder / name).is_symlink():
            raise UsageError(f"{str(folder / name)!r} is a link; chestx writes no file through one")


def _is_own(folder: Path) -> bool:
    """Whether ``run.json`` is of a run of chestx; it is the first file that a run writes."""
    try:
        _read_plan(folder)
    except UsageError:
        return False
    return True


def _remove_earlier(folder: Path) -> None:
    """Takes away the files of an earlier run, and only those; ``run.json``, the proof, last."""
    count = _read_plan(folder).get("inputs", {}).get("count", 0)
    for name in _NUMBERED_FOLDERS:
        if (folder / name).is_dir():
            for picture in (folder / name).iterdir():
                match = _OWN_PICTURE.fullmatch(picture.name)
                if match and 1 <= int(match.group(1)) <= count:
                    picture.unlink()
    for name in (*_NUMBERED_FOLDERS, PICTURES):
        with suppress(OSError):
            (folder / name).rmdir()
    for name in OWN_FILES:
        (folder / name).unlink(missing_ok=True)
