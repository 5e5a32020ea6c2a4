"""Figures of decisions against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    class_likelihood_ratios,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from chestx.metrics import (
    Counts,
    compute_decision_figures,
    compute_npv_at,
    compute_ppv_at,
    compute_sensitivity_specificity,
    count_decisions,
)


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


def test_every_figure_equals_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    y_true = generator.random(300) < 0.3
    called = generator.random(300) < np.where(y_true, 0.8, 0.2)
    found = compute_decision_figures(count_decisions(y_true, called))
    positive_ratio, negative_ratio = class_likelihood_ratios(y_true, called)
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(y_true, called),
            "balanced accuracy": balanced_accuracy_score(y_true, called),
            "sensitivity": recall_score(y_true, called),
            "specificity": recall_score(~y_true, ~called),
            "PPV": precision_score(y_true, called),
            "NPV": precision_score(~y_true, ~called),
            "F1": f1_score(y_true, called),
            "MCC": matthews_corrcoef(y_true, called),
            "LR+": positive_ratio,
            "LR-": negative_ratio,
        },
        abs=1e-12,
    )


def test_weights_give_what_images_written_that_often_give() -> None:
    generator = np.random.default_rng(2)
    y_true, called = generator.random(50) < 0.4, generator.random(50) < 0.5
    weights = generator.integers(0, 3, size=(4, 50)).astype(np.float64)
    drawn = compute_decision_figures(count_decisions(y_true, called, weights=weights))
    for row, times in enumerate(weights.astype(int)):
        once = compute_decision_figures(
            count_decisions(np.repeat(y_true, times), np.repeat(called, times))
        )
        assert {name: values[row] for name, values in drawn.items()} == pytest.approx(once)


def test_figures_of_nothing_are_not_numbers_and_never_0() -> None:
    of_nothing = compute_decision_figures(Counts(0, 0, 0, 0))
    assert all(math.isnan(value) for value in of_nothing.values())
    one_class = compute_decision_figures(Counts(0, 0, 5, 0))
    known = {name: value for name, value in one_class.items() if not math.isnan(value)}
    assert known == {"accuracy": 1.0, "specificity": 1.0, "NPV": 1.0}


def test_a_ratio_without_an_upper_end_is_not_a_number() -> None:
    found = compute_decision_figures(Counts(8, 0, 10, 2))
    assert math.isnan(found["LR+"])
    assert found["LR-"] == pytest.approx(0.2)


def test_the_correlation_of_millions_of_images_does_not_overflow() -> None:
    found = compute_decision_figures(Counts(10**9, 10**8, 10**9, 10**8))
    assert found["MCC"] == pytest.approx((10**18 - 10**16) / (1.1e9) ** 2)


def test_predictive_values_at_the_share_of_the_images_are_the_plain_ones() -> None:
    counts = Counts(231, 32, 54, 27)
    found = compute_decision_figures(counts)
    rates = {"sensitivity": found["sensitivity"], "specificity": found["specificity"]}
    share = counts.positives / counts.n
    assert compute_ppv_at(share, **rates) == pytest.approx(found["PPV"])
    assert compute_npv_at(share, **rates) == pytest.approx(found["NPV"])


def test_predictive_values_at_another_prevalence_equal_the_published_ones() -> None:
    # Altman and Bland, BMJ 1994;309:102: liver scans, 0.90 and 0.63 at 25 %.
    rates = {"sensitivity": 0.90, "specificity": 0.63}
    assert compute_ppv_at(0.25, **rates) == pytest.approx(0.45, abs=0.005)
    assert compute_npv_at(0.25, **rates) == pytest.approx(0.95, abs=0.005)


@pytest.mark.parametrize("compute", [compute_ppv_at, compute_npv_at])
def test_a_prevalence_in_percent_is_refused(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(ValueError, match="expected a share of 0 to 1, got 5"):
        compute(5.0, sensitivity=0.9, specificity=0.9)
