"""A folder of DICOM files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from chestx.datasets.example import Target, Task
from chestx.datasets.sources import dicom
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError

STUDY = "1.2.826.0.1.3680043.8.498.1"


def _write(path: Path, uid: str, *, has_image: bool = True, **elements: str) -> None:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    data_set.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data_set.SOPInstanceUID = uid
    data_set.StudyInstanceUID = STUDY
    data_set.Modality = "CR"
    for name, value in elements.items():
        setattr(data_set, name, value)
    if has_image:
        data_set.Rows, data_set.Columns = 32, 24
        data_set.BitsAllocated = data_set.BitsStored = 8
        data_set.HighBit, data_set.SamplesPerPixel, data_set.PixelRepresentation = 7, 1, 0
        data_set.PhotometricInterpretation = "MONOCHROME2"
        data_set.PixelData = np.zeros((32, 24), np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of one study, one without a suffix, beside files that are no images."""
    base = tmp_path / "dicom"
    _write(
        base / "a" / "IM0001",
        "1.2.3.1",
        PatientID="SECRET-7",
        PatientAge="063Y",
        PatientSex="F",
        ViewPosition="PA",
        Manufacturer="Maker",
        ManufacturerModelName="Model",
        BodyPartExamined="CHEST",
        AccessionNumber="ACC1",
    )
    _write(base / "b.dcm", "1.2.3.2", AccessionNumber="ACC2", PatientAge="125Y")
    _write(base / "report.dcm", "1.2.3.3", has_image=False)
    (base / "notes.txt").write_text("no image")
    (base / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    return base


def _labels(tmp_path: Path, text: str) -> ScanOptions:
    (tmp_path / "labels.csv").write_text(text)
    return ScanOptions(labels=tmp_path / "labels.csv")


def test_the_header_gives_patient_study_view_age_sex_and_device(
    folder: Path, tmp_path: Path
) -> None:
    text = "SOPInstanceUID,label\n1.2.3.1,PNEUMONIA\n1.2.3.2,NORMAL\n"
    scan = scan_folder("dicom", folder, _labels(tmp_path, text))
    first, second = scan.manifest.examples
    assert first.path == "a/IM0001"
    assert (first.patient_id, first.study_id, first.view) == ("SECRET-7", STUDY, "PA")
    assert (first.age_years, first.sex, first.device) == (63, "F", "Maker Model")
    assert first.other == {"sop_instance_uid": "1.2.3.1", "modality": "CR", "body_part": "CHEST"}
    assert first.source == "dicom"
    assert scan.manifest.task is Task.SINGLE_LABEL
    assert scan.manifest.labels == ("NORMAL", "PNEUMONIA")
    assert first.targets == (Target.ABSENT, Target.PRESENT)
    assert (second.patient_id, second.age_years) == ("", None)


def test_what_was_left_out_is_counted_without_a_patients_data(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "AccessionNumber,PNEUMONIA,COVID19\nACC1,1,-\nACC9,0,\n"
    scan = scan_folder("dicom", folder, _labels(tmp_path, text))
    (example,) = scan.manifest.examples
    assert scan.manifest.task is Task.MULTI_LABEL
    assert dict(zip(scan.manifest.labels, example.targets, strict=True)) == {
        "PNEUMONIA": Target.PRESENT,
        "COVID19": Target.NOT_ASKED,
    }
    notes = " ".join(scan.notes)
    for sentence in (
        "1 files are no DICOM",
        "1 files cannot be read as DICOM",
        "1 DICOM files hold no image",
        "1 images have no AccessionNumber in the table",
        "1 rows of the table of labels fit no image",
        "The manifest holds PatientID",
    ):
        assert sentence in notes
    assert "SECRET" not in notes + caplog.text


def test_all_images_of_a_study_get_its_labels(folder: Path, tmp_path: Path) -> None:
    scan = scan_folder("dicom", folder, _labels(tmp_path, f"StudyInstanceUID,EDEMA\n{STUDY},1\n"))
    assert [e.targets for e in scan.manifest.examples] == [(Target.PRESENT,)] * 2


def test_columns_of_the_table_may_have_other_names(folder: Path, tmp_path: Path) -> None:
    options = _labels(tmp_path, "uid,dx\n1.2.3.1,A\n1.2.3.2,B\n")
    options = ScanOptions(labels=options.labels, columns={"SOPInstanceUID": "uid", "label": "dx"})
    assert scan_folder("dicom", folder, options).manifest.labels == ("A", "B")
    renamed = ScanOptions(labels=options.labels, columns=options.columns, rename={"B": "EDEMA"})
    assert scan_folder("dicom", folder, renamed).manifest.labels == ("EDEMA", "A")
    with pytest.raises(UsageError, match=r"--column: expected a table of labels"):
        scan_folder("dicom", folder, ScanOptions(columns={"label": "dx"}))
    with pytest.raises(UsageError, match=r"--rename: expected a table of labels"):
        scan_folder("dicom", folder, ScanOptions(rename={"B": "EDEMA"}))


def test_without_a_table_nothing_was_asked(folder: Path) -> None:
    scan = scan_folder("dicom", folder)
    assert scan.manifest.labels == ("ABNORMAL",)
    assert {e.targets for e in scan.manifest.examples} == {(Target.NOT_ASKED,)}
    assert "was not asked of any image" in scan.notes[0]


def test_a_header_longer_than_the_head_is_read_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "_HEAD_BYTES", 200)
    assert len(scan_folder("dicom", folder).manifest.examples) == 2


def test_copies_are_counted_by_their_uid(folder: Path) -> None:
    _write(folder / "copy.dcm", "1.2.3.1")
    notes = scan_folder("dicom", folder).notes
    assert "1 files repeat the SOPInstanceUID of another file." in notes
    assert "2 images state no PatientID." in notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\nA\n", "exactly one of the columns SOPInstanceUID, .* got none of them"),
        ("SOPInstanceUID,StudyInstanceUID,label\n1,2,A\n", "got SOPInstanceUID, StudyInstanceUID"),
        ("SOPInstanceUID,label\n1,A\n1,B\n", "line 3: expected the same labels wherever a SOP"),
        ("SOPInstanceUID,EDEMA\n1,maybe\n", "labels.csv"),
        ("SOPInstanceUID,label\n9.9,A\n", "none of 2 has a SOPInstanceUID that stands in it"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("dicom", folder, _labels(tmp_path, text))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match=r"got none among 1 files \(1 are no DICOM"):
        scan_folder("dicom", tmp_path)


def test_the_shared_originals_are_read(cxr: Path) -> None:
    scan = scan_folder("dicom", cxr / "originals")
    assert len(scan.manifest.examples) == 13
