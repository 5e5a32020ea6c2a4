"""A value is put right only where it says the same afterwards; otherwise it is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from chestx.export.dicom_repair import Repairs, are_positive, is_orientation, repair_values

LONG_NAME = "A" * 40 + "^" + "B" * 40


@pytest.mark.parametrize(
    ("keyword", "vr", "text", "values"),
    [
        ("StudyDate", "DA", "20261120 ", ["20261120"]),
        ("StudyDate", "DA", "2026.11.20", ["20261120"]),
        ("StudyDate", "DA", "2026-11-20", ["20261120"]),
        ("StudyDate", "DA", "2026-1120", []),
        ("StudyDate", "DA", "20261340", []),
        ("StudyDate", "DA", "20230229", []),
        ("StudyDate", "DA", "", []),
        ("StudyTime", "TM", "08", ["08"]),
        ("StudyTime", "TM", "0815", ["0815"]),
        ("StudyTime", "TM", "081500.1234567", ["081500.123456"]),
        ("StudyTime", "TM", "08:15:00", ["081500"]),
        ("StudyTime", "TM", "256100", []),
        ("StudyTime", "TM", "81500", []),
        ("PatientAge", "AS", "065Y", ["065Y"]),
        ("PatientAge", "AS", "65y", ["065Y"]),
        ("PatientAge", "AS", "65", []),
        ("PatientSex", "CS", "m", ["M"]),
        ("PatientSex", "CS", "X", []),
        ("PatientSex", "CS", "MALE", []),
        ("BodyPartExamined", "CS", "Chest", ["CHEST"]),
        ("BodyPartExamined", "CS", "CHEST/PA", []),
        ("Modality", "CS", "CR\\CR", ["CR"]),
        ("Modality", "CS", "CR\\DX", []),
        ("SOPInstanceUID", "UI", "1.2.3\0", ["1.2.3"]),
        ("SOPInstanceUID", "UI", "1.02.3", []),
        ("SOPInstanceUID", "UI", "../../etc/passwd", []),
        ("SOPInstanceUID", "UI", "1." + "2" * 63, []),
        ("PixelSpacing", "DS", "0.2\\0.2", ["0.2", "0.2"]),
        ("PixelSpacing", "DS", "0.16000000000000000001\\1", ["0.16", "1"]),
        ("PixelSpacing", "DS", "0.2\\nan", []),
        ("PixelSpacing", "DS", "0.2\\", []),
        ("RescaleSlope", "DS", "1e999", []),
        ("InstanceNumber", "IS", "+7", ["+7"]),
        ("InstanceNumber", "IS", "7.0", []),
        ("InstanceNumber", "IS", "9" * 12, []),
        ("InstanceNumber", "IS", "\u0667", []),
        ("TimezoneOffsetFromUTC", "SH", "+0100", ["+0100"]),
        ("TimezoneOffsetFromUTC", "SH", "+1:00", []),
        ("TimezoneOffsetFromUTC", "SH", "-0000", []),
        ("PatientID", "LO", " P1 ", [" P1"]),
        ("StudyDescription", "LO", " P1 ", ["P1"]),
        ("PatientID", "LO", "P1\\P2", []),
        ("PatientID", "LO", "P1\\P1", ["P1"]),
        ("PatientID", "LO", "P\n1", []),
        ("PatientID", "LO", "1" * 65, []),
        ("AccessionNumber", "SH", "1" * 17, []),
        ("AccessionNumber", "SH", "1" * 16, ["1" * 16]),
        ("StudyDescription", "LO", "Chest\tPA", ["Chest PA"]),
        ("StudyDescription", "LO", "Chest\\PA", ["Chest / PA"]),
        ("StudyDescription", "LO", "x" * 65, ["x" * 61 + "..."]),
        ("PatientName", "PN", "A^B^^", ["A^B^^"]),
        ("PatientName", "PN", "A^B^C^D^E^F", ["A^B^C^D^E F"]),
        ("PatientName", "PN", "A=B=C=D", ["A=B=C"]),
        ("PatientName", "PN", "A\\B", []),
        ("PatientName", "PN", "A\x7fB", ["A B"]),
        ("PatientName", "PN", LONG_NAME, [LONG_NAME[:61] + "..."]),
        ("PatientName", "PN", "\u5c71" * 64 + "=" + "A" * 64, ["\u5c71" * 64 + "=" + "A" * 64]),
    ],
)
def test_values_are_valid_afterwards_or_gone(
    keyword: str, vr: str, text: str, values: list[str]
) -> None:
    repairs = Repairs()
    assert repair_values(keyword, vr, text, repairs=repairs) == values
    is_as_it_was = (
        "\\".join(values).strip() == text.strip(" \0") or "\\".join([*values] * 2) == text
    )
    assert bool(repairs.sentences) != is_as_it_was


def test_a_repair_tells_what_and_never_which_value() -> None:
    repairs = Repairs()
    repair_values("PatientID", "LO", "Secret\\Other", repairs=repairs)
    repair_values("StudyDate", "DA", "1.1.1999", repairs=repairs)
    repair_values("StudyDate", "DA", "2.1.1999", repairs=repairs)
    assert repairs.sentences == (
        "PatientID: several values where one may stand; left out",
        "StudyDate: not a valid DA; left out",
    )


@given(
    st.text(max_size=90), st.sampled_from(["AS", "CS", "DA", "DS", "IS", "TM", "UI", "LO", "PN"])
)
def test_whatever_is_left_is_a_value_of_its_representation(text: str, vr: str) -> None:
    keywords = {"LO": "StudyDescription", "PN": "PatientName", "DS": "PixelSpacing"}
    keyword = keywords.get(vr, "StudyID")
    values = repair_values(keyword, vr, text, repairs=Repairs())
    dataset = Dataset()
    if values:
        # pydicom warns of an invalid value, and warnings are errors here.
        dataset.add_new("StudyDescription", vr, values if len(values) > 1 else values[0])


@pytest.mark.parametrize(
    ("values", "is_valid"),
    [
        (["L", "F"], True),
        (["LF", "FR"], True),
        (["L", "R"], False),
        (["X", "Y"], False),
        (["L"], False),
        (["LL", "F"], False),
        (["LR", "F"], False),
        (["", "F"], False),
    ],
)
def test_an_orientation_is_two_directions_of_different_axes(
    values: list[str], is_valid: bool
) -> None:
    assert is_orientation(values) is is_valid


def test_sizes_are_above_zero() -> None:
    assert are_positive(["0.2", "1"], 2)
    assert not are_positive(["0", "0"], 2)
    assert not are_positive(["0.2"], 2)
    assert not are_positive(["-1", "1"], 2)
