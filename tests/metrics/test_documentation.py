"""The page on figures says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import chestx.metrics
from chestx.evaluation import calibrate
from chestx.evaluation.verdicts import Verdict


def read_page(repository: Path) -> str:
    return (repository / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_function_is_explained(repository: Path) -> None:
    text = read_page(repository)
    names = [*chestx.metrics.__all__, *calibrate.__all__]
    functions = [name for name in names if name[0].islower()]
    assert [name for name in functions if not re.search(rf"`{name}\b", text)] == []


def test_every_verdict_is_explained(repository: Path) -> None:
    text = read_page(repository)
    assert [one.value for one in Verdict if f"| {one.value} |" not in text] == []


def test_the_example_runs(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", read_page(repository), re.DOTALL)
    exec(compile(block, "docs/metrics.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"AUROC: 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", printed)
    assert "LR-: " in printed
