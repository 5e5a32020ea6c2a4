from __future__ import annotations

from pathlib import Path

import pytest

from chestx.cli.app import run
from chestx.domain import CAVEAT


@pytest.fixture
def labels(samples: Path, tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    lines = ["file,finding,part,ward"]
    for number, image in enumerate(sorted(samples.glob("[ac]*"))):
        lines.append(f"{image},{('healthy', 'PNEUMONIA')[number % 2]},val,w{number % 2}")
    lines.append("elsewhere.png,healthy,train,w1")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def evaluate(labels: Path, output: Path, *more: str, model: str = "default") -> int:
    return run(
        [
            *("evaluate", model, str(labels), "-o", str(output), "-c", "path=file"),
            *("-c", "label=finding", "-c", "split=part", "--rename", "healthy=NORMAL"),
            *("--split", "val", "--by", "ward", "--no-probes", "--repeats", "20"),
            *("--workers", "0", "--threads", "1", *more),
        ]
    )


def test_the_summary_is_short_and_warns(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "model"
    assert evaluate(labels, tmp_path / "out", "--card", str(card), "--compare", "default") == 0
    said = capsys.readouterr().out
    assert "left out        1  not split=val" in said
    assert "assessed" in said
    assert "WARNING" in said
    assert "comparison:" in said
    assert CAVEAT in said
    assert (card / "card.json").is_file()
    assert "attribute_ward" in (tmp_path / "out" / "images.csv").read_text(encoding="utf-8")


def test_quiet_says_nothing_and_an_unreadable_image_gives_exit_code_3(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = labels.read_text(encoding="utf-8").replace(",train,", ",val,")
    labels.write_text(text, encoding="utf-8")
    assert evaluate(labels, tmp_path / "out", "--quiet") == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--split", "tset"), "every one was left out"),
        (("--by", "wing"), "expected a column 'wing'"),
        (("--repeats", "0"), "repeats: expected 1"),
        (("--compare", "default", "--margin", "2"), "margin: expected above 0"),
        (("--compare", "nobody"), "'nobody'"),
    ],
)
def test_wrong_usage_is_one_line(
    labels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert evaluate(labels, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_card_in_use_is_refused_before_anything_is_measured(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(labels, tmp_path / "out", "--card", str(tmp_path)) == 2
    assert "expected a name that is free" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_does_not_slow_down_the_others() -> None:
    import subprocess
    import sys

    code = (
        "import sys, chestx.cli.app;"
        "print([x for x in ('matplotlib', 'sklearn', 'jinja2') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_option_is_documented(repository: Path) -> None:
    import typer

    from chestx.cli.app import app

    text = (repository / "docs" / "evaluation.md").read_text(encoding="utf-8")
    command = typer.main.get_command(app).commands["evaluate"]  # type: ignore[attr-defined]
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--"):
                assert f"`{option}`" in text, option
