"""``chestx data``: what a person sees, and the exit codes."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chestx.cli.app import run
from chestx.domain import CAVEAT

MAP = ["-c", "path=file", "-c", "split=dev_split", "-c", "source=set"]
RENAME = ["--rename", "healthy=NORMAL", "--rename", "COVID-19=COVID19"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A table under other names than a manifest's, of sixty patients."""
    lines = ["file,label,dev_split,set,patient_id,view"]
    for number in range(60):
        label = ("healthy", "COVID-19", "PNEUMONIA")[number % 3]
        split = ("train", "val", "test")[number % 4 % 3]
        view = "L" if number % 20 == 0 else "PA"
        lines.append(f"{number}.png,{label},{split},{'ab'[number % 2]},{number},{view}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_stats_shows_tables(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "stats", str(manifest), *MAP, *RENAME, "--where", "view!=L"]) == 0
    out = capsys.readouterr().out
    assert "57 images, one label each: NORMAL, PNEUMONIA, COVID19" in out
    assert "left out        3  not view!=L" in out
    assert "label      source  train  validation  test  all" in out
    assert CAVEAT in out


def test_stats_gives_json(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "stats", str(manifest), *MAP, *RENAME, "--json"]
    assert run([*arguments, "--labels", "NORMAL,COVID19"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["labels"] == ["NORMAL", "COVID19"]
    assert record["left_out"] == {"label PNEUMONIA not asked for": 20}
    assert (record["images"], record["patients"]) == (40, 40)
    assert record["caveat"] == CAVEAT


def test_split_writes_a_manifest_with_a_checksum(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "split.csv"
    arguments = ["data", "split", str(manifest), *MAP, *RENAME, "--keep", "none", "--seed", "3"]
    assert run([*arguments, "-o", str(output), "--shares", "80/20"]) == 0
    out = capsys.readouterr().out
    rows = read_rows(output)
    assert f"manifest in {output}, split_id {rows[0]['split_id']}, seed 3" in out
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert rows[0]["path"] == "../0.png"
    assert CAVEAT in out
    assert run([*arguments, "-o", str(output)]) == 2
    assert "is there already; name another, or give --overwrite" in capsys.readouterr().err
    assert run([*arguments, "-o", str(output), "--overwrite", "--folds", "4"]) == 0
    assert "label by fold  0  1  2  3" in capsys.readouterr().out
    assert {row["fold"] for row in read_rows(output)} == {"0", "1", "2", "3"}
    assert run(["data", "stats", str(output)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_changed_split_is_told(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "split.csv"
    arguments = ["data", "split", str(manifest), *MAP, *RENAME, "--keep", "test"]
    assert run([*arguments, "-o", str(output)]) == 0
    output.write_text(output.read_text().replace(",train,", ",validation,", 1))
    capsys.readouterr()
    assert run(["data", "stats", str(output)]) == 0
    assert "warning: the split was changed after it was made" in capsys.readouterr().out


def test_split_by_source(manifest: Path, tmp_path: Path) -> None:
    arguments = ["data", "split", str(manifest), *MAP, *RENAME, "--keep", "none", "-o"]
    assert run([*arguments, str(tmp_path / "h.csv"), "--hold-out", "b"]) == 0
    assert all(
        (row["split"] == "test") == (row["source"] == "b") for row in read_rows(tmp_path / "h.csv")
    )
    assert run([*arguments, str(tmp_path / "f.csv"), "--fold-by-source"]) == 0
    assert all(row["fold"] == row["source"] for row in read_rows(tmp_path / "f.csv"))


def test_a_leaking_split_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.csv"
    rows = "".join(f"{number}.png,NORMAL,train,{number}\n" for number in range(9))
    path.write_text(f"path,label,split,patient_id\n{rows}x.png,NORMAL,test,3\n")
    arguments = ["data", "split", str(path), "--keep", "test", "-o", str(tmp_path / "out.csv")]
    assert run(arguments) == 3
    assert "share 1 patient or duplicate group with 1 image elsewhere" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    assert run([*arguments, "--leave-out-leaks"]) == 0
    assert [row["split"] for row in read_rows(tmp_path / "out.csv")].count("") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stats", "none.csv"], "there is no such file"),
        (["stats", "{}", "-c", "path"], "--column: expected NAME=VALUE with every name once"),
        (["stats", "{}", "-c", "a=b", "-c", "a=c"], "--column: expected NAME=VALUE with every"),
        (["stats", "{}", "--rename", "x"], "--rename: expected NAME=VALUE"),
        (["stats", "{}", *MAP], '--rename "COVID-19=COVID19"'),
        (["stats", "{}", *MAP], "line 3: expected labels"),
        (["split", "{}", "-o", "o.csv", "--shares", "x"], "--shares: expected per cent"),
        (["split", "{}", "-o", "o.csv", "--shares", "70/20"], "that sum to 1"),
        (["split", "{}", "-o", "o.csv", "--keep", "none", "--keep", "test"], "none alone"),
        (["split", "{}", "-o", "o.csv", "--keep", "half"], "half"),
        (["split", "{}", "-o", ".", "--overwrite"], "there is a folder"),
        (["split", "{}", *MAP, *RENAME, "-o", "o.csv"], "have a split already; keep parts"),
        (["scan", "nonsense", ".", "-o", "o.csv"], "source: expected one of folders, csv"),
        (["scan", "folders", ".", "-o", "o.csv", "--uncertain", "x"], "x"),
        (["audit", "none.csv", "-o", "out"], "there is no such file"),
        (
            ["audit", "{}", *MAP, *RENAME, "-o", "out", "--seed", "-1"],
            "seed: expected 0 to 4294967",
        ),
        (["audit", "{}", *MAP, *RENAME, "-o", "{}"], "expected a folder for the results"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["data", *(part.format(manifest) for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_scan_writes_a_manifest(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, label in (("child-1-normal.jpg", "NORMAL"), ("child-3-pneumonia.jpg", "PNEUMONIA")):
        (tmp_path / "set" / label).mkdir(parents=True)
        shutil.copy(samples / name, tmp_path / "set" / label)
    output = tmp_path / "m.csv"
    assert run(["data", "scan", "folders", str(tmp_path / "set"), "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert "2 images, one label each: NORMAL, PNEUMONIA" in out
    assert f"manifest in {output}" in out
    assert CAVEAT in out
    assert [(row["path"], row["label"]) for row in read_rows(output)] == [
        ("set/NORMAL/child-1-normal.jpg", "NORMAL"),
        ("set/PNEUMONIA/child-3-pneumonia.jpg", "PNEUMONIA"),
    ]


def test_audit_ends_with_3_where_a_patient_is_on_both_sides(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.csv"
    rows = [
        f"{samples}/child-1-normal.jpg,NORMAL,train,1",
        f"{samples}/child-3-pneumonia.jpg,PNEUMONIA,test,1",
    ]
    path.write_text("path,label,split,patient_id\n" + "\n".join(rows) + "\n")
    arguments = ["data", "audit", str(path), "-o", str(tmp_path / "out"), "--workers", "1"]
    assert run(arguments) == 3
    out = capsys.readouterr().out
    assert "leakage: " in out
    assert CAVEAT in out
    assert (tmp_path / "out" / "audit.html").is_file()
    assert run(arguments) == 2
    assert "is there already" in capsys.readouterr().err
    assert run([*arguments, "--overwrite", "--quiet"]) == 3
    assert capsys.readouterr().out == ""


def test_duplicates_that_the_audit_found_stay_together_in_a_split(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = (samples / "child-1-normal.jpg").read_bytes()
    lines = ["path,label"]
    for number in range(12):
        (tmp_path / f"{number}.jpg").write_bytes(image if number < 4 else b"")
        lines.append(f"{number}.jpg,{('NORMAL', 'PNEUMONIA')[number % 2]}")
    path = tmp_path / "m.csv"
    path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert run(["data", "audit", str(path), "-o", str(out), "--workers", "0"]) == 0
    assert "`chestx data split` keeps them together" in capsys.readouterr().out
    split = tmp_path / "split.csv"
    assert run(["data", "split", str(out / "grouped.csv"), "-o", str(split)]) == 0
    rows = read_rows(split)
    assert {row["dup_group"] for row in rows[:4]} == {"same-1"}
    assert len({row["split"] for row in rows[:4]}) == 1
    assert {row["dup_group"] for row in rows[4:]} == {""}


def test_scan_renames_labels_as_its_error_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"")
    table = tmp_path / "t.csv"
    table.write_text("path,label\na.png,COVID-19\n")
    arguments = ["data", "scan", "csv", str(tmp_path / "set"), "--labels-csv", str(table), "-o"]
    output = tmp_path / "m.csv"
    assert run([*arguments, str(output)]) == 2
    assert '--rename "COVID-19=COVID19"' in capsys.readouterr().err
    assert run([*arguments, str(output), "--rename", "COVID-19=COVID19"]) == 0
    assert read_rows(output) == [{"path": "set/a.png", "label": "COVID19"}]


def test_text_from_a_table_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,label,source\na,NORMAL,\x1b[2J[red]x\n")
    assert run(["data", "stats", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2J[red]x" in out


def test_help_and_predict_load_nothing_that_only_data_sets_need() -> None:
    code = (
        "import sys; from chestx.cli.app import run; run(['data', 'stats', '--help']); "
        "heavy = {'sklearn', 'matplotlib', 'jinja2', 'openpyxl', 'scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_page_names_every_command_option_and_column(repository: Path) -> None:
    import typer

    from chestx.cli.data import app
    from chestx.datasets.manifest import COLUMNS
    from chestx.datasets.split_record import RECORDED, SPLIT_ID

    text = (repository / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        section = text.split(f"## chestx data {name} ")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                shared = option in ("-c",) and "`--column`" in section
                assert not option.startswith("-") or shared or f"`{option}`" in section, option
    for column in (*COLUMNS, *RECORDED, SPLIT_ID):
        assert f"`{column}`" in text.split("## Reading any CSV")[0], column


def test_the_example_on_the_page_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (repository / "docs" / "datasets.md").read_text(encoding="utf-8")
    exec(compile(text.split("```python\n")[1].split("```")[0], "datasets.md", "exec"), {})
    assert run(["data", "stats", "split.csv"]) == 0
