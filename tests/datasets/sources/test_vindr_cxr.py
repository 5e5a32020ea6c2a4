"""VinDr-CXR in the layouts of PhysioNet and of Kaggle."""

from __future__ import annotations

from pathlib import Path

import pytest

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import Scan, ScanOptions, scan_folder
from chestx.domain import UsageError

# The columns of annotations/image_labels_train.csv in their order, and that the last but one is
# called "Other disease" in image_labels_test.csv, as public repositories that read the
# credentialed files from PhysioNet list them.
FINDINGS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis,"
    "Other diseases,No finding"
)
TRAIN_LABELS = f"image_id,rad_id,{FINDINGS}\n"
TEST_LABELS = f"image_id,{FINDINGS.replace('diseases', 'disease')}\n"
TRAIN_BOXES = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
TEST_BOXES = "image_id,class_name,x_min,y_min,x_max,y_max\n"
# Header and rows copied from the competition's train.csv as torchxrayvision ships it
# (vinbigdata-train.csv.gz):
# https://github.com/mlmed/torchxrayvision/tree/master/torchxrayvision/data
KAGGLE = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
HEALTHY = "50a418190bc3fb1ef1633bf9678929b3"
SICK = "9a5094b2563a1ef3ff50dc5c7ff71345"
LAST = "051132a778e61a86eb147c7c6f564dfe"


def _marks(*found: str) -> str:
    return ",".join(str(int(name in found)) for name in FINDINGS.split(","))


