"""Result -> one row of ``results.csv``; study -> one row of ``studies.csv``.

Every column is named and explained in ``docs/csv.md``, which a test holds against
this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from chestx.domain import (
    ANY_FINDING,
    CAVEAT,
    Decision,
    Finding,
    ImageHeader,
    ModelCard,
    ModelIdentity,
    Report,
    Result,
    Study,
    group_studies,
    starts_formula,
)
from chestx.terminology import describe_calibration, interpret_result, interpret_study

Row = dict[str, str]

_FIRST_COLUMNS = (
    "path",
    "sha256",
    "status",
    "error",
    "decision",
    "interpretation",
)
_LAST_COLUMNS = (
    "scope_reasons",
    "scope_details",
    "quality_flags",
    "heatmap",
    "heatmap_label",
    "distance",
    "view",
    "age",
    "sex",
    "Modality",
    "BodyPartExamined",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "TransferSyntaxUID",
    "format",
    "rows",
    "columns",
    "display",
    "notes",
    "model_name",
    "model_version",
    "model_checksum",
    "model_precision",
    "site_profile",
    "calibration",
    "caveat",
)
STUDY_COLUMNS = (
    "study",
    "decision",
    "interpretation",
    "images",
    "not_assessed",
    "answering_path",
    "PatientID",
    "AccessionNumber",
    "StudyDate",
    "StudyInstanceUID",
    "model_name",
    "model_version",
    "model_checksum",
    "model_precision",
    "site_profile",
    "calibration",
    "caveat",
)

_SHARED_COLUMNS = tuple(name for name in STUDY_COLUMNS if name in _LAST_COLUMNS)
_WHOLE_COLUMNS = frozenset({"rows", "columns"})
_NUMBER_COLUMNS = frozenset({"age", "distance"})

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def neutralise_cell(text: str) -> str:
    """Makes text from outside safe to open in a spreadsheet.

    Control and bidirectional-override characters are written as escapes, and a
    leading apostrophe keeps ``=``, ``+``, ``-``, ``@`` and their kin from starting
    a formula. Source: OWASP, CSV injection.
    """
    visible = _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)
    # A name that is not UTF-8 on disk arrives with lone surrogates.
    visible = visible.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"'{visible}" if starts_formula(visible) else visible


def list_result_columns(card: ModelCard) -> tuple[str, ...]:
    """The columns of ``results.csv`` for one model, in order.

    A label in the role ``no_finding`` has a probability but no decision: nothing
    here ever says that a study is normal.
    """
    middle = []
    if card.any_finding is not None:
        middle += [f"decision_{ANY_FINDING}", f"probability_{ANY_FINDING}"]
    for label in card.labels:
        if label.operating_point is not None:
            middle.append(f"decision_{label.key}")
        middle.append(f"probability_{label.key}")
    return (*_FIRST_COLUMNS, *middle, *_LAST_COLUMNS)


def to_result_row(result: Result, *, identity: ModelIdentity, heatmap: str = "") -> Row:
    """One result as column -> text; columns that do not apply are left out.

    Args:
        result: a report or a failure.
        identity: who spoke, or would have spoken.
        heatmap: path of its picture relative to the table.
    """
    row = {
        "path": result.source,
        "sha256": result.sha256,
        "decision": str(result.decision),
        "interpretation": interpret_result(result),
        **_header_cells(result.header),
        **_identity_cells(identity),
    }
    if isinstance(result, Report):
        row |= {
            "status": "ok",
            "heatmap": heatmap,
            "heatmap_label": result.shown_label if heatmap else "",
            "scope_reasons": " ".join(reason.code for reason in result.scope_reasons),
            "scope_details": " ".join(reason.sentence for reason in result.scope_reasons),
            "quality_flags": " ".join(result.flags),
            "distance": "" if result.distance is None else f"{result.distance:.3f}",
            **_probability_cells(result),
        }
    else:
        row |= {"status": "failed", "error": result.reason}
    return {column: neutralise_cell(text) for column, text in row.items()}


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """What ``studies.csv`` needs of one row of ``results.csv``, and no more.

    Attributes:
        cells: the columns that both tables have, in order, then the interpretation; texts
            that many rows share are held once, since a run keeps this of every image.
        source, decision, study_instance_uid, patient_id: of the image.
        score: its highest probability; 0 where it was not assessed.
    """

    cells: tuple[str, ...]
    source: str
    decision: Decision
    study_instance_uid: str
    patient_id: str
    score: float

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> WrittenAnswer:
        """Takes it from a row of ``results.csv``."""
        decision = Decision(row["decision"])
        scores = [
            float(row[f"probability_{name.removeprefix('decision_')}"])
            for name, value in row.items()
            if name.startswith("decision_") and value
        ]
        return cls(
            cells=tuple(intern(row.get(name, "")) for name in (*_SHARED_COLUMNS, "interpretation")),
            source=row["path"],
            decision=decision,
            study_instance_uid=row.get("StudyInstanceUID", ""),
            patient_id=row.get("PatientID", ""),
            score=max(scores, default=0.0) if decision.is_assessed else 0.0,
        )


def to_study_rows(answers: Iterable[WrittenAnswer]) -> Iterator[Row]:
    """``studies.csv``: most urgent first, then the higher probability, then input order."""
    studies = group_studies(answers)
    studies.sort(key=lambda study: (study.decision.urgency, -study.answering.score))
    yield from map(_to_study_row, studies)


def to_json_record(row: Mapping[str, str], columns: Iterable[str]) -> dict[str, Any]:
    """A row with numbers as numbers, for JSON lines and Parquet; an empty number is None.

    Args:
        row: of ``results.csv``.
        columns: all of the table's.
    """
    record: dict[str, Any] = {}
    for name in columns:
        text = row.get(name, "")
        if name in _WHOLE_COLUMNS:
            record[name] = int(text) if text else None
        elif name in _NUMBER_COLUMNS or name.startswith("probability_"):
            record[name] = float(text) if text else None
        else:
            record[name] = text
    return record


def _to_study_row(study: Study[WrittenAnswer]) -> Row:
    *cells, interpretation = study.answering.cells
    return {
        **dict(zip(_SHARED_COLUMNS, cells, strict=True)),
        "study": study.key,
        "decision": str(study.decision),
        "interpretation": interpret_study(interpretation, study),
        "images": str(len(study.answers)),
        "not_assessed": str(study.not_assessed),
        "answering_path": study.answering.source,
    }


def _probability_cells(report: Report) -> Row:
    cells = {f"probability_{key}": f"{p:.4f}" for key, p in report.probabilities.items()}
    findings: list[Finding] = list(report.findings)
    if report.any_finding is not None:
        findings.append(report.any_finding)
        cells[f"probability_{ANY_FINDING}"] = f"{report.any_finding.probability:.4f}"
    # Out of scope: the raw numbers stay for the data scientist, but nothing is decided.
    if report.decision is not Decision.OUT_OF_SCOPE:
        cells |= {f"decision_{finding.key}": str(finding.decision) for finding in findings}
    return cells


def _header_cells(header: ImageHeader | None) -> Row:
    if header is None:
        return {}
    age = "" if header.age_years is None else f"{header.age_years:.4g}"
    return {
        "view": header.view_position,
        "age": age,
        "sex": header.sex,
        "Modality": header.modality,
        "BodyPartExamined": header.body_part_examined,
        "PatientID": header.patient_id,
        "AccessionNumber": header.accession_number,
        "StudyDate": header.study_date,
        "StudyInstanceUID": header.study_instance_uid,
        "SeriesInstanceUID": header.series_instance_uid,
        "SOPInstanceUID": header.sop_instance_uid,
        "SOPClassUID": header.sop_class_uid,
        "TransferSyntaxUID": header.transfer_syntax_uid,
        "format": header.format,
        "rows": str(header.rows),
        "columns": str(header.columns),
        "display": header.display,
        "notes": " ".join(header.notes),
    }


def _identity_cells(identity: ModelIdentity) -> Row:
    return {
        "model_name": identity.name,
        "model_version": identity.version,
        "model_checksum": identity.checksum,
        "model_precision": identity.precision,
        "site_profile": identity.site_profile,
        "calibration": describe_calibration(identity),
        "caveat": CAVEAT,
    }
