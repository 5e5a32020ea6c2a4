"""DeLong's variance against published figures and its own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chestx.metrics import (
    compute_auroc,
    compute_delong_variance,
    delong_interval,
    delong_test,
)


def read_hanley() -> tuple[np.ndarray, np.ndarray]:
    """109 CT images rated 1 to 5 (Hanley and McNeil, Radiology 1982;143:29, table I)."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.arange(1.0, 6.0)
    y_score = np.concatenate([np.repeat(ratings, normal), np.repeat(ratings, abnormal)])
    return np.arange(109) >= 58, y_score


def place_by_definition(y_true: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and covariance from every pair of images, as DeLong wrote them."""
    wins = [
        (score[y_true][:, None] > score[~y_true]) + 0.5 * (score[y_true][:, None] == score[~y_true])
        for score in scores
    ]
    above = np.array([won.mean(axis=1) for won in wins])
    below = np.array([won.mean(axis=0) for won in wins])
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(axis=1), covariance


def test_the_variance_of_the_ct_ratings_is_the_published_one() -> None:
    # Stata, Base Reference Manual, roctab: area 0.8932, standard error 0.0307.
    y_true, y_score = read_hanley()
    assert compute_auroc(y_true, y_score) == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(compute_delong_variance(y_true, y_score)) == pytest.approx(0.0307, abs=5e-5)


def test_the_interval_lies_around_the_auroc_and_inside_0_and_1() -> None:
    y_true, y_score = read_hanley()
    low, high = delong_interval(y_true, y_score)
    # By hand on the logit scale: 2.1239 -+ 1.96 x 0.0307 / (0.8932 x 0.1068).
    assert (low, high) == pytest.approx((0.8165, 0.9402), abs=5e-4)
    narrow = delong_interval(y_true, y_score, level=0.5)
    assert low < narrow[0] < 0.8932 < narrow[1] < high


@pytest.mark.parametrize("levels", [4, 10**9])
def test_two_scores_are_compared_by_the_definition(levels: int) -> None:
    generator = np.random.default_rng(levels)
    y_true = generator.random(120) < 0.4
    shared = generator.normal(y_true * 1.0)
    scores = np.stack([shared + generator.normal(size=120), shared + 0.5 * y_true])
    scores = np.floor(scores * levels / 4)
    aucs, covariance = place_by_definition(y_true, scores)
    found = delong_test(y_true, scores[0], scores[1])
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert (found.first, found.second) == pytest.approx(tuple(aucs))
    assert found.z == pytest.approx((aucs[1] - aucs[0]) / error)
    assert found.high - found.difference == pytest.approx(1.959964 * error)
    assert found.p_value == pytest.approx(math.erfc(abs(found.z) / math.sqrt(2)))
    assert found.first == pytest.approx(compute_auroc(y_true, scores[0]))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truth, hits = 0.9214, 0  # Phi(2 / sqrt 2)
    y_true = np.arange(100) < 40
    for _ in range(300):
        low, high = delong_interval(y_true, generator.normal(2.0 * y_true))
        hits += low <= truth <= high
    assert 0.92 <= hits / 300 <= 0.98


def test_a_score_does_not_differ_from_itself() -> None:
    y_true, y_score = read_hanley()
    found = delong_test(y_true, y_score, y_score)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert math.isnan(found.z)


def test_classes_that_are_apart_have_no_interval() -> None:
    y_true = np.arange(10) >= 5
    assert all(math.isnan(end) for end in delong_interval(y_true, np.arange(10.0)))


@pytest.mark.parametrize("positives", [0, 1])
def test_fewer_than_two_images_of_a_class_have_no_variance(positives: int) -> None:
    y_true, y_score = np.arange(5) < positives, np.array([0.3, 0.1, 0.5, 0.2, 0.4])
    assert math.isnan(compute_delong_variance(y_true, y_score))
    assert all(math.isnan(end) for end in delong_interval(y_true, y_score))
    assert math.isnan(delong_test(y_true, y_score, y_score).p_value)
