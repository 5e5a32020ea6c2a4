"""The RSNA Pneumonia Detection Challenge in its published layout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import Scan, ScanOptions, scan_folder
from chestx.domain import UsageError

# Header and rows copied from stage_2_train_labels.csv as torchxrayvision ships it
# (kaggle_stage_2_train_labels.csv.zip):
# https://github.com/mlmed/torchxrayvision/tree/master/torchxrayvision/data
LABELS = (
    "patientId,x,y,width,height,Target\n"
    "0004cfab-14fd-4e49-80ba-63a80b6bddd6,,,,,0\n"
    "00313ee0-9eaa-42f4-b0ab-c148ed3241cd,,,,,0\n"
    "00436515-870c-4b36-a041-de91049b9ab4,264.0,152.0,213.0,379.0,1\n"
    "00436515-870c-4b36-a041-de91049b9ab4,562.0,152.0,256.0,453.0,1\n"
)
# Header and classes of stage_2_detailed_class_info.csv as public repositories quote them, e.g.
# docs/wiki/datasets/rsna_pneumonia_kaggle.md of https://github.com/f10409/RadHarmony
CLASSES = (
    "patientId,class\n"
    "0004cfab-14fd-4e49-80ba-63a80b6bddd6,No Lung Opacity / Not Normal\n"
    "00313ee0-9eaa-42f4-b0ab-c148ed3241cd,Normal\n"
    "00436515-870c-4b36-a041-de91049b9ab4,Lung Opacity\n"
    "00436515-870c-4b36-a041-de91049b9ab4,Lung Opacity\n"
)
TEST_ID = "0000a175-0e68-4ca4-b1af-167204a7e0bc"
MAPPING_NAME = "pneumonia-challenge-dataset-mappings_2018.json"
# Keys as several public repositories read them (microsoft/InnerEye-DeepLearning's noisy label
# code: subset_img_id, orig_labels, StudyInstanceUID; others: img_id).
MAPPING = [
    {"subset_img_id": name, "img_id": image, "orig_labels": ["No Finding"]}
    for name, image in (
        ("0004cfab-14fd-4e49-80ba-63a80b6bddd6", "00000013_005.png"),
        ("00436515-870c-4b36-a041-de91049b9ab4", "00000013_026.png"),
        (TEST_ID, "00000013_027.png"),
    )
]


def _write_dicom(path: Path) -> None:
    """With PatientAge as the set writes it, without a unit."""
    path.parent.mkdir(exist_ok=True)
    image = Dataset()
    image.PatientSex, image.ViewPosition = "F", "PA"
    image.add_new("PatientAge", "LO", "51")
    image.Rows = image.Columns = 4
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.save_as(path, enforce_file_format=True)


def _make(folder: Path, *, classes: str = CLASSES, labels: str = LABELS) -> Path:
    (folder / "stage_2_train_labels.csv").write_text(labels)
    if classes:
        (folder / "stage_2_detailed_class_info.csv").write_text(classes)
    for line in LABELS.splitlines()[1:]:
        _write_dicom(folder / "stage_2_train_images" / f"{line.split(',')[0]}.dcm")
    return folder


def _targets(scan: Scan, number: int) -> dict[str, Target]:
    return dict(zip(scan.manifest.labels, scan.manifest.examples[number].targets, strict=True))


def test_three_classes_and_boxes_are_read(tmp_path: Path) -> None:
    scan = scan_folder("rsna", _make(tmp_path))
    present = [
        {label for label, target in _targets(scan, n).items() if target is Target.PRESENT}
        for n in range(3)
    ]
    assert present == [{"ABNORMAL"}, {"NORMAL"}, {"ABNORMAL", "LUNG_OPACITY", "PNEUMONIA"}]
    assert all(Target.UNKNOWN not in _targets(scan, n).values() for n in range(3))
    boxes = scan.manifest.examples[2].boxes
    assert [box.label for box in boxes] == ["LUNG_OPACITY", "PNEUMONIA"] * 2
    assert (boxes[2].x, boxes[2].y, boxes[2].width, boxes[2].height) == (562, 152, 256, 453)


def test_view_age_and_sex_come_from_the_header(tmp_path: Path) -> None:
    _make(tmp_path)
    broken = tmp_path / "stage_2_train_images/00313ee0-9eaa-42f4-b0ab-c148ed3241cd.dcm"
    broken.write_bytes(b"no DICOM")
    scan = scan_folder("rsna", tmp_path)
    first, second, _ = scan.manifest.examples
    assert (first.view, first.age_years, first.sex) == ("PA", 51, "F")
    assert (second.view, second.age_years, second.sex) == ("", None, "")
    assert "1 images state no view in their header" in " ".join(scan.notes)


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    _make(tmp_path)
    pipe = tmp_path / "stage_2_train_images/00313ee0-9eaa-42f4-b0ab-c148ed3241cd.dcm"
    pipe.unlink()
    os.mkfifo(pipe)
    assert scan_folder("rsna", tmp_path).manifest.examples[1].view == ""


def test_a_file_is_no_patient(tmp_path: Path) -> None:
    scan = scan_folder("rsna", _make(tmp_path))
    assert {x.patient_id for x in scan.manifest.examples} == {""}
    assert "The column patientId names an image, not a patient" in " ".join(scan.notes)


def test_the_mapping_gives_nih_patients_and_shows_that_the_splits_share_them(
    tmp_path: Path,
) -> None:
    _make(tmp_path)
    _write_dicom(tmp_path / "stage_2_test_images" / f"{TEST_ID}.dcm")
    (tmp_path / MAPPING_NAME).write_text(json.dumps(MAPPING))
    scan = scan_folder("rsna", tmp_path)
    first, unmapped, third, unread = scan.manifest.examples
    assert first.patient_id == third.patient_id == unread.patient_id == "00000013"
    assert first.other["nih_image"] == "00000013_005.png"
    assert unmapped.patient_id == ""
    notes = " ".join(scan.notes)
    assert "1 images are not in pneumonia-challenge" in notes
    assert "1 of 1 patients have images in more than one of the set's own splits" in notes


def test_the_test_part_is_unknown_not_absent(tmp_path: Path) -> None:
    _make(tmp_path)
    _write_dicom(tmp_path / "stage_2_test_images" / f"{TEST_ID}.dcm")
    scan = scan_folder("rsna", tmp_path)
    assert scan.manifest.examples[3].split == "test"
    assert set(_targets(scan, 3).values()) == {Target.UNKNOWN}
    assert "1 images of the challenge's test part have no labels" in " ".join(scan.notes)


def test_without_classes_a_negative_image_may_or_may_not_be_normal(tmp_path: Path) -> None:
    scan = scan_folder("rsna", _make(tmp_path, classes=""))
    assert _targets(scan, 0) == {
        "NORMAL": Target.UNKNOWN,
        "ABNORMAL": Target.UNKNOWN,
        "LUNG_OPACITY": Target.ABSENT,
        "PNEUMONIA": Target.ABSENT,
    }
    assert _targets(scan, 2)["ABNORMAL"] is Target.PRESENT
    assert "stage_2_detailed_class_info.csv is not there" in " ".join(scan.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Target\n", "Label\n"), "is missing 'Target' and has unknown 'Label'"),
        ((",,,,,0", ",,,,,2"), "line 2: expected 0 or 1 in 'Target'"),
        (("0004cfab", "../0004c"), "line 2: expected an id like 0004cfab-"),
        ((",,,,,0", ",1,1,1,1,0"), "line 2: expected a box where 'Target' is 1"),
        (("213.0", "0"), "line 4: expected a corner and positive sides"),
        (("562.0,152.0,256.0,453.0,1", ",,,,0"), "line 5: expected one 'Target' an image"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_it(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    _make(tmp_path, labels=LABELS.replace(*change, 1))
    with pytest.raises(UsageError, match=message):
        scan_folder("rsna", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Not Normal", "Abnormal"), "line 2: expected Lung Opacity, No Lung Opacity / Not Normal"),
        (("cd,Normal", "cd,Lung Opacity"), "line 3: expected the class to fit the Target"),
        (
            (
                "Lung Opacity\n00436515-870c-4b36-a041-de91049b9ab4,Lung",
                "Lung Opacity\n00436515-870c-4b36-a041-de91049b9ab4,No Lung Opacity / Not Normal#",
            ),
            "line 5: expected Lung Opacity",
        ),
    ],
)
def test_unknown_classes_are_errors(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    _make(tmp_path, classes=CLASSES.replace(*change, 1))
    with pytest.raises(UsageError, match=message):
        scan_folder("rsna", tmp_path)


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"a": 1}', '[{"subset_img_id": "a", "img_id": "../x.png"}]', "[" * 100_000],
)
def test_a_mapping_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (_make(tmp_path) / MAPPING_NAME).write_text(text)
    with pytest.raises(UsageError, match=r"mappings_2018\.json: expected RSNA's list of objects"):
        scan_folder("rsna", tmp_path)


def test_another_layout_and_any_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no stage_2_train_labels\.csv"):
        scan_folder("rsna", tmp_path)
    with pytest.raises(UsageError, match="uncertain: rsna has no use for this option"):
        scan_folder("rsna", tmp_path, ScanOptions(uncertain="zeros"))
    (tmp_path / "stage_2_train_labels.csv").write_text(LABELS)
    with pytest.raises(UsageError, match="none of the 3 files that it names is there"):
        scan_folder("rsna", tmp_path)
