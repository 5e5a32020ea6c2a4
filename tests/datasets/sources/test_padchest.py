"""PadChest in its published layout."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from chestx.datasets.example import Target
from chestx.datasets.sources.padchest import DAMAGED
from chestx.datasets.sources.registry import Scan, ScanOptions, scan_folder
from chestx.datasets.vocabulary import TERMS
from chestx.domain import UsageError

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
# Header and rows copied from the published table as torchxrayvision ships it:
# https://github.com/mlmed/torchxrayvision/tree/master/torchxrayvision/data
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
    "ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,"
    "PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,PixelAspectRatio_DICOM,"
    "SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,"
    "Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,"
    "LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS\n"
)
NORMAL = (
    "0,20536686640136348236148679891455886468_k6ga29.png,0,20140915,"
    "20536686640136348236148679891455886468,839860488694292331637988235681460987,1930.0,F,"
    "POSTEROANTERIOR,PA,Manual review of DICOM fields,No,CR,ImagingDynamicsCompanyLtd,MONOCHROME2,"
    "0,None,None,12,2092,2251,1728,1872,250,2,2500,10,-1.42,4765777, sin hallazg patolog edad "
    "pacient .,Physician,['normal'],[],\"[['normal'], ['normal']]\",[],[]\n"
)
NAME = "20536686640136348236148679891455886468_k6ga29.png"


def _row(number: int, labels: str, **cells: str) -> str:
    """The published row with other labels and cells."""
    values = next(csv.reader([NORMAL]))
    row = dict(zip(HEADER.strip().split(","), values, strict=True))
    row |= {"": str(number), "ImageID": f"{number}.png", "Labels": labels} | cells
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row.values())
    return text.getvalue()


def _make(folder: Path, *rows: str, under: str = "") -> Path:
    text = HEADER + "".join(rows or (NORMAL,))
    (folder / f"{TABLE}.gz").write_bytes(gzip.compress(text.encode()))
    for row in csv.DictReader(io.StringIO(text)):
        place = folder / under / row["ImageDir"]
        place.mkdir(parents=True, exist_ok=True)
        (place / Path(row["ImageID"]).name).touch()
    return folder


def _targets(scan: Scan, number: int = 0) -> dict[str, Target]:
    return dict(zip(scan.manifest.labels, scan.manifest.examples[number].targets, strict=True))


def _present(scan: Scan, number: int = 0) -> set[str]:
    return {label for label, target in _targets(scan, number).items() if target is Target.PRESENT}


def test_a_published_row_is_read(tmp_path: Path) -> None:
    scan = scan_folder("padchest", _make(tmp_path))
    (example,) = scan.manifest.examples
    assert example.path == f"0/{NAME}"
    assert example.patient_id == "839860488694292331637988235681460987"
    assert example.study_id == "20536686640136348236148679891455886468"
    assert (example.view, example.sex, example.age_years) == ("PA", "F", 84)
    assert example.device == "ImagingDynamicsCompanyLtd"
    assert example.other["label_method"] == "Physician"
    assert _present(scan) == {"NORMAL"}
    assert set(scan.manifest.labels) <= set(TERMS)


@pytest.mark.parametrize("under", ["images", "a/b"])
def test_images_are_found_in_any_folder(tmp_path: Path, under: str) -> None:
    scan = scan_folder("padchest", _make(tmp_path, under=under))
    assert scan.manifest.examples[0].path == f"{under}/0/{NAME}"


@pytest.mark.parametrize(
    ("labels", "present"),
    [
        ("['consolidation']", {"CONSOLIDATION", "INFILTRATION"}),
        ("['reticular interstitial pattern']", {"INTERSTITIAL_PATTERN", "INFILTRATION"}),
        ("['hydropneumothorax']", {"PNEUMOTHORAX", "PLEURAL_EFFUSION"}),
        ("['subcutaneous emphysema']", {"OTHER_FINDING"}),
        ("['pericardial effusion']", {"OTHER_FINDING"}),
        ("['NSG tube', ' pneumonia', '']", {"SUPPORT_DEVICES", "PNEUMONIA"}),
    ],
)
def test_words_mean_terms_and_not_parts_of_words(
    tmp_path: Path, labels: str, present: set[str]
) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, labels)))
    assert _present(scan) == present
    assert Target.UNKNOWN not in _targets(scan).values()


def test_the_words_of_the_set_are_kept(tmp_path: Path) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, "['goiter', ' pneumonia']")))
    assert scan.manifest.examples[0].other["padchest_labels"] == "goiter|pneumonia"


@pytest.mark.parametrize("word", ["unchanged", "suboptimal study", "exclude"])
def test_a_report_that_leaves_things_open_makes_them_unknown(tmp_path: Path, word: str) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, f"['cardiomegaly', '{word}']")))
    targets = _targets(scan)
    assert targets.pop("CARDIOMEGALY") is Target.PRESENT
    assert set(targets.values()) == {Target.UNKNOWN}
    assert "1 rows are 'unchanged', 'suboptimal study' or 'exclude'" in " ".join(scan.notes)


def test_normal_beside_findings_is_settled_neither_way(tmp_path: Path) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, "['normal', 'nodule']")))
    assert _targets(scan)["NORMAL"] is Target.UNKNOWN
    assert _targets(scan)["NODULE"] is Target.PRESENT
    assert "1 rows name findings beside 'normal'" in " ".join(scan.notes)


@pytest.mark.parametrize("labels", ["nan", "['']", "[]"])
def test_no_label_is_not_normal(tmp_path: Path, labels: str) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, labels)))
    assert set(_targets(scan).values()) == {Target.UNKNOWN}
    assert "1 rows have no label" in " ".join(scan.notes)


def test_a_word_next_to_a_term_makes_it_unknown(tmp_path: Path) -> None:
    scan = scan_folder("padchest", _make(tmp_path, _row(1, "['tuberculosis sequelae']")))
    assert _targets(scan)["TUBERCULOSIS"] is Target.UNKNOWN
    assert _targets(scan)["PNEUMONIA"] is Target.ABSENT


def test_damaged_files_views_and_unknown_ages_are_met(tmp_path: Path) -> None:
    damaged = sorted(DAMAGED)[0]
    rows = (
        _row(1, "['normal']", ImageID=damaged),
        _row(2, "['normal']", Projection="L", MethodLabel="RNN_model", PatientBirth="nan"),
        _row(3, "['normal']", PatientSex_DICOM="nan", PatientBirth="2015.0"),
    )
    scan = scan_folder("padchest", _make(tmp_path, *rows))
    assert [x.path for x in scan.manifest.examples] == ["0/2.png", "0/3.png"]
    assert {x.age_years for x in scan.manifest.examples} == {None}
    notes = " ".join(scan.notes)
    assert "1 files are known to be published damaged" in notes
    assert "not known to be, are in: L 1." in notes
    assert "1 rows were labelled by a network" in notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_row(1, "['sarcoidosis']"), "line 2: expected the 193 labels .*got 'sarcoidosis'"),
        (_row(1, "__import__('os')"), "line 2: expected a list like"),
        (_row(1, "[" * 999), "line 2: expected a list like"),
        (_row(1, "['normal']", Projection="XX"), "in 'Projection', got 'XX'"),
        (_row(1, "['normal']", MethodLabel="LLM"), "in 'MethodLabel', got 'LLM'"),
        (_row(1, "['normal']", ImageID="../../x.png"), "inside the data set's folder"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_it(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("padchest", _make(tmp_path, row))


def test_unknown_columns_are_errors(tmp_path: Path) -> None:
    table = tmp_path / "part.csv"
    table.write_text(HEADER.replace("Projection,", "View,", 1) + NORMAL)
    with pytest.raises(UsageError, match="is missing 'Projection' and has unknown 'View'"):
        scan_folder("padchest", tmp_path, ScanOptions(labels=table))


def test_another_layout_and_other_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name the table with --labels-csv"):
        scan_folder("padchest", tmp_path)
    with pytest.raises(UsageError, match="uncertain: padchest has no use for this option"):
        scan_folder("padchest", tmp_path, ScanOptions(uncertain="ones"))
    (tmp_path / TABLE).write_text(HEADER + NORMAL)
    with pytest.raises(UsageError, match="none of the 1 files that it names is there"):
        scan_folder("padchest", tmp_path)
