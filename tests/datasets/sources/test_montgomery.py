"""The Montgomery County set in its published layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from chestx.datasets.example import Target, Task
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError

# Names after the set's ReadMe ("MCUCXR_#####_0/1.png"; a copy of its text is in
# sdXray/datasets/lung-segmentation-dataset/README.md of https://github.com/Nagi0/sd-xray); the
# text of MCUCXR_0001_0.txt, its trailing space too, and the folders as public repositories that
# read the set quote them, e.g. https://github.com/f10409/RadHarmony.
READING = "Patient's Sex: F \nPatient's Age: 027Y\nnormal\n"
SICK = "Patient's Sex: M\nPatient's Age: 063Y\nimproved bilateral infiltrates\n\nold effusion\n"


def _make(folder: Path) -> Path:
    for place in ("CXR_png", "ClinicalReadings", "ManualMask/leftMask"):
        (folder / place).mkdir(parents=True)
    for name, text in (("MCUCXR_0001_0", READING), ("MCUCXR_0104_1", SICK)):
        (folder / "CXR_png" / f"{name}.png").touch()
        (folder / "ManualMask/leftMask" / f"{name}.png").touch()
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(text)
    (folder / "CXR_png" / "Thumbs.db").touch()
    return folder


def test_the_name_gives_the_label_and_the_reading_the_person(tmp_path: Path) -> None:
    scan = scan_folder("montgomery", _make(tmp_path))
    assert scan.manifest.labels == ("NORMAL", "TUBERCULOSIS")
    assert scan.manifest.task is Task.SINGLE_LABEL
    normal, sick = scan.manifest.examples
    assert normal.path == "CXR_png/MCUCXR_0001_0.png"
    assert normal.targets == (Target.PRESENT, Target.ABSENT)
    assert (normal.patient_id, normal.sex, normal.age_years) == ("MCUCXR_0001", "F", 27)
    assert sick.targets == (Target.ABSENT, Target.PRESENT)
    assert sick.other["reading"] == "improved bilateral infiltrates old effusion"
    assert (sick.view, sick.sex, sick.age_years) == ("PA", "M", 63)


def test_masks_are_no_images_and_strange_names_are_counted(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "CXR_png" / "CHNCXR_0001_0.png").touch()
    (tmp_path / "ClinicalReadings" / "MCUCXR_0104_1.txt").unlink()
    scan = scan_folder("montgomery", tmp_path)
    assert len(scan.manifest.examples) == 2
    notes = " ".join(scan.notes)
    assert "1 image files in CXR_png have another kind of name" in notes
    assert "1 of 2 images have no reading that states the age" in notes
    assert "taken as the patient" in notes


def test_a_hostile_reading_is_bounded_and_printable(tmp_path: Path) -> None:
    _make(tmp_path)
    (tmp_path / "ClinicalReadings" / "MCUCXR_0001_0.txt").write_bytes(
        b"\xff\x1b[2J" + b"a" * 99_999
    )
    reading = scan_folder("montgomery", tmp_path).manifest.examples[0].other["reading"]
    assert len(reading) == 500
    assert reading.isprintable()


def test_another_layout_and_any_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder CXR_png with files like MCUCXR_0001"):
        scan_folder("montgomery", tmp_path)
    with pytest.raises(UsageError, match="uncertain: montgomery has no use for this option"):
        scan_folder("montgomery", tmp_path, ScanOptions(uncertain="ones"))
