"""Figures against scikit-learn and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from chestx.metrics import (
    bootstrap_interval,
    compute_auroc,
    compute_ece,
    compute_sensitivity_specificity,
    wilson_interval,
)


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


def test_sensitivity_and_specificity_equal_scikit_learn_and_count_the_threshold_as_positive() -> (
    None
):
    generator = np.random.default_rng(2)
    y_true = generator.random(300) < 0.4
    y_prob = np.round(generator.random(300), 1)
    sensitivity, specificity = compute_sensitivity_specificity(y_true, y_prob, threshold=0.5)
    assert sensitivity == recall_score(y_true, y_prob >= 0.5)
    assert specificity == recall_score(~y_true, y_prob < 0.5)


def test_sensitivity_without_positives_is_not_a_number() -> None:
    found = compute_sensitivity_specificity(
        np.zeros(2, dtype=bool), np.array([0.1, 0.9]), threshold=0.5
    )
    assert math.isnan(found[0])
    assert found[1] == 0.5


def test_ece_of_bins_done_by_hand() -> None:
    y_prob = np.array([0.1, 0.2, 0.8, 0.9])
    y_true = np.array([False, True, True, True])
    # Two bins of two: |0.15 - 0.5| and |0.85 - 1|, half of the images each.
    assert compute_ece(y_true, y_prob, bins=2) == pytest.approx(0.5 * 0.35 + 0.5 * 0.15)


def test_ece_is_near_zero_when_probabilities_are_true_and_does_not_depend_on_the_order() -> None:
    generator = np.random.default_rng(3)
    y_prob = np.round(generator.random(20_000), 2)
    y_true = generator.random(20_000) < y_prob
    order = generator.permutation(20_000)
    assert compute_ece(y_true, y_prob) < 0.01
    assert compute_ece(y_true, y_prob) == pytest.approx(compute_ece(y_true[order], y_prob[order]))
    assert compute_ece(y_true, np.clip(y_prob + 0.2, 0, 1)) > 0.15


def test_bootstrap_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(4).normal(size=400)
    low, high = bootstrap_interval(
        lambda drawn: float(values[drawn].mean()),
        np.arange(400),
        generator=np.random.default_rng(5),
    )
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.015)
    assert high == pytest.approx(values.mean() + half, abs=0.015)


def test_bootstrap_interval_of_repeated_images_is_as_wide_as_without_the_repeats() -> None:
    values = np.random.default_rng(6).normal(size=100)
    groups = np.repeat(np.arange(100), 10)
    repeated = np.repeat(values, 10)

    def width(data: np.ndarray, units: np.ndarray) -> float:
        low, high = bootstrap_interval(
            lambda drawn: float(data[drawn].mean()), units, generator=np.random.default_rng(7)
        )
        return high - low

    assert width(repeated, groups) == pytest.approx(width(values, np.arange(100)))
    assert width(repeated, np.arange(1000)) < 0.5 * width(repeated, groups)


def test_bootstrap_interval_takes_groups_by_name_and_is_the_same_for_the_same_generator() -> None:
    values = np.arange(6.0)
    groups = np.array(["b", "a", "b", "c", "a", "d"])
    found = [
        bootstrap_interval(
            lambda drawn: float(values[drawn].mean()), groups, generator=np.random.default_rng(8)
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_bootstrap_leaves_out_draws_without_a_figure_and_refuses_when_most_have_none() -> None:
    y_true = np.array([True, *[False] * 30])
    y_score = np.linspace(1, 0, 31)
    low, high = bootstrap_interval(
        lambda drawn: compute_auroc(y_true[drawn], y_score[drawn]),
        np.arange(31),
        generator=np.random.default_rng(9),
    )
    assert (low, high) == (1.0, 1.0)
    with pytest.raises(ValueError, match="only 0 of 50 draws gave a figure"):
        bootstrap_interval(
            lambda drawn: math.nan, np.arange(3), generator=np.random.default_rng(0), repeats=50
        )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 1998;17:857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_the_published_one(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)
