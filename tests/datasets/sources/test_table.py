"""Any CSV that names images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError


def _make(folder: Path, text: str, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text(text)
    return folder


def test_columns_are_read_under_their_own_names(tmp_path: Path) -> None:
    text = "file,diagnosis,who\nx/a.png,NORMAL,p1\nx/b.png,PNEUMONIA,p2\n"
    _make(tmp_path, text, "x/a.png", "x/b.png")
    columns = {"path": "file", "label": "diagnosis", "patient_id": "who"}
    manifest = scan_folder("csv", tmp_path, ScanOptions(columns=columns)).manifest
    assert manifest.labels == ("NORMAL", "PNEUMONIA")
    assert manifest.folder == tmp_path
    assert [(e.path, e.patient_id, e.targets[1]) for e in manifest.examples] == [
        ("x/a.png", "p1", Target.ABSENT),
        ("x/b.png", "p2", Target.PRESENT),
    ]


def test_the_table_may_lie_elsewhere_and_paths_count_from_the_folder(tmp_path: Path) -> None:
    table = _make(tmp_path / "tables", "path,label\na.png,A\n") / "labels.csv"
    _make(tmp_path / "images", "path,label\n", "a.png")
    scan = scan_folder("csv", tmp_path / "images", ScanOptions(labels=table))
    assert [e.path for e in scan.manifest.examples] == ["a.png"]


def test_files_on_one_side_only_are_counted(tmp_path: Path) -> None:
    _make(tmp_path, "path,label\na.png,A\ngone.png,A\n", "a.png", "new.png")
    scan = scan_folder("csv", tmp_path)
    assert [e.path for e in scan.manifest.examples] == ["a.png"]
    assert scan.notes[0].startswith("1 of the 2 files that labels.csv names are not in the folder")
    assert scan.notes[1].startswith("1 image files are not named by labels.csv")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="name of a file inside the data set's folder"):
        scan_folder("csv", _make(tmp_path, f"path,label\n{path},A\n"))


def test_none_of_the_files_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected paths that count from the scanned folder"):
        scan_folder("csv", _make(tmp_path, "path,label\na.png,A\n"))


def test_a_folder_with_no_or_several_tables_needs_one_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"exactly one CSV in it, got none; name the table"):
        scan_folder("csv", tmp_path)
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(UsageError, match=r"got a.csv, b.csv; name the table"):
        scan_folder("csv", tmp_path)


def test_the_shared_radiographs_are_read_through_a_column_map(cxr: Path, tmp_path: Path) -> None:
    lines = (cxr / "manifest.csv").read_text(encoding="utf-8").splitlines()
    table = tmp_path / "part.csv"
    table.write_text("\n".join([lines[0], *lines[1::500]]), encoding="utf-8")
    columns = {"path": "file", "split": "dev_split", "source": "data_set"}
    scan = scan_folder("csv", cxr, ScanOptions(labels=table, columns=columns))
    assert len(scan.manifest.examples) == len(lines[1::500])
    assert "PNEUMONIA" in scan.manifest.labels
