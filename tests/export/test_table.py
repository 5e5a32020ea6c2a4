"""A row says what the report says, and no cell can harm who opens it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chestx.domain import (
    CAVEAT,
    Activation,
    Decision,
    Failure,
    Finding,
    FindingDecision,
    ImageHeader,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    Report,
    Result,
    ScopeReason,
    ScopeSpec,
)
from chestx.export.table import (
    STUDY_COLUMNS,
    WrittenAnswer,
    list_result_columns,
    neutralise_cell,
    to_json_record,
    to_result_row,
    to_study_rows,
)

IDENTITY = ModelIdentity("demo", "1.2", "ab" * 32)
POINT = OperatingPoint(0.5, 0.4, 0.6)
CARD = ModelCard(
    format_version=1,
    name="demo",
    version="1.2",
    summary="",
    labels=(
        Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING),
        Label(key="PNEUMONIA", display="pneumonia", operating_point=POINT),
    ),
    activation=Activation.SOFTMAX,
    temperature=1.0,
    input=InputSpec(size=224),
    heatmap="cam",
    any_finding=POINT,
    scope=ScopeSpec(),
    embedding_size=8,
    intended_use="",
    not_looked_for="",
    licence="",
    files={},
)


def make_report(probability: float = 0.9, *, study: str = "", source: str = "a.png") -> Report:
    decision = POINT.decide(probability)
    return Report(
        source=source,
        sha256="cd" * 32,
        header=ImageHeader(
            format="DICOM",
            rows=10,
            columns=20,
            age_years=0.25,
            sex="F",
            patient_id="=P1",
            study_instance_uid=study,
            notes=("One.", "Two."),
        ),
        model=IDENTITY,
        decision=Decision(decision.value),
        findings=(Finding("PNEUMONIA", "pneumonia", probability, decision, POINT),),
        any_finding=Finding("any_finding", "any finding", probability, decision, POINT),
        probabilities={"NORMAL": 1 - probability, "PNEUMONIA": probability},
        scope_reasons=(),
        flags=("age_unknown", "burnt_in_text"),
        interpretation="Features of pneumonia found.",
        distance=0.5,
        shown_label="PNEUMONIA",
        map_scales={},
        logits=np.zeros(3, np.float32),
        embedding=np.zeros(4, np.float32),
        maps=None,
        preview=None,
    )


def test_every_cell_of_a_row_has_a_column_and_nothing_calls_a_study_normal() -> None:
    columns = list_result_columns(CARD)
    row = to_result_row(make_report(), identity=IDENTITY, heatmap="heatmaps/1.jpg")
    assert set(row) <= set(columns)
    assert len(set(columns)) == len(columns)
    assert "decision_NORMAL" not in columns
    assert "probability_NORMAL" in columns


def test_a_report_becomes_a_row_with_the_same_answer() -> None:
    row = to_result_row(make_report(0.9), identity=IDENTITY, heatmap="heatmaps/1.jpg")
    assert row["status"] == "ok"
    assert row["decision"] == row["decision_PNEUMONIA"] == "positive"
    assert row["probability_PNEUMONIA"] == "0.9000"
    assert row["interpretation"] == "Features of pneumonia found."
    assert row["quality_flags"] == "age_unknown burnt_in_text"
    assert row["notes"] == "One. Two."
    assert row["age"] == "0.25"
    assert row["PatientID"] == "'=P1"
    assert (row["model_name"], row["model_checksum"]) == ("demo", "ab" * 32)
    assert row["caveat"] == CAVEAT


def test_an_image_out_of_scope_keeps_its_numbers_but_no_decision() -> None:
    report = replace(
        make_report(),
        decision=Decision.OUT_OF_SCOPE,
        scope_reasons=(ScopeReason("lateral", "A lateral view."), ScopeReason("age", "Too young.")),
    )
    row = to_result_row(report, identity=IDENTITY)
    assert row["decision"] == "out_of_scope"
    assert row["scope_reasons"] == "lateral age"
    assert row["scope_details"] == "A lateral view. Too young."
    assert row["probability_PNEUMONIA"] == "0.9000"
    assert not [column for column in row if column.startswith("decision_")]


def test_a_failure_keeps_its_study_and_its_reason() -> None:
    header = ImageHeader(format="DICOM", rows=1, columns=1, study_instance_uid="1.2.3")
    failure = Failure(source="x.dcm", reason="the file is cut short", header=header)
    row = to_result_row(failure, identity=IDENTITY)
    assert (row["status"], row["decision"]) == ("failed", "failed")
    assert row["error"] == "the file is cut short"
    assert row["interpretation"].startswith("Not assessed:")
    assert row["StudyInstanceUID"] == "1.2.3"
    assert row["model_checksum"] == IDENTITY.checksum


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("  =x", "'  =x"),
        ("\uff1dx", "'\uff1dx"),
        ("\t=x", "\\t=x"),
        ("a\nb\r\x00", "a\\nb\\r\\x00"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("肺炎 Müller", "肺炎 Müller"),
        ("", ""),
    ],
)
def test_a_cell_cannot_run_or_hide_anything(text: str, expected: str) -> None:
    cell = neutralise_cell(text)
    assert cell == expected
    cell.encode("utf-8")


def test_studies_come_in_order_of_urgency_and_then_of_probability() -> None:
    results: list[Result] = [
        make_report(0.1, study="1.1"),
        make_report(0.8, study="1.2"),
        make_report(0.95, study="1.3"),
        make_report(0.5, study="1.4"),
        Failure(source="x", reason="broken"),
        Failure(source="y", reason="broken", header=make_report(0.1, study="1.3").header),
    ]
    written = [to_result_row(result, identity=IDENTITY) for result in results]
    rows = list(to_study_rows(WrittenAnswer.from_row(row) for row in written))
    assert [row["study"] for row in rows] == ["1.3", "1.2", "1.4", "x", "1.1"]
    assert all(set(row) == set(STUDY_COLUMNS) for row in rows)
    assert rows[0]["decision"] == FindingDecision.POSITIVE
    assert (rows[0]["images"], rows[0]["not_assessed"]) == ("2", "1")
    assert rows[0]["interpretation"].endswith("1 further image of this study was not assessed.")
    assert rows[3]["not_assessed"] == "1"
    assert rows[0]["PatientID"] == "'=P1"


def test_a_json_record_has_numbers_where_the_table_has_them() -> None:
    columns = list_result_columns(CARD)
    record = to_json_record(to_result_row(make_report(0.9), identity=IDENTITY), columns)
    assert record["probability_PNEUMONIA"] == 0.9
    assert (record["rows"], record["columns"]) == (10, 20)
    assert record["age"] == 0.25
    assert record["decision"] == "positive"
    empty = to_json_record({}, columns)
    assert empty["probability_PNEUMONIA"] is None
    assert empty["rows"] is None
    assert empty["path"] == ""
