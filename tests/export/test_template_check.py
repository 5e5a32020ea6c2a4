"""The check of templates: planted faults are found, most of which validators of files miss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom import Dataset

from chestx.export.dicom_common import encode_object
from chestx.export.structured_report import make_structured_report
from chestx.export.template_check import find_template_faults

Fault = Callable[[Dataset], None]


@pytest.fixture(scope="module")
def report_bytes(make_dicom_image: Callable[..., Any]) -> bytes:
    """Of a positive image, a lateral one and one that could not be read."""
    images = [
        make_dicom_image(instance=number, answer=answer)
        for number, answer in enumerate(("positive", "out_of_scope", "failed"), 1)
    ]
    return encode_object(make_structured_report(images))


def _walk(item: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
    for child in item.get("ContentSequence") or ():
        yield item, child
        yield from _walk(child)


def _find(dataset: Dataset, value: str, number: int = 0) -> tuple[Dataset, Dataset]:
    """The item above and the item of a concept."""
    found = [
        (parent, item)
        for parent, item in _walk(dataset)
        if item.get("ConceptNameCodeSequence")
        and item.ConceptNameCodeSequence[0].CodeValue == value
    ]
    return found[number]


def _remove(value: str, number: int = 0) -> Fault:
    def plant(dataset: Dataset) -> None:
        parent, item = _find(dataset, value, number)
        parent.ContentSequence.remove(item)

    return plant


def _set(value: str, keyword: str, new: Any) -> Fault:
    def plant(dataset: Dataset) -> None:
        setattr(_find(dataset, value)[1], keyword, new)

    return plant


def _rename(value: str, meaning: str) -> Fault:
    def plant(dataset: Dataset) -> None:
        _find(dataset, value)[1].ConceptNameCodeSequence[0].CodeMeaning = meaning

    return plant


def _say(value: str, code: tuple[str, str, str], number: int = 0) -> Fault:
    def plant(dataset: Dataset) -> None:
        item = _find(dataset, value, number)[1].ConceptCodeSequence[0]
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code

    return plant


def _drop_observer(dataset: Dataset) -> None:
    dataset.ContentSequence = [
        item for item in dataset.ContentSequence if item.RelationshipType != "HAS OBS CONTEXT"
    ]


def _answer_for_unassessed(dataset: Dataset) -> None:
    """Says of the lateral image that pneumonia is absent."""
    measurements = _find(dataset, "126010")[1].ContentSequence
    answer = _read_again(_find(dataset, "233604007")[0])
    answer.ContentSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = (
        _find(dataset, "126200")[1]
        .ContentSequence[1]
        .ReferencedSOPSequence[0]
        .ReferencedSOPInstanceUID
    )
    for item in answer.ContentSequence:
        if item.ConceptNameCodeSequence[0].CodeValue == "112040":
            item.UID = "2.25.1"
        if item.ConceptNameCodeSequence[0].CodeValue == "112039":
            item.TextValue = "made up"
        if item.ConceptNameCodeSequence[0].CodeValue == "233604007":
            item.ConceptCodeSequence[0].CodeValue = "272519000"
            item.ConceptCodeSequence[0].CodeMeaning = "Absent"
    measurements.append(answer)


def _read_again(item: Dataset) -> Dataset:
    return Dataset.from_json(item.to_json())


def _open_polygon(dataset: Dataset) -> None:
    item = _find(dataset, "111030")[1]
    item.GraphicData = list(item.GraphicData)[:-2]


def _move_polygon(dataset: Dataset) -> None:
    item = _find(dataset, "111030")[1]
    item.GraphicData = [value + 80 for value in item.GraphicData]


def _track_twice(dataset: Dataset) -> None:
    _find(dataset, "112040", 1)[1].UID = _find(dataset, "112040")[1].UID


def _drop_unit(dataset: Dataset) -> None:
    del _find(dataset, "111012")[1].MeasuredValueSequence[0].MeasurementUnitsCodeSequence


def _change_unit(dataset: Dataset) -> None:
    unit = _find(dataset, "111012")[1].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    unit.CodeValue, unit.CodeMeaning = "1", "no units"


def _exceed(dataset: Dataset) -> None:
    _find(dataset, "111012")[1].MeasuredValueSequence[0].NumericValue = "101"


def _drop_evidence(dataset: Dataset) -> None:
    series = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    del series.ReferencedSOPSequence[0]


def _drop_from_library(dataset: Dataset) -> None:
    del _find(dataset, "126200")[1].ContentSequence[1]


def _drop_template(dataset: Dataset) -> None:
    del _find(dataset, "111030")[0].ContentTemplateSequence


def _drop_flag(dataset: Dataset) -> None:
    dataset.VerificationFlag = "VERIFIED"


def _drop_step(dataset: Dataset) -> None:
    del dataset.ReferencedPerformedProcedureStepSequence


def _drop_schemes(dataset: Dataset) -> None:
    del dataset.CodingSchemeIdentificationSequence


def _retitle(dataset: Dataset) -> None:
    dataset.ConceptNameCodeSequence[0].CodeMeaning = "Report"


def _add_stranger(dataset: Dataset) -> None:
    item = _read_again(_find(dataset, "121049")[1])
    item.ConceptNameCodeSequence[0].CodeValue = "121050"
    dataset.ContentSequence.append(item)


_ABSENT = ("272519000", "SCT", "Absent")

# What is planted, the row that is broken, and whether ``dciodvfy -new`` sees it.
FAULTS: dict[str, tuple[Fault, str, bool]] = {
    "no language": (_remove("121049"), "TID 1204 row 1", False),
    "another language": (_say("121049", ("de", "RFC5646", "German")), "TID 1204 row 1", False),
    "no observer": (_drop_observer, "TID 1002 row 1", False),
    "no observer UID": (_remove("121012"), "TID 1004 row 1", False),
    "a person as the observer": (
        _say("121005", ("121006", "DCM", "Person")),
        "TID 1002 row 1",
        False,
    ),
    "no procedure": (_remove("121058"), "TID 1500 row 4", False),
    "another title": (_retitle, "TID 1500 row 1", False),
    "no caveat": (_remove("121106"), "TID 1500 row 14", False),
    "no measurements": (_remove("126010"), "TID 1500 row 6", False),
    "no library": (_remove("111028"), "TID 1600 row 1", False),
    "an image not in the library": (_drop_from_library, "TID 1601 row 1", False),
    "an image not among the evidence": (_drop_evidence, "PS3.3 C.17.2", True),
    "no tracking identifier": (_remove("112039"), "TID 1501 row 2", False),
    "no tracking UID": (_remove("112040"), "TID 1501 row 3", False),
    "one tracking UID for two": (_track_twice, "TID 1501 rows 2, 3", False),
    "a tracking UID as text": (_set("112040", "ValueType", "TEXT"), "TID 1501 row 3", True),
    "a wrong meaning": (_rename("121071", "Findings"), "TID 1501 row 3b", False),
    "a wrong relationship": (
        _set("121071", "RelationshipType", "HAS CONCEPT MOD"),
        "TID 1501 row 3b",
        False,
    ),
    "no finding": (_remove("121071"), "TID 1501 row 3b", False),
    "no finding site": (_remove("363698007"), "TID 1501 row 6", False),
    "no algorithm name": (_remove("111001"), "TID 4019 row 1", False),
    "no algorithm version in a group": (_remove("111003", 1), "TID 4019 row 2", False),
    "an empty algorithm version": (_set("111003", "TextValue", " "), "TID 4019 row 2", True),
    "no certainty": (_remove("111012"), "TID 300 row 1", False),
    "a certainty without a unit": (_drop_unit, "TID 300 row 1", True),
    "a certainty in another unit": (_change_unit, "TID 300 row 1", False),
    "a certainty above 100 %": (_exceed, "TID 300 row 1", False),
    "a certainty of what": (_remove("121050"), "TID 301 row 16", False),
    "no evaluation": (_remove("233604007"), "TID 1501 row 11", False),
    "an evaluation of another thing": (
        _say("121071", ("36118008", "SCT", "Pneumothorax")),
        "TID 1501 row 11",
        False,
    ),
    "an evaluation outside its context group": (
        _say("233604007", ("52101004", "SCT", "Maybe")),
        "TID 1501 row 11",
        False,
    ),
    "an answer for an image that was not assessed": (
        _answer_for_unassessed,
        "TID 1501 row 11",
        False,
    ),
    "no status of an image": (_remove("111064", 1), "TID 1501 row 11", False),
    "no reason": (_remove("121111", 2), "TID 1501 row 12", False),
    "an open polygon": (_open_polygon, "TID 1410 row 5", False),
    "a polygon outside the image": (_move_polygon, "TID 1410 row 5", False),
    "a region of what is absent": (_say("233604007", _ABSENT), "TID 1410 row 5", False),
    "a region of no method": (_remove("130401"), "TID 1410 row 12", False),
    "a region without its caveat": (_remove("121106", 2), "TID 1410 row 13", False),
    "a region without its template": (_drop_template, "TID 1500 row 1", False),
    "a verified report": (_drop_flag, "TID 1500 row 1", True),
    "no performed procedure step": (_drop_step, "TID 1500 row 1", True),
    "an unknown coding scheme": (_drop_schemes, "PS3.3 C.12.1", False),
    "an item of no row": (_add_stranger, "none", False),
}


def test_a_report_as_it_should_be_has_no_faults(report_bytes: bytes) -> None:
    assert find_template_faults(pydicom.dcmread(BytesIO(report_bytes))) == ()


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(
    name: str, report_bytes: bytes, find_errors: Callable[[bytes], list[str]]
) -> None:
    plant, row, is_seen_by_validator = FAULTS[name]
    dataset = pydicom.dcmread(BytesIO(report_bytes))
    plant(dataset)
    faults = find_template_faults(dataset)
    assert row in {fault.row for fault in faults}
    assert all(str(fault).startswith(f"{fault.row} at 1") for fault in faults)
    assert bool(find_errors(encode_object(dataset))) is is_seen_by_validator
