"""Risk, coverage and what abstaining costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chestx.metrics import (
    compute_aurc,
    compute_aurcs,
    compute_risk_coverage,
    compute_selective_figures,
)


def test_the_area_is_the_mean_risk_over_all_coverages() -> None:
    is_wrong = np.array([False, True, False, True])
    # Decided in this order: risks 0, 1/2, 1/3, 2/4.
    assert compute_aurc(is_wrong, np.array([0.9, 0.8, 0.7, 0.6])) == pytest.approx(
        (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4
    )


def test_equal_confidence_gives_the_mean_over_all_orders() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.integers(4, size=60).astype(np.float64)
    is_wrong = generator.random(60) < 0.3
    shuffled = [
        compute_aurc(is_wrong, confidence + 1e-6 * generator.random(60)) for _ in range(3000)
    ]
    assert compute_aurc(is_wrong, confidence) == pytest.approx(np.mean(shuffled), abs=1e-3)


def test_one_confidence_for_all_gives_the_share_of_errors() -> None:
    is_wrong = np.arange(10) < 3
    assert compute_aurc(is_wrong, np.full(10, 0.5)) == pytest.approx(0.3)


def test_weights_give_what_images_written_that_often_give() -> None:
    generator = np.random.default_rng(1)
    confidence, is_wrong = generator.random(80).round(1), generator.random(80) < 0.3
    weights = generator.integers(0, 4, size=(5, 80)).astype(np.float64)
    once = [
        compute_aurc(np.repeat(is_wrong, times), np.repeat(confidence, times))
        for times in weights.astype(int)
    ]
    assert compute_aurcs(is_wrong, confidence, weights) == pytest.approx(once)


def test_the_curve_ends_at_the_risk_of_deciding_everything() -> None:
    generator = np.random.default_rng(2)
    confidence = generator.random(5000)
    is_wrong = generator.random(5000) < 0.4 * (1 - confidence)
    curve = compute_risk_coverage(is_wrong, confidence, points=50)
    assert len(curve.coverage) <= 50
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(is_wrong.mean())
    assert curve.risk[5] < curve.risk[-1]
    half = confidence >= np.quantile(confidence, 1 - curve.coverage[20])
    assert curve.risk[20] == pytest.approx(is_wrong[half].mean(), abs=1e-3)


def test_no_image_has_no_curve_and_no_area() -> None:
    nothing = np.zeros(0, dtype=bool), np.zeros(0)
    assert len(compute_risk_coverage(*nothing).coverage) == 0
    assert math.isnan(compute_aurc(*nothing))


def test_abstaining_helps_the_decided_and_is_told_for_all() -> None:
    y_true = np.array([True, True, True, True, False, False, False, False])
    is_positive = np.array([True, True, False, False, True, False, False, False])
    is_decided = np.array([True, True, True, False, False, True, True, True])
    found = compute_selective_figures(y_true, is_positive, is_decided=is_decided)
    assert found == pytest.approx(
        {
            "coverage": 6 / 8,
            "risk": 1 / 6,
            "sensitivity": 2 / 3,
            "specificity": 1.0,
            "PPV": 1.0,
            "NPV": 3 / 4,
            "missed": 1 / 4,
            "false alarms": 0.0,
        }
    )


def test_figures_of_draws_are_those_of_the_images_written_out() -> None:
    generator = np.random.default_rng(3)
    y_true, is_positive, is_decided = (generator.random((3, 40)) < 0.6).copy()
    weights = generator.integers(0, 3, size=(4, 40)).astype(np.float64)
    drawn = compute_selective_figures(y_true, is_positive, is_decided=is_decided, weights=weights)
    for row, times in enumerate(weights.astype(int)):
        once = compute_selective_figures(
            np.repeat(y_true, times),
            np.repeat(is_positive, times),
            is_decided=np.repeat(is_decided, times),
        )
        assert {name: values[row] for name, values in drawn.items()} == pytest.approx(once)


def test_deciding_nothing_has_no_risk_and_a_coverage_of_0() -> None:
    nothing = np.zeros(4, dtype=bool)
    found = compute_selective_figures(~nothing, nothing, is_decided=nothing)
    assert found["coverage"] == 0
    assert math.isnan(found["risk"])
    assert found["missed"] == 0
