"""Abstention bands drawn from validation outputs do what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.domain import UsageError
from chestx.evaluation.abstention import (
    choose_abstention_band,
    choose_band_for_coverage,
    choose_band_for_risk,
    choose_conformal_band,
)


def draw_scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.random(n) < 0.4
    return y_true, 1 / (1 + np.exp(-generator.normal(3.0 * y_true - 1.5, 1.2)))


def _search_by_brute_force(
    y_true: np.ndarray, y_prob: np.ndarray, threshold: float, max_share: float
) -> int:
    """Smallest number of undecided images that halves the error, over every band."""
    edges = np.unique(y_prob)
    wrong = (y_prob >= threshold) != y_true
    sizes = [
        int(inside.sum())
        for low in [*edges[edges < threshold], threshold]
        for high in [*edges[edges > threshold], threshold]
        for inside in [(low <= y_prob) & (y_prob < high)]
        if inside.mean() <= max_share and wrong[~inside].mean() <= 0.5 * wrong.mean()
    ]
    return min(sizes)


@pytest.mark.parametrize("seed", range(5))
def test_the_band_is_the_smallest_that_halves_the_error(seed: int) -> None:
    generator = np.random.default_rng(seed)
    y_true = generator.random(300) < 0.5
    y_prob = 1 / (1 + np.exp(-generator.normal(4.0 * y_true - 2, 1.2)))
    threshold = 0.4
    low, high = choose_abstention_band(y_true, y_prob, threshold=threshold, max_share=0.2)
    inside = (low <= y_prob) & (y_prob < high)
    wrong = (y_prob >= threshold) != y_true
    assert low <= threshold <= high
    assert wrong[~inside].mean() <= 0.5 * wrong.mean()
    assert inside.sum() == _search_by_brute_force(y_true, y_prob, threshold, 0.2)


def test_where_the_error_cannot_be_halved_the_band_keeps_to_its_share_and_lowers_it() -> None:
    generator = np.random.default_rng(3)
    y_true = generator.random(1000) < 0.5
    y_prob = 1 / (1 + np.exp(-generator.normal(0.8 * y_true - 0.4, 1)))
    low, high = choose_abstention_band(y_true, y_prob, threshold=0.5, max_share=0.1)
    inside = (low <= y_prob) & (y_prob < high)
    wrong = (y_prob >= 0.5) != y_true
    assert 0 < inside.mean() <= 0.1
    assert wrong[~inside].mean() < wrong.mean()


def test_no_error_needs_no_band() -> None:
    y_true = np.array([False, False, True, True])
    y_prob = np.array([0.1, 0.2, 0.8, 0.9])
    assert choose_abstention_band(y_true, y_prob, threshold=0.5) == (0.5, 0.5)


def test_the_band_of_many_images_is_found_in_bounded_time() -> None:
    generator = np.random.default_rng(4)
    y_true = generator.random(200_000) < 0.5
    y_prob = 1 / (1 + np.exp(-generator.normal(4.0 * y_true - 2, 1.2)))
    low, high = choose_abstention_band(y_true, y_prob, threshold=0.5, max_share=0.2)
    inside = (low <= y_prob) & (y_prob < high)
    wrong = (y_prob >= 0.5) != y_true
    assert wrong[~inside].mean() <= 0.5 * wrong.mean()
    assert inside.mean() <= 0.2


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"got 10.0 and 0\.5"):
        choose_abstention_band(np.array([True]), np.array([0.5]), threshold=0.5, max_share=10.0)


@pytest.mark.parametrize("risk", [0.0, 0.02, 0.05])
def test_the_band_for_a_risk_reaches_it_and_leaves_few_undecided(risk: float) -> None:
    y_true, y_prob = draw_scores(200)
    low, high = choose_band_for_risk(y_true, y_prob, threshold=0.5, risk=risk)
    wrong = (y_prob >= 0.5) != y_true
    decided = (y_prob < low) | (y_prob >= high)
    assert wrong[decided].mean() <= risk
    edges = np.unique(y_prob)
    best = max(
        taken.sum()
        for start in [*edges[edges < 0.5], 0.5]
        for stop in [*edges[edges > 0.5], 0.5]
        for taken in [(y_prob < start) | (y_prob >= stop)]
        if taken.any() and wrong[taken].mean() <= risk
    )
    assert decided.sum() == best


def test_a_risk_that_no_band_reaches_is_refused() -> None:
    y_true = np.array([False, True, True, False])
    y_prob = np.array([0.9, 0.1, 0.4, 0.6])
    with pytest.raises(UsageError, match=r"a risk of at most 0\.01, got 1\.000 at best on 4"):
        choose_band_for_risk(y_true, y_prob, threshold=0.5, risk=0.01)


@pytest.mark.parametrize("coverage", [0.6, 0.9, 1.0])
def test_the_band_for_a_coverage_decides_that_many_with_fewest_errors(coverage: float) -> None:
    y_true, y_prob = draw_scores(200)
    low, high = choose_band_for_coverage(y_true, y_prob, threshold=0.5, coverage=coverage)
    wrong = (y_prob >= 0.5) != y_true
    decided = (y_prob < low) | (y_prob >= high)
    assert decided.mean() >= coverage
    assert wrong[decided].mean() <= wrong.mean()
    if coverage == 1:
        assert (low, high) == (0.5, 0.5)


def test_a_wrong_risk_or_coverage_is_refused() -> None:
    y_true, y_prob = draw_scores(20)
    with pytest.raises(UsageError, match="risk: expected 0 or more and below 1, got 5"):
        choose_band_for_risk(y_true, y_prob, threshold=0.5, risk=5.0)
    with pytest.raises(UsageError, match="coverage: expected above 0 and at most 1, got 90"):
        choose_band_for_coverage(y_true, y_prob, threshold=0.5, coverage=90.0)


def test_the_conformal_band_keeps_its_promise_on_new_images_on_average() -> None:
    missed, alarms = [], []
    new_true, new_prob = draw_scores(100_000, seed=999)
    for seed in range(200):
        y_true, y_prob = draw_scores(150, seed)
        low, high = choose_conformal_band(
            y_true, y_prob, np.arange(150), threshold=0.5, max_missed=0.05, max_false_alarms=0.1
        )
        assert low <= 0.5 <= high
        missed.append((new_prob[new_true] < low).mean())
        alarms.append((new_prob[~new_true] >= high).mean())
    # The mean over validation sets is bounded, and the bound is not idle.
    assert 0.035 < np.mean(missed) <= 0.053
    assert 0.08 < np.mean(alarms) <= 0.104


def test_the_conformal_band_holds_the_threshold_where_it_would_lie_beside_it() -> None:
    y_true = np.arange(400) < 200
    y_prob = np.where(y_true, np.linspace(0.7, 1, 400), np.linspace(0, 0.6, 400))
    low, high = choose_conformal_band(
        y_true, y_prob, np.arange(400), threshold=0.05, max_missed=0.05, max_false_alarms=0.05
    )
    assert low == 0.05
    assert 0.5 < high <= 0.6


def test_images_of_one_patient_are_no_several_proofs() -> None:
    y_true, y_prob = draw_scores(60)
    options = {"threshold": 0.5, "max_missed": 0.1, "max_false_alarms": 0.1}
    once = choose_conformal_band(y_true, y_prob, np.arange(60), **options)
    copied = choose_conformal_band(
        np.repeat(y_true, 5), np.repeat(y_prob, 5), np.repeat(np.arange(60), 5), **options
    )
    assert once == copied


def test_a_promise_that_few_patients_cannot_carry_is_refused() -> None:
    y_true, y_prob = np.arange(40) < 12, np.linspace(0.9, 0.1, 40)
    with pytest.raises(
        UsageError,
        match=r"only 12 patients with positive validation images: an error of 0\.05 cannot be "
        r"promised; use at least 19 or allow at least 0\.077",
    ):
        choose_conformal_band(
            y_true, y_prob, np.arange(40), threshold=0.5, max_missed=0.05, max_false_alarms=0.2
        )
    choose_conformal_band(
        y_true, y_prob, np.arange(40), threshold=0.5, max_missed=0.077, max_false_alarms=0.2
    )


def test_a_promise_outside_0_to_1_or_for_a_saturated_model_is_refused() -> None:
    y_true, y_prob = np.arange(40) < 20, np.ones(40)
    options = {"threshold": 0.5, "max_missed": 0.1}
    with pytest.raises(UsageError, match="expected shares above 0 and below 1, got 5"):
        choose_conformal_band(y_true, y_prob, np.arange(40), max_false_alarms=5.0, **options)
    with pytest.raises(UsageError, match="nothing could be called positive"):
        choose_conformal_band(y_true, y_prob, np.arange(40), max_false_alarms=0.1, **options)
