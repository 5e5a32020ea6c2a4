"""Intervals by formula against scipy and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats.contingency import relative_risk

from chestx.metrics import (
    Counts,
    likelihood_ratio_intervals,
    logit_interval,
    predictive_value_intervals,
    wilson_interval,
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


def test_wilson_interval_holds_a_share_of_all_and_of_none() -> None:
    for n in range(1, 400):
        assert wilson_interval(n, n)[1] == 1.0
        assert wilson_interval(0, n)[0] == 0.0


def test_wilson_interval_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)


def test_likelihood_ratio_intervals_are_those_of_the_ratio_of_two_shares() -> None:
    counts = Counts(431, 30, 116, 29)
    positive, negative = likelihood_ratio_intervals(counts)
    expected = relative_risk(431, 460, 30, 146).confidence_interval(0.95)
    assert positive == pytest.approx((expected.low, expected.high))
    expected = relative_risk(29, 460, 116, 146).confidence_interval(0.95)
    assert negative == pytest.approx((expected.low, expected.high))


def test_a_likelihood_ratio_with_an_empty_cell_has_no_interval() -> None:
    positive, negative = likelihood_ratio_intervals(Counts(10, 0, 10, 5))
    assert all(math.isnan(end) for end in positive)
    assert not math.isnan(negative[0])


def test_predictive_value_intervals_are_as_wide_as_draws_of_the_counts() -> None:
    generator = np.random.default_rng(0)
    ppv, npv = predictive_value_intervals(Counts(160, 30, 270, 40), prevalence=0.05)
    sensitivity = generator.binomial(200, 0.8, 200_000) / 200
    specificity = generator.binomial(300, 0.9, 200_000) / 300
    drawn_ppv = 0.05 * sensitivity / (0.05 * sensitivity + 0.95 * (1 - specificity))
    drawn_npv = 0.95 * specificity / (0.95 * specificity + 0.05 * (1 - sensitivity))
    for (low, high), drawn in ((ppv, drawn_ppv), (npv, drawn_npv)):
        logits = np.log(drawn / (1 - drawn))
        half = 1.96 * logits.std()
        centre = np.median(logits)
        assert math.log(low / (1 - low)) == pytest.approx(centre - half, abs=0.03)
        assert math.log(high / (1 - high)) == pytest.approx(centre + half, abs=0.03)


def test_a_predictive_value_with_an_empty_cell_has_no_interval() -> None:
    ppv, npv = predictive_value_intervals(Counts(10, 0, 10, 5), prevalence=0.1)
    assert all(math.isnan(end) for end in ppv)
    assert 0 < npv[0] < npv[1] < 1


def test_an_unknown_level_and_prevalence_are_refused() -> None:
    with pytest.raises(ValueError, match="level: expected between 0 and 1, got 95"):
        wilson_interval(1, 2, level=95.0)
    with pytest.raises(ValueError, match="prevalence: expected a share of 0 to 1, got 10"):
        predictive_value_intervals(Counts(1, 1, 1, 1), prevalence=10.0)


@pytest.mark.parametrize("groups", [6, 15, 200])
def test_the_logit_interval_is_students_on_the_logit_scale(groups: int) -> None:
    low, high = logit_interval(0.9, 0.02, groups=groups)
    half = stats.t.ppf(0.975, groups - 1) * 0.02 / 0.09
    centre = math.log(9)
    expected = [1 / (1 + math.exp(-end)) for end in (centre - half, centre + half)]
    assert [low, high] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    ("value", "error", "groups"),
    [(1.0, 0.0, 50), (0.0, 0.1, 50), (0.9, math.nan, 50), (0.9, 0.1, 1)],
)
def test_where_the_logit_scale_ends_there_is_no_interval(
    value: float, error: float, groups: int
) -> None:
    assert all(map(math.isnan, logit_interval(value, error, groups=groups)))
