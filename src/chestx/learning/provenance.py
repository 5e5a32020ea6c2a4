"""What a run writes down of itself, so that somebody else can have it again."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import chestx
from chestx.datasets.manifest import ManifestTable
from chestx.domain import CAVEAT, UsageError
from chestx.learning.config import TrainConfig, config_to_table
from chestx.learning.progress import Progress

_VERSIONED = (
    "torch",
    "timm",
    "lightning-fabric",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "pydicom",
    "safetensors",
)
MAY_CHANGE = ("manifest", "cache", "loader_threads", "checkpoint_minutes")
"""Keys that may differ when a run is resumed: they say where and how fast, not what."""


def describe_run(
    config: TrainConfig, table: ManifestTable, manifest: Path, cache: Path
) -> dict[str, Any]:
    """Everything that is known before the first image is read; plain values.

    Args:
        config: of the run.
        table: what was read of the manifest.
        manifest: its path.
        cache: folder of preprocessed images.
    """
    return {
        "caveat": CAVEAT,
        "status": "running",
        "config": config_to_table(config),
        "manifest": str(manifest.resolve()),
        "manifest_sha256": table.sha256,
        "split_sha256": hash_split(table),
        "split_problem": table.split_problem,
        "left_out": dict(table.left_out),
        "labels": list(table.manifest.labels),
        "task": str(table.manifest.task),
        "cache": str(cache.resolve()),
        "started": _write_now(),
        "resumed": [],
        "versions": list_versions(),
        "code_sha256": hash_code(),
        "hardware": _describe_hardware(),
    }


def check_same_run(earlier: dict[str, Any], record: dict[str, Any], folder: Path) -> None:
    """Holds a run that shall go on against what it was.

    Raises:
        UsageError: configuration, manifest or split are others.
    """
    before, now = ({**item.get("config", {})} for item in (earlier, record))
    changed = [key for key in now if key not in MAY_CHANGE and before.get(key) != now[key]]
    changes = [f"{key} of the configuration" for key in changed]
    for key, name in (
        ("manifest_sha256", "the manifest"),
        ("split_sha256", "the split"),
        ("unlabelled_sha256", "the unlabelled images"),
    ):
        if earlier.get(key, "") != record[key]:
            changes.append(name)
    if changes:
        raise UsageError(
            f"{str(folder)!r}: cannot go on, changed since the run began: {', '.join(changes)}; "
            "change it back, or start a run in a new folder"
        )


def join_records(earlier: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that goes on: it began when it began."""
    again = {key: record[key] for key in ("versions", "code_sha256", "hardware")}
    return {
        # What the run found out while it went stays until it is found out again.
        **earlier,
        **record,
        "started": earlier.get("started", record["started"]),
        "resumed": [*earlier.get("resumed", []), {"at": record["started"], **again}],
        **{key: earlier[key] for key in again if key in earlier},
    }


def hash_split(table: ManifestTable) -> str:
    """Of every row that was taken: path, split and answers, whatever their order."""
    rows = sorted(
        f"{example.path}\0{example.split}\0{[int(value) for value in example.targets]}"
        for example in table.manifest.examples
    )
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def hash_paths(paths: Sequence[str]) -> str:
    """Of the names of files, in order."""
    return hashlib.sha256("\0".join(paths).encode("utf-8", "surrogateescape")).hexdigest()


def hash_code() -> str:
    """Of every line of the package that ran, whatever its version is called."""
    package = Path(chestx.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def list_versions() -> dict[str, str]:
    """Of everything that may change a number."""
    versions = {"chestx": chestx.__version__, "python": platform.python_version()}
    for name in _VERSIONED:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def describe_progress(progress: Progress) -> dict[str, Any]:
    """How far a run has come; plain values."""
    return {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": round(sum(epoch.seconds for epoch in progress.history), 1),
        "history": progress.to_table()["history"],
        "updated": _write_now(),
    }


def _describe_hardware() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _name_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": [
            torch.cuda.get_device_name(index)
            for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        ],
    }


def _name_processor() -> str:
    """As Linux names it; elsewhere the machine's kind."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _write_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
