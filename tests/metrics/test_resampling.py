"""The clustered bootstrap."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from chestx.metrics import (
    bootstrap_figures,
    bootstrap_interval,
    compute_auroc,
    compute_aurocs,
    compute_briers,
    compute_debiased_ece,
    compute_debiased_eces,
    compute_eces,
    compute_means,
    draw_table,
    draw_weights,
    estimate_from_draws,
)


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


def test_weights_count_whole_groups_and_blocks_hold_all_repeats() -> None:
    groups = np.repeat(np.array(["c", "a", "b"]), [4, 1, 3])
    weights = np.concatenate(
        list(draw_weights(groups, generator=np.random.default_rng(0), repeats=50))
    )
    assert weights.shape == (50, 8)
    assert (weights[:, :4] == weights[:, :1]).all()
    assert (weights[:, 0] + weights[:, 4] + weights[:, 5] == 3).all()


def test_many_images_come_in_several_blocks() -> None:
    blocks = list(draw_weights(np.arange(300_000), generator=np.random.default_rng(0), repeats=7))
    assert sum(len(block) for block in blocks) == 7
    assert max(block.size for block in blocks) <= 1_000_000


def test_no_image_gives_no_draw() -> None:
    assert not list(draw_weights(np.zeros(0), generator=np.random.default_rng(0), repeats=5))


def test_figures_from_weights_have_the_interval_that_images_drawn_one_by_one_have() -> None:
    generator = np.random.default_rng(1)
    groups = generator.integers(120, size=300)
    y_true = generator.random(300) < 0.4
    y_score = generator.normal(1.2 * y_true)
    found = bootstrap_figures(
        lambda weights: {"AUROC": compute_aurocs(y_true, y_score, weights)},
        groups,
        generator=np.random.default_rng(2),
        repeats=2000,
    )["AUROC"]
    slow = bootstrap_interval(
        lambda drawn: compute_auroc(y_true[drawn], y_score[drawn]),
        groups,
        generator=np.random.default_rng(3),
        repeats=2000,
    )
    assert found.value == pytest.approx(compute_auroc(y_true, y_score))
    assert (found.low, found.high) == pytest.approx(slow, abs=0.006)
    assert found.has_interval
    assert found.draws == 2000
    assert found.error == pytest.approx((found.high - found.low) / 3.92, rel=0.1)


def test_the_same_generator_gives_the_same_intervals() -> None:
    values = np.arange(6.0)
    found = [
        bootstrap_figures(
            lambda weights: {"mean": weights @ values / weights.sum(axis=1)},
            np.array(["b", "a", "b", "c", "a", "d"]),
            generator=np.random.default_rng(8),
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_the_interval_covers_the_truth_as_often_as_it_says_with_clusters() -> None:
    generator = np.random.default_rng(4)
    groups = np.repeat(np.arange(60), 4)
    hits = 0
    for _ in range(150):
        values = np.repeat(generator.normal(size=60), 4) + generator.normal(size=240) / 2

        def compute(weights: np.ndarray, values: np.ndarray = values) -> dict[str, np.ndarray]:
            return {"mean": weights @ values / weights.sum(axis=1)}

        one = bootstrap_figures(compute, groups, generator=generator, repeats=300)["mean"]
        hits += one.low <= 0 <= one.high
    assert 0.87 <= hits / 150 <= 0.99


def test_where_most_draws_give_no_figure_there_is_no_interval() -> None:
    found = bootstrap_figures(
        lambda weights: {"nothing": np.full(len(weights), math.nan)},
        np.arange(3),
        generator=np.random.default_rng(0),
    )["nothing"]
    assert not found.has_interval
    assert found.draws == 0


def test_no_image_gives_no_interval() -> None:
    empty = np.zeros(0, dtype=bool)
    found = bootstrap_figures(
        lambda weights: {"AUROC": compute_aurocs(empty, np.zeros(0), weights)},
        np.zeros(0),
        generator=np.random.default_rng(0),
    )["AUROC"]
    assert math.isnan(found.value)
    assert not found.has_interval


def test_the_interval_holds_the_value_where_all_draws_lie_to_one_side() -> None:
    generator = np.random.default_rng(5)
    y_prob = generator.random(200)
    y_true = generator.random(200) < y_prob
    for recentred in ((), ("ECE", "debiased")):
        found = bootstrap_figures(
            lambda weights: {
                "ECE": compute_eces(y_true, y_prob, weights),
                "debiased": compute_debiased_eces(y_true, y_prob, weights),
            },
            np.arange(200),
            generator=np.random.default_rng(6),
            recentred=recentred,
        )
        for one in found.values():
            assert 0 <= one.low <= one.value <= one.high


@pytest.mark.parametrize("shift", [0.03, 0.1])
def test_recentring_lets_a_calibration_errors_interval_cover_the_truth(shift: float) -> None:
    generator = np.random.default_rng(7)
    hits = {"recentred": 0, "plain": 0}
    for _ in range(50):
        # Probabilities too low by the shift: that is the error in every bin.
        y_prob = generator.uniform(0.05, 0.85, 400)
        y_true = generator.random(400) < y_prob + shift

        def compute(
            weights: np.ndarray, y_true: np.ndarray = y_true, y_prob: np.ndarray = y_prob
        ) -> dict[str, np.ndarray]:
            errors = compute_debiased_eces(y_true, y_prob, weights)
            return {"recentred": errors, "plain": errors}

        found = bootstrap_figures(
            compute, np.arange(400), generator=generator, repeats=200, recentred=("recentred",)
        )
        assert found["plain"].value == compute_debiased_ece(y_true, y_prob)
        for name, one in found.items():
            hits[name] += one.low <= shift <= one.high
    assert hits["recentred"] >= 47
    assert hits["recentred"] > hits["plain"]


def test_an_interval_of_two_thousand_images_takes_seconds_for_all_figures() -> None:
    generator = np.random.default_rng(9)
    y_prob = generator.random(2000)
    y_true = generator.random(2000) < y_prob
    start = time.process_time()
    bootstrap_figures(
        lambda weights: {
            "AUROC": compute_aurocs(y_true, y_prob, weights),
            "ECE": compute_eces(y_true, y_prob, weights),
            "Brier": compute_briers(y_true, y_prob, weights),
        },
        generator.integers(1500, size=2000),
        generator=generator,
    )
    assert time.process_time() - start < 5  # 0.3 s on one idle core.


def test_a_table_of_draws_is_the_blocks_below_each_other() -> None:
    groups = np.array([7, 7, 3, 3, 3, 9])
    table = draw_table(groups, generator=np.random.default_rng(0), repeats=200)
    blocks = draw_weights(groups, generator=np.random.default_rng(0), repeats=200)
    np.testing.assert_array_equal(table, np.concatenate(list(blocks)))
    assert (table[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert draw_table(groups[:0], generator=np.random.default_rng(0)).shape == (0, 0)


def test_an_estimate_from_draws_holds_its_value_or_has_no_interval() -> None:
    assert estimate_from_draws(2.0, np.linspace(0, 1, 100)).high == 2.0
    assert not estimate_from_draws(math.nan, np.linspace(0, 1, 100)).has_interval
    mostly_nothing = np.array([1.0, math.nan, math.nan])
    assert not estimate_from_draws(1.0, mostly_nothing).has_interval


def test_means_are_weighted_and_nothing_has_none() -> None:
    means = compute_means(np.array([0.0, 4.0]), np.array([[1.0, 3.0], [0.0, 0.0]]))
    assert means[0] == 3
    assert math.isnan(means[1])
