"""Weighted draws give the intervals that drawing images would give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from chestx.evaluation.resampling import (
    compute_drawn_aurocs,
    compute_drawn_means,
    draw_weights,
    find_interval,
)
from chestx.metrics import bootstrap_interval, compute_auroc


def test_whole_groups_are_drawn() -> None:
    groups = np.array([7, 7, 3, 3, 3, 9])
    weights = draw_weights(groups, generator=np.random.default_rng(0), repeats=200)
    assert weights.shape == (200, 6)
    for group in (7, 3, 9):
        members = weights[:, groups == group]
        assert (members == members[:, :1]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()


def test_the_auroc_of_a_draw_is_the_weighted_one() -> None:
    generator = np.random.default_rng(0)
    y_true = generator.random(80) < 0.4
    y_score = np.round(generator.normal(size=80) + y_true, 1)
    weights = draw_weights(np.arange(80), generator=generator, repeats=5)
    expected = [roc_auc_score(y_true, y_score, sample_weight=row) for row in weights]
    np.testing.assert_allclose(compute_drawn_aurocs(y_true, y_score, weights), expected)


def test_intervals_are_those_of_the_plain_bootstrap() -> None:
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 3)
    y_true = np.repeat(generator.random(60) < 0.5, 3)
    y_score = generator.normal(size=180) + y_true
    value = compute_auroc(y_true, y_score)
    drawn = compute_drawn_aurocs(y_true, y_score, draw_weights(groups, generator=generator))
    plain = bootstrap_interval(
        lambda rows: compute_auroc(y_true[rows], y_score[rows]), groups, generator=generator
    )
    assert find_interval(value, drawn) == pytest.approx(plain, abs=0.02)


def test_a_draw_without_both_classes_has_no_figure() -> None:
    y_true = np.array([True, False])
    weights = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    drawn = compute_drawn_aurocs(y_true, np.array([0.9, 0.1]), weights)
    assert [math.isnan(value) for value in drawn] == [True, False, True]
    assert find_interval(1.0, drawn) == (None, None)


def test_means_are_weighted_and_nothing_has_none() -> None:
    weights = np.array([[1.0, 3.0], [0.0, 0.0]])
    means = compute_drawn_means(np.array([0.0, 4.0]), weights)
    assert means[0] == 3
    assert math.isnan(means[1])


def test_an_interval_holds_its_value() -> None:
    assert find_interval(2.0, np.linspace(0, 1, 100))[1] == 2.0
    assert find_interval(math.nan, np.linspace(0, 1, 100)) == (None, None)
