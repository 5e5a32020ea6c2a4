"""Figures over several labels against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score

from chestx.metrics import (
    Average,
    average_figures,
    compute_multilabel_auroc,
    count_classes,
    count_confusions,
    report_classes,
)

LABELS = ("NORMAL", "PNEUMONIA", "COVID19")


def draw_answers() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    y_true = generator.integers(3, size=200)
    return y_true, np.where(generator.random(200) < 0.7, y_true, generator.integers(3, size=200))


def test_the_confusion_matrix_equals_that_of_scikit_learn() -> None:
    y_true, y_pred = draw_answers()
    found = count_confusions(y_true, y_pred, classes=3)
    np.testing.assert_array_equal(found, confusion_matrix(y_true, y_pred))
    assert [one.n for one in count_classes(found)] == [200] * 3


def test_a_class_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="expected classes 0 to 1, got 0 to 2"):
        count_confusions(np.array([0, 2]), np.array([0, 1]), classes=2)
    with pytest.raises(ValueError, match="expected classes 0 to 1, got -1 to 1"):
        count_confusions(np.array([0, 1]), np.array([-1, 1]), classes=2)


def test_the_report_equals_that_of_scikit_learn() -> None:
    y_true, y_pred = draw_answers()
    expected = classification_report(y_true, y_pred, target_names=LABELS, output_dict=True)
    found = report_classes(count_confusions(y_true, y_pred, classes=3), LABELS)
    for row in found.rows:
        other = expected[row.name]
        assert (row.ppv, row.sensitivity, row.f1, row.support) == pytest.approx(
            (other["precision"], other["recall"], other["f1-score"], other["support"])
        )
    macro, micro, weighted = found.averages
    for row, other in ((macro, expected["macro avg"]), (weighted, expected["weighted avg"])):
        assert (row.ppv, row.sensitivity, row.f1) == pytest.approx(
            (other["precision"], other["recall"], other["f1-score"])
        )
    assert micro.ppv == micro.sensitivity == found.accuracy == expected["accuracy"]


def test_a_class_without_images_is_left_out_of_the_mean_and_not_counted_as_0() -> None:
    matrix = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    found = report_classes(matrix, LABELS)
    assert math.isnan(found.rows[2].sensitivity)
    assert found.averages[0].sensitivity == pytest.approx(0.85)


def test_a_report_wants_one_label_a_class() -> None:
    with pytest.raises(ValueError, match="expected one label for each of 3 classes, got 2"):
        report_classes(np.zeros((3, 3), dtype=np.int64), LABELS[:2])


def test_a_mean_over_nothing_is_not_a_number() -> None:
    assert math.isnan(average_figures(np.array([math.nan, math.nan])))


def draw_multilabel() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    y_true = generator.random((300, 4)) < np.array([0.5, 0.3, 0.1, 0.05])
    return y_true, generator.normal(y_true * 1.0), generator.random((300, 4)) < 0.8


@pytest.mark.parametrize("average", list(Average))
def test_the_multilabel_auroc_equals_that_of_scikit_learn(average: Average) -> None:
    y_true, y_score, _ = draw_multilabel()
    known = np.ones_like(y_true)
    found = compute_multilabel_auroc(y_true, y_score, is_known=known, average=average)
    assert found[0] == pytest.approx(roc_auc_score(y_true, y_score, average=average.value))


@pytest.mark.parametrize("average", list(Average))
def test_what_is_not_known_does_not_matter(average: Average) -> None:
    y_true, y_score, known = draw_multilabel()
    one = compute_multilabel_auroc(y_true, y_score, is_known=known, average=average)
    other = compute_multilabel_auroc(
        np.where(known, y_true, ~y_true),
        np.where(known, y_score, math.nan),
        is_known=known,
        average=average,
    )
    assert one[0] == other[0]
    per_label = [
        roc_auc_score(y_true[rows, label], y_score[rows, label])
        for label, rows in enumerate(known.T)
    ]
    if average is Average.MACRO:
        assert one[0] == pytest.approx(np.mean(per_label))


def test_a_label_of_one_class_is_left_out_and_draws_give_a_figure_each() -> None:
    y_true, y_score, known = draw_multilabel()
    y_true[:, 3] = False
    weights = np.random.default_rng(2).integers(0, 3, size=(4, 300)).astype(np.float64)
    found = compute_multilabel_auroc(
        y_true, y_score, is_known=known, average=Average.WEIGHTED, weights=weights
    )
    without = compute_multilabel_auroc(
        y_true[:, :3],
        y_score[:, :3],
        is_known=known[:, :3],
        average=Average.WEIGHTED,
        weights=weights,
    )
    assert found.shape == (4,)
    assert found == pytest.approx(without)
