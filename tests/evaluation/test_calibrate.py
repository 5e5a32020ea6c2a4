"""Settings drawn from validation outputs do what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.domain import Activation, UsageError
from chestx.evaluation.calibrate import (
    choose_abstention_band,
    choose_threshold,
    fit_temperature,
)


def _draw_softmax(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose truth is drawn from them at a known temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(20_000, 3))
    noise = generator.gumbel(size=logits.shape)
    chosen = (logits / temperature + noise).argmax(axis=1)
    return logits, np.eye(3, dtype=bool)[chosen]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_drawn_labels_is_found_again(temperature: float) -> None:
    assert fit_temperature(*_draw_softmax(temperature)) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_where_scipy_finds_the_smallest_loss() -> None:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits, y_true = _draw_softmax(1.7)
    best = minimize_scalar(
        lambda t: -log_softmax(logits / t, axis=1)[y_true].mean(),
        bounds=(0.1, 10),
        method="bounded",
    ).x
    assert fit_temperature(logits, y_true) == pytest.approx(best, rel=1e-4)


def test_the_temperature_of_independent_labels_is_found_again() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(scale=3, size=(20_000, 4))
    y_true = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 2))
    found = fit_temperature(logits, y_true, activation=Activation.SIGMOID)
    assert found == pytest.approx(2, rel=0.03)


def test_logits_of_another_scale_give_a_temperature_of_that_scale() -> None:
    logits, y_true = _draw_softmax(1.0)
    assert fit_temperature(logits * 15, y_true) == pytest.approx(15, rel=0.03)


def test_perfect_separation_has_no_temperature_and_says_so() -> None:
    y_true = np.eye(3, dtype=bool)[[0, 1, 2]]
    with pytest.raises(UsageError, match="perfectly or not at all; use more"):
        fit_temperature(y_true * 4.0, y_true)


@pytest.mark.parametrize("sensitivity", [0.07, 0.29, 0.5, 0.95, 1.0])
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(sensitivity: float) -> None:
    generator = np.random.default_rng(2)
    y_true = np.arange(400) < 100
    y_prob = generator.random(400)
    threshold = choose_threshold(y_true, y_prob, sensitivity=sensitivity)
    assert (y_prob[y_true] >= threshold).mean() >= sensitivity - 1e-12
    assert (y_prob[y_true] > threshold).mean() < sensitivity


def test_the_threshold_keeps_ties_together() -> None:
    y_true = np.array([True, True, True, True, False])
    y_prob = np.array([0.9, 0.5, 0.5, 0.1, 0.5])
    assert choose_threshold(y_true, y_prob, sensitivity=0.5) == 0.5


def test_a_threshold_without_positives_or_with_a_wrong_sensitivity_is_refused() -> None:
    none = np.zeros(2, dtype=bool)
    with pytest.raises(UsageError, match="expected positive validation images, got none"):
        choose_threshold(none, np.array([0.1, 0.2]), sensitivity=0.9)
    with pytest.raises(UsageError, match="above 0 and at most 1, got 95"):
        choose_threshold(~none, np.array([0.1, 0.2]), sensitivity=95.0)


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
