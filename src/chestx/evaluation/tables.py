"""An evaluation as JSON and as CSV tables that a spreadsheet may open.

Every column is explained in ``docs/evaluation.md``, which a test holds against this file.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chestx.domain import CAVEAT, Figure, ModelIdentity
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import Evaluation
from chestx.export.table import neutralise_cell

FORMAT = "chestx evaluation 1"
"""First value of ``evaluation.json``."""

IDENTITY_COLUMNS = (
    "model_name",
    "model_version",
    "model_checksum",
    "model_precision",
    "caveat",
)
FIGURE_COLUMNS = (
    "kind",
    "slice",
    "question",
    "name",
    "subject",
    "value",
    "low",
    "high",
    "n",
    "note",
    *IDENTITY_COLUMNS,
)
CONFUSION_COLUMNS = ("slice", "reference", "answer", "images", *IDENTITY_COLUMNS)
CURVE_COLUMNS = (
    "slice",
    "question",
    "curve",
    "x",
    "y",
    "threshold",
    "low",
    "high",
    "n",
    *IDENTITY_COLUMNS,
)
_IMAGE_FIRST = ("path", "group", "reference", "decision", "reasons")

Cell = str | int | float | None
Row = Mapping[str, Cell]


def evaluation_to_json(
    evaluation: Evaluation, extra: Mapping[str, Any], *, outputs: Sequence[str]
) -> str:
    """Everything as one JSON document; a number that is not there is null.

    Args:
        evaluation: what was measured.
        extra: plain JSON values by name, e.g. of the probes and of the comparison.
        outputs: names of the files beside it.
    """
    document = {
        "format": FORMAT,
        "caveat": CAVEAT,
        **dataclasses.asdict(evaluation),
        **extra,
        "files": list(outputs),
    }
    return json.dumps(_to_plain(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_csv(
    columns: Sequence[str], rows: Iterable[Row], *, identity: ModelIdentity | None = None
) -> bytes:
    """A table as UTF-8; text that a spreadsheet would take for a formula is made harmless.

    Args:
        columns: in order.
        rows: column -> value; a column that is not there and a NaN are empty.
        identity: who spoke; fills IDENTITY_COLUMNS of every row.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([neutralise_cell(column) for column in columns])
    shared: dict[str, Cell] = {} if identity is None else _name_model(identity)
    for row in rows:
        cells = {**shared, **row}
        writer.writerow([_to_cell(cells.get(column)) for column in columns])
    return stream.getvalue().encode("utf-8", "backslashreplace")


def list_figure_rows(
    evaluation: Evaluation, others: Mapping[str, Sequence[Figure]]
) -> Iterator[Row]:
    """A row a figure.

    Args:
        evaluation: whose answers, overall figures and baselines come first.
        others: kind -> further figures, e.g. of a probe.
    """
    for answer in evaluation.answers:
        for figure in answer.figures:
            row = _figure_row("answer", figure)
            yield {**row, "slice": answer.slice_key, "question": answer.question}
    for kind, figures in (
        ("overall", evaluation.overall),
        ("baseline", evaluation.baselines),
        *others.items(),
    ):
        for figure in figures:
            yield _figure_row(kind, figure)


def list_confusion_rows(evaluation: Evaluation) -> Iterator[Row]:
    """A row a cell of each confusion matrix."""
    for confusion in evaluation.confusions:
        for reference, counts in zip(confusion.rows, confusion.counts, strict=True):
            for answer, images in zip(confusion.columns, counts, strict=True):
                yield {
                    "slice": confusion.slice_key,
                    "reference": reference,
                    "answer": answer,
                    "images": images,
                }


def list_curve_rows(evaluation: Evaluation) -> Iterator[Row]:
    """A row a point of each curve and a bin of each reliability diagram."""
    for answer in evaluation.answers:
        place = {"slice": answer.slice_key, "question": answer.question}
        for name, points in (("roc", answer.roc), ("precision_recall", answer.precision_recall)):
            for point in points:
                yield {
                    **place,
                    "curve": name,
                    "x": point.x,
                    "y": point.y,
                    "threshold": point.threshold,
                }
        for item in answer.reliability:
            yield {
                **place,
                "curve": "reliability",
                "x": item.predicted,
                "y": item.observed,
                "low": item.low,
                "high": item.high,
                "n": item.n,
            }
        for step in answer.risk_coverage:
            yield {**place, "curve": "risk_coverage", "x": step.coverage, "y": step.risk}


def list_image_columns(outcomes: Outcomes) -> tuple[str, ...]:
    """The columns of ``images.csv``, in order."""
    columns = [*_IMAGE_FIRST]
    for question in list_questions(outcomes):
        columns.append(f"probability_{question.key}")
        if question.operating_point is not None:
            columns += [f"decision_{question.key}", f"error_{question.key}"]
    return (*columns, *(f"attribute_{name}" for name in outcomes.attributes), *IDENTITY_COLUMNS)


def list_image_rows(outcomes: Outcomes) -> Iterator[Row]:
    """A row an image, in the order of the manifest; refused and failed ones too."""
    questions = list_questions(outcomes)
    keys = [label.key for label in outcomes.card.labels]
    for number, path in enumerate(outcomes.paths):
        targets = zip(keys, outcomes.targets[number], strict=True)
        row: dict[str, Cell] = {
            "path": path,
            "group": int(outcomes.groups[number]),
            "reference": "|".join(key for key, target in targets if target == 1),
            "decision": outcomes.decisions[number].value,
            "reasons": "|".join(outcomes.reasons[number]),
        }
        is_assessed = outcomes.decisions[number].is_assessed
        for question in questions:
            row |= _answer_cells(question, number, is_assessed=is_assessed)
        for name, values in outcomes.attributes.items():
            row[f"attribute_{name}"] = values[number]
        yield row


def name_error(question: Question, number: int, *, is_assessed: bool) -> str:
    """What an answer was worth: the table's word for hit and miss.

    An answer inside the abstention band counts by the side of the threshold that it lies on.
    """
    if not is_assessed:
        return "not_assessed"
    if not question.is_known[number] or question.operating_point is None:
        return "not_known"
    called = bool(question.y_prob[number] >= question.operating_point.threshold)
    if question.y_true[number]:
        return "true_positive" if called else "false_negative"
    return "false_positive" if called else "true_negative"


def _answer_cells(question: Question, number: int, *, is_assessed: bool) -> dict[str, Cell]:
    probability = float(question.y_prob[number])
    cells: dict[str, Cell] = {f"probability_{question.key}": probability}
    if (point := question.operating_point) is not None:
        if is_assessed:
            cells[f"decision_{question.key}"] = point.decide(probability).value
        cells[f"error_{question.key}"] = name_error(question, number, is_assessed=is_assessed)
    return cells


def _figure_row(kind: str, figure: Figure) -> dict[str, Cell]:
    return {
        "kind": kind,
        "slice": figure.data,
        "name": figure.name,
        "subject": figure.subject,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "n": figure.n,
        "note": figure.note,
    }


def _name_model(identity: ModelIdentity) -> dict[str, Cell]:
    return {
        "model_name": identity.name,
        "model_version": identity.version,
        "model_checksum": identity.checksum,
        "model_precision": identity.precision,
        "caveat": CAVEAT,
    }


def _to_cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return neutralise_cell(value)
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return str(value)


def _to_plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity, and UTF-8 no lone surrogates."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_to_plain(str(key)): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return value
