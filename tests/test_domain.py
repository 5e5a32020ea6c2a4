"""The nouns are valid once constructed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chestx.domain import (
    Decision,
    Failure,
    FindingDecision,
    ImageHeader,
    InputSpec,
    Label,
    LabelRole,
    Limits,
    OperatingPoint,
    Radiograph,
    Report,
    Result,
    ScopeReason,
    UsageError,
    format_count,
    group_studies,
    name_age_band,
    starts_formula,
)


def make_header(study_instance_uid: str = "") -> ImageHeader:
    return ImageHeader(format="PNG", rows=4, columns=6, study_instance_uid=study_instance_uid)


def test_a_radiograph_is_read_only_and_as_large_as_its_header_says() -> None:
    radiograph = Radiograph(np.zeros((4, 6), np.uint8), make_header())
    assert not radiograph.pixels.flags.writeable
    with pytest.raises(ValueError, match="expected 4 x 6 pixels as the header says, got 6 x 4"):
        Radiograph(np.zeros((6, 4), np.uint8), make_header())


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.0, FindingDecision.NEGATIVE),
        (0.299, FindingDecision.NEGATIVE),
        (0.3, FindingDecision.UNCERTAIN),
        (0.5, FindingDecision.UNCERTAIN),
        (0.699, FindingDecision.UNCERTAIN),
        (0.7, FindingDecision.POSITIVE),
        (1.0, FindingDecision.POSITIVE),
    ],
)
def test_a_probability_inside_the_band_is_uncertain(
    probability: float, expected: FindingDecision
) -> None:
    assert OperatingPoint(0.5, 0.3, 0.7).decide(probability) is expected


def test_without_a_band_the_threshold_alone_decides() -> None:
    point = OperatingPoint(0.5, 0.5, 0.5)
    assert point.decide(0.4999) is FindingDecision.NEGATIVE
    assert point.decide(0.5) is FindingDecision.POSITIVE


@pytest.mark.parametrize("values", [(0.5, 0.6, 0.7), (0.5, 0.1, 0.4), (1.5, 0.1, 1.6)])
def test_an_operating_point_out_of_order_is_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="uncertain_low <= threshold <= uncertain_high"):
        OperatingPoint(*values)


def test_a_probability_that_is_none_is_refused() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            OperatingPoint(0.5, 0.5, 0.5).decide(wrong)


def test_a_finding_needs_an_operating_point_and_no_finding_has_none() -> None:
    with pytest.raises(ValueError, match="needs an operating point"):
        Label(key="PNEUMONIA", display="pneumonia")
    with pytest.raises(ValueError, match="no_finding has none"):
        Label(
            key="NORMAL",
            display="none",
            role=LabelRole.NO_FINDING,
            operating_point=OperatingPoint(0.5, 0.5, 0.5),
        )


def test_urgency_puts_what_nobody_assessed_before_a_negative() -> None:
    order = sorted(Decision, key=lambda decision: decision.urgency)
    assert order == ["positive", "uncertain", "failed", "out_of_scope", "negative"]


def test_limits_and_input_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="max_bytes: expected a positive number, got 0"):
        Limits(max_bytes=0)
    with pytest.raises(ValueError, match="input size: expected 16 to 4096, got 8"):
        InputSpec(size=8)


def make_report(decision: Decision, *, study: str = "", source: str = "a.png") -> Report:
    from chestx.domain import ModelIdentity

    reasons = (ScopeReason("lateral", "a lateral view"),)
    return Report(
        source=source,
        sha256="",
        header=make_header(study_instance_uid=study),
        model=ModelIdentity("m", "1", "0" * 64),
        decision=decision,
        findings=(),
        any_finding=None,
        probabilities={},
        scope_reasons=reasons if decision is Decision.OUT_OF_SCOPE else (),
        flags=(),
        interpretation="",
        distance=None,
        shown_label="",
        map_scales={},
        logits=np.zeros(3, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=None,
        preview=None,
    )


def test_a_study_speaks_through_its_most_urgent_assessed_image() -> None:
    results = [
        make_report(Decision.NEGATIVE, study="1.2", source="frontal"),
        make_report(Decision.OUT_OF_SCOPE, study="1.2", source="lateral"),
        make_report(Decision.POSITIVE, study="1.3", source="other"),
        make_report(Decision.UNCERTAIN, study="1.2", source="second frontal"),
    ]
    first, second = group_studies(results)
    assert (first.key, first.decision, first.answering.source) == (
        "1.2",
        Decision.UNCERTAIN,
        "second frontal",
    )
    assert first.not_assessed == 1
    assert second.decision is Decision.POSITIVE


def test_a_study_that_nobody_assessed_never_becomes_negative() -> None:
    results: list[Result] = [
        make_report(Decision.OUT_OF_SCOPE, study="1.2"),
        Failure(source="x", reason="broken", header=make_header(study_instance_uid="1.2")),
    ]
    (study,) = group_studies(results)
    assert study.decision is Decision.FAILED
    assert study.not_assessed == 2


def test_two_patients_under_one_study_uid_stay_apart() -> None:
    first = make_report(Decision.POSITIVE, study="1.2")
    second = make_report(Decision.NEGATIVE, study="1.2")
    second = replace(second, header=replace(second.header, patient_id="P2"))
    studies = group_studies([first, second])
    assert [study.decision for study in studies] == ["positive", "negative"]
    assert [study.key for study in studies] == ["1.2", "1.2"]


def test_images_without_a_uid_are_studies_of_their_own_even_under_one_name() -> None:
    results = [make_report(Decision.NEGATIVE), make_report(Decision.POSITIVE)]
    assert [study.decision for study in group_studies(results)] == ["negative", "positive"]


def test_out_of_scope_and_its_reasons_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        replace(make_report(Decision.NEGATIVE), decision=Decision.OUT_OF_SCOPE)
    with pytest.raises(ValueError, match="use Failure"):
        replace(make_report(Decision.NEGATIVE), decision=Decision.FAILED)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (None, ""),
        (0.0, "under 1"),
        (5.9, "1 to 5"),
        (18.0, "18 to 39"),
        (120.0, "80 and over"),
        (-1.0, ""),
        (math.nan, ""),
    ],
)
def test_ages_have_bands(age: float | None, band: str) -> None:
    assert name_age_band(age) == band


@pytest.mark.parametrize("text", ["=1", "+1", "-x", "@a", " \t=1", "\uff1d1"])
def test_what_a_spreadsheet_would_run_is_known(text: str) -> None:
    assert starts_formula(text)
    assert not starts_formula(f"'{text}")


def test_one_of_a_thing_is_not_several() -> None:
    assert [format_count(n, "image") for n in (0, 1, 2469)] == [
        "0 images",
        "1 image",
        "2,469 images",
    ]
