from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chestx.domain import CAVEAT, Figure, ModelIdentity
from chestx.evaluation.measure import measure
from chestx.evaluation.outcomes import list_questions
from chestx.evaluation.result import Evaluation
from chestx.evaluation.tables import (
    CONFUSION_COLUMNS,
    CURVE_COLUMNS,
    FIGURE_COLUMNS,
    FORMAT,
    IDENTITY_COLUMNS,
    evaluation_to_json,
    list_confusion_rows,
    list_curve_rows,
    list_figure_rows,
    list_image_columns,
    list_image_rows,
    name_error,
    write_csv,
)

if TYPE_CHECKING:
    from tests.evaluation.conftest import MakeOutcomes

IDENTITY = ModelIdentity("=evil", "1.0", "a" * 64)


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


def evaluate(make: MakeOutcomes) -> Evaluation:
    settings = {"data": "made up", "manifest_sha256": "0" * 64, "left_out": {}}
    return measure(make(120), **settings, repeats=8, columns=("source",))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evaluation(single_label_outcomes: MakeOutcomes) -> Evaluation:
    return evaluate(single_label_outcomes)


def test_a_cell_that_would_be_a_formula_is_made_harmless() -> None:
    rows = read(write_csv(("a", "model_name"), [{"a": '=HYPERLINK("x")'}], identity=IDENTITY))
    assert rows == [{"a": '\'=HYPERLINK("x")', "model_name": "'=evil"}]


def test_numbers_that_are_not_there_are_empty_cells() -> None:
    assert write_csv(("a", "b", "c"), [{"a": math.nan, "b": None}]) == b"a,b,c\n,,\n"


def test_a_name_that_is_no_unicode_is_written_as_an_escape() -> None:
    assert write_csv(("a",), [{"a": "x\udcff"}]) == b"a\nx\\udcff\n"


def test_every_row_says_who_spoke_and_carries_the_caveat() -> None:
    for columns in (FIGURE_COLUMNS, CONFUSION_COLUMNS, CURVE_COLUMNS):
        assert columns[-5:] == IDENTITY_COLUMNS
        row = read(write_csv(columns, [{}], identity=IDENTITY))[0]
        assert row["caveat"] == CAVEAT
        assert row["model_checksum"] == "a" * 64


def test_there_is_a_row_a_figure(evaluation: Evaluation) -> None:
    probe = Figure(name="AUROC, flipped", subject="P(X)", data="all", value=0.5, n=3)
    rows = read(write_csv(FIGURE_COLUMNS, list_figure_rows(evaluation, {"probe flip": [probe]})))
    answers = sum(len(answer.figures) for answer in evaluation.answers)
    assert sum(row["kind"] == "answer" for row in rows) == answers
    assert rows[-1]["kind"] == "probe flip"
    auroc = next(row for row in rows if row["name"] == "AUROC")
    assert (auroc["slice"], auroc["question"]) == ("all", "any_finding")
    assert float(auroc["low"]) <= float(auroc["value"]) <= float(auroc["high"])


def test_the_cells_of_a_confusion_matrix_add_up(evaluation: Evaluation) -> None:
    rows = read(write_csv(CONFUSION_COLUMNS, list_confusion_rows(evaluation)))
    assert sum(int(row["images"]) for row in rows if row["slice"] == "all") == 120


def test_every_curve_has_its_points(evaluation: Evaluation) -> None:
    rows = read(write_csv(CURVE_COLUMNS, list_curve_rows(evaluation)))
    kinds = {row["curve"] for row in rows}
    assert kinds == {"roc", "precision_recall", "reliability", "risk_coverage"}
    assert all(0 <= float(row["x"]) <= 1 for row in rows)


def test_every_image_has_a_row_with_what_its_answer_was_worth(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes(60)
    rows = read(write_csv(list_image_columns(outcomes), list_image_rows(outcomes)))
    assert [row["path"] for row in rows] == list(outcomes.paths)
    assert rows[-1]["decision"] == "failed"
    assert rows[-1]["error_PNEUMONIA"] == "not_assessed"
    assert rows[-1]["probability_PNEUMONIA"] == ""
    kinds = {row["error_any_finding"] for row in rows}
    assert kinds <= {
        *("true_positive", "false_positive", "true_negative", "false_negative", "not_assessed")
    }
    assert {row["attribute_source"] for row in rows} == {"north", "south"}
    assert rows[0]["reference"] == "NORMAL"


def test_errors_are_named_by_the_nearer_side(multi_label_outcomes: MakeOutcomes) -> None:
    outcomes = multi_label_outcomes(200)
    for question in list_questions(outcomes):
        for row in range(150):
            name = name_error(question, row, is_assessed=True)
            if not question.is_known[row]:
                assert name == "not_known"
            else:
                assert question.operating_point is not None
                called = question.y_prob[row] >= question.operating_point.threshold
                right = bool(called) == bool(question.y_true[row])
                assert name.startswith("true" if right else "false")


def test_the_result_is_json_without_numbers_that_json_does_not_know(
    multi_label_outcomes: MakeOutcomes,
) -> None:
    evaluation = evaluate(multi_label_outcomes)
    text = evaluation_to_json(evaluation, {"probes": [math.inf, "\udcff"]}, outputs=["a.csv"])
    document = json.loads(text)
    assert document["format"] == FORMAT
    assert document["caveat"] == CAVEAT
    assert document["probes"] == [None, "\\udcff"]
    assert document["model"]["checksum"] == "0" * 64
    assert len(document["answers"]) == len(evaluation.answers)
    assert document["files"] == ["a.csv"]


def test_every_column_is_documented(repository: Path, single_label_outcomes: MakeOutcomes) -> None:
    text = (repository / "docs" / "evaluation.md").read_text(encoding="utf-8")
    outcomes = single_label_outcomes(30)
    columns = {*FIGURE_COLUMNS, *CONFUSION_COLUMNS, *CURVE_COLUMNS}
    for column in list_image_columns(outcomes):
        prefix, _, rest = column.partition("_")
        is_made = prefix in ("probability", "decision", "error", "attribute") and rest
        columns.add(
            f"{prefix}_<{'name' if prefix == 'attribute' else 'question'}>" if is_made else column
        )
    for column in columns:
        assert f"`{column}`" in text, column
