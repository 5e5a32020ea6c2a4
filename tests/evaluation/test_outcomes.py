"""Questions that outcomes answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chestx.domain import ANY_FINDING, Decision
from chestx.evaluation.outcomes import Outcomes, list_questions


def test_any_finding_comes_first_and_mirrors_the_label_of_no_finding(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes()
    questions = list_questions(outcomes)
    assert [q.key for q in questions] == [ANY_FINDING, "NORMAL", "PNEUMONIA", "COVID19"]
    anything, normal = questions[:2]
    assert anything.score == "1 - P(NORMAL)"
    assert anything.operating_point == outcomes.card.any_finding
    assert normal.operating_point is None
    np.testing.assert_array_equal(anything.y_true, ~normal.y_true)
    np.testing.assert_array_equal(anything.y_prob, 1 - normal.y_prob)


def test_probabilities_are_compared_in_double_precision(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes()
    for question in list_questions(outcomes):
        assert question.y_prob.dtype == np.float64
    assert len(outcomes) == 240


def test_an_answer_that_nobody_knows_is_neither_true_nor_known(
    multi_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = multi_label_outcomes()
    questions = list_questions(outcomes)
    assert [q.key for q in questions] == ["PNEUMONIA", "EDEMA", "PLEURAL_EFFUSION", "NODULE"]
    for index, question in enumerate(questions):
        unknown = outcomes.targets[:, index] < 0
        assert unknown.any()
        np.testing.assert_array_equal(question.is_known, ~unknown)
        assert not question.y_true[unknown].any()


def test_images_that_failed_or_were_refused_are_not_assessed(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes(failed=2, out_of_scope=3)
    assert int((~outcomes.is_assessed).sum()) == 5
    assert outcomes.decisions[-1] is Decision.FAILED
    assert np.isnan(outcomes.probabilities[-2:]).all()
    assert np.isfinite(outcomes.probabilities[:-2]).all()
