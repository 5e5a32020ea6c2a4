"""Ranking figures against scikit-learn."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from chestx.metrics import (
    compute_auroc,
    compute_aurocs,
    compute_average_precision,
    compute_average_precisions,
    compute_precision_recall_curve,
    compute_roc_curve,
)


def draw_scores(levels: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(levels)
    y_true = generator.random(n) < 0.3
    return y_true, generator.integers(levels, size=n) / levels + 0.2 * y_true


@pytest.mark.parametrize("levels", [3, 17, 10**9])
def test_auroc_equals_scikit_learn_with_and_without_ties(levels: int) -> None:
    generator = np.random.default_rng(levels)
    y_true = generator.random(500) < 0.3
    y_score = generator.integers(levels, size=500) / levels + 0.2 * y_true
    assert compute_auroc(y_true, y_score) == pytest.approx(
        roc_auc_score(y_true, y_score), abs=1e-12
    )


def test_auroc_of_one_class_is_not_a_number() -> None:
    assert math.isnan(compute_auroc(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3])))
    assert math.isnan(compute_auroc(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize("levels", [3, 17, 10**9])
def test_average_precision_equals_scikit_learn_with_and_without_ties(levels: int) -> None:
    y_true, y_score = draw_scores(levels)
    assert compute_average_precision(y_true, y_score) == pytest.approx(
        average_precision_score(y_true, y_score), abs=1e-12
    )


def test_average_precision_without_positives_is_not_a_number() -> None:
    assert math.isnan(compute_average_precision(np.zeros(3, dtype=bool), np.arange(3.0)))


@pytest.mark.parametrize("levels", [3, 17, 10**9])
def test_weights_give_what_images_written_that_often_give(levels: int) -> None:
    y_true, y_score = draw_scores(levels)
    weights = np.random.default_rng(0).integers(0, 4, size=(5, 500)).astype(np.float64)
    aurocs = compute_aurocs(y_true, y_score, weights)
    precisions = compute_average_precisions(y_true, y_score, weights)
    for row, times in enumerate(weights.astype(int)):
        written = np.repeat(y_true, times), np.repeat(y_score, times)
        assert aurocs[row] == pytest.approx(roc_auc_score(*written), abs=1e-12)
        assert precisions[row] == pytest.approx(average_precision_score(*written), abs=1e-12)


def test_a_draw_of_one_class_has_no_auroc_and_the_others_keep_theirs() -> None:
    y_true = np.array([True, False, True])
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    found = compute_aurocs(y_true, np.array([0.9, 0.1, 0.5]), weights)
    assert math.isnan(found[0])
    assert found[1] == 1.0


def test_no_image_gives_no_figure() -> None:
    nothing = np.zeros(0, dtype=bool), np.zeros(0)
    assert math.isnan(compute_auroc(*nothing))
    assert math.isnan(compute_average_precision(*nothing))


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="got 1 of 2 that are not a number"):
        compute_auroc(np.array([True, False]), np.array([0.5, math.nan]))


@pytest.mark.parametrize("levels", [3, 17, 10**9])
def test_the_roc_curve_passes_through_the_points_of_scikit_learn(levels: int) -> None:
    y_true, y_score = draw_scores(levels)
    curve = compute_roc_curve(y_true, y_score, points=10_000)
    x, y, thresholds = roc_curve(y_true, y_score)
    np.testing.assert_allclose(curve.x, x)
    np.testing.assert_allclose(curve.y, y)
    np.testing.assert_allclose(curve.threshold, thresholds)


@pytest.mark.parametrize("levels", [3, 17, 10**9])
def test_the_precision_recall_curve_is_that_of_scikit_learn(levels: int) -> None:
    y_true, y_score = draw_scores(levels)
    curve = compute_precision_recall_curve(y_true, y_score, points=10_000)
    precision, recall, thresholds = precision_recall_curve(y_true, y_score)
    np.testing.assert_allclose(curve.x, recall[-2::-1])
    np.testing.assert_allclose(curve.y, precision[-2::-1])
    np.testing.assert_allclose(curve.threshold, thresholds[::-1])


def test_thinned_curves_keep_their_ends_and_their_area() -> None:
    y_true, y_score = draw_scores(10**9, n=20_000)
    roc = compute_roc_curve(y_true, y_score, points=100)
    assert len(roc.x) <= 100
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(compute_auroc(y_true, y_score), abs=1e-3)
    precision_recall = compute_precision_recall_curve(y_true, y_score, points=100)
    assert len(precision_recall.x) <= 100
    assert precision_recall.x[-1] == 1
    assert (np.diff(precision_recall.x) >= 0).all()


@pytest.mark.parametrize("compute", [compute_roc_curve, compute_precision_recall_curve])
def test_a_curve_of_one_class_is_refused(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(ValueError, match="got 3 positive of 3"):
        compute(np.ones(3, dtype=bool), np.arange(3.0))


def test_a_thousand_draws_of_two_thousand_images_take_well_under_a_second() -> None:
    y_true, y_score = draw_scores(10**9, n=2000)
    weights = np.random.default_rng(0).integers(0, 3, size=(1000, 2000)).astype(np.float64)
    start = time.process_time()
    compute_aurocs(y_true, y_score, weights)
    assert time.process_time() - start < 2  # 0.1 s on one idle core.