def _touch(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


def _make_physionet(folder: Path, **changes: str) -> Path:
    """Three readers: all see Cardiomegaly, two Consolidation, one Pneumonia; two draw."""
    seen = (
        ("R8", ("Cardiomegaly", "Consolidation", "Pneumonia")),
        ("R9", ("Cardiomegaly", "Consolidation", "Rib fracture")),
        ("R10", ("Cardiomegaly", "Clavicle fracture")),
    )
    texts = {
        "image_labels_train": TRAIN_LABELS
        + "".join(f"{SICK},{reader},{_marks(*found)}\n" for reader, found in seen),
        "image_labels_test": TEST_LABELS + f"{LAST},{_marks('No finding')}\n",
        "annotations_train": TRAIN_BOXES
        + f"{SICK},R8,Cardiomegaly,691.0,1375.0,1653.0,1831.0\n"
        + f"{SICK},R8,Lung Opacity,1.0,2.0,3.0,4.0\n"
        + f"{SICK},R10,Clavicle fracture,5,6,7,8\n",
        "annotations_test": TEST_BOXES + f"{LAST},No finding,,,,\n",
    } | changes
    (folder / "annotations").mkdir()
    for name, text in texts.items():
        (folder / "annotations" / f"{name}.csv").write_text(text)
    _touch(folder / "train" / f"{SICK}.dicom")
    _touch(folder / "test" / f"{LAST}.dicom")
    return folder


def _target(scan: Scan, number: int, label: str) -> Target:
    return scan.manifest.examples[number].targets[scan.manifest.labels.index(label)]


def test_most_readers_decide_and_a_minority_leaves_it_unknown(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_physionet(tmp_path))
    assert _target(scan, 0, "CARDIOMEGALY") is Target.PRESENT
    assert _target(scan, 0, "CONSOLIDATION") is Target.PRESENT
    assert _target(scan, 0, "PNEUMONIA") is Target.UNKNOWN
    assert _target(scan, 0, "PNEUMOTHORAX") is Target.ABSENT
    assert "1 labels of single images were marked by a minority" in " ".join(scan.notes)


def test_words_of_one_term_are_one_vote_a_reader(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_physionet(tmp_path))
    assert _target(scan, 0, "FRACTURE") is Target.PRESENT


def test_opacity_is_not_absent_where_consolidation_is_there(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_physionet(tmp_path))
    assert _target(scan, 0, "LUNG_OPACITY") is Target.UNKNOWN
    assert _target(scan, 1, "LUNG_OPACITY") is Target.ABSENT


def test_boxes_of_present_findings_are_kept(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_physionet(tmp_path))
    boxes = scan.manifest.examples[0].boxes
    assert [box.label for box in boxes] == ["CARDIOMEGALY", "FRACTURE"]
    assert (boxes[0].x, boxes[0].y, boxes[0].width, boxes[0].height) == (691, 1375, 962, 456)


def test_the_test_part_is_a_consensus(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_physionet(tmp_path))
    example = scan.manifest.examples[1]
    assert (example.path, example.split) == (f"test/{LAST}.dicom", "test")
    assert _target(scan, 1, "NO_FINDING") is Target.PRESENT
    assert example.patient_id == ""
    assert "The set has no patient ids" in " ".join(scan.notes)


def _make_kaggle(folder: Path, row: str = "") -> Path:
    rows = [
        *(f"{HEALTHY},No finding,14,{reader},,,,\n" for reader in ("R11", "R7", "R10")),
        f"{SICK},Cardiomegaly,3,R10,691.0,1375.0,1653.0,1831.0\n",
        f"{SICK},Cardiomegaly,3,R8,690.0,1370.0,1650.0,1830.0\n",
        f"{SICK},Nodule/Mass,8,R9,1.0,2.0,3.0,4.0\n",
        row,
    ]
    (folder / "train.csv").write_text(KAGGLE + "".join(rows))
    for path in (f"train/{HEALTHY}", f"train/{SICK}", f"test/{LAST}"):
        _touch(folder / f"{path}.dicom")
    return folder


def test_the_layout_of_kaggle_is_read(tmp_path: Path) -> None:
    scan = scan_folder("vindr-cxr", _make_kaggle(tmp_path))
    assert "PNEUMONIA" not in scan.manifest.labels
    assert _target(scan, 0, "NO_FINDING") is Target.PRESENT
    assert _target(scan, 1, "CARDIOMEGALY") is Target.PRESENT
    assert _target(scan, 1, "LUNG_LESION") is Target.UNKNOWN
    assert len(scan.manifest.examples[1].boxes) == 2
    assert set(scan.manifest.examples[2].targets) == {Target.UNKNOWN}
    assert "1 images of the test part have no published labels" in " ".join(scan.notes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{SICK},Hernia,15,R9,1,2,3,4\n", "train.csv: expected one of the labels .*got 'Hernia'"),
        (f"{SICK},Cardiomegaly,3,R9,5,2,3,4\n", "line 8: expected x_min < x_max"),
        (f"{SICK},Cardiomegaly,3,R9,1,2,,4\n", "line 8: expected x_min < x_max"),
        ("../../etc/passwd,Cardiomegaly,3,R9,1,2,3,4\n", "line 8: expected 32 hexadecimal digits"),
    ],
)
def test_what_is_unknown_is_an_error_that_names_it(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("vindr-cxr", _make_kaggle(tmp_path, row))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_labels_train": TRAIN_LABELS.replace("ILD", "DLI")},
            "is missing 'ILD' and has unknown 'DLI'",
        ),
        (
            {"image_labels_test": f"{TEST_LABELS}{LAST},{_marks().replace('0', '7', 1)}\n"},
            "line 2: expected 0 or 1 in 'Aortic enlargement', got '7'",
        ),
        (
            {"image_labels_train": TRAIN_LABELS + 2 * f"{SICK},R8,{_marks()}\n"},
            "line 3: expected each reader once an image",
        ),
        (
            {
                "image_labels_train": TRAIN_LABELS.replace("Other diseases,", "")
                + f"{SICK},R8,{_marks()[2:]}\n"
            },
            "line 2: expected one column Other diseases or Other disease, got 0",
        ),
        (
            {"annotations_train": f"{TRAIN_BOXES}{LAST},R8,Cardiomegaly,1,2,3,4\n"},
            "line 2: expected an image of the table of labels",
        ),
    ],
)
def test_physionet_tables_are_held_to_their_form(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("vindr-cxr", _make_physionet(tmp_path, **change))


def test_another_layout_and_any_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a folder annotations nor train\.csv"):
        scan_folder("vindr-cxr", tmp_path)
    with pytest.raises(UsageError, match="--labels-csv: vindr-cxr has no use for this option"):
        scan_folder("vindr-cxr", tmp_path, ScanOptions(labels=tmp_path))
    (tmp_path / "annotations").mkdir()
    with pytest.raises(UsageError, match=r"neither image_labels_train\.csv nor"):
        scan_folder("vindr-cxr", tmp_path)
    (tmp_path / "annotations/image_labels_test.csv").write_text(
        TEST_LABELS + f"{LAST},{_marks()}\n"
    )
    with pytest.raises(UsageError, match="none of the 1 files that it names is there"):
        scan_folder("vindr-cxr", tmp_path)
