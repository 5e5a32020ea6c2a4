"""``chestx predict``: files in, ``results.csv``, ``studies.csv``, ``run.json`` and heatmaps out."""

from __future__ import annotations

import csv
import json
import logging
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from chestx import __version__
from chestx.analysis import Analyzer
from chestx.domain import (
    CAVEAT,
    ChestxError,
    Decision,
    Failure,
    Report,
    Result,
    UsageError,
    group_studies,
)
from chestx.export.table import (
    STUDY_COLUMNS,
    Row,
    list_result_columns,
    sort_by_urgency,
    to_result_row,
    to_study_row,
)
from chestx.models.classifier import Classifier
from chestx.rendering.overlay import draw_overlay, encode_picture

log = logging.getLogger(__name__)

RESULTS, STUDIES, RUN, HEATMAPS = "results.csv", "studies.csv", "run.json", "heatmaps"

_VERSIONED = ("numpy", "opencv-python-headless", "openvino", "onnxruntime", "pydicom", "Pillow")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a batch is run.

    Attributes:
        heatmaps: whether a picture is written for each image.
        heatmap_format: ``jpg`` or ``png``.
        heatmap_size: long side of the radiograph in the picture, in pixels.
        threads: images in work at once; None for one a core.
        runtime: ``openvino`` or ``onnxruntime``.
    """

    heatmaps: bool = True
    heatmap_format: Literal["jpg", "png"] = "jpg"
    heatmap_size: int = 512
    threads: int | None = None
    runtime: Literal["openvino", "onnxruntime"] = "openvino"

    def __post_init__(self) -> None:
        if not 128 <= self.heatmap_size <= 4096:
            raise UsageError(f"heatmap size: expected 128 to 4096, got {self.heatmap_size}")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UsageError(f"threads: expected 1 to 1024, got {self.threads}")


@dataclass(slots=True, kw_only=True)
class BatchSummary:
    """What came of a batch.

    Attributes:
        output: the folder.
        images: how many files were taken.
        decisions: image decision -> how many.
        studies: how many studies.
        skipped: litter that was passed over in folders.
        seconds: wall time from the first file to the last.
        stage_seconds: stage -> seconds, summed over threads.
    """

    output: Path
    images: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    skipped: int = 0
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Files that gave no answer."""
        return self.decisions[Decision.FAILED]


def prepare_output(folder: Path, *, overwrite: bool) -> None:
    """Makes the output folder; an earlier result is kept unless told otherwise.

    Raises:
        UsageError: a result is there already, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{str(folder)!r}: cannot be made: {error.strerror}") from error
    if (folder / RESULTS).exists() and not overwrite:
        raise UsageError(
            f"{str(folder)!r} holds a result already; name another folder or give --overwrite"
        )
    _remove_earlier(folder)


def predict_files(
    paths: Sequence[str],
    output: Path,
    *,
    classifier: Classifier,
    options: BatchOptions,
    skipped: int = 0,
    command: Sequence[str] = (),
    on_result: Callable[[Result], None] | None = None,
) -> BatchSummary:
    """Answers for every file and writes the folder of results.

    Args:
        paths: as they shall stand in the table.
        output: an existing folder, see :func:`prepare_output`.
        classifier: the model.
        options: how.
        skipped: litter passed over, written down in ``run.json``.
        command: the command line, written down in ``run.json``.
        on_result: is called with each result in input order.

    Raises:
        ChestxError: the folder cannot be written (disk full, for one).
    """
    summary = BatchSummary(output=output, images=len(paths), skipped=skipped)
    started, clock_start = datetime.now(UTC), time.perf_counter()
    kept: list[Result] = []
    try:
        with (
            Analyzer(
                classifier,
                threads=options.threads,
                preview_size=options.heatmap_size if options.heatmaps else 0,
            ) as analyzer,
            open(output / RESULTS, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(
                file, list_result_columns(classifier.card), restval="", lineterminator="\n"
            )
            writer.writeheader()
            finish = _Finisher(analyzer, output, options)
            for result, heatmap in analyzer.stream(paths, finish=finish):
                row = to_result_row(result, identity=classifier.identity, heatmap=heatmap)
                writer.writerow(row)
                file.flush()
                summary.decisions[result.decision] += 1
                kept.append(result)
                if on_result is not None:
                    on_result(result)
        studies = sort_by_urgency(group_studies(kept))
        summary.studies = len(studies)
        _write_table(
            output / STUDIES,
            STUDY_COLUMNS,
            (to_study_row(study, identity=classifier.identity) for study in studies),
        )
        summary.seconds = time.perf_counter() - clock_start
        summary.stage_seconds = analyzer.clock.seconds
        _write_text(output / RUN, _describe_run(summary, classifier, options, command, started))
    except OSError as error:
        name = Path(error.filename).name if error.filename else str(output)
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


class _Finisher:
    """What is done with a result in its own thread: draw, write, and let the arrays go."""

    def __init__(self, analyzer: Analyzer, output: Path, options: BatchOptions) -> None:
        self._clock = analyzer.clock
        self._output = output
        self._options = options
        if options.heatmaps:
            (output / HEATMAPS).mkdir(exist_ok=True)

    def __call__(self, position: int, result: Result) -> tuple[Result, str]:
        if isinstance(result, Failure):
            return result, ""
        relative = ""
        if self._options.heatmaps:
            suffix = self._options.heatmap_format
            relative = f"{HEATMAPS}/{name_heatmap(position, result.source, suffix=suffix)}"
            self._write_overlay(result, self._output / relative)
        return replace(result, maps=None, preview=None), relative

    def _write_overlay(self, report: Report, path: Path) -> None:
        with self._clock.measure("overlay"):
            title = Path(report.source).name
            picture = draw_overlay(report, size=self._options.heatmap_size, title=title)
            data = encode_picture(picture, format=self._options.heatmap_format)
        with self._clock.measure("write"):
            path.write_bytes(data)


def _remove_earlier(folder: Path) -> None:
    """Takes away our own files of an earlier run, and only those."""
    for name in (RESULTS, STUDIES, RUN):
        (folder / name).unlink(missing_ok=True)
    pictures = folder / HEATMAPS
    if pictures.is_dir() and not pictures.is_symlink():
        for picture in pictures.iterdir():
            if re.fullmatch(r"\d{6,}_[A-Za-z0-9._-]+\.(jpg|png)", picture.name):
                picture.unlink()
        with suppress(OSError):
            pictures.rmdir()


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    partial = path.with_suffix(".part")
    with open(partial, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.replace(partial, path)


def _describe_run(
    summary: BatchSummary,
    classifier: Classifier,
    options: BatchOptions,
    command: Sequence[str],
    started: datetime,
) -> str:
    """``run.json``: enough to say later what was run, on what, by which model, and how fast."""
    versions = {"chestx": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    record = {
        "caveat": CAVEAT,
        "command": list(command),
        "started": started.isoformat(timespec="seconds"),
        "model": asdict(classifier.identity),
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "options": asdict(options),
        "counts": {
            "images": summary.images,
            "studies": summary.studies,
            "skipped": summary.skipped,
            **{str(decision): summary.decisions[decision] for decision in Decision},
        },
        "seconds": round(summary.seconds, 3),
        "images_per_second": round(summary.images / max(summary.seconds, 1e-9), 2),
        "stage_seconds": {name: round(s, 3) for name, s in summary.stage_seconds.items()},
    }
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def describe_command() -> list[str]:
    """The command line as it was typed, with the program's plain name."""
    return ["chestx", *sys.argv[1:]]
