"""Options that several commands share."""

from __future__ import annotations

import pytest

from chestx.cli.app import run


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "default", "m.csv", "-o", "out"],
        ["commission", "default", "m.csv", "-o", "out", "--site", "a", "--signed-by", "b"],
        ["adapt", "default", "images", "-o", "out", "--site", "a"],
        ["data", "split", "m.csv", "-o", "out"],
        ["data", "audit", "m.csv", "-o", "out"],
    ],
    ids=" ".join,
)
def test_a_seed_that_no_generator_takes_is_one_line_before_anything_is_read(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["--require", "refused <= 0.1"] if command[0] == "commission" else []
    assert run([*command, *extra, "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "chestx: seed: expected 0 to 4294967295, got -1\n"
