"""COVID-19 Radiography Database in the layout of its editions.

Source of folders and names: https://www.kaggle.com/tawsifurrahman/covid19-radiography-database.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from openpyxl import Workbook
from PIL import Image

from chestx.datasets.example import Task
from chestx.datasets.sources import radiography_metadata
from chestx.datasets.sources.registry import scan_folder
from chestx.domain import UsageError

# Header of COVID.metadata.xlsx, as code that reads it names its columns, e.g.
# pd.concat(...).drop(["FILE NAME", "FORMAT", "SIZE", "URL"]) and sheet_name="Sheet1".
HEADER = ("FILE NAME", "FORMAT", "SIZE", "URL")
SIRM = "https://sirm.org/category/senza-categoria/covid-19/"
RSNA = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"


def _make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def _write_table(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Sheet1"
    for row in (header, *rows):
        sheet.append(list(row))
    book.save(path)


NEW = (
    "COVID/images/COVID-1.png",
    "COVID/images/COVID-2.png",
    "COVID/masks/COVID-1.png",
    "Lung_Opacity/images/Lung_Opacity-1.png",
    "Normal/images/Normal-1.png",
    "Viral Pneumonia/images/Viral Pneumonia-1.png",
)


def test_folders_are_classes_and_masks_are_no_images(tmp_path: Path) -> None:
    _make(tmp_path / "COVID-19_Radiography_Dataset", *NEW)
    scan = scan_folder("covid19-radiography", tmp_path)
    manifest = scan.manifest
    assert manifest.task is Task.SINGLE_LABEL
    assert manifest.labels == ("NORMAL", "LUNG_OPACITY", "VIRAL_PNEUMONIA", "COVID19")
    found = {e.path.split("/")[1]: manifest.labels[e.targets.index(1)] for e in manifest.examples}
    assert found == {
        "COVID": "COVID19",
        "Lung_Opacity": "LUNG_OPACITY",
        "Normal": "NORMAL",
        "Viral Pneumonia": "VIRAL_PNEUMONIA",
    }
    assert not any("masks" in e.path for e in manifest.examples)
    assert "1 files in masks are lung masks" in scan.notes[-1]
    assert "give" in scan.notes[0]


def test_old_editions_have_images_in_the_folders_of_classes(tmp_path: Path) -> None:
    base = tmp_path / "COVID-19 Radiography Database"
    _make(base, "COVID-19/COVID-19 (109).png", "NORMAL/NORMAL (1).png", "stray.png", "a/b/c/d.png")
    _write_table(base / "COVID-19.metadata.xlsx", [("COVID-19(109)", "PNG", "1024*1024", SIRM)])
    scan = scan_folder("covid19-radiography", tmp_path)
    assert scan.manifest.labels == ("NORMAL", "COVID19")
    assert [e.source for e in scan.manifest.examples] == [
        "covid19-radiography/sirm",
        "covid19-radiography",
    ]
    assert scan.notes[-1].startswith("2 image files lie in no folder of a class")


def test_the_tables_tell_the_source(tmp_path: Path) -> None:
    _make(tmp_path, *NEW)
    _write_table(
        tmp_path / "COVID.metadata.xlsx",
        [
            ("COVID-1", "PNG", "256*256", SIRM),
            ("COVID-2", "PNG", "256*256", "https://www.Example.org/x"),
            ("COVID-9", "PNG", "256*256", SIRM),
        ],
    )
    _write_table(tmp_path / "Normal.metadata.xlsx", [("NORMAL-1", "PNG", "256*256", RSNA)])
    scan = scan_folder("covid19-radiography", tmp_path)
    assert {e.path.split("/")[-1]: e.source.split("/")[-1] for e in scan.manifest.examples} == {
        "COVID-1.png": "sirm",
        "COVID-2.png": "example.org",
        "Lung_Opacity-1.png": "covid19-radiography",
        "Normal-1.png": "rsna",
        "Viral Pneumonia-1.png": "covid19-radiography",
    }
    notes = " ".join(scan.notes)
    assert "numbers do not fit those tables" in notes
    assert "2 images have no row in the metadata tables." in notes
    assert "1 rows of the metadata tables have no image" in notes


@pytest.mark.parametrize("url", ["", "nonsense", "http://[::1", "ftp://\u202e\x00/"])
def test_an_address_that_is_none_gives_no_source(tmp_path: Path, url: str) -> None:
    _make(tmp_path, *NEW)
    _write_table(tmp_path / "COVID.metadata.xlsx", [("COVID-1", "PNG", "1", url.replace("\0", ""))])
    sources = {e.source for e in scan_folder("covid19-radiography", tmp_path).manifest.examples}
    assert sources == {"covid19-radiography", "covid19-radiography/not-stated"}


def test_a_table_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, *NEW)
    table = tmp_path / "COVID.metadata.xlsx"
    table.write_bytes(b"no workbook")
    with pytest.raises(UsageError, match=r"COVID.metadata.xlsx: expected an xlsx workbook, got an"):
        scan_folder("covid19-radiography", tmp_path)
    with zipfile.ZipFile(table, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(UsageError, match="cannot be read as one"):
        scan_folder("covid19-radiography", tmp_path)
    _write_table(table, [("COVID-1", "PNG", "1", SIRM)], header=("NAME", *HEADER[1:]))
    with pytest.raises(UsageError, match="is missing 'FILE NAME' and has unknown 'NAME'"):
        scan_folder("covid19-radiography", tmp_path)
    _write_table(table, [("COVID-1", "PNG", "1", SIRM)] * 5)
    monkeypatch.setattr(radiography_metadata, "MAX_ROWS", 3)
    with pytest.raises(UsageError, match="at most 3 rows"):
        scan_folder("covid19-radiography", tmp_path)
    monkeypatch.setattr(radiography_metadata, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(UsageError, match="100 unpacked"):
        scan_folder("covid19-radiography", tmp_path)


def test_another_class_or_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got no COVID"):
        scan_folder("covid19-radiography", tmp_path)
    _make(tmp_path, *NEW, "Tuberculosis/images/1.png")
    with pytest.raises(UsageError, match=r"folders: expected one of .* got 'Tuberculosis'"):
        scan_folder("covid19-radiography", tmp_path)
