"""What the sources share."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from chestx.datasets.example import Example, Target
from chestx.datasets.sources import common, published
from chestx.datasets.sources.common import (
    compare_files,
    index_names,
    join_name,
    list_images,
    make_targets,
    note_shared_patients,
    parse_age,
    parse_sex,
    read_lines,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_gives_rows_with_the_line_that_each_ends_on(tmp_path: Path) -> None:
    table = _write(tmp_path / "t.csv", '\ufeffname,note,\nA , "two\nlines",\n\nB,,\n')
    rows = list(read_table(table, ("name", "note")))
    assert [(row.line, row["name"]) for row in rows] == [(3, "A"), (5, "B")]
    assert str(rows[1].fail("why")) == "t.csv, line 5: why"


def test_a_packed_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"name\nA\n"))
    assert [row["name"] for row in read_table(tmp_path / "t.csv.gz", ("name",))] == ["A"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n", "is missing 'b' and has unknown 'c'"),
        ("a,b,b\n", "no column twice, got 'b'"),
        ("a,b\n1\n", "line 2: expected 2 cells as in the header, got 1"),
        ("a,b\n1,2,3\n", "line 2: expected 2 cells as in the header, got 3"),
        ('a,b\n"1"x,2\n', "expected a CSV, got"),
        ("", "expected a header of 1 to 1000 columns, got 0"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    table = _write(tmp_path / "t.csv", text)
    with pytest.raises(UsageError, match=message):
        list(read_table(table, ("a", "b")))


def test_a_table_in_another_encoding_or_none_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a\nM\u00fcller\n".encode("latin-1"))
    (tmp_path / "t.csv.gz").write_bytes(b"no archive")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a\n" + b"1\n" * 99)[:-9])
    with pytest.raises(UsageError, match="UTF-8"):
        list(read_table(tmp_path / "t.csv", ("a",)))
    for name in ("t.csv.gz", "cut.csv.gz", "missing.csv"):
        with pytest.raises(UsageError, match="expected a table, got"):
            list(read_table(tmp_path / name, ("a",)))


def test_a_table_that_unpacks_past_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "MAX_TABLE_BYTES", 20_000)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n" + b"1\n" * 20_000))
    with pytest.raises(UsageError, match="at most 20,000 bytes"):
        list(read_table(tmp_path / "t.csv.gz", ("a",)))
    _write(tmp_path / "list.txt", "1\n" * 20_000)
    with pytest.raises(UsageError, match="at most 20,000 bytes"):
        read_lines(tmp_path / "list.txt")


def test_a_table_with_too_many_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "MAX_ROWS", 2)
    with pytest.raises(UsageError, match="at most 2 rows"):
        list(read_table(_write(tmp_path / "t.csv", "a\n1\n2\n3\n"), ("a",)))


def test_a_pipe_or_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match="expected a file, got a folder or something else"):
            list(read_table(tmp_path / name, ("a",)))
        with pytest.raises(UsageError, match="expected a file, got a folder or something else"):
            read_lines(tmp_path / name)


def test_a_list_gives_its_lines(tmp_path: Path) -> None:
    assert read_lines(_write(tmp_path / "l.txt", " a.png\r\n\nb.png")) == ["a.png", "b.png"]
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        read_lines(tmp_path / "l.txt")
    with pytest.raises(UsageError, match="expected a list, got"):
        read_lines(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a.png", "a/../../b.png", "C:/a.png", "..\\a.png", "a\n.png"]
)
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"t\.csv: expected the name of a file inside"):
        join_name("images", name, table="t.csv")


def test_a_name_is_joined_to_its_folder() -> None:
    assert join_name("images", "a/b.png", table="t.csv") == "images/a/b.png"
    assert join_name("", "./b.png", table="t.csv") == "b.png"


def test_images_are_listed_in_order_without_what_macos_leaves(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/10.jpeg", "a.png", "b/._2.png", "__MACOSX/a.png", "b/t.csv"):
        _write(tmp_path / name, "")
    assert list_images(tmp_path, "b") == ["b/10.jpeg", "b/2.PNG"]
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert list_images(tmp_path) == ["a.png", "b/10.jpeg", "b/2.PNG"]
    assert "b/t.csv" in list_images(tmp_path, suffixes=None)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "MAX_FILES", 1)
    _write(tmp_path / "a.png", "")
    _write(tmp_path / "b.png", "")
    with pytest.raises(UsageError, match="at most 1 image files"):
        list_images(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    assert index_names(["x/a.png"], folder=tmp_path) == {"a.png": "x/a.png"}
    with pytest.raises(UsageError, match=r"each file name once.*'x/a.png' and 'y/a.png'"):
        index_names(["x/a.png", "y/a.png"], folder=tmp_path)


def test_files_that_only_the_table_or_only_the_folder_knows_are_counted() -> None:
    named = ["a/1", "a/2", "b/3", "4"]
    notes = compare_files(named, ["a/1", "c\n/4"], table="t.csv", layout="images")
    assert notes == (
        "3 of the 4 files that t.csv names are not in the folder and were left out: "
        "1 without a folder, 1 in a, 1 in b.",
        "1 image files are not named by t.csv and were left out: 1 in 'c\\n'.",
    )
    assert compare_files(["a"], ["a"], table="t.csv", layout="images") == ()


def test_many_folders_are_summed_up() -> None:
    named = ["there", *(f"{n}/x" for n in range(20))]
    notes = compare_files(named, ["there"], table="t.csv", layout="images")
    assert "and others in 8 more folders" in notes[0]


def test_none_of_the_files_there_is_an_error_with_the_layout() -> None:
    with pytest.raises(UsageError, match=r"t\.csv: expected PNGs in images, but none of the 1 "):
        compare_files(["a"], ["b"], table="t.csv", layout="PNGs in images")


def test_targets_keep_absent_unknown_and_not_asked_apart() -> None:
    labels = ("A", "B", "C")
    present, absent, unknown, not_asked = (
        Target.PRESENT,
        Target.ABSENT,
        Target.UNKNOWN,
        Target.NOT_ASKED,
    )
    assert make_targets(labels, {"A"}) == (present, absent, absent)
    assert make_targets(labels, {"A"}, unknown={"A", "B"}) == (present, unknown, absent)
    assert make_targets(labels, (), absent={"B"}, unknown={"C"}) == (not_asked, absent, unknown)
    with pytest.raises(ValueError, match="one of the labels A, B, C, got 'D'"):
        make_targets(labels, {"D"})


@pytest.mark.parametrize(
    ("text", "age"),
    [("58", 58), ("058Y", 58), ("006M", 0.5), ("58.5", 58.5), ("411", None), ("", None),
     ("-3", None), ("nan", None), ("old", None)],
)  # fmt: skip
def test_ages_are_years_or_unknown(text: str, age: float | None) -> None:
    assert parse_age(text) == age


def test_sexes_are_letters_or_unknown() -> None:
    assert [parse_sex(text) for text in ("M", "female", "Other", "?", "")] == [
        "M", "F", "O", "", "",
    ]  # fmt: skip


def test_patients_in_two_splits_are_counted_within_their_source() -> None:
    def example(patient: str, split: str, source: str) -> Example:
        return Example(path="x", targets=(), patient_id=patient, split=split, source=source)

    examples = [
        example("1", "train", "a"),
        example("1", "test", "a"),
        example("2", "train", "a"),
        example("2", "test", "b"),
        example("", "train", "a"),
        example("", "test", "a"),
    ]
    assert note_shared_patients(examples)[0].startswith("1 of 3 patients have images in more")
    assert note_shared_patients(examples[2:]) == ()


def test_an_option_that_a_source_has_no_use_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--uncertain: x has no use for this option \(it takes --l"
    ):
        refuse_options(ScanOptions(uncertain="ones"), source="x", allowed=("labels",))
    for source in ("folders", "csv", "dicom", "kermany", "covid19-radiography", "covidx"):
        with pytest.raises(UsageError, match=f"--uncertain: {source} has no use"):
            scan_folder(source, tmp_path, ScanOptions(uncertain="ones"))
    for source in ("covid-chestxray", "nih"):
        with pytest.raises(UsageError, match=f"--labels-csv: {source} has no use"):
            scan_folder(source, tmp_path, ScanOptions(labels=tmp_path))
