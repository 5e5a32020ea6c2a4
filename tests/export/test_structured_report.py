"""Structured reports: what they say, and who can read them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from chestx.domain import CAVEAT, Finding, FindingDecision, OperatingPoint, UsageError
from chestx.export.dicom_common import encode_object
from chestx.export.dicom_source import DicomImage
from chestx.export.structured_report import make_structured_report
from chestx.export.template_check import find_template_faults
from chestx.rendering.contours import find_regions

Maker = Callable[..., DicomImage]
ANSWERS = ("positive", "covid", "uncertain", "negative", "out_of_scope", "failed")


def _read(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(BytesIO(encode_object(dataset)))


def _read_with_highdicom(dataset: Dataset) -> Any:
    return highdicom.sr.srread(BytesIO(encode_object(dataset))).content


def _walk(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence") or ():
        yield from _walk(child)


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeMeaning) if names else ""


def _find(dataset: Dataset, name: str) -> list[Dataset]:
    return [item for item in _walk(dataset) if _name(item) == name]


def _say(dataset: Dataset, name: str) -> list[str]:
    return [
        str(item.ConceptCodeSequence[0].CodeMeaning if item.ValueType == "CODE" else item.TextValue)
        for item in _find(dataset, name)
    ]


@pytest.fixture(scope="module")
def study(make_dicom_image: Maker) -> list[DicomImage]:
    """Two frontal images and a lateral one."""
    return [
        make_dicom_image(instance=1, answer="negative"),
        make_dicom_image(instance=2, answer="positive", rows=60, columns=130),
        make_dicom_image(instance=3, answer="out_of_scope", ViewPosition="LL"),
    ]


@pytest.mark.parametrize("is_3d", [True, False])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_report_passes_the_validator_and_its_templates(
    answer: str,
    is_3d: bool,
    make_dicom_image: Maker,
    find_errors: Callable[[bytes], list[str]],
) -> None:
    data = encode_object(make_structured_report([make_dicom_image(answer=answer)], is_3d=is_3d))
    assert find_errors(data) == []
    assert find_template_faults(pydicom.dcmread(BytesIO(data))) == ()


@pytest.mark.parametrize("is_3d", [True, False])
def test_a_study_of_several_images_passes_too(
    is_3d: bool, study: list[DicomImage], find_errors: Callable[[bytes], list[str]]
) -> None:
    data = encode_object(make_structured_report(study, is_3d=is_3d))
    assert find_errors(data) == []
    assert find_template_faults(pydicom.dcmread(BytesIO(data))) == ()


@pytest.mark.parametrize(
    ("answer", "pneumonia", "covid", "anything"),
    [
        ("positive", "Present", "Absent", "Present"),
        ("covid", "Absent", "Present", "Present"),
        ("uncertain", "Undetermined", "Absent", "Undetermined"),
        ("negative", "Absent", "Absent", "Absent"),
    ],
)
def test_highdicom_reads_the_answer_for_each_finding(
    answer: str, pneumonia: str, covid: str, anything: str, make_dicom_image: Maker
) -> None:
    image = make_dicom_image(answer=answer)
    report = _read_with_highdicom(make_structured_report([image]))
    groups = report.get_image_measurement_groups()
    said = {
        evaluation.name.meaning: evaluation.value.meaning
        for group in groups
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.value.scheme_designator == "SCT"
    }
    assert said == {
        "Pneumonia": pneumonia,
        "Radiographic features suggestive of COVID-19": covid,
        "Any of the findings looked for": anything,
    }
    sites = {site.value.meaning for group in groups for site in group.finding_sites}
    assert sites == {"Lung", "Chest"}


def test_the_certainty_is_the_number_of_the_tables_in_percent(make_dicom_image: Maker) -> None:
    image = make_dicom_image(probabilities=(0.012345, 0.98, 0.007655))
    report = _read_with_highdicom(make_structured_report([image]))
    numbers = [
        (measurement.value, measurement.unit.value)
        for group in report.get_image_measurement_groups()
        for measurement in group.get_measurements()
    ]
    assert numbers == [(98.0, "%"), (0.77, "%"), (98.77, "%")]


def test_the_certainty_says_of_what_and_where_the_decision_falls(make_dicom_image: Maker) -> None:
    report = _read(make_structured_report([make_dicom_image(answer="uncertain")]))
    assert _say(report, "Equivalent Meaning of Concept Name") == [
        "Calibrated probability that features of pneumonia are present",
        "Calibrated probability that features of COVID-19 are present",
        "Calibrated probability that features of any finding looked for are present",
    ]
    described = "positive at or above 0.5. no decision from 0.4 to below 0.6"
    assert set(_say(report, "CAD Operating Point Description")) == {described}
    # Ordinal of the one operating point that there is, never a threshold.
    points = _find(report, "CAD Operating Point")
    assert {int(x.MeasuredValueSequence[0].NumericValue) for x in points} == {0}


def test_the_outlines_of_positive_findings_are_the_regions(make_dicom_image: Maker) -> None:
    image = make_dicom_image(answer="positive", rows=60, columns=130)
    assert image.report is not None
    report = _read_with_highdicom(make_structured_report([image]))
    groups = report.get_planar_roi_measurement_groups()
    expected = find_regions(image.report, key="PNEUMONIA")
    assert len(groups) == len(expected) > 0
    for group, region in zip(groups, expected, strict=True):
        assert group.roi.graphic_type.value == "POLYLINE"
        np.testing.assert_array_equal(group.roi.value, np.float32(region.points))
        assert group.finding_type.meaning == "Pneumonia"
    plain = _read(make_structured_report([image]))
    assert _say(plain, "Visual explanation") == ["Class activation"] * len(expected)
    assert _say(plain, "Comment").count("Heatmap evidence; not a boundary.") == len(expected)


@pytest.mark.parametrize("answer", ["uncertain", "negative", "out_of_scope"])
def test_only_positive_findings_have_regions(answer: str, make_dicom_image: Maker) -> None:
    report = _read(make_structured_report([make_dicom_image(answer=answer)]))
    assert _find(report, "Image Region") == []


def test_how_the_map_was_made_is_said(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    occlusion = _read(make_structured_report([image], heatmap="occlusion"))
    assert _say(occlusion, "Visual explanation") == ["Occlusion of image parts"]
    assert find_template_faults(occlusion) == ()
    without = _read(make_structured_report([image], heatmap="none"))
    assert _find(without, "Image Region") == []


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        ("out_of_scope", "Not Attempted", "Not assessed: A lateral view (LL) is stated."),
        (
            "failed",
            "Failed",
            "Not assessed: the file could not be read: the file is cut short; get the file again.",
        ),
    ],
)
def test_what_was_not_assessed_is_said_with_the_reason_and_without_an_answer(
    answer: str, status: str, sentence: str, make_dicom_image: Maker
) -> None:
    report = _read(make_structured_report([make_dicom_image(answer=answer)]))
    assert _say(report, "Summary of Detections") == [status]
    assert _say(report, "Summary") == [sentence, sentence]
    values = {
        item.ConceptCodeSequence[0].CodeMeaning
        for item in _walk(report)
        if item.ValueType == "CODE"
    }
    assert not values & {"Present", "Absent", "Undetermined"}
    assert _find(report, "Certainty of Finding") == []
    # What was not assessed may be of anything.
    assert _say(report, "Procedure reported") == ["XR unspecified body region"]


def test_a_study_is_answered_first_and_names_every_image(study: list[DicomImage]) -> None:
    report = _read(make_structured_report(study))
    summaries = _say(report, "Summary")
    assert summaries == [
        "Features of pneumonia found (very high probability, 0.90). "
        "1 further image of this study was not assessed.",
        "No features of pneumonia or COVID-19 found; other disease not assessed.",
        "Features of pneumonia found (very high probability, 0.90).",
        "Not assessed: A lateral view (LL) is stated.",
    ]
    assert _say(report, "Summary of Detections") == ["Succeeded", "Succeeded", "Not Attempted"]
    library = _find(report, "Image Library Group")[0].ContentSequence
    named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in library]
    assert named == [image.attributes.SOPInstanceUID for image in study]
    assert _say(report, "Image View") == ["postero-anterior"] * 2 + ["left lateral"]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert len(evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 3


def test_the_caveat_the_calibration_and_the_model_are_said(make_dicom_image: Maker) -> None:
    report = _read(make_structured_report([make_dicom_image()]))
    comments = _say(report, "Comment")
    assert comments[:2] == [CAVEAT, "Thresholds: not calibrated for this site."]
    assert "Experimental; not a test for an infection." in comments
    assert set(_say(report, "Algorithm Name")) == {"demo-model"}
    assert "model checksum (SHA-256): " + "ab12cd34" * 8 in _say(report, "Algorithm Parameters")
    assert "positive at or above 0.5" in _say(report, "Algorithm Parameters")
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"


def test_findings_without_a_code_get_a_local_one(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    assert image.report is not None
    point = OperatingPoint(0.5, 0.5, 0.5)
    findings = tuple(
        Finding(key, display, 0.4, FindingDecision.NEGATIVE, point)
        for key, display in (
            ("Cardiomegaly", "cardiomegaly"),
            ("Enlarged_cardiomediastinum", "wide\\mediastinum \u2013 large"),
        )
    )
    result = replace(image.report, findings=findings, any_finding=None)
    report = _read(make_structured_report([replace(image, result=result)]))
    assert find_template_faults(report) == ()
    codes = [item.ConceptCodeSequence[0] for item in _find(report, "Finding")]
    assert [(x.CodeValue, x.CodingSchemeDesignator, x.CodeMeaning) for x in codes] == [
        ("Cardiomegaly", "99CHESTX", "cardiomegaly"),
        ("Enlarged__12d4c6", "99CHESTX", "wide/mediastinum - large"),
    ]
    assert _say(report, "Finding Site") == ["Chest", "Chest"]
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99CHESTX"
    assert "no decision" not in " ".join(_say(report, "Algorithm Parameters"))


def test_the_same_answers_give_the_same_bytes_and_each_form_its_uid(
    study: list[DicomImage],
) -> None:
    first, again = (encode_object(make_structured_report(study)) for _ in range(2))
    assert first == again
    forms = [make_structured_report(study, is_3d=is_3d) for is_3d in (True, False)]
    assert len({str(form.SOPInstanceUID) for form in forms}) == 2
    assert len({str(form.SeriesInstanceUID) for form in forms}) == 1


def test_the_content_is_what_it_was_after_it_was_touched(make_dicom_image: Maker) -> None:
    untouched = make_structured_report([make_dicom_image()])
    touched = make_structured_report([make_dicom_image()])
    assert len(list(_walk(touched))) > 40  # pydicom has read it; it writes it anew.
    assert _read(touched) == _read(untouched)


def test_the_report_is_of_the_time_of_its_last_answer(make_dicom_image: Maker) -> None:
    image = make_dicom_image(instance=1)
    later = replace(
        make_dicom_image(instance=2), assessed_at=image.assessed_at + timedelta(hours=1)
    )
    report = make_structured_report([image, later])
    assert report.ContentTime == "183005.250000"


def test_requests_and_codes_of_the_procedure_are_taken_over(
    make_dicom_image: Maker, find_errors: Callable[[bytes], list[str]]
) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "XC1", "99HOSP", "Chest PA"
    request = Dataset()
    request.RequestedProcedureID = "RP1"
    request.RequestedProcedureDescription = "Chest PA"
    request.ScheduledProcedureStepID = "SPS1"
    image = make_dicom_image(ProcedureCodeSequence=[code], RequestAttributesSequence=[request])
    report = make_structured_report([image, image])
    assert report.PerformedProcedureCodeSequence[0].CodeValue == "XC1"
    (referred,) = report.ReferencedRequestSequence
    assert (referred.RequestedProcedureID, referred.AccessionNumber) == ("RP1", "A-4711")
    assert find_errors(encode_object(make_structured_report([image]))) == []


def test_letters_that_the_source_cannot_hold_are_written_in_unicode(
    make_dicom_image: Maker, find_errors: Callable[[bytes], list[str]]
) -> None:
    plain = make_structured_report([make_dicom_image(answer="uncertain")])
    assert plain.SpecificCharacterSet == "ISO_IR 100"
    image = make_dicom_image()
    model = replace(
        image.model,
        site="\u0391\u03b8\u03ae\u03bd\u03b1",
        site_profile="12" * 32,
    )
    dataset = make_structured_report([replace(image, model=model)])
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    report = _read(dataset)
    sentence = (
        "Thresholds: calibrated for \u0391\u03b8\u03ae\u03bd\u03b1 (site profile 121212121212)."
    )
    assert sentence in _say(report, "Comment")
    assert report.PatientName == "Meier^J\u00f6rg"
    assert find_errors(encode_object(dataset)) == []


def test_a_source_without_a_character_set_stays_without(make_dicom_image: Maker) -> None:
    image = make_dicom_image(SpecificCharacterSet=None, PatientName="Meier^Jan")
    dataset = make_structured_report([image])
    assert "SpecificCharacterSet" not in dataset
    assert find_template_faults(_read(dataset)) == ()


def test_a_document_among_the_images_is_named_as_what_it_is(make_dicom_image: Maker) -> None:
    document = make_dicom_image(
        instance=2, answer="failed", sop_class="1.2.840.10008.5.1.4.1.1.104.1"
    )
    report = _read(make_structured_report([make_dicom_image(instance=1), document]))
    kinds = [x.ValueType for x in _find(report, "Image Library Group")[0].ContentSequence]
    assert kinds == ["IMAGE", "COMPOSITE"]
    assert find_template_faults(report) == ()


def test_an_image_of_a_class_of_its_makers_own_is_an_image(
    make_dicom_image: Maker, find_errors: Callable[[bytes], list[str]]
) -> None:
    # Fuji's computed radiographs, among others: no table of the standard names the class.
    dataset = make_structured_report([make_dicom_image(sop_class="1.2.392.200036.9125.1.1.2")])
    kinds = {x.ValueType for x in _walk(_read(dataset)) if "ReferencedSOPSequence" in x}
    assert kinds == {"IMAGE"}
    assert find_template_faults(_read(dataset)) == ()
    assert find_errors(encode_object(dataset)) == []


def test_the_step_of_the_images_is_not_said_to_be_that_of_the_report(
    make_dicom_image: Maker,
) -> None:
    step = Dataset()
    step.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.3"
    step.ReferencedSOPInstanceUID = "1.2.3.4"
    image = make_dicom_image(ReferencedPerformedProcedureStepSequence=[step])
    assert list(make_structured_report([image]).ReferencedPerformedProcedureStepSequence) == []


def test_images_of_two_studies_or_models_make_no_report(make_dicom_image: Maker) -> None:
    image = make_dicom_image()
    other = make_dicom_image(instance=2, StudyInstanceUID="1.2.3")
    with pytest.raises(UsageError, match="expected images of one study"):
        make_structured_report([image, other])
    stranger = replace(image, model=replace(image.model, version="2"))
    with pytest.raises(UsageError, match="one model answered, got 2 images of 2"):
        make_structured_report([image, stranger])
    with pytest.raises(UsageError, match="got 0 images of 0"):
        make_structured_report([])


def test_an_unknown_kind_of_heatmap_makes_no_report(make_dicom_image: Maker) -> None:
    with pytest.raises(UsageError, match="heatmap: expected cam, occlusion or none, got 'x'"):
        make_structured_report([make_dicom_image()], heatmap="x")


@pytest.mark.parametrize("tool", ["dsrdump", "dsr2html"])
def test_the_tools_of_dcmtk_read_it(tool: str, study: list[DicomImage], tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} of DCMTK is not installed")
    path = tmp_path / "report.dcm"
    path.write_bytes(encode_object(make_structured_report(study)))
    options: list[Any] = ["-ll", "warn", path]
    done = subprocess.run([tool, *options], capture_output=True, text=True, errors="replace")
    assert done.returncode == 0
    assert done.stderr == ""
    for words in ("Pneumonia", "Present", "Class activation", "Not Attempted", "UNVERIFIED"):
        assert words in done.stdout
