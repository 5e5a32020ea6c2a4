"""What to look at first, and what no longer to look at."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from chestx.domain import CAVEAT, UsageError
from chestx.export.dicom_common import encode_object
from chestx.export.key_object import (
    WithdrawalReason,
    is_withdrawable,
    make_key_object,
    make_withdrawal,
)
from chestx.export.presentation_state import make_presentation_state
from chestx.export.secondary_capture import make_secondary_capture

Maker = Callable[..., Any]
FindErrors = Callable[[bytes], list[str]]
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def read_back(dataset: Dataset) -> Dataset:
    return dcmread(io.BytesIO(encode_object(dataset)))


def make_content(document: Dataset) -> dict[str, list[str]]:
    """Name of an item, or its value type where it has none -> its values."""
    content: dict[str, list[str]] = {}
    for item in document.ContentSequence:
        names = item.get("ConceptNameCodeSequence")
        if item.ValueType in ("IMAGE", "COMPOSITE"):
            value = item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        elif item.ValueType == "CODE":
            value = item.ConceptCodeSequence[0].CodeMeaning
        else:
            value = item.UID if item.ValueType == "UIDREF" else item.TextValue
        content.setdefault(names[0].CodeMeaning if names else item.ValueType, []).append(str(value))
    return content


def list_evidence(document: Dataset) -> list[tuple[str, str]]:
    return [
        (str(series.SeriesInstanceUID), str(reference.ReferencedSOPInstanceUID))
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]


def test_positive_images_and_their_pictures_are_of_interest(
    make_dicom_image: Maker, find_errors: FindErrors
) -> None:
    answers = ("positive", "negative", "out_of_scope", "failed", "covid")
    images = [make_dicom_image(instance=n, answer=answer) for n, answer in enumerate(answers, 1)]
    picture = make_secondary_capture(images[0])
    document = make_key_object(images, {str(images[0].attributes.SOPInstanceUID): picture})
    assert document is not None
    data = encode_object(document)
    assert find_errors(data) == []
    document = dcmread(io.BytesIO(data))
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    content = make_content(document)
    expected = [
        str(images[0].attributes.SOPInstanceUID),
        str(images[4].attributes.SOPInstanceUID),
        str(picture.SOPInstanceUID),
    ]
    assert content["IMAGE"] == expected
    assert sorted(uid for _, uid in list_evidence(document)) == sorted(expected)
    (text,) = content["Key Object Description"]
    assert text.startswith("AI result, not for diagnosis. 2 of 5 images of this study: ")
    assert "positive: features of pneumonia 0.90" in text
    assert "features of COVID-19 0.90 (experimental)" in text
    assert CAVEAT in text
    assert str(images[0].model) in text
    assert content["Observer Type"] == ["Device"]
    assert content["Device Observer UID"] == [
        str(document.ContributingEquipmentSequence[0].DeviceUID)
    ]


@pytest.mark.parametrize("answer", ["negative", "uncertain", "out_of_scope", "failed"])
def test_a_study_without_a_positive_image_has_no_key_object(
    answer: str, make_dicom_image: Maker
) -> None:
    assert make_key_object([make_dicom_image(answer=answer)], {}) is None


def test_a_key_object_with_pictures_is_another_than_one_without(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    uid = str(image.attributes.SOPInstanceUID)
    without = make_key_object([image], {})
    beside = make_key_object([image], {uid: make_secondary_capture(image)})
    assert without is not None
    assert beside is not None
    assert without.SOPInstanceUID != beside.SOPInstanceUID
    again = make_key_object([make_dicom_image()], {})
    assert again is not None
    assert encode_object(again) == encode_object(without)


@pytest.fixture(scope="module")
def results(make_dicom_image: Maker) -> list[Dataset]:
    """A picture, marks and a key object, as they are read from an archive."""
    image = make_dicom_image()
    made = [
        make_secondary_capture(image),
        make_presentation_state(image),
        make_key_object([image], {}),
    ]
    return [read_back(item) for item in made if item is not None]


@pytest.mark.parametrize("reason", WithdrawalReason)
def test_a_withdrawal_rejects_what_it_names(
    reason: WithdrawalReason, results: list[Dataset], find_errors: FindErrors
) -> None:
    data = encode_object(make_withdrawal(results, reason=reason, at=AT))
    assert find_errors(data) == []
    document = dcmread(io.BytesIO(data))
    title = document.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    content = make_content(document)
    assert content["IMAGE"] == [results[0].SOPInstanceUID]
    assert sorted(content["COMPOSITE"]) == sorted(str(x.SOPInstanceUID) for x in results[1:])
    assert sorted(list_evidence(document)) == sorted(
        (str(x.SeriesInstanceUID), str(x.SOPInstanceUID)) for x in results
    )
    modifiers = {
        WithdrawalReason.QUALITY: None,
        WithdrawalReason.SUPERSEDED: ["Superseded by a newer result"],
    }
    assert content.get("Document Title Modifier") == modifiers[reason]
    assert reason.sentence in content["Key Object Description"][0]


def test_a_withdrawal_is_of_the_patient_and_study_and_made_by_the_program(
    results: list[Dataset],
) -> None:
    document = read_back(make_withdrawal(results, reason=WithdrawalReason.QUALITY, at=AT))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert document[keyword].value == results[0][keyword].value
    assert document.SeriesNumber == 9105
    assert document.SeriesInstanceUID not in {x.SeriesInstanceUID for x in results}
    assert document.ContentDate == "20261122"
    assert document.ManufacturerModelName == "chestx"
    assert "DeviceSerialNumber" not in document
    assert not is_withdrawable(document)


def test_the_same_withdrawal_has_the_same_uid(results: list[Dataset]) -> None:
    def name(objects: list[Dataset], reason: WithdrawalReason = WithdrawalReason.QUALITY) -> str:
        return str(make_withdrawal(objects, reason=reason, at=AT).SOPInstanceUID)

    assert name(results) == name(results[::-1]) == name([*results, results[0]])
    assert name(results) != name(results[:2])
    assert name(results) != name(results, WithdrawalReason.SUPERSEDED)
    corrected = [read_back(item) for item in results]
    for item in corrected:
        item.PatientID = "P-0816"
    assert name(results) != name(corrected)


def test_only_results_of_chestx_are_withdrawn(results: list[Dataset]) -> None:
    foreign = read_back(results[0])
    foreign.ContributingEquipmentSequence[0].Manufacturer = "Somebody"
    renumbered = read_back(results[0])
    renumbered.SeriesNumber = 3
    # Whoever writes our equipment into a radiograph cannot have it hidden.
    forged = read_back(results[0])
    forged.SOPInstanceUID = "1.2.840.113619.2.66.1"
    withdrawal = make_withdrawal(results, reason=WithdrawalReason.QUALITY, at=AT)
    for item in (foreign, renumbered, forged, withdrawal, Dataset()):
        assert not is_withdrawable(item)
        with pytest.raises(UsageError, match="expected results that chestx made"):
            make_withdrawal([*results, item], reason=WithdrawalReason.QUALITY, at=AT)


def test_a_withdrawal_needs_results_of_one_patient_and_study(
    results: list[Dataset], make_dicom_image: Maker
) -> None:
    with pytest.raises(UsageError, match="got none"):
        make_withdrawal([], reason=WithdrawalReason.QUALITY, at=AT)
    other = make_presentation_state(make_dicom_image(PatientID="P-0816"))
    with pytest.raises(UsageError, match="expected results of one patient"):
        make_withdrawal([*results, other], reason=WithdrawalReason.QUALITY, at=AT)
    elsewhere = make_presentation_state(make_dicom_image(StudyInstanceUID="1.2.3.4", instance=2))
    with pytest.raises(UsageError, match="expected images of one study"):
        make_withdrawal([*results, elsewhere], reason=WithdrawalReason.QUALITY, at=AT)
