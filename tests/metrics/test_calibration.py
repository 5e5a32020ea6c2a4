"""Calibration figures against scikit-learn, published definitions and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from chestx.metrics import (
    bin_probabilities,
    compute_brier,
    compute_briers,
    compute_calibration_lines,
    compute_debiased_ece,
    compute_debiased_eces,
    compute_ece,
    compute_eces,
    compute_log_loss,
    compute_log_losses,
    compute_quantiles,
    decompose_brier,
    fit_calibration,
)


def draw_probabilities(n: int, *, seed: int = 0, slope: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from probabilities whose logits are then multiplied by 1 / slope."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(-0.5, 1.5, n)
    y_true = generator.random(n) < 1 / (1 + np.exp(-logits))
    return y_true, 1 / (1 + np.exp(-logits / slope))


def write_out(y_true: np.ndarray, y_prob: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, ...]:
    return np.repeat(y_true, times.astype(int)), np.repeat(y_prob, times.astype(int))


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


@pytest.mark.parametrize("digits", [1, 2, 12])
def test_weights_give_what_images_written_that_often_give(digits: int) -> None:
    y_true, y_prob = draw_probabilities(300)
    y_prob = np.round(y_prob, digits)
    weights = np.random.default_rng(1).integers(0, 4, size=(6, 300)).astype(np.float64)
    for plural, singular in (
        (compute_eces, compute_ece),
        (compute_debiased_eces, compute_debiased_ece),
        (compute_briers, compute_brier),
        (compute_log_losses, compute_log_loss),
    ):
        drawn = plural(y_true, y_prob, weights)
        once = [singular(*write_out(y_true, y_prob, times)) for times in weights]
        assert drawn == pytest.approx(once, abs=1e-12)


def test_bins_are_those_that_numpy_cuts() -> None:
    y_true, y_prob = draw_probabilities(997)
    edges = np.quantile(y_prob, np.linspace(0, 1, 16)[1:-1])
    index = np.searchsorted(edges, y_prob, side="right")
    found = bin_probabilities(y_true, y_prob)
    assert [one.n for one in found] == np.bincount(index).tolist()
    assert found[3].predicted == pytest.approx(y_prob[index == 3].mean())
    assert found[3].observed == pytest.approx(y_true[index == 3].mean())
    assert found[3].low < found[3].observed < found[3].high


def test_bins_that_equal_probabilities_leave_empty_are_left_out() -> None:
    found = bin_probabilities(np.array([True, False, True]), np.array([0.3, 0.3, 0.3]))
    assert len(found) == 1
    assert found[0].n == 3
    assert found[0].predicted == pytest.approx(0.3)


def test_debiased_error_is_that_of_the_definition() -> None:
    y_prob = np.repeat([0.2, 0.7], 10)
    y_true = np.concatenate([np.arange(10) < 5, np.arange(10) < 8])
    # Per bin: squared gap minus share (1 - share) / (n - 1).
    expected = 0.5 * (0.09 - 0.25 / 9) + 0.5 * (0.01 - 0.16 / 9)
    assert compute_debiased_ece(y_true, y_prob, bins=2) == pytest.approx(math.sqrt(expected))


def test_debiasing_takes_off_what_chance_adds_to_true_probabilities() -> None:
    plain, debiased = [], []
    for seed in range(40):
        y_true, y_prob = draw_probabilities(150, seed=seed)
        plain.append(compute_ece(y_true, y_prob))
        debiased.append(compute_debiased_ece(y_true, y_prob))
    assert np.mean(plain) > 0.08
    assert np.median(debiased) < 0.05


def test_brier_score_and_log_loss_equal_scikit_learn() -> None:
    y_true, y_prob = draw_probabilities(500)
    assert compute_brier(y_true, y_prob) == pytest.approx(brier_score_loss(y_true, y_prob))
    assert compute_log_loss(y_true, y_prob) == pytest.approx(log_loss(y_true, y_prob))


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    found = compute_log_loss(np.array([True, False]), np.array([0.0, 1.0], dtype=np.float32))
    assert found == pytest.approx(-math.log(np.finfo(np.float32).eps))


def test_the_parts_of_the_brier_score_add_up_to_it() -> None:
    y_true, y_prob = draw_probabilities(700, slope=0.5)
    parts = decompose_brier(y_true, y_prob)
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert whole == pytest.approx(compute_brier(y_true, y_prob))
    assert parts.uncertainty == pytest.approx(y_true.mean() * (1 - y_true.mean()))


def test_the_parts_of_the_brier_score_of_one_probability_a_bin_are_murphys() -> None:
    y_prob = np.repeat([0.1, 0.5, 0.8], 20)
    y_true = np.concatenate([np.arange(20) < k for k in (4, 10, 15)])
    parts = decompose_brier(y_true, y_prob, bins=3)
    base = 29 / 60
    shares = np.array([0.2, 0.5, 0.75])
    assert parts.reliability == pytest.approx(np.mean((np.array([0.1, 0.5, 0.8]) - shares) ** 2))
    assert parts.resolution == pytest.approx(np.mean((shares - base) ** 2))
    assert parts.within == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_calibration_line_equals_that_of_scikit_learn(slope: float) -> None:
    y_true, y_prob = draw_probabilities(800, slope=slope)
    logits = np.log(y_prob / (1 - y_prob))[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logits, y_true)
    found = fit_calibration(y_true, y_prob)
    assert found.slope == pytest.approx(model.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(model.intercept_[0], abs=1e-4)
    assert found.slope == pytest.approx(slope, rel=0.25)


def test_calibration_in_the_large_makes_the_mean_probability_true() -> None:
    y_true, y_prob = draw_probabilities(800, slope=2)
    shift = fit_calibration(y_true, y_prob).in_the_large
    logits = np.log(y_prob / (1 - y_prob)) + shift
    assert (1 / (1 + np.exp(-logits))).mean() == pytest.approx(y_true.mean())


def test_the_line_of_each_draw_is_that_of_its_images_written_out() -> None:
    y_true, y_prob = draw_probabilities(300)
    weights = np.random.default_rng(1).integers(0, 4, size=(4, 300)).astype(np.float64)
    drawn = compute_calibration_lines(y_true, y_prob, weights)
    for row, times in enumerate(weights):
        once = fit_calibration(*write_out(y_true, y_prob, times))
        assert drawn["slope"][row] == pytest.approx(once.slope)
        assert drawn["in_the_large"][row] == pytest.approx(once.in_the_large)


@pytest.mark.parametrize(
    "y_true",
    [np.arange(40) >= 20, np.ones(40, dtype=bool), np.zeros(40, dtype=bool)],
    ids=["apart", "all true", "none true"],
)
def test_classes_that_are_apart_or_alone_have_no_line(y_true: np.ndarray) -> None:
    assert math.isnan(fit_calibration(y_true, np.linspace(0.01, 0.99, 40)).slope)


def test_probabilities_of_exactly_0_and_1_have_a_line() -> None:
    y_true = np.array([True, False] * 20)
    y_prob = np.array([1, 0, 0, 1] * 10, dtype=np.float32)
    assert fit_calibration(y_true, y_prob).slope == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("compute", [compute_ece, compute_debiased_ece, compute_brier])
def test_a_probability_that_is_not_a_number_is_refused(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(ValueError, match="got 1 of 2 that are not a number"):
        compute(np.array([True, False]), np.array([math.nan, 0.5]))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.99, 1.0])
def test_quantiles_of_draws_are_those_of_numpy(share: float) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=60).round(1)
    weights = generator.integers(0, 3, size=(5, 60)).astype(np.float64)
    found = compute_quantiles(values, weights, share=share)
    written = [np.quantile(np.repeat(values, times.astype(int)), share) for times in weights]
    assert found == pytest.approx(written)
    assert math.isnan(compute_quantiles(values, np.zeros((1, 60)), share=share)[0])
