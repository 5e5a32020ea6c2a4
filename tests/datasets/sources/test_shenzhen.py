"""The Shenzhen set in its published layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError

# Folders, names and the texts of CHNCXR_0001_0.txt and CHNCXR_0327_1.txt as quoted in
# docs/wiki/datasets/shenzhen_cxr.md of https://github.com/f10409/RadHarmony; the odd ways to
# write an age as a public parser of the readings lists them.


def _make(folder: Path, readings: dict[str, str]) -> Path:
    for place in ("CXR_png", "ClinicalReadings"):
        (folder / place).mkdir()
    for name, text in readings.items():
        (folder / "CXR_png" / f"{name}.png").touch()
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(text)
    return folder


def test_the_name_gives_the_label_and_the_reading_the_person(tmp_path: Path) -> None:
    readings = {"CHNCXR_0001_0": "male 45yrs\nnormal", "CHNCXR_0327_1": "female 28yrs\nSTB\n"}
    normal, sick = scan_folder("shenzhen", _make(tmp_path, readings)).manifest.examples
    assert normal.targets == (Target.PRESENT, Target.ABSENT)
    assert (normal.patient_id, normal.sex, normal.age_years) == ("CHNCXR_0001", "M", 45)
    assert sick.targets == (Target.ABSENT, Target.PRESENT)
    assert (sick.sex, sick.age_years, sick.other["reading"]) == ("F", 28, "STB")


@pytest.mark.parametrize(
    ("text", "sex", "age", "reading"),
    [
        ("male 16month\nnormal", "M", 16 / 12, "normal"),
        ("female 64days\nnormal", "F", 64 / 365.2425, "normal"),
        ("femal 32yrs\nnormal", "F", 32, "normal"),
        ("Female, 28yrs\nnormal", "F", 28, "normal"),
        ("male 38yrs bilateral PTB", "M", 38, "bilateral PTB"),
        ("male\nnormal", "M", None, "normal"),
        ("45 yrs\nnormal", "", 45, "normal"),
        ("male 999yrs\nnormal", "M", None, "normal"),
        ("male 3weeks\nnormal", "M", None, "normal"),
        ("bilateral PTB", "", None, "bilateral PTB"),
        ("\n", "", None, None),
    ],
)
def test_ages_are_read_as_people_typed_them(
    tmp_path: Path, text: str, sex: str, age: float | None, reading: str | None
) -> None:
    folder = _make(tmp_path, {"CHNCXR_0001_0": text})
    example = scan_folder("shenzhen", folder).manifest.examples[0]
    assert example.sex == sex
    assert example.age_years == (None if age is None else pytest.approx(age))
    assert example.other.get("reading") == reading


def test_the_traps_are_said(tmp_path: Path) -> None:
    notes = " ".join(scan_folder("shenzhen", _make(tmp_path, {"CHNCXR_0001_0": ""})).notes)
    assert "the number alone gives the label" in notes
    assert "1 of 1 images have no reading that states the sex" in notes


def test_another_layout_and_any_option_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder CXR_png with files like CHNCXR_0001"):
        scan_folder("shenzhen", tmp_path)
    with pytest.raises(UsageError, match="--labels-csv: shenzhen has no use for this option"):
        scan_folder("shenzhen", tmp_path, ScanOptions(labels=tmp_path))
