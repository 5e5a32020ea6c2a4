"""How a batch is run, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chestx.domain import Decision, UsageError

RESULTS, STUDIES, RUN, REPORT = "results.csv", "studies.csv", "run.json", "report.html"
JSON_LINES, PARQUET = "results.jsonl", "results.parquet"
HEATMAPS, PICTURES = "heatmaps", "pictures"

MAX_REPORT_IMAGES = 20_000
"""Over so many images no browser can work with one page; the tables are written all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a batch is run.

    Attributes:
        heatmaps: whether a picture is written for each image.
        heatmap_format: ``jpg`` or ``png``.
        heatmap_size: long side of the radiograph in the pictures, in pixels.
        report: whether ``report.html`` and its pictures are written.
        json_lines, parquet: whether ``results.jsonl`` and ``results.parquet`` are.
        runtime: ``openvino`` or ``onnxruntime``.
        workers: child processes that decode; None for one a core.
        threads: calls of the model at once; None for one a core.
        batch_size: the most images of one call.
        timeout_s, memory_mb: what one file may take in its child process.
    """

    heatmaps: bool = True
    heatmap_format: Literal["jpg", "png"] = "jpg"
    heatmap_size: int = 512
    report: bool = True
    json_lines: bool = False
    parquet: bool = False
    runtime: Literal["openvino", "onnxruntime"] = "openvino"
    workers: int | None = None
    threads: int | None = None
    batch_size: int = 8
    timeout_s: int | float = 60.0
    memory_mb: int = 3072

    def __post_init__(self) -> None:
        _check("heatmap size", self.heatmap_size, 128, 4096)
        _check("workers", self.workers, 0, 256)
        _check("threads", self.threads, 1, 256)
        _check("batch size", self.batch_size, 1, 1024)
        _check("timeout", self.timeout_s, 1, 86_400)
        _check("memory", self.memory_mb, 1024, 1_048_576)

    @property
    def preview_size(self) -> int:
        """Long side of the radiograph that pictures are made from; 0 where none are."""
        return self.heatmap_size if self.heatmaps or self.report else 0


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
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    stage_cpu_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Files that gave no answer."""
        return self.decisions[Decision.FAILED]


def _check(name: str, value: int | float | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UsageError(f"{name}: expected {low} to {high}, got {value:g}")
