"""``chestx predict``: files in, a folder of tables, pictures and a report out."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chestx.analysis import Analyzer
from chestx.batch.dicom_parts import remove_parts
from chestx.batch.journal import (
    Plan,
    RowWriter,
    describe_plan,
    find_done,
    lock_output,
    prepare_output,
    read_finished_objects,
    wrote_objects_to,
)
from chestx.batch.options import (
    HEATMAPS,
    JSON_LINES,
    PARQUET,
    PARTS,
    REPORT,
    RESULTS,
    STUDIES,
    BatchOptions,
    BatchSummary,
    name_image_file,
)
from chestx.batch.record import RunRecord
from chestx.batch.report import make_picture_folders, write_pictures, write_report
from chestx.domain import ChestxError, Limits, Report, Result, UsageError
from chestx.export.table import (
    STUDY_COLUMNS,
    Row,
    WrittenAnswer,
    list_result_columns,
    to_json_record,
    to_result_row,
    to_study_rows,
)
from chestx.files import open_without_following, write_bytes, write_whole
from chestx.images.preprocessing import resize_to_fit
from chestx.images.worker import WorkerLimits
from chestx.models.classifier import Classifier
from chestx.rendering.overlay import draw_overlay, encode_picture

if TYPE_CHECKING:
    from chestx.batch.dicom_objects import MadeObjects, ObjectWriter

log = logging.getLogger(__name__)

_PARQUET_ROWS = 10_000


def prepare_folders(
    output: Path, *, options: BatchOptions, overwrite: bool = False, resume: bool = False
) -> None:
    """Makes the folders of a run; what is there already is kept unless told otherwise.

    Args:
        output: of the results, see :func:`~chestx.batch.journal.prepare_output`.
        options: with the folder for DICOM objects, see
            :func:`~chestx.batch.dicom_folder.check_object_folder`.
        overwrite: take away what an earlier run of chestx wrote there, and only that.
        resume: leave it for the run to go on from.

    Raises:
        UsageError: something there must not be touched, a folder cannot be made, another run
            is at work there, or what ``options.parquet`` needs is not installed.
        ChestxError: what an earlier run wrote cannot be taken away.
    """
    if options.parquet:
        _require_pyarrow()
    if not options.dicom:
        prepare_output(output, overwrite=overwrite, resume=resume)
        return
    from chestx.batch.dicom_folder import check_object_folder, remove_objects

    folder = Path(options.dicom)
    is_same_run = resume and wrote_objects_to(output, options.dicom)
    # Before anything of the earlier results is taken away.
    check_object_folder(folder, replace=overwrite or is_same_run)
    with ExitStack() as locks:
        # Objects of a run at work are not taken away, nor the results of this one for nothing.
        is_apart = not (output.exists() and folder.samefile(output))
        if is_apart:
            locks.enter_context(lock_output(folder))
        prepare_output(output, overwrite=overwrite, resume=resume)
        if overwrite:
            if not is_apart:
                locks.enter_context(lock_output(folder))
            remove_objects(folder)


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
    record = RunRecord(summary, classifier, options, command)
    if options.parquet:
        _require_pyarrow()
    try:
        with lock_output(output), _lock_objects(options, output):
            _run(paths, record, resume=resume, on_row=on_row)
    except OSError as error:
        name = Path(str(error.filename)).name if error.filename else str(output)
        raise ChestxError(
            f"the results cannot be written ({name}): {error.strerror or error}"
        ) from error
    return summary


@contextmanager
def _lock_objects(options: BatchOptions, output: Path) -> Iterator[None]:
    """Keeps a second run out of the folder of the DICOM objects, where it is another one."""
    folder = Path(options.dicom)
    if not options.dicom or folder.samefile(output):
        yield
    else:
        with lock_output(folder):
            yield


@dataclass(frozen=True, slots=True)
class _Finished:
    """What is left of a result: its row, and its DICOM objects where any are asked for."""

    row: Row
    made: MadeObjects | None


class _Finisher:
    """What is done with a result in its own thread: draw, write, and let the arrays go."""

    def __init__(
        self,
        analyzer: Analyzer,
        record: RunRecord,
        *,
        first: int,
        objects: ObjectWriter | None,
    ) -> None:
        self._objects = objects
        self._clock = analyzer.clock
        self._identity = record.classifier.identity
        self._output = record.summary.output
        self._options = record.options
        self._first = first
        if self._options.heatmaps:
            (self._output / HEATMAPS).mkdir(exist_ok=True)
        if self._options.report:
            make_picture_folders(self._output)

    def __call__(self, position: int, result: Result) -> _Finished:
        position += self._first
        made = None
        if self._objects is not None:
            with self._clock.measure("objects"):
                made = self._objects.make(position, result)
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
        return _Finished(to_result_row(result, identity=self._identity, heatmap=heatmap), made)

    def _write_pictures(self, report: Report, position: int) -> str:
        if report.preview is not None:
            # A Secondary Capture asks for a larger one; these pictures are the same without.
            small = resize_to_fit(report.preview, self._options.heatmap_size)
            report = replace(report, preview=small)
        if self._options.report:
            with self._clock.measure("pictures"):
                write_pictures(report, self._output, position=position)
        return self._write_overlay(report, position) if self._options.heatmaps else ""

    def _write_overlay(self, report: Report, position: int) -> str:
        suffix = self._options.heatmap_format
        relative = f"{HEATMAPS}/{name_image_file(position, report.source, suffix=suffix)}"
        with self._clock.measure("overlay"):
            title = Path(report.source).name
            picture = draw_overlay(report, size=self._options.heatmap_size, title=title)
            data = encode_picture(picture, format=suffix)
        with self._clock.measure("write"):
            write_bytes(self._output / relative, data)
        return relative


def _run(
    paths: Sequence[str],
    record: RunRecord,
    *,
    resume: bool,
    on_row: Callable[[Row], None] | None,
) -> None:
    summary, classifier, options = record.summary, record.classifier, record.options
    output, start = summary.output, time.perf_counter()
    columns = list_result_columns(classifier.card)
    plan = describe_plan(paths, classifier=classifier, options=options)
    objects = _make_object_writer(record)
    done: list[Row] = []
    if resume:
        done, objects = _take_over(paths, plan, columns, record, objects)
    summary.resumed = len(done)
    if objects is not None:
        objects.begin(len(done))
    (output / REPORT).unlink(missing_ok=True)
    record.write("running", plan)
    answers: list[WrittenAnswer] = []
    # Closed here whatever happens: no thread may write after the folder is let go.
    with closing(_follow(paths, done, record, columns, objects)) as following:
        for row in following:
            summary.decisions[row["decision"]] += 1
            answers.append(WrittenAnswer.from_row(row))
            if on_row is not None:
                on_row(row)
    summary.studies = _write_table(output / STUDIES, STUDY_COLUMNS, to_study_rows(answers))
    if options.json_lines:
        _write_json_lines(output, columns)
    if options.parquet:
        _write_parquet(output, columns)
    if objects is not None:
        summary.objects = objects.finish(len(paths))
    summary.seconds = time.perf_counter() - start
    if options.report:
        # Before the run is called finished: who sees that word may rely on the page, too.
        run = record.describe("finished", plan)
        summary.has_report = write_report(output, card=classifier.card, run=run)
    record.write("finished", plan)
    if objects is not None:
        remove_parts(output / PARTS)


def _make_object_writer(record: RunRecord) -> ObjectWriter | None:
    if not record.options.dicom:
        return None
    # pydicom takes most of a second to import.
    from chestx.batch.dicom_objects import ObjectWriter

    classifier = record.classifier
    return ObjectWriter(
        record.summary.output,
        options=record.options,
        model=classifier.identity,
        heatmap=classifier.card.heatmap,
    )


def _take_over(
    paths: Sequence[str],
    plan: Plan,
    columns: Sequence[str],
    record: RunRecord,
    objects: ObjectWriter | None,
) -> tuple[list[Row], ObjectWriter | None]:
    """The rows of the earlier run that hold, and the writer of objects where any are missing.

    When all objects of a run were written, what they were made from was taken away. So
    they stay as they are where all rows hold, and else everything is done anew.
    """
    output, options = record.summary.output, record.options
    finished = None if objects is None else read_finished_objects(output)
    done = find_done(
        output,
        paths,
        plan=plan,
        columns=columns,
        has_report=options.report,
        has_objects=objects.is_whole if objects is not None and finished is None else None,
    )
    if finished is None:
        return done, objects
    if len(done) < len(paths):
        return [], objects
    record.summary.objects = finished
    remove_parts(output / PARTS)
    return done, None


def _follow(
    paths: Sequence[str],
    done: list[Row],
    record: RunRecord,
    columns: Sequence[str],
    objects: ObjectWriter | None,
) -> Generator[Row, None, None]:
    """Every row of the table in order: those of the earlier run, then the new ones as written.

    ``done`` is emptied: a long run must not carry the rows of the earlier one to its end.
    """
    first = len(done)
    done.reverse()
    while done:
        yield done.pop()
    options = record.options
    table = record.summary.output / RESULTS
    with (
        Analyzer(
            record.classifier,
            workers=None if options.workers is None else min(options.workers, len(paths)),
            threads=options.threads,
            batch_size=options.batch_size,
            preview_size=options.preview_size,
            pixel_digest=objects is not None,
            reduced_jpeg2000=options.reduced_jpeg2000,
            limits=Limits(),
            worker_limits=WorkerLimits(memory_mb=options.memory_mb, timeout_s=options.timeout_s),
        ) as analyzer,
        open(table, "a", encoding="utf-8", newline="", opener=open_without_following) as file,
    ):
        writer = RowWriter(file, columns)
        if not first:
            file.truncate(0)
            writer.write_header()
        finish = _Finisher(analyzer, record, first=first, objects=objects)
        for finished in analyzer.stream(paths[first:], finish=finish):
            with analyzer.clock.measure("write"):
                if objects is not None and finished.made is not None:
                    objects.show(finished.made)
                writer.write(finished.row)
            yield finished.row
        writer.sync()
        record.summary.stage_seconds = analyzer.clock.seconds
        record.summary.stage_cpu_seconds = _complete_cpu(
            analyzer.clock.cpu_seconds, has_children=options.workers != 0
        )


def _complete_cpu(stages: dict[str, float], *, has_children: bool) -> dict[str, float]:
    """With ``rest``: what this process took beside the stages measured in it.

    That is the model, which computes on threads of its runtime, and the start of the program.
    """
    in_children = {"read", "preprocess"} if has_children else set()
    measured = sum(value for name, value in stages.items() if name not in in_children)
    return {**stages, "rest": max(time.process_time() - measured, 0.0)}


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Writes a table as its rows are made; gives their number."""
    count = 0
    with write_whole(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
        text.detach()
    return count


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
