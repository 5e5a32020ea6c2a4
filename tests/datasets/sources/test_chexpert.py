"""CheXpert in its published layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import Scan, ScanOptions, Uncertain, scan_folder
from chestx.domain import UsageError

# Header and rows copied from train.csv as torchxrayvision ships it (chexpert_train.csv.gz):
# https://github.com/mlmed/torchxrayvision/tree/master/torchxrayvision/data
HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,"
    "Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,"
    "Pleural Effusion,Pleural Other,Fracture,Support Devices\n"
)
ROOT = "CheXpert-v1.0-small/train/"
ROWS = (
    f"{ROOT}patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0\n",
    f"{ROOT}patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,,,-1.0,1.0,,-1.0,-1.0,,"
    "-1.0,,-1.0,,1.0,\n",
    f"{ROOT}patient00002/study1/view2_lateral.jpg,Male,0,Lateral,,,,,,,1.0,,,,,,,,\n",
)
# The columns of CheXlocalize's test_labels.csv: no persons. Source: CheXlocalize_Dataset in
# torchxrayvision 1.5.7 (datasets.py) and the paths quoted in docs/wiki/datasets/chexlocalize.md
# of https://github.com/f10409/RadHarmony
TEST_HEADER = "Path," + HEADER.split("AP/PA,")[1]
TEST_ROW = "test/patient64741/study1/view1_frontal.jpg,0,1,1,0,0,0,0,0,0,0,0,0,0,0\n"


def _make(folder: Path, rows: tuple[str, ...] = ROWS, header: str = HEADER) -> Path:
    (folder / "train.csv").write_text(header + "".join(rows))
    for row in rows:
        _touch(folder / row.split(",")[0].partition("/")[2])
    return folder


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _target(scan: Scan, number: int, label: str) -> Target:
    return scan.manifest.examples[number].targets[scan.manifest.labels.index(label)]


def test_persons_views_and_studies_are_read(tmp_path: Path) -> None:
    scan = scan_folder("chexpert", _make(tmp_path))
    first, second, lateral = scan.manifest.examples
    assert first.path == "train/patient00001/study1/view1_frontal.jpg"
    assert (first.patient_id, first.study_id) == ("patient00001", "patient00001/study1")
    assert (first.sex, first.age_years, first.view, first.split) == ("F", 68, "AP", "train")
    assert second.patient_id == lateral.patient_id == "patient00002"
    assert (lateral.view, lateral.sex, lateral.age_years) == ("LATERAL", "M", None)
    assert "1 of age 0, which stands for not known" in " ".join(scan.notes)


def test_mentioned_negated_uncertain_and_silent_stay_apart(tmp_path: Path) -> None:
    scan = scan_folder("chexpert", _make(tmp_path))
    assert _target(scan, 0, "NO_FINDING") is Target.PRESENT
    assert _target(scan, 0, "PNEUMOTHORAX") is Target.ABSENT
    assert _target(scan, 1, "EDEMA") is Target.UNKNOWN
    assert _target(scan, 1, "PNEUMONIA") is Target.ABSENT
    notes = " ".join(scan.notes)
    assert "31 of 42 label cells are empty" in notes
    assert "5 label cells are uncertain (-1) and became unknown (--uncertain ignore)" in notes
    assert "mined from reports" in notes


def test_a_wide_term_is_not_absent_where_a_kind_of_it_is_there(tmp_path: Path) -> None:
    scan = scan_folder("chexpert", _make(tmp_path))
    assert _target(scan, 2, "EDEMA") is Target.PRESENT
    assert _target(scan, 2, "LUNG_OPACITY") is Target.UNKNOWN
    assert _target(scan, 0, "LUNG_OPACITY") is Target.ABSENT


@pytest.mark.parametrize(
    ("uncertain", "target"),
    [("ones", Target.PRESENT), ("zeros", Target.ABSENT), ("ignore", Target.UNKNOWN)],
)
def test_uncertain_cells_become_what_was_chosen(
    tmp_path: Path, uncertain: Uncertain, target: Target
) -> None:
    scan = scan_folder("chexpert", _make(tmp_path), ScanOptions(uncertain=uncertain))
    assert _target(scan, 1, "CONSOLIDATION") is target


def test_the_test_table_without_persons_is_read(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "test_labels.csv").write_text(TEST_HEADER + TEST_ROW)
    _touch(tmp_path / "test/patient64741/study1/view1_frontal.jpg")
    scan = scan_folder("chexpert", tmp_path)
    example = scan.manifest.examples[-1]
    assert (example.split, example.view, example.sex) == ("test", "FRONTAL", "")
    assert _target(scan, 3, "CARDIOMEGALY") is Target.PRESENT
    assert "read from the images by radiologists" in " ".join(scan.notes)


def test_a_label_that_a_table_lacks_was_not_asked(tmp_path: Path) -> None:
    (tmp_path / "val_labels.csv").write_text(
        TEST_HEADER.replace("No Finding,", "")
        + "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,1,1,0,0,0,0,0,0,0,0,0,0,0\n"
    )
    _touch(tmp_path / "val/patient64541/study1/view1_frontal.jpg")
    scan = scan_folder("chexpert", tmp_path)
    assert scan.manifest.examples[0].path.startswith("val/")
    assert _target(scan, 0, "NO_FINDING") is Target.NOT_ASKED
    assert "NO_FINDING counts as not asked" in " ".join(scan.notes)


def test_files_that_are_not_there_are_left_out_and_counted(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "train/patient00001/study1/view1_frontal.jpg").unlink()
    _touch(tmp_path / "train/patient00009/study1/view1_frontal.jpg")
    scan = scan_folder("chexpert", tmp_path)
    assert len(scan.manifest.examples) == 2
    assert scan.notes[0].startswith("1 of the 3 files that train.csv names are not in the folder")
    assert scan.notes[1].startswith("1 image files are not named by train.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Sex,", "Gender,"), "is missing 'Sex'|has unknown 'Gender'"),
        (("Fracture,", "Fracture,Hernia,"), "has unknown 'Hernia'"),
        ((",1.0\n", ",2.0\n"), "line 2: expected 1.0, 0.0, -1.0 or nothing in 'Support Devices'"),
        (("Frontal,AP", "Frontal,XX"), "line 2: expected Frontal or Lateral and AP, PA, LL, RL"),
        (("Female", "Woman"), "line 2: expected Female, Male or Unknown in 'Sex', got 'Woman'"),
        (("train/patient00001", "train/../x"), "line 2: expected a path like train/patient00001"),
        (("small/train/patient00001", "small/../patient00001"), "inside the data set's folder"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_it(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    _make(tmp_path)
    text = (HEADER + "".join(ROWS)).replace(*change, 1)
    if change[0] == "Fracture,":
        text = text.replace(",1.0\n", ",,1.0\n").replace("1.0,\n", "1.0,,\n")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        scan_folder("chexpert", tmp_path)


def test_another_layout_and_other_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected the folder CheXpert-v1\.0 or"):
        scan_folder("chexpert", tmp_path)
    with pytest.raises(UsageError, match="--labels-csv: chexpert has no use for this option"):
        scan_folder("chexpert", tmp_path, ScanOptions(labels=tmp_path))
    (tmp_path / "train.csv").write_text(HEADER + ROWS[0])
    with pytest.raises(UsageError, match="none of the 1 files that it names is there"):
        scan_folder("chexpert", tmp_path)
