"""``run.json``: what was run, on what, by which model, and what came of it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chestx import __version__
from chestx.batch.journal import Plan
from chestx.batch.options import RUN, BatchOptions, BatchSummary
from chestx.domain import CAVEAT, Decision
from chestx.files import write_text
from chestx.models.classifier import Classifier
from chestx.models.site import site_profile_to_json

_VERSIONED = (
    "numpy",
    "opencv-python-headless",
    "openvino",
    "onnxruntime",
    "pydicom",
    "Pillow",
)


class RunRecord:
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
            "objects": None if summary.objects is None else asdict(summary.objects),
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


def describe_command() -> list[str]:
    """The command line as it was typed, with the program's plain name."""
    return ["chestx", *sys.argv[1:]]


def _round_all(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}
