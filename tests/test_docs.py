"""The documentation says what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import chestx
from chestx.cli.app import app
from chestx.domain import CAVEAT
from chestx.export.table import STUDY_COLUMNS, list_result_columns
from chestx.models.classifier import Classifier


def read_doc(repository: Path, name: str) -> str:
    return (repository / "docs" / name).read_text(encoding="utf-8")


def walk_commands(command: Any, name: str = "chestx") -> list[tuple[str, Any]]:
    found = [(name, command)]
    for part, child in getattr(command, "commands", {}).items():
        found += walk_commands(child, f"{name} {part}")
    return found


COMMANDS = walk_commands(typer.main.get_command(app))


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_and_option_is_documented(repository: Path, name: str, command: Any) -> None:
    text = read_doc(repository, "cli.md")
    assert name in text
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-"):
                assert f"`{option}`" in text, f"{name} {option}"


def test_no_option_is_documented_that_is_not_there(repository: Path) -> None:
    real = {
        option
        for _, command in COMMANDS
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", "-h"}
    documented = set(re.findall(r"`(--?[a-z][a-z-]*)`", read_doc(repository, "cli.md")))
    assert documented <= real


def test_every_exit_code_is_documented(repository: Path) -> None:
    from chestx.cli import console

    text = read_doc(repository, "cli.md")
    for name in dir(console):
        if name.startswith("EXIT_"):
            assert f"| {getattr(console, name)} |" in text, name


def test_every_column_is_documented(repository: Path, classifier: Classifier) -> None:
    results, studies = read_doc(repository, "csv.md").split("## studies.csv")
    labels = {label.key for label in classifier.card.labels}
    for column in list_result_columns(classifier.card):
        prefix, _, key = column.partition("_")
        name = f"{prefix}_<label>" if key in labels else column
        assert f"`{name}`" in results, column
    for column in STUDY_COLUMNS:
        assert f"`{column}`" in studies, column


def test_every_public_name_is_documented(repository: Path) -> None:
    text = read_doc(repository, "python.md")
    for name in chestx.__all__:
        if not name.startswith("__"):
            assert re.search(rf"`{name}\b", text), name
            assert getattr(chestx, name) is not None


def test_the_documented_signatures_are_real(repository: Path) -> None:
    import inspect

    text = read_doc(repository, "python.md")
    for name, arguments in re.findall(r"\| `(\w+)\(([^)]*)\)` \|", text):
        function = getattr(chestx, name)
        parameters = inspect.signature(function).parameters
        for argument in re.findall(r"(\w+)(?==|,|$)", re.sub(r"=[^,]*", "", arguments)):
            assert argument in parameters, (name, argument)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_examples_run(
    repository: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    blocks = re.findall(r"```python\n(.*?)```", (repository / name).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
    assert capsys.readouterr().out


def test_every_link_and_picture_leads_somewhere(repository: Path) -> None:
    pages = [repository / "README.md", repository / "NOTICE", *(repository / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_pictures_are_all_shown_somewhere(repository: Path) -> None:
    pages = [repository / "README.md", *(repository / "docs").glob("*.md")]
    text = " ".join(page.read_text(encoding="utf-8") for page in pages)
    for picture in (repository / "docs" / "images").iterdir():
        assert picture.name in text, picture.name


def test_every_hazard_names_tests_that_exist(repository: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", read_doc(repository, "safety.md"))
    assert len(named) >= 10
    for path, test in named:
        assert re.search(rf"def {test}\(", (repository / path).read_text(encoding="utf-8")), test


def test_every_shipped_sample_is_attributed(repository: Path, samples: Path) -> None:
    notice = (repository / "NOTICE").read_text(encoding="utf-8")
    for sample in samples.iterdir():
        assert f"`{sample.name}`" in notice


def test_the_caveat_stands_where_a_person_reads(repository: Path) -> None:
    card = repository / "src" / "chestx" / "models" / "default" / "README.md"
    for path in (repository / "README.md", repository / "docs" / "tour.md", card):
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert CAVEAT in text, path.name


def test_every_public_function_and_class_says_what_it_does() -> None:
    import ast

    package = Path(chestx.__file__).parent
    silent = [
        f"{path.relative_to(package)}:{node.name}"
        for path in package.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
        # The signatures of an overloaded function; the function itself says what it does.
        and "overload" not in [getattr(item, "id", "") for item in node.decorator_list]
    ]
    assert silent == []
