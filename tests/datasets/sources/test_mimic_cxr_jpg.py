"""MIMIC-CXR-JPG in its published layout."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import Scan, ScanOptions, scan_folder
from chestx.domain import UsageError

# The columns as https://physionet.org/content/mimic-cxr-jpg/2.1.0/ describes the files; the
# order of the metadata's as public code that imitates the file writes it, that of the labels'
# as public documentation quotes it (the files themselves need credentials). The ids are those
# of the page's own example.
METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,"
    "StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning\n"
)
LABELS = (
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,"
    "Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,"
    "Pneumothorax,Support Devices\n"
)
SPLIT = "dicom_id,study_id,subject_id,split\n"
FRONTAL = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"
LATERAL = "174413ec-4ec4c1f7-34ea26b7-c5f994f8-79ef1962"
OTHER = "2a2277a9-b0ded155-c0de8eb9-c124d10e-82c5caab"
PLACES = {
    FRONTAL: "files/p10/p10000032/s50414267",
    LATERAL: "files/p10/p10000032/s50414267",
    OTHER: "files/p10/p10000032/s53189527",
}


def _pack(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def _make(folder: Path, *, labels: str = "50414267,,,1.0,,,,,,,0.0,,-1.0,,") -> Path:
    rest = ",3056,2544,21800506,213014.531,CHEST (PA AND LAT),postero-anterior,Erect\n"
    rows = (
        f"{FRONTAL},10000032,50414267,CHEST (PA AND LAT),PA{rest}",
        f"{LATERAL},10000032,50414267,CHEST (PA AND LAT),LATERAL{rest}",
        f"{OTHER},10000032,53189527,CHEST (PA AND LAT),{rest}",
    )
    _pack(folder / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA + "".join(rows))
    _pack(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", f"{LABELS}10000032,{labels}\n")
    splits = (f"{FRONTAL},50414267,10000032,train\n", f"{OTHER},53189527,10000032,validate\n")
    _pack(folder / "mimic-cxr-2.0.0-split.csv.gz", SPLIT + "".join(splits))
    for name, place in PLACES.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / f"{name}.jpg").touch()
    return folder


def _target(scan: Scan, number: int, label: str) -> Target:
    return scan.manifest.examples[number].targets[scan.manifest.labels.index(label)]


def test_images_get_the_labels_of_their_study(tmp_path: Path) -> None:
    scan = scan_folder("mimic-cxr-jpg", _make(tmp_path))
    frontal, lateral, other = scan.manifest.examples
    assert frontal.path == f"files/p10/p10000032/s50414267/{FRONTAL}.jpg"
    assert (frontal.patient_id, frontal.study_id) == ("10000032", "50414267")
    assert (frontal.view, lateral.view, other.view) == ("PA", "LATERAL", "")
    assert frontal.targets == lateral.targets
    assert _target(scan, 0, "CONSOLIDATION") is Target.PRESENT
    assert _target(scan, 0, "PNEUMONIA") is Target.UNKNOWN
    assert _target(scan, 0, "PLEURAL_EFFUSION") is Target.ABSENT
    assert "every image of a study has the same, the lateral ones too" in " ".join(scan.notes)


def test_a_study_without_a_row_is_unknown_not_absent(tmp_path: Path) -> None:
    scan = scan_folder("mimic-cxr-jpg", _make(tmp_path))
    assert set(scan.manifest.examples[2].targets) == {Target.UNKNOWN}
    assert "1 images belong to studies without a row" in " ".join(scan.notes)


def test_the_official_split_is_kept_and_a_shared_patient_is_named(tmp_path: Path) -> None:
    scan = scan_folder("mimic-cxr-jpg", _make(tmp_path))
    assert [x.split for x in scan.manifest.examples] == ["train", "", "validation"]
    assert "1 of 1 patients have images in more than one" in " ".join(scan.notes)


def test_another_table_of_labels_can_be_named(tmp_path: Path) -> None:
    _make(tmp_path)
    other = tmp_path / "mimic-cxr-2.0.0-negbio.csv"
    other.write_text(f"{LABELS}10000032,53189527,,1.0,,,,,,,,,,,,\n")
    scan = scan_folder("mimic-cxr-jpg", tmp_path, ScanOptions(labels=other, uncertain="ones"))
    assert _target(scan, 2, "CARDIOMEGALY") is Target.PRESENT
    assert "Labels come from mimic-cxr-2.0.0-negbio.csv" in " ".join(scan.notes)


def test_what_lies_beside_and_is_not_used_is_said(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    (tmp_path / "mimic-cxr-2.1.0-test-set-labeled.csv").touch()
    notes = " ".join(scan_folder("mimic-cxr-jpg", tmp_path).notes)
    assert "mimic-cxr-2.0.0-split.csv.gz is not there: no official split is known" in notes
    assert "mimic-cxr-2.1.0-test-set-labeled.csv is there and is not read" in notes
    assert "1 images state no view" in notes


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("metadata", ("ViewPosition", "View"), "is missing 'ViewPosition' and has unknown 'View'"),
        ("metadata", (FRONTAL, "../../x"), "line 2: expected five groups of eight hexadecimal"),
        ("metadata", (",10000032,", ",1000003,"), "line 2: expected eight digits in 'subject_id'"),
        ("chexpert", ("Edema", "Oedema"), "is missing 'Edema' and has unknown 'Oedema'"),
        ("chexpert", ("-1.0", "3"), "line 2: expected 1.0, 0.0, -1.0 or nothing in 'Pneumonia'"),
        ("split", ("validate", "dev"), "line 3: expected train, validate, test in 'split'"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_it(
    tmp_path: Path, name: str, change: tuple[str, str], message: str
) -> None:
    path = _make(tmp_path) / f"mimic-cxr-2.0.0-{name}.csv.gz"
    _pack(path, gzip.decompress(path.read_bytes()).decode().replace(*change, 1))
    with pytest.raises(UsageError, match=message):
        scan_folder("mimic-cxr-jpg", tmp_path)


def test_a_study_twice_is_refused(tmp_path: Path) -> None:
    path = _make(tmp_path) / "mimic-cxr-2.0.0-chexpert.csv.gz"
    row = "10000032,50414267,,,,,,,,,,,,,,\n"
    _pack(path, LABELS + row + row)
    with pytest.raises(UsageError, match="line 3: expected each study once"):
        scan_folder("mimic-cxr-jpg", tmp_path)


def test_another_layout_and_other_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is neither mimic-cxr-2.0.0-metadata.csv.gz"):
        scan_folder("mimic-cxr-jpg", tmp_path)
    with pytest.raises(UsageError, match="--column: mimic-cxr-jpg has no use"):
        scan_folder("mimic-cxr-jpg", tmp_path, ScanOptions(columns={}))
    _make(tmp_path)
    (tmp_path / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    with pytest.raises(UsageError, match="name another with --labels-csv"):
        scan_folder("mimic-cxr-jpg", tmp_path)
