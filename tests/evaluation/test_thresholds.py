"""Thresholds drawn from validation outputs do what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from chestx.domain import UsageError
from chestx.evaluation.thresholds import (
    choose_threshold,
    choose_threshold_by_cost,
    choose_threshold_by_youden,
    choose_threshold_for_ppv,
    choose_threshold_for_specificity,
)


def draw_scores(seed: int = 0, digits: int = 12) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y_true = generator.random(400) < 0.3
    return y_true, (1 / (1 + np.exp(-generator.normal(2.5 * y_true - 1.5)))).round(digits)


def list_rates(y_true: np.ndarray, y_prob: np.ndarray) -> list[tuple[float, float, float]]:
    """Threshold, sensitivity and specificity of each probability as the threshold."""
    return [
        (float(edge), (y_prob[y_true] >= edge).mean(), (y_prob[~y_true] < edge).mean())
        for edge in [*np.unique(y_prob), np.nextafter(y_prob.max(), 1)]
    ]


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


def test_a_sensitivity_that_few_images_cannot_show_is_refused() -> None:
    y_true, y_prob = np.arange(30) < 12, np.linspace(0.9, 0.1, 30)
    with pytest.raises(
        UsageError,
        match=r"only 12 positive validation images: a sensitivity of 0\.99 cannot be told from 1; "
        r"use at least 100 of them, or ask for 1 or for at most 0\.916",
    ):
        choose_threshold(y_true, y_prob, sensitivity=0.99)
    assert choose_threshold(y_true, y_prob, sensitivity=0.916) == y_prob[10]
    assert choose_threshold(y_true, y_prob, sensitivity=1.0) == y_prob[11]


@pytest.mark.parametrize("digits", [1, 12])
@pytest.mark.parametrize("specificity", [0.07, 0.5, 0.9, 0.99, 1.0])
def test_the_threshold_is_the_lowest_that_reaches_the_specificity(
    specificity: float, digits: int
) -> None:
    y_true, y_prob = draw_scores(digits=digits)
    found = choose_threshold_for_specificity(y_true, y_prob, specificity=specificity)
    reaching = [edge for edge, _, rate in list_rates(y_true, y_prob) if rate >= specificity - 1e-12]
    assert found == reaching[0]


def test_a_specificity_that_cannot_be_had_is_refused() -> None:
    y_true = np.arange(40) < 20
    with pytest.raises(UsageError, match="only 20 negative validation images: a specificity of"):
        choose_threshold_for_specificity(y_true, np.linspace(1, 0, 40), specificity=0.99)
    with pytest.raises(UsageError, match="expected negative validation images, got none"):
        choose_threshold_for_specificity(y_true[:20], np.linspace(1, 0, 20), specificity=0.9)
    with pytest.raises(UsageError, match="negative validation images have the probability 1"):
        choose_threshold_for_specificity(y_true, np.ones(40), specificity=0.9)


def test_youdens_threshold_is_that_of_the_roc_curve() -> None:
    y_true, y_prob = draw_scores()
    x, y, thresholds = roc_curve(y_true, y_prob)
    assert choose_threshold_by_youden(y_true, y_prob) == thresholds[np.argmax(y - x)]


@pytest.mark.parametrize(("cost_ratio", "prevalence"), [(1.0, 0.5), (20.0, 0.05), (1.0, 0.01)])
def test_the_threshold_is_the_cheapest(cost_ratio: float, prevalence: float) -> None:
    y_true, y_prob = draw_scores()
    found = choose_threshold_by_cost(y_true, y_prob, cost_ratio=cost_ratio, prevalence=prevalence)
    costs = {
        edge: prevalence * cost_ratio * (1 - sensitivity) + (1 - prevalence) * (1 - specificity)
        for edge, sensitivity, specificity in list_rates(y_true, y_prob)
    }
    assert costs[found] == pytest.approx(min(costs.values()))


def test_a_dearer_miss_lowers_the_threshold() -> None:
    y_true, y_prob = draw_scores()
    cheap, dear = (
        choose_threshold_by_cost(y_true, y_prob, cost_ratio=ratio, prevalence=0.1)
        for ratio in (1.0, 50.0)
    )
    assert dear < cheap


def test_where_no_call_is_worth_its_cost_nothing_is_called() -> None:
    y_true, y_prob = np.arange(40) % 2 == 0, np.linspace(0.1, 0.9, 40)
    found = choose_threshold_by_cost(y_true, y_prob, cost_ratio=0.001, prevalence=0.01)
    assert not (y_prob >= found).any()


def test_the_threshold_is_the_lowest_that_reaches_the_ppv() -> None:
    y_true, y_prob = draw_scores()
    found = choose_threshold_for_ppv(y_true, y_prob, ppv=0.4, prevalence=0.1)
    values = {
        edge: 0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity))
        for edge, sensitivity, specificity in list_rates(y_true, y_prob)
        if specificity < 1
    }
    assert found == min(edge for edge, value in values.items() if value >= 0.4)


def test_a_ppv_that_rests_on_no_false_alarm_at_all_is_refused() -> None:
    y_true, y_prob = draw_scores()
    with pytest.raises(
        UsageError,
        match=r"a PPV of 0\.9 at a prevalence of 0\.001, got at most 0\.\d+; \d+ negative",
    ):
        choose_threshold_for_ppv(y_true, y_prob, ppv=0.9, prevalence=0.001)


@pytest.mark.parametrize(
    ("rule", "wanted", "message"),
    [
        (choose_threshold_by_youden, {}, "expected positive and negative validation images"),
        (choose_threshold_for_ppv, {"ppv": 0.5, "prevalence": 0.1}, "got 3 positive of 3"),
        (choose_threshold_for_ppv, {"ppv": 1.0, "prevalence": 0.1}, "PPV: expected above 0"),
        (choose_threshold_for_ppv, {"ppv": 0.5, "prevalence": 5.0}, "prevalence: expected above"),
        (choose_threshold_by_cost, {"cost_ratio": 0.0, "prevalence": 0.1}, "cost ratio: expected"),
        (choose_threshold_by_cost, {"cost_ratio": 2.0, "prevalence": 0.0}, "prevalence: expected"),
        (choose_threshold_for_specificity, {"specificity": 95.0}, "at most 1, got 95"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(
    rule: object, wanted: dict[str, float], message: str
) -> None:
    assert callable(rule)
    with pytest.raises(UsageError, match=message):
        rule(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3]), **wanted)
