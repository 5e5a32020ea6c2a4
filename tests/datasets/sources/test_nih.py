"""NIH ChestX-ray14 in its published layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target, Task
from chestx.datasets.sources.registry import scan_folder
from chestx.domain import UsageError

# Header and rows copied from Data_Entry_2017_v2020.csv as torchxrayvision ships it:
# https://github.com/mlmed/torchxrayvision/tree/master/torchxrayvision/data
HEADER_2020 = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
# The file at https://nihcc.app.box.com/v/ChestXray-NIHCC/file/219760887468 says Sex and ends its
# lines in a comma, as PyHealth quotes it in its tests of ChestXray14Dataset; the first edition,
# Data_Entry_2017.csv, says Gender and ends them in a comma.
HEADER_BOX = HEADER_2020.replace("Gender", "Sex").replace(",y]\n", ",y],\n")
HEADER_2017 = HEADER_2020.replace(",y]\n", ",y],\n")
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.14300000000000002,0.14300000000000002",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143",
    "00000002_000.png,No Finding,0,2,80,F,AP,2500,2048,0.171,0.171",
    "00000003_000.png,Hernia|Pleural_Thickening,0,3,411,F,PA,2582,2991,0.143,0.143",
)
# https://github.com/mlmed/torchxrayvision/blob/master/torchxrayvision/data/BBox_List_2017.csv.gz
BOXES = (
    "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    "00000001_000.png,Cardiomegaly,225.084745762712,547.019216763771,86.7796610169491,"
    "79.1864406779661\n"
    "00000001_000.png,Infiltrate,0,0,512,1024,,,\n"
)


def _make(
    folder: Path,
    header: str = HEADER_2020,
    table: str = "Data_Entry_2017_v2020.csv",
    rows: tuple[str, ...] = ROWS,
    side: int = 16,
) -> Path:
    end = ",\n" if header.endswith(",\n") else "\n"
    (folder / table).write_text(header + "".join(row + end for row in rows))
    for number, row in enumerate(rows):
        place = folder / f"images_{number // 2 + 1:03}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (side, side)).save(place / row.split(",")[0])
    return folder


@pytest.mark.parametrize(
    ("header", "table"),
    [
        (HEADER_2020, "Data_Entry_2017_v2020.csv"),
        (HEADER_BOX, "Data_Entry_2017_v2020.csv"),
        (HEADER_2017, "Data_Entry_2017.csv"),
    ],
)
def test_every_edition_of_the_table_is_read(tmp_path: Path, header: str, table: str) -> None:
    scan = scan_folder("nih", _make(tmp_path, header, table))
    manifest = scan.manifest
    assert manifest.task is Task.MULTI_LABEL
    assert len(manifest.labels) == 15
    present = [
        {label for label, t in zip(manifest.labels, e.targets, strict=True) if t is Target.PRESENT}
        for e in manifest.examples
    ]
    assert present == [
        {"CARDIOMEGALY"},
        {"CARDIOMEGALY", "EMPHYSEMA"},
        {"NO_FINDING"},
        {"HERNIA", "PLEURAL_THICKENING"},
    ]
    first, _, third, _ = manifest.examples
    assert first.path == "images_001/images/00000001_000.png"
    assert (first.patient_id, first.age_years, first.sex, first.view) == ("1", 57, "M", "PA")
    assert third.path == "images_002/images/00000002_000.png"
    assert third.sex == "F"


def test_an_age_of_411_years_is_unknown_and_counted(tmp_path: Path) -> None:
    scan = scan_folder("nih", _make(tmp_path))
    assert scan.manifest.examples[3].age_years is None
    assert any(note.startswith("1 ages are no ages of 0 to 120 years") for note in scan.notes)


def test_absent_is_said_to_be_not_named(tmp_path: Path) -> None:
    assert "did not name the finding" in scan_folder("nih", _make(tmp_path)).notes[0]


def test_the_official_lists_are_the_split(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (tmp_path / "test_list.txt").write_text("00000002_000.png")
    scan = scan_folder("nih", tmp_path)
    assert [e.split for e in scan.manifest.examples] == ["train", "train", "test", ""]
    assert any(note.startswith("1 images are in none of the official") for note in scan.notes)


def test_an_image_in_both_lists_is_refused(tmp_path: Path) -> None:
    _make(tmp_path)
    for name in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / name).write_text("00000001_000.png\n")
    with pytest.raises(UsageError, match=r"no image of train_val_list.txt, got '00000001_000.png'"):
        scan_folder("nih", tmp_path)


def test_without_lists_there_is_no_split(tmp_path: Path) -> None:
    assert any(
        "official split is not in" in note for note in scan_folder("nih", _make(tmp_path)).notes
    )


def test_boxes_are_scaled_to_the_files_that_are_there(tmp_path: Path) -> None:
    _make(tmp_path, side=512)
    (tmp_path / "BBox_List_2017.csv").write_text(BOXES)
    first, second, *_ = scan_folder("nih", tmp_path).manifest.examples
    assert [box.label for box in first.boxes] == ["CARDIOMEGALY", "INFILTRATION"]
    assert first.boxes[0].x == pytest.approx(225.084745762712 / 2)
    assert (first.boxes[1].width, first.boxes[1].height) == (256, 512)
    assert second.boxes == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("00000001_000.png,Cardiomegaly,1,1,0,1", "expected a box of x, y, width and height"),
        ("00000001_000.png,Cardiomegaly,a,1,1,1", "expected a box of x, y, width and height"),
        ("00000001_000.png,Heart,1,1,1,1", "got 'Heart'"),
    ],
)
def test_a_box_that_is_none_is_refused(tmp_path: Path, row: str, message: str) -> None:
    _make(tmp_path)
    (tmp_path / "BBox_List_2017.csv").write_text(BOXES.splitlines()[0] + "\n" + row + "\n")
    with pytest.raises(UsageError, match=message):
        scan_folder("nih", tmp_path)


def test_boxes_need_pngs(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "BBox_List_2017.csv").write_text(BOXES)
    (tmp_path / "images_001" / "images" / "00000001_000.png").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UsageError, match="expected a PNG as the set is published"):
        scan_folder("nih", tmp_path)


def test_files_on_one_side_only_are_counted(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "images_002" / "images" / "00000002_000.png").rename(tmp_path / "other.png")
    scan = scan_folder("nih", tmp_path)
    assert len(scan.manifest.examples) == 3
    assert scan.notes[0].startswith("1 of the 4 files that Data_Entry_2017_v2020.csv names are")
    assert scan.notes[1].startswith("1 image files are not named by Data_Entry_2017_v2020.csv")


def test_unknown_labels_and_columns_are_named(tmp_path: Path) -> None:
    _make(tmp_path, rows=("1.png,Pneumonitis,0,1,57,M,PA,1,1,1,1",))
    with pytest.raises(UsageError, match=r"Data_Entry_2017_v2020.csv, line 2.*got 'Pneumonitis'"):
        scan_folder("nih", tmp_path)
    _make(tmp_path, HEADER_2020.replace("Patient Age", "Age"))
    with pytest.raises(UsageError, match="is missing 'Patient Age' and has unknown 'Age'"):
        scan_folder("nih", tmp_path)
    _make(tmp_path, rows=("1.png,No Finding|Mass,0,1,57,M,PA,1,1,1,1",))
    with pytest.raises(UsageError, match="line 2: expected 'No Finding' alone"):
        scan_folder("nih", tmp_path)


def test_a_folder_without_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Data_Entry_2017_v2020.csv or Data_Entry_2017.csv in it"):
        scan_folder("nih", tmp_path)
    (tmp_path / "Data_Entry_2017.csv").write_text(HEADER_2017 + ROWS[0] + ",\n")
    with pytest.raises(UsageError, match="expected the images in images_001/images"):
        scan_folder("nih", tmp_path)
