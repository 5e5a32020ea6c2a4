"""``chestx predict``: files in, a folder of tables, pictures and a report out."""

from __future__ import annotations

import csv
import json
import logging
import platform
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from chestx import __version__
from chestx.analysis import Analyzer
from chestx.batch.journal import (
    Plan,
    RowWriter,
    describe_plan,
    find_done,
    lock_output,
)
from chestx.batch.options import (
    HEATMAPS,
    JSON_LINES,
    PARQUET,
    REPORT,
    RESULTS,
    RUN,
    STUDIES,
    BatchOptions,
    BatchSummary,
)
from chestx.batch.report import make_picture_folders, write_pictures, write_report
from chestx.domain import CAVEAT, ChestxError, Decision, Limits, Report, Result, UsageError
from chestx.export.table import (
    STUDY_COLUMNS,
    Row,
    WrittenAnswer,
    list_result_columns,
    to_json_record,
    to_result_row,
    to_study_rows,
)
from chestx.files import open_without_following, write_bytes, write_text, write_whole
from chestx.images.worker import WorkerLimits
from chestx.models.classifier import Classifier
from chestx.models.site import site_profile_to_json
from chestx.rendering.overlay import draw_overlay, encode_picture

log = logging.getLogger(__name__)

_VERSIONED = ("numpy", "opencv-python-headless", "openvino", "onnxruntime", "pydicom", "Pillow")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH = 40
_PARQUET_ROWS = 10_000


def predict_files(
    paths: Sequence[str],
    output: Path,
    *,
    classifier: Classifier,
    options: BatchOptions,
    resume: bool = False,
    skipped: int = 0,
    command: Sequence[str] = (),
    on_row: Callable[[Row], None] | None = None,
) -> BatchSummary:
    """Answers for every file and writes the folder of results.

    Args:
        paths: as they shall stand in the table.
        output: an existing folder, see :func:`~chestx.batch.journal.prepare_output`.
        classifier: the model.
        options: how.
        resume: whether the rows of an interrupted run are taken over.
        skipped: litter passed over, written down in ``run.json``.
        command: the command line, written down in ``run.json``.
        on_row: is called with each row in input order.

    Raises:
        UsageError: another run is at work in the folder, or the earlier one cannot be resumed.
        ChestxError: the folder cannot be written (disk full, for one).
    """
    summary = BatchSummary(output=output, images=len(paths), skipped=skipped)
    record = _RunRecord(summary, classifier, options, command)
    if options.parquet:
        _require_pyarrow()
    try:
        with lock_output(output):
            _run(paths, record, resume=resume, on_row=on_row)
    except OSError as error:
        name = Path(str(error.filename)).name if error.filename else str(output)
        raise ChestxError(
            f"the results cannot be written ({name}): {error.strerror or error}"
        ) from error
    return summary


def name_heatmap(position: int, source: str, *, suffix: str) -> str:
    """A file name that no other row can have and no path text can escape from.

    Args:
        position: of the row, from 0; the name begins with it, from 1.
        source: only its last part is used, reduced to plain letters.
        suffix: of the format, without the dot.
    """
    stem = _UNSAFE.sub("_", Path(source).name)[:_NAME_LENGTH].strip("._") or "image"
    return f"{position + 1:06d}_{stem}.{suffix}"


def describe_command() -> list[str]:
    """The command line as it was typed, with the program's plain name."""
    return ["chestx", *sys.argv[1:]]


class _RunRecord:
    """``run.json``: enough to say later what was run, on what, by which model, and how fast."""

    def __init__(
        self,
        summary: BatchSummary,
        classifier: Classifier,
        options: BatchOptions,
        command: Sequence[str],
    ) -> None:
        self.summary = summary
        self.classifier = classifier
        self.options = options
        self._command = list(command)
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def write(self, status: str, plan: Plan) -> None:
        """Writes the file with what is known by now."""
        text = json.dumps(self.describe(status, plan), indent=2, ensure_ascii=False)
        write_text(self.summary.output / RUN, text + "\n")

    def describe(self, status: str, plan: Plan) -> dict[str, Any]:
        """What is known by now, as JSON values."""
        summary = self.summary
        versions = {"chestx": __version__, "python": platform.python_version()}
        for name in _VERSIONED:
            with suppress(PackageNotFoundError):
                versions[name] = version(name)
        done = sum(summary.decisions.values()) - summary.resumed
        return {
            "caveat": CAVEAT,
            "status": status,
            "command": self._command,
            "started": self._started,
            "model": asdict(self.classifier.identity),
            "site_profile": _describe_profile(self.classifier),
            "versions": versions,
            "platform": f"{platform.system()} {platform.machine()}",
            "options": asdict(self.options),
            "plan": plan,
            "counts": {
                "images": summary.images,
                "resumed": summary.resumed,
                "studies": summary.studies,
                "skipped": summary.skipped,
                **{str(decision): summary.decisions[decision] for decision in Decision},
            },
            "seconds": round(summary.seconds, 3),
            "images_per_second": round(done / max(summary.seconds, 1e-9), 2),
            "stage_seconds": _round_all(summary.stage_seconds),
            "stage_cpu_seconds": _round_all(summary.stage_cpu_seconds),
        }


def _describe_profile(classifier: Classifier) -> dict[str, Any] | None:
    """The whole site profile: the page cannot be made anew without it."""
    if classifier.site_profile is None:
        return None
    document: dict[str, Any] = json.loads(site_profile_to_json(classifier.site_profile))
    return document


