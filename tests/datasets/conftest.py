"""Small data sets made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chestx.datasets.example import Example, Manifest, Target, Task

WriteTable = Callable[..., Path]
MakeManifest = Callable[..., Manifest]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Writes text as ``manifest.csv`` and gives its path."""

    def write(text: str | bytes, name: str = "manifest.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return write


@pytest.fixture
def make_manifest(tmp_path: Path) -> MakeManifest:
    """Makes a manifest with one label an image out of (label, attributes)."""

    def make(
        rows: Sequence[tuple[str, dict[str, object]]],
        labels: tuple[str, ...] = ("NORMAL", "PNEUMONIA"),
    ) -> Manifest:
        examples = tuple(
            Example(
                **{
                    "path": f"images/{number}.png",
                    "targets": tuple(
                        Target.PRESENT if key == label else Target.ABSENT for key in labels
                    ),
                    **attributes,
                }  # type: ignore[arg-type]
            )
            for number, (label, attributes) in enumerate(rows)
        )
        return Manifest(labels=labels, task=Task.SINGLE_LABEL, examples=examples, folder=tmp_path)

    return make
