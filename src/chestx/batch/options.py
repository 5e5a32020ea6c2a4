"""How a batch is run, and what came of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chestx.domain import Decision, UsageError

RESULTS, STUDIES, RUN, REPORT = "results.csv", "studies.csv", "run.json", "report.html"
JSON_LINES, PARQUET = "results.jsonl", "results.parquet"
HEATMAPS, PICTURES = "heatmaps", "pictures"
PARTS = ".dicom-parts"
"""What the DICOM objects of a study are made from at the end of a run; gone when it is finished."""

OBJECT_KINDS = ("sc", "sr", "gsps", "kos")
"""DICOM objects that can be written, in the order in which they are counted."""

OWN_FILES = (RESULTS, STUDIES, REPORT, JSON_LINES, PARQUET, RUN)
OWN_NAMES = (*OWN_FILES, HEATMAPS, PICTURES, PARTS)
"""What a run calls its files and folders."""

DEFAULT_OBJECTS = ("sc", "sr")

OBJECT_NAME = re.compile(
    r"\d{6,}_[A-Za-z0-9._-]{1,40}\.(?:sc|gsps)\.dcm|study-\d{6,}\.(?:sr|kos)\.dcm"
)
"""What a DICOM object of a run is called: by the row of its image, or of its study's first."""

CAPTURE_SIZE = 1024
"""Long side in pixels of the radiograph in a Secondary Capture."""

MAX_REPORT_IMAGES = 20_000
"""Over so many images no browser can work with one page; the tables are written all the same."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a batch is run.

    Attributes:
        heatmaps: whether a picture is written for each image.
        heatmap_format: ``jpg`` or ``png``.
        heatmap_size: long side of the radiograph in the pictures, in pixels.
        report: whether ``report.html`` and its pictures are written.
        json_lines, parquet: whether ``results.jsonl`` and ``results.parquet`` are.
        dicom: folder for DICOM objects, as it was given; empty for none.
        objects: which of ``OBJECT_KINDS`` are written there.
        sr: form of the structured report.
        runtime: ``openvino`` or ``onnxruntime``.
        device: where onnxruntime computes: ``cpu``, ``cuda`` or ``tensorrt``.
        workers: child processes that decode; None for one a core.
        threads: calls of the model at once; None for one a core.
        batch_size: the most images of one call.
        timeout_s, memory_mb: what one file may take in its child process.
        reduced_jpeg2000: whether JPEG 2000 is decoded only as fine as is needed.
    """

    heatmaps: bool = True
    heatmap_format: Literal["jpg", "png"] = "jpg"
    heatmap_size: int = 512
    report: bool = True
    json_lines: bool = False
    parquet: bool = False
    dicom: str = ""
    objects: tuple[str, ...] = DEFAULT_OBJECTS
    sr: Literal["comprehensive-3d", "comprehensive"] = "comprehensive-3d"
    runtime: Literal["openvino", "onnxruntime"] = "openvino"
    device: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    workers: int | None = None
    threads: int | None = None
    batch_size: int = 8
    timeout_s: int | float = 60.0
    memory_mb: int = 3072
    reduced_jpeg2000: bool = False

    def __post_init__(self) -> None:
        _check("heatmap size", self.heatmap_size, 128, 4096)
        _check("workers", self.workers, 0, 256)
        _check("threads", self.threads, 1, 256)
        _check("batch size", self.batch_size, 1, 1024)
        _check("timeout", self.timeout_s, 1, 86_400)
        _check("memory", self.memory_mb, 1024, 1_048_576)
        _check_objects(self.objects)
        if self.dicom and self.reduced_jpeg2000:
            raise UsageError(
                "--reduced-jpeg2000 and --dicom exclude each other: an object for the archive "
                "states the checksum of the whole image"
            )

    @property
    def preview_size(self) -> int:
        """Long side of the radiograph that pictures are made from; 0 where none are."""
        size = self.heatmap_size if self.heatmaps or self.report else 0
        return max(size, CAPTURE_SIZE) if self.dicom else size


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSummary:
    """Which DICOM objects a run wrote; it stands in ``run.json`` once all are there.

    Attributes:
        written: kind -> how many lie in the folder.
        without_source: why no object could be made of an image -> how many images.
        repeated: images that were given more than once; each has its objects once.
        not_made: kind and why one could not be made -> how many.
    """

    written: dict[str, int] = field(default_factory=dict)
    without_source: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    not_made: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class BatchSummary:
    """What came of a batch.

    Attributes:
        output: the folder.
        images: how many files were taken.
        resumed: how many of them an earlier run had done.
        decisions: image decision -> how many.
        studies: how many studies.
        skipped: litter that was passed over in folders.
        has_report: whether ``report.html`` was written.
        objects: DICOM objects; None where none were asked for.
        seconds: wall time of this run.
        stage_seconds: stage -> wall time, summed over threads and child processes.
        stage_cpu_seconds: the same of processor time.
    """

    output: Path
    images: int = 0
    resumed: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    skipped: int = 0
    has_report: bool = False
    objects: ObjectSummary | None = None
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    stage_cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Files that gave no answer."""
        return self.decisions[Decision.FAILED]

    @property
    def is_incomplete(self) -> bool:
        """Whether something that was asked for could not be done."""
        return bool(self.failed or (self.objects and self.objects.not_made))


def parse_objects(text: str | None) -> tuple[str, ...]:
    """The kinds of DICOM objects in a text like ``sc,sr``, each once; None for the usual ones.

    Raises:
        UsageError: it names none, or one that there is not.
    """
    if text is None:
        return DEFAULT_OBJECTS
    names = [name.strip().lower() for name in text.split(",")]
    _check_objects(names)
    return tuple(kind for kind in OBJECT_KINDS if kind in names)


def name_image_file(position: int, source: str, *, suffix: str) -> str:
    """A file name that no other row can have and no path text can escape from.

    Args:
        position: of the row, from 0; the name begins with it, from 1.
        source: only its last part is used, reduced to plain letters.
        suffix: of the format, without the dot.
    """
    stem = _UNSAFE.sub("_", Path(source).name)[:_NAME_LENGTH].strip("._") or "image"
    return f"{position + 1:06d}_{stem}.{suffix}"


def _check_objects(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in OBJECT_KINDS]
    if unknown or not names:
        got = f"{unknown[0]!r:.40}" if unknown else "none"
        raise UsageError(f"objects: expected some of {', '.join(OBJECT_KINDS)}, got {got}")


def _check(name: str, value: int | float | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name}: expected {low} to {high}, got {value:g}")