class _Finisher:
    """What is done with a result in its own thread: draw, write, and let the arrays go."""

    def __init__(self, analyzer: Analyzer, record: _RunRecord, first: int) -> None:
        self._clock = analyzer.clock
        self._identity = record.classifier.identity
        self._output = record.summary.output
        self._options = record.options
        self._first = first
        if self._options.heatmaps:
            (self._output / HEATMAPS).mkdir(exist_ok=True)
        if self._options.report:
            make_picture_folders(self._output)

    def __call__(self, position: int, result: Result) -> Row:
        position += self._first
        heatmap = ""
        if isinstance(result, Report):
            try:
                heatmap = self._write_pictures(result, position)
            except OSError:
                raise
            except Exception as error:
                # The answer is there; that it could not be drawn must not cost it.
                log.error(
                    "a picture could not be drawn: %s",
                    type(error).__name__,
                    extra={"fields": {"row": position + 1}},
                )
        return to_result_row(result, identity=self._identity, heatmap=heatmap)

    def _write_pictures(self, report: Report, position: int) -> str:
        if self._options.report:
            with self._clock.measure("pictures"):
                write_pictures(report, self._output, position=position)
        return self._write_overlay(report, position) if self._options.heatmaps else ""

    def _write_overlay(self, report: Report, position: int) -> str:
        suffix = self._options.heatmap_format
        relative = f"{HEATMAPS}/{name_heatmap(position, report.source, suffix=suffix)}"
        with self._clock.measure("overlay"):
            title = Path(report.source).name
            picture = draw_overlay(report, size=self._options.heatmap_size, title=title)
            data = encode_picture(picture, format=suffix)
        with self._clock.measure("write"):
            write_bytes(self._output / relative, data)
        return relative


def _run(
    paths: Sequence[str],
    record: _RunRecord,
    *,
    resume: bool,
    on_row: Callable[[Row], None] | None,
) -> None:
    summary, classifier, options = record.summary, record.classifier, record.options
    output, start = summary.output, time.perf_counter()
    columns = list_result_columns(classifier.card)
    plan = describe_plan(paths, classifier=classifier, options=options)
    done: list[Row] = []
    if resume:
        done = find_done(output, paths, plan=plan, columns=columns, has_report=options.report)
    summary.resumed = len(done)
    (output / REPORT).unlink(missing_ok=True)
    record.write("running", plan)
    answers: list[WrittenAnswer] = []
    # Closed here whatever happens: no thread may write after the folder is let go.
    with closing(_follow(paths, done, record, columns)) as following:
        for row in following:
            summary.decisions[row["decision"]] += 1
            answers.append(WrittenAnswer.from_row(row))
            if on_row is not None:
                on_row(row)
    rows = to_study_rows(answers)
    summary.studies = len(rows)
    _write_table(output / STUDIES, STUDY_COLUMNS, rows)
    if options.json_lines:
        _write_json_lines(output, columns)
    if options.parquet:
        _write_parquet(output, columns)
    summary.seconds = time.perf_counter() - start
    if options.report:
        # Before the run is called finished: who sees that word may rely on the page, too.
        run = record.describe("finished", plan)
        summary.has_report = write_report(output, card=classifier.card, run=run)
    record.write("finished", plan)


def _follow(
    paths: Sequence[str], done: Sequence[Row], record: _RunRecord, columns: Sequence[str]
) -> Generator[Row, None, None]:
    """Every row of the table in order: those of the earlier run, then the new ones as written."""
    yield from done
    options = record.options
    table = record.summary.output / RESULTS
    with (
        Analyzer(
            record.classifier,
            workers=None if options.workers is None else min(options.workers, len(paths)),
            threads=options.threads,
            batch_size=options.batch_size,
            preview_size=options.preview_size,
            limits=Limits(),
            worker_limits=WorkerLimits(memory_mb=options.memory_mb, timeout_s=options.timeout_s),
        ) as analyzer,
        open(table, "a", encoding="utf-8", newline="", opener=open_without_following) as file,
    ):
        writer = RowWriter(file, columns)
        if not done:
            file.truncate(0)
            writer.write_header()
        finish = _Finisher(analyzer, record, first=len(done))
        for row in analyzer.stream(paths[len(done) :], finish=finish):
            with analyzer.clock.measure("write"):
                writer.write(row)
            yield row
        writer.sync()
        record.summary.stage_seconds = analyzer.clock.seconds
        record.summary.stage_cpu_seconds = _complete_cpu(
            analyzer.clock.cpu_seconds, has_children=options.workers != 0
        )


def _round_all(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


def _complete_cpu(stages: dict[str, float], *, has_children: bool) -> dict[str, float]:
    """With ``rest``: what this process took beside the stages measured in it.

    That is the model, which computes on threads of its runtime, and the start of the program.
    """
    in_children = {"read", "preprocess"} if has_children else set()
    measured = sum(value for name, value in stages.items() if name not in in_children)
    return {**stages, "rest": max(time.process_time() - measured, 0.0)}


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with write_whole(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text.detach()


def _read_records(output: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with open(output / RESULTS, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield to_json_record(row, columns)


def _write_json_lines(output: Path, columns: Sequence[str]) -> None:
    with write_whole(output / JSON_LINES) as file:
        for item in _read_records(output, columns):
            file.write(json.dumps(item, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(
            'results.parquet needs pyarrow, which is not installed: pip install "chestx[parquet]"'
        ) from error


def _write_parquet(output: Path, columns: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    example = to_json_record(dict.fromkeys(columns, "1"), columns)
    schema = pyarrow.schema([(name, kinds[type(example[name])]) for name in columns])
    with write_whole(output / PARQUET) as file, parquet.ParquetWriter(file, schema) as writer:
        batch: list[dict[str, Any]] = []
        for item in _read_records(output, columns):
            batch.append(item)
            if len(batch) == _PARQUET_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pyarrow.Table.from_pylist(batch, schema))
