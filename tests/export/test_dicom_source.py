"""What is known of a source is valid, and says where it differs from the file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chestx.domain import Failure, ImageHeader, ModelIdentity
from chestx.export.dicom_elements import read_elements
from chestx.export.dicom_source import NoDicomSourceError, read_dicom_image

Maker = Callable[..., Any]


def write_element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def make_item(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


TAGS = (
    *(0x00080005, 0x00080020, 0x00080051, 0x00081032, 0x00091001, 0x00100010, 0x00100020),
    *(0x00101010, 0x00120010, 0x00181164, 0x00200020, 0x00280010, 0x00280103, 0x00281050),
    *(0x00281051, 0x00283000, 0x00400275),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
CODE = {"CodeValue": "36643-5", "CodingSchemeDesignator": "LN", "CodeMeaning": "Chest 2 views"}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_valid_source_is_taken_over_as_it_is(make_dicom_image: Maker, syntax: str) -> None:
    image = make_dicom_image(syntax=syntax, ProcedureCodeSequence=[make_item(**CODE)])
    assert image.repairs == ()
    assert image.report is image.result
    attributes = image.attributes
    assert str(attributes.PatientName) == "Meier^J\xf6rg"
    assert attributes.SpecificCharacterSet == "ISO_IR 100"
    assert attributes.PixelSpacing == [0.2, 0.2]
    assert attributes.Rows == 96
    assert attributes.PatientOrientation == ["L", "F"]
    assert attributes.ProcedureCodeSequence[0].CodeMeaning == "Chest 2 views"
    assert "Manufacturer" not in attributes


def test_missing_elements_of_patient_and_study_are_there_and_empty(
    make_dicom_image: Maker,
) -> None:
    image = make_dicom_image(**dict.fromkeys((*TYPE_2, "SpecificCharacterSet")))
    assert image.repairs == ()
    assert [image.attributes[name].value for name in TYPE_2] == [""] * len(TYPE_2)
    assert "SpecificCharacterSet" not in image.attributes


@pytest.mark.parametrize("stated", [b"1\\2", b"1" * 66, b"A\x07B"])
def test_no_object_is_filed_under_nobody(make_dicom_image: Maker, stated: bytes) -> None:
    with pytest.raises(NoDicomSourceError, match="filed under nobody"):
        make_dicom_image(PatientID=stated)


@pytest.mark.parametrize(
    ("elements", "gone", "told"),
    [
        ({"PixelSpacing": b"0\\0"}, "PixelSpacing", "not two sizes above 0"),
        ({"ImagerPixelSpacing": b"-1\\1"}, "ImagerPixelSpacing", "not two sizes above 0"),
        ({"PatientOrientation": b"L\\R"}, "PatientOrientation", "not two directions"),
        ({"WindowCenter": b"40"}, "WindowCenter", "not a whole window"),
        ({"WindowCenter": b"40", "WindowWidth": b"0"}, "WindowWidth", "not a whole window"),
        ({"RescaleSlope": b"2"}, "RescaleSlope", "not a whole rescale"),
        (
            {"RescaleSlope": b"0", "RescaleIntercept": b"1"},
            "RescaleIntercept",
            "not a whole rescale",
        ),
        ({"ClinicalTrialSponsorName": "S"}, "ClinicalTrialSponsorName", "not stated whole"),
        ({"ProcedureCodeSequence": [Dataset()]}, "ProcedureCodeSequence", "an item lacks"),
        (
            {"ProcedureCodeSequence": [make_item(CodeValue="1", CodeMeaning="x")]},
            "ProcedureCodeSequence",
            "an item lacks",
        ),
        (
            {"ReferencedPerformedProcedureStepSequence": [make_item(CodeValue="1")]},
            "ReferencedPerformedProcedureStepSequence",
            "an item lacks",
        ),
        (
            {"IssuerOfAccessionNumberSequence": [make_item(UniversalEntityID="1.2")]},
            "IssuerOfAccessionNumberSequence",
            "an item lacks",
        ),
    ],
)
def test_what_is_right_only_together_is_left_out_together(
    make_dicom_image: Maker, elements: dict[str, Any], gone: str, told: str
) -> None:
    image = make_dicom_image(**elements)
    assert gone not in image.attributes
    assert any(told in sentence for sentence in image.repairs)


def test_a_request_keeps_its_codes_and_loses_free_text(make_dicom_image: Maker) -> None:
    request = make_item(RequestedProcedureID="R1", ReasonForTheRequestedProcedure="a secret")
    request.RequestedProcedureCodeSequence = [make_item(**CODE), Dataset()]
    private = Dataset()
    private.add_new(0x00091001, "LO", "a secret")
    request.add_new(0x00091001, "SQ", [private])
    image = make_dicom_image(RequestAttributesSequence=[request])
    (kept,) = image.attributes.RequestAttributesSequence
    assert kept.RequestedProcedureID == "R1"
    assert len(kept.RequestedProcedureCodeSequence) == 1
    assert b"a secret" not in image.result.header.dicom_attributes


def test_a_trial_and_a_deidentified_patient_are_made_whole(make_dicom_image: Maker) -> None:
    image = make_dicom_image(
        ClinicalTrialSponsorName="S",
        ClinicalTrialProtocolID="P",
        ClinicalTrialSubjectID="1",
        PatientIdentityRemoved="YES",
    )
    assert image.attributes.ClinicalTrialSiteID == ""
    assert image.attributes.DeidentificationMethod == "Method not stated in the source image"


def test_a_lookup_table_is_as_long_as_it_says(make_dicom_image: Maker) -> None:
    tables = []
    for entries in (4, 5):
        table = Dataset()
        table.LUTDescriptor = [entries, 0, 8]
        table["LUTDescriptor"].VR = "US"
        table.add_new("LUTData", "OW", bytes(8))
        tables.append(table)
    image = make_dicom_image(VOILUTSequence=tables)
    (kept,) = image.attributes.VOILUTSequence
    assert kept.LUTDescriptor == [4, 0, 8]
    assert kept.LUTData == bytes(8)


def test_a_result_without_a_dicom_source_is_refused_with_the_reason(
    make_result: Maker, make_source: Maker
) -> None:
    model, at = ModelIdentity("m", "1", "ab" * 32), datetime(2026, 1, 1, tzinfo=UTC)

    def read(result: Any) -> None:
        read_dicom_image(result, model=model, assessed_at=at)

    with pytest.raises(NoDicomSourceError, match="no DICOM image; there is no study to add to"):
        read(Failure(source="a.png", reason="broken"))
    with pytest.raises(NoDicomSourceError, match="no DICOM image; there is no study to add to"):
        read(Failure(source="a", reason="b", header=ImageHeader(format="PNG", rows=1, columns=1)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        for value in (None, b"../../etc/passwd", b"1.02.3"):
            result = make_result(make_source(**{keyword: value}))
            with pytest.raises(NoDicomSourceError, match=f"states no valid {keyword}"):
                read(result)


@pytest.mark.parametrize("answer", ["positive", "failed"])
def test_no_result_is_made_of_a_result(make_dicom_image: Maker, answer: str) -> None:
    with pytest.raises(NoDicomSourceError, match="a result of chestx itself and no radiograph"):
        make_dicom_image(Manufacturer="chestx", answer=answer)


def test_an_image_that_failed_still_names_its_study(make_dicom_image: Maker) -> None:
    image = make_dicom_image(answer="failed")
    assert image.report is None
    assert image.attributes.AccessionNumber == "A-4711"


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(data: bytes) -> None:
    read_elements(data)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TAGS),
            st.binary(max_size=60),
        ),
        max_size=6,
    )
)
def test_no_values_break_the_reading(elements: list[tuple[int, bytes]]) -> None:
    # What comes of it is valid for pydicom, whose warnings are errors here.
    read = read_elements(b"".join(write_element(tag, value) for tag, value in sorted(elements)))
    assert read.attributes.PatientName is not None


def test_reading_ends_at_an_element_that_is_cut(make_result: Maker, make_source: Maker) -> None:
    result = make_result(make_source())
    whole = result.header.dicom_attributes
    for length in range(0, len(whole), 7):
        header = replace(result.header, dicom_attributes=whole[:length])
        assert read_elements(header.dicom_attributes).attributes.get("PatientSex") in ("", "M")
