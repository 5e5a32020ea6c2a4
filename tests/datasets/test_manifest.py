"""A CSV that a person wrote, or any other, becomes a manifest; and comes back from one."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chestx.datasets import rows
from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.datasets.manifest import COLUMNS, read_manifest, write_manifest
from chestx.datasets.rows import guard_cell, restore_cell
from chestx.domain import ChestxError, UsageError

WriteTable = Callable[..., Path]
P, A, U, N = Target.PRESENT, Target.ABSENT, Target.UNKNOWN, Target.NOT_ASKED


def test_a_column_label_holds_one_label_an_image(write_table: WriteTable) -> None:
    path = write_table("path,label\na.png,PNEUMONIA\nb.png,NORMAL\nc.png,\nd.png,-\n")
    manifest = read_manifest(path).manifest
    assert manifest.task is Task.SINGLE_LABEL
    assert manifest.labels == ("NORMAL", "PNEUMONIA")
    assert [e.targets for e in manifest.examples] == [(A, P), (P, A), (U, U), (N, N)]
    assert manifest.resolve(manifest.examples[0]) == str(path.parent / "a.png")


def test_columns_called_as_terms_hold_a_label_each(write_table: WriteTable) -> None:
    path = write_table("path,EDEMA,note,MASS\na.png,1,x,0\nb.png,,y,-\nc.png,0.0,z,1.0\n")
    manifest = read_manifest(path).manifest
    assert manifest.task is Task.MULTI_LABEL
    assert manifest.labels == ("EDEMA", "MASS")
    assert [e.targets for e in manifest.examples] == [(P, A), (U, N), (A, P)]
    assert [e.other["note"] for e in manifest.examples] == ["x", "y", "z"]


def test_every_column_of_a_manifest_is_understood(write_table: WriteTable) -> None:
    box = '[{""label"": ""PNEUMONIA"", ""x"": 1, ""y"": 2.5, ""width"": 3, ""height"": 4}]'
    path = write_table(
        "path,label,split,source,patient_id,study_id,group,dup_group,view,population,device,"
        "licence,age,sex,boxes,colour\n"
        f'a.png,PNEUMONIA,val,s,p,t,g,d,PA,adult,CR,CC BY,063Y,female,"{box}",3\n'
    )
    assert set(COLUMNS) < set(path.read_text().splitlines()[0].split(","))
    assert read_manifest(path).manifest.examples[0] == Example(
        path="a.png",
        targets=(P,),
        split="validation",
        source="s",
        patient_id="p",
        study_id="t",
        group="g",
        dup_group="d",
        view="PA",
        population="adult",
        device="CR",
        licence="CC BY",
        age_years=63.0,
        sex="F",
        boxes=(Box(label="PNEUMONIA", x=1.0, y=2.5, width=3.0, height=4.0),),
        other={"colour": "3"},
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_save_is_read(
    write_table: WriteTable, delimiter: str, mark: str, end: str
) -> None:
    lines = [
        delimiter.join(cells)
        for cells in (["path", "label", "note"], ['"a, b; c.png"', "NORMAL", "x"], ["", "", ""])
    ]
    manifest = read_manifest(write_table(mark + end.join(lines) + end)).manifest
    assert [e.path for e in manifest.examples] == ["a, b; c.png"]


def test_a_quoted_header_does_not_mislead_about_the_delimiter(write_table: WriteTable) -> None:
    path = write_table('path,label,"a;b;c;d"\na.png,NORMAL,1\n')
    assert dict(read_manifest(path).manifest.examples[0].other) == {"a;b;c;d": "1"}


def test_a_column_without_a_name_gets_one(write_table: WriteTable) -> None:
    path = write_table(",path,label\n0,a.png,NORMAL\n")
    assert dict(read_manifest(path).manifest.examples[0].other) == {"column 1": "0"}


def test_columns_under_other_names_are_mapped(write_table: WriteTable) -> None:
    path = write_table("file,label,orig_label,set\na.png,X,NORMAL,s\nb.png,X,PNEUMONIA,s\n")
    table = read_manifest(
        path,
        columns={"path": "file", "label": "orig_label", "source": "set", "patient_id": "set"},
    )
    assert table.manifest.labels == ("NORMAL", "PNEUMONIA")
    first = table.manifest.examples[0]
    assert (first.source, first.patient_id) == ("s", "s")
    assert dict(first.other) == {"label_original": "X"}


def test_a_column_mapped_to_nothing_is_left_out(write_table: WriteTable) -> None:
    path = write_table("path,label,MASS,age\na.png,NORMAL,80.5,nan\n")
    manifest = read_manifest(path, columns={"MASS": "", "age": ""}).manifest
    assert manifest.examples[0].other == {}
    assert manifest.examples[0].age_years is None


def test_words_are_renamed_and_merged(write_table: WriteTable) -> None:
    path = write_table("path,label\na.png,COVID-19\nb.png,No Finding\nc.png,healthy\nd.png,?\n")
    rename = {"COVID-19": "COVID19", "No Finding": "NORMAL", "healthy": "NORMAL", "?": ""}
    manifest = read_manifest(path, rename=rename).manifest
    assert manifest.labels == ("NORMAL", "COVID19")
    assert [e.targets for e in manifest.examples] == [(A, P), (P, A), (P, A), (U, U)]


def test_columns_are_merged_so_that_absent_means_all_of_them(write_table: WriteTable) -> None:
    path = write_table("path,Mass,Nodule\na,1,0\nb,0,0\nc,0,\nd,0,-\ne,,-\nf,,1\n")
    manifest = read_manifest(path, rename={"Mass": "LESION", "Nodule": "LESION"}).manifest
    assert manifest.labels == ("LESION",)
    assert [e.targets[0] for e in manifest.examples] == [P, A, U, N, U, P]


def test_labels_choose_rows_and_say_what_was_left_out(write_table: WriteTable) -> None:
    path = write_table(
        "path,label,view\na,NORMAL,PA\nb,COVID-19,PA\nc,PNEUMONIA,L\nd,PNEUMONIA,PA\ne,OOD,PA\n"
    )
    table = read_manifest(path, labels=["PNEUMONIA", "NORMAL"], where=["view!=L"])
    assert table.manifest.labels == ("PNEUMONIA", "NORMAL")
    assert [e.path for e in table.manifest.examples] == ["a", "d"]
    assert table.left_out == {
        "not view!=L": 1,
        "label COVID-19 not asked for": 1,
        "label OOD not asked for": 1,
    }
    assert re.fullmatch("[0-9a-f]{64}", table.sha256)


def test_columns_of_labels_that_are_not_asked_for_are_kept(write_table: WriteTable) -> None:
    path = write_table("path,EDEMA,CAVITY\na,1,0\n")
    manifest = read_manifest(path, labels=["CAVITY"]).manifest
    assert manifest.labels == ("CAVITY",)
    assert dict(manifest.examples[0].other) == {"EDEMA": "1"}


@pytest.mark.parametrize(
    ("where", "paths"),
    [
        (["view=PA"], "a"),
        (["view=PA, AP"], "ab"),
        (["view!=PA,AP"], "cd"),
        (["view="], "d"),
        (["view!=", "kind!=x"], "bc"),
        (["split=validation"], "bc"),
        (["dev=val"], "bc"),
        (["split!=validation"], "ad"),
    ],
)
def test_conditions_choose_rows(write_table: WriteTable, where: list[str], paths: str) -> None:
    path = write_table(
        "path,label,view,dev,kind\na,NORMAL,PA,train,x\nb,NORMAL,AP,val,y\n"
        "c,NORMAL,L,val,z\nd,NORMAL,,test,x\n"
    )
    manifest = read_manifest(path, columns={"split": "dev"}, where=where).manifest
    assert "".join(e.path for e in manifest.examples) == paths


@pytest.mark.parametrize(
    ("text", "age"),
    [("63", 63), ("063Y", 63), ("6M", 0.5), ("0.25", 0.25), ("", None), ("adult", None), ("0", 0)],
)
def test_ages_are_years(write_table: WriteTable, text: str, age: float | None) -> None:
    table = read_manifest(write_table(f"path,label,age\na,NORMAL,{text}\n"))
    assert table.manifest.examples[0].age_years == age
    assert table.notes == (("1 age is a word, not stated in years",) if text == "adult" else ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a header and rows below it, got no row"),
        ("path,label\n", "got no row"),
        (
            "file,label\na,NORMAL\n",
            "expected a column 'path', got 'file', 'label'; say which it is",
        ),
        ("path,label,label\na,NORMAL,x\n", "expected each column once, got 'label' twice"),
        ("path,label\na,NORMAL\n\nb\n", "line 4: expected 2 cells as in the header, got 1"),
        ('path,label\n"a\nb",NORMAL\nc,NORMAL,x\n', "line 4: expected 2 cells"),
        ("path,label\na,NORMAL,x\n", "line 2: expected 2 cells as in the header, got 3"),
        ('path,label\n"a"b,NORMAL\n', "line 2: expected a CSV, got: "),
        ("path,label\n,NORMAL\n", "line 2: path: expected 1 to 4,096 characters, got 0"),
        ("path,label\na,COVID-19\n", '--rename "COVID-19=COVID19"'),
        ("path,label\nb,NORMAL\na,No Finding\n", "line 3: expected labels of a letter"),
        (
            "path,label\na,No Finding\nb,x y\n",
            '--rename "No Finding=NO_FINDING" --rename "x y=X_Y"',
        ),
        ("path,label\na,3 lobes\n", '--rename "3 lobes=LABEL_3_LOBES"'),
        ("path,label\na,\n", "expected 1 to 500 labels in its column 'label', got 0"),
        ("path,label,age\na,NORMAL,nan\n", "line 2: age: expected years from 0 to 120"),
        ("path,label,age\na,NORMAL,414Y\n", "got '414Y'; leave it empty where it is not known"),
        ("path,label,age\na,NORMAL,-3\n", "line 2: age: "),
        ("path,label,sex\na,NORMAL,x\n", "line 2: sex: expected M, F, O or nothing, got 'x'"),
        ("path,label,split\na,NORMAL,hold\n", "line 2: split: expected train, validation"),
        ("path,label,boxes\na,NORMAL,nonsense\n", "line 2: boxes: expected a JSON list"),
        ("path,label,boxes\na,NORMAL,{}\n", "boxes: expected a JSON list of at most 1,000"),
        ("path,label,boxes\na,NORMAL,[1]\n", "boxes: expected objects"),
        ("path,label,boxes\na,NORMAL," + "[" * 90_000 + "\n", "boxes: expected a JSON list"),
        ("path,EDEMA\na,2\n", "line 2: label: expected 1 (present), 0 (absent)"),
        ("path,EDEMA\na,-1\n", "got '-1'"),
        ("path,note\na,2\n", "expected a column 'label', or columns that are called as terms"),
        ("path,Cardiomegaly\na,1\n", '--rename "Cardiomegaly=CARDIOMEGALY"'),
        ("path,EDEMA,CAVITY\na,1,0\n", "name all labels: --labels EDEMA,CAVITY"),
        ("path,CAVITY\na,1\n", "name all labels: --labels CAVITY"),
        ("path,label,EDEMA\na,NORMAL,1\n", "got both: 'EDEMA'; leave one out with --column label="),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(
    write_table: WriteTable, text: str, says: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as raised:
        read_manifest(write_table(text))
    assert str(raised.value).startswith("manifest.csv")


@pytest.mark.parametrize(
    ("side", "says"),
    [
        ({"x": "1"}, "expected numbers for x, y, width and height"),
        ({"width": 0}, "positive sides"),
        ({"x": 10**400}, "expected finite numbers"),
        ({"label": ""}, "expected a label of 1 to 64 characters"),
    ],
)
def test_a_box_that_is_wrong_is_refused(
    write_table: WriteTable, side: dict[str, object], says: str
) -> None:
    import json

    box = {"label": "MASS", "x": 1, "y": 1, "width": 1, "height": 1, **side}
    cell = json.dumps([box]).replace('"', '""')
    with pytest.raises(UsageError, match=f"line 2: .*{says}"):
        read_manifest(write_table(f'path,label,boxes\na,NORMAL,"{cell}"\n'))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": {"path": "fil"}}, "expected the column 'fil', the file has 'path', 'label'"),
        ({"columns": {"path": "pat"}}, "perhaps 'path'"),
        ({"columns": {"spilt": "path"}}, "column 'spilt': expected one of path, label, split"),
        ({"labels": []}, "labels: expected at least one and none twice"),
        ({"labels": ["NORMAL", "NORMAL"]}, "labels: expected at least one and none twice"),
        ({"labels": ["PNEUMONIA"]}, "which has 'NORMAL', 'Pneumonia'"),
        ({"labels": ["PNEUMONIA"]}, '--rename "Pneumonia=PNEUMONIA"'),
        ({"rename": {"COVID": "COVID19"}}, "rename 'COVID': expected a label of manifest.csv"),
        ({"rename": {"NORMAL": "no finding"}}, '--rename "no finding=NO_FINDING"'),
        ({"where": ["view"]}, "where: expected COLUMN=VALUE"),
        ({"where": ["view=PA"]}, "where 'view=PA': expected a column of manifest.csv"),
        ({"where": ["path=x"]}, "expected rows, but every one was left out: 2 not path=x"),
    ],
)
def test_a_request_that_does_not_fit_the_table_is_refused(
    write_table: WriteTable, options: dict[str, object], says: str
) -> None:
    path = write_table("path,label\na,NORMAL\nb,Pneumonia\n")
    with pytest.raises(UsageError, match=re.escape(says)):
        read_manifest(path, **options)  # type: ignore[arg-type]


def test_other_bytes_than_utf_8_are_shown_with_line_and_place(write_table: WriteTable) -> None:
    with pytest.raises(UsageError, match="line 2: expected UTF-8, got the byte 0xE9 at offset 12"):
        read_manifest(write_table("path,label\na\u00e9,NORMAL\n".encode("latin-1")))
    with pytest.raises(UsageError, match="0xE9 at offset 15"):
        read_manifest(write_table(b"\xef\xbb\xbf" + "path,label\na\u00e9,N\n".encode("latin-1")))
    with pytest.raises(UsageError, match="line 1: expected UTF-8, got the byte 0x"):
        read_manifest(write_table("path,label\na,NORMAL\n".encode("utf-16")))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="something that is no file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("limit", "value", "says"),
    [
        ("MAX_BYTES", 10, "expected at most 10 bytes"),
        ("MAX_ROWS", 1, "expected at most 1 rows"),
        ("MAX_COLUMNS", 1, "expected at most 1 columns, got 2"),
        ("MAX_CELL", 5, "line 3: expected at most 5 characters in a cell"),
    ],
)
def test_a_table_past_a_limit_is_refused(
    write_table: WriteTable, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, says: str
) -> None:
    monkeypatch.setattr(rows, limit, value)
    with pytest.raises(UsageError, match=says):
        read_manifest(write_table("path,label\na,MASS\nb/c.png,MASS\n"))


def test_a_cell_that_no_csv_reader_takes_is_refused(write_table: WriteTable) -> None:
    with pytest.raises(
        UsageError, match=r"line 2: expected at most 100,000 characters .* a quotation mark"
    ):
        read_manifest(write_table("path,label\n" + "a" * 200_000 + ",NORMAL\n"))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
stripped = texts.map(str.strip)
paths = texts.filter(lambda text: text.strip() != "") | st.sampled_from(
    ["=1+1.png", "'=x", "-", "-5", " @a.png", "a\nb.png", "a,b;c\t.png", '"q".png', "x ", "'"]
)
LABELS = ("MASS", "CAVITY", "NORMAL")
examples: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "path": paths,
        "patient_id": stripped,
        "study_id": stripped,
        "split": st.sampled_from(["", "train", "validation", "test"]),
        "source": stripped,
        "group": stripped,
        "view": stripped,
        "age_years": st.none() | st.floats(0, 120),
        "sex": st.sampled_from(["", "M", "F", "O"]),
        "licence": stripped,
        "boxes": st.lists(st.tuples(*[st.floats(1e-3, 1e6)] * 4), max_size=2),
    }
)
names = stripped.filter(lambda name: name and name not in {*COLUMNS, *LABELS, "split_id"})


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_manifest_comes_back_as_it_was_written(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(list(Task)))
    columns = data.draw(st.lists(names, unique=True, max_size=2))
    # Every label is there, so that the table knows it.
    fixed = [(P, A, A), (A, P, A), (A, A, P)]
    single = st.sampled_from([*fixed, (U, U, U), (N, N, N)])
    several = st.tuples(*[st.sampled_from(list(Target))] * 3)
    made = [Example(path="a", targets=targets) for targets in fixed]
    for drawn in data.draw(st.lists(examples, min_size=1, max_size=3)):
        sides = drawn.pop("boxes")
        made.append(
            Example(
                **drawn,
                targets=data.draw(single if task is Task.SINGLE_LABEL else several),
                boxes=tuple(Box(label="MASS", x=x, y=y, width=w, height=h) for x, y, w, h in sides),
                other={name: data.draw(texts) for name in columns},
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        manifest = Manifest(labels=LABELS, task=task, examples=tuple(made), folder=Path(folder))
        write_manifest(manifest, Path(folder) / "manifest.csv")
        again = read_manifest(Path(folder) / "manifest.csv", labels=LABELS).manifest
    assert (again.labels, again.task) == (LABELS, task)
    for old, new in zip(manifest.examples, again.examples, strict=True):
        assert replace(new, other={}) == replace(old, other={})
        assert {**dict.fromkeys(columns, ""), **old.other} == new.other


@given(st.text())
def test_the_guard_against_spreadsheets_takes_nothing_away(text: str) -> None:
    assert restore_cell(guard_cell(text)) == text


@pytest.mark.parametrize("text", ["=1+1", "@x", "+a", "-a", " =1", "\uff1d1", "\t=1"])
def test_what_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    assert guard_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-", "-5", "+1.5e-3", "a=1", "'quoted'", ""])
def test_harmless_text_is_left_as_it_is(text: str) -> None:
    assert guard_cell(text) == text


def test_a_path_that_begins_like_a_formula_survives(
    write_table: WriteTable, tmp_path: Path
) -> None:
    manifest = read_manifest(write_table("path,label\n=1+1.png,NORMAL\n")).manifest
    write_manifest(manifest, tmp_path / "again.csv")
    assert "\n'=1+1.png,NORMAL\n" in (tmp_path / "again.csv").read_text()
    assert read_manifest(tmp_path / "again.csv").manifest.examples[0].path == "=1+1.png"


def test_paths_are_rewritten_for_another_folder(write_table: WriteTable, tmp_path: Path) -> None:
    (tmp_path / "data" / "in").mkdir(parents=True)
    path = write_table(
        f"path,label\na.png,MASS\n../b.png,MASS\n{tmp_path}/c.png,MASS\n", "data/in/m.csv"
    )
    manifest = read_manifest(path).manifest
    # A linked folder: `..` out of it leads to where it really is.
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    write_manifest(manifest, tmp_path / "link" / "out.csv")
    moved = read_manifest(tmp_path / "link" / "out.csv").manifest
    wanted = [tmp_path / "data" / "in" / "a.png", tmp_path / "data" / "b.png", tmp_path / "c.png"]
    assert [os.path.realpath(moved.resolve(e)) for e in moved.examples] == list(map(str, wanted))
    assert moved.examples[2].path == f"{tmp_path}/c.png"


def test_a_manifest_appears_whole_or_not_at_all(
    write_table: WriteTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_manifest(write_table("path,label\na,NORMAL\n")).manifest
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.csv").write_text("earlier")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ChestxError, match="cannot be written: No space left on device"):
        write_manifest(manifest, tmp_path / "out" / "m.csv")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["m.csv"]
    assert (tmp_path / "out" / "m.csv").read_text() == "earlier"


@pytest.mark.parametrize(
    ("example", "says"),
    [
        (Example(path="a", targets=(P, U)), "an image with one label of several"),
        (Example(path="a", targets=(A, A)), "an image with one label of several"),
        (Example(path="a", targets=(P, A), other={"age": "3"}), "does not use itself, got 'age'"),
        (Example(path="a", targets=(P, A), other={"MASS": "3"}), "does not use itself"),
        (Example(path="a\0b", targets=(P, A)), "example 1: expected cells without NUL"),
        (Example(path="a\udce9", targets=(P, A)), "not UTF-8, which a manifest must be"),
    ],
)
def test_what_no_table_can_hold_is_refused(example: Example, says: str, tmp_path: Path) -> None:
    manifest = Manifest(
        labels=("MASS", "EDEMA"), task=Task.SINGLE_LABEL, examples=(example,), folder=tmp_path
    )
    with pytest.raises(UsageError, match=re.escape(says)):
        write_manifest(manifest, tmp_path / "m.csv")
    assert list(tmp_path.iterdir()) == []


def test_the_radiographs_for_development_are_read_through_a_column_map(cxr: Path) -> None:
    table = read_manifest(
        cxr / "manifest.csv",
        columns={
            "path": "file",
            "split": "dev_split",
            "source": "data_set",
            "group": "split_group",
        },
        labels=["NORMAL", "PNEUMONIA", "COVID19"],
        where=["view!=L,Axial,Coronal", "data_set!=ood"],
    )
    assert table.left_out["not view!=L,Axial,Coronal"] == 61
    assert table.left_out["label UNCERTAIN not asked for"] == 48
    counts = Counter((e.source, e.split) for e in table.manifest.examples)
    assert counts["kermany", "validation"] == 437
    assert Path(table.manifest.resolve(table.manifest.examples[0])).is_file()
