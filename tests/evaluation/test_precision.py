"""A variant must answer alike on all images, on each source and for each label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chestx.domain import Precision, PrecisionMeasure, PrecisionVariant, UsageError
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.precision import (
    LIMITS,
    PrecisionAnswers,
    correlate_maps,
    judge_precision,
    merge_variants,
)
from chestx.models.classifier import apply_temperature

MakeOutcomes = Callable[..., Outcomes]


@pytest.fixture
def answers(single_label_outcomes: MakeOutcomes) -> PrecisionAnswers:
    outcomes = single_label_outcomes(132, strength=2.0)
    shape = (132, len(outcomes.card.labels), 5, 5)
    return PrecisionAnswers(
        outcomes, np.random.default_rng(1).normal(size=shape).astype(np.float32)
    )


def move_logits(answers: PrecisionAnswers, move: np.ndarray) -> PrecisionAnswers:
    logits = (answers.outcomes.logits + move).astype(np.float32)
    outcomes = replace(
        answers.outcomes,
        logits=logits,
        probabilities=np.where(
            np.isfinite(logits),
            apply_temperature(np.nan_to_num(logits), answers.outcomes.card),
            np.float32("nan"),
        ).astype(np.float32),
    )
    return PrecisionAnswers(outcomes, answers.maps)


def list_failed(first: PrecisionAnswers, second: PrecisionAnswers) -> set[PrecisionMeasure]:
    return {one.measure for one in judge_precision(first, second) if not one.holds}


def test_the_same_answers_hold_on_every_slice_and_for_every_label(
    answers: PrecisionAnswers,
) -> None:
    figures = judge_precision(answers, answers)
    assert all(figure.holds for figure in figures)
    assert {figure.measure for figure in figures} == set(PrecisionMeasure)
    assert all(figure.limit == LIMITS[figure.measure] for figure in figures)
    slices = {figure.slice_key for figure in figures}
    assert "all" in slices
    assert len(slices) > 2
    keys = {label.key for label in answers.outcomes.card.labels}
    assert {x.subject for x in figures} == {*keys, "any_finding"}
    whole = [x for x in figures if x.slice_key == "all"]
    maps = [x.subject for x in whole if x.measure is PrecisionMeasure.MAP_CORRELATION]
    # Nobody is shown the evidence for no finding.
    assert "NORMAL" not in maps


def test_one_source_that_moves_fails_though_all_together_hold(answers: PrecisionAnswers) -> None:
    sources = np.array(answers.outcomes.attributes["source"])
    move = np.zeros_like(answers.outcomes.logits)
    rows = np.flatnonzero(sources == sources[0])[:1]
    move[rows, 0] = 0.5
    moved = judge_precision(answers, move_logits(answers, move))
    beyond = [x for x in moved if not x.holds and x.measure is PrecisionMeasure.PROBABILITY_CHANGE]
    assert {figure.slice_key for figure in beyond} == {f"source={sources[0]}"}


def test_noise_in_the_logits_fails_what_is_said_and_how_it_is_ranked(
    answers: PrecisionAnswers,
) -> None:
    noise = np.random.default_rng(2).normal(scale=1.0, size=answers.outcomes.logits.shape)
    assert list_failed(answers, move_logits(answers, noise)) == {
        PrecisionMeasure.AUROC_CHANGE,
        PrecisionMeasure.DECISIONS_ALIKE,
        PrecisionMeasure.PROBABILITY_CHANGE,
    }


def test_other_maps_fail_and_faint_ones_are_not_looked_at(answers: PrecisionAnswers) -> None:
    noise = np.random.default_rng(3).normal(scale=0.4, size=answers.maps.shape)
    other = PrecisionAnswers(answers.outcomes, (answers.maps + noise).astype(np.float32))
    assert list_failed(answers, other) == {PrecisionMeasure.MAP_CORRELATION}
    faint = PrecisionAnswers(answers.outcomes, answers.maps * np.float32(0.001))
    figures = judge_precision(faint, other)
    assert all(x.measure is not PrecisionMeasure.MAP_CORRELATION for x in figures)


def test_maps_correlate_by_shape_and_a_flat_one_with_nothing() -> None:
    maps = np.random.default_rng(4).normal(size=(3, 4, 4)).astype(np.float32)
    other = np.stack([2 * maps[0] + 1, -maps[1], np.ones_like(maps[2])])
    np.testing.assert_allclose(correlate_maps(maps, other), [1, -1, 0], atol=1e-6)


def test_few_images_decide_nothing(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(60, strength=1.0)
    shape = (60, len(outcomes.card.labels), 2, 2)
    few = PrecisionAnswers(outcomes, np.zeros(shape, np.float32))
    with pytest.raises(UsageError, match=r"expected 100 validation images or more .* got 50 of 60"):
        judge_precision(few, few)


def test_one_kind_of_image_ranks_nothing(answers: PrecisionAnswers) -> None:
    targets = np.zeros_like(answers.outcomes.targets)
    targets[:, 0] = 1
    normal = PrecisionAnswers(replace(answers.outcomes, targets=targets), answers.maps[..., :0])
    with pytest.raises(UsageError, match="with and without a finding, got one kind"):
        judge_precision(normal, normal)


def test_a_new_trial_takes_the_place_of_an_older_one() -> None:
    old = PrecisionVariant(
        precision=Precision.INT8,
        kept=False,
        data="a",
        images=200,
        figures=(),
        known_gap=0.0,
        speed=1.0,
        made_by="b",
    )
    new = replace(old, data="c")
    other = replace(old, precision=Precision.BF16)
    assert merge_variants((old,), (new,)) == (new,)
    assert merge_variants((old,), (other,)) == (other, old)
