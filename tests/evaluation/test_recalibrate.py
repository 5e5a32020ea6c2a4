"""New settings for the same network, chosen on the images that are given and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chestx.datasets.example import Target
from chestx.domain import ANY_FINDING, Decision, Figure, UsageError
from chestx.evaluation.outcomes import Outcomes, list_questions
from chestx.evaluation.recalibrate import (
    CalibrationRules,
    decide_again,
    describe_calibration_images,
    make_calibrated_card,
    recalibrate,
)
from chestx.evaluation.rules import AbstentionRule, ThresholdRule

MakeOutcomes = Callable[..., Outcomes]

NO_BAND = AbstentionRule("none")


def test_a_temperature_that_is_off_is_found(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(600)
    honest = recalibrate(outcomes, CalibrationRules()).temperature
    loud = replace(outcomes, logits=outcomes.logits * np.float32(3))
    assert recalibrate(loud, CalibrationRules()).temperature == pytest.approx(3 * honest, rel=1e-3)


def test_the_temperature_can_be_left_alone(single_label_outcomes: MakeOutcomes) -> None:
    card = recalibrate(single_label_outcomes(), CalibrationRules(keep_temperature=True))
    assert card.temperature == 1.0


def test_each_finding_gets_its_rule(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(600)
    rules = CalibrationRules(
        threshold=ThresholdRule("sensitivity", 0.9),
        by_finding={"COVID19": ThresholdRule("specificity", 0.95)},
        abstention=NO_BAND,
    )
    card = recalibrate(outcomes, rules)
    again = decide_again(outcomes, card, identity=outcomes.identity)
    for question in list_questions(again):
        point = question.operating_point
        if point is None:
            assert question.key == "NORMAL"
            continue
        taken = again.is_assessed & question.is_known
        positive = question.y_prob[taken] >= point.threshold
        true = question.y_true[taken]
        if question.key == "COVID19":
            assert 0.95 <= (~positive[~true]).mean() < 0.96
        else:
            assert 0.9 <= positive[true].mean() < 0.92


def test_unknown_answers_and_images_that_were_not_assessed_choose_nothing(
    multi_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = multi_label_outcomes(600, out_of_scope=60)
    rules = CalibrationRules(abstention=NO_BAND)
    card = recalibrate(outcomes, rules)
    blind = outcomes.logits.copy()
    blind[~outcomes.is_assessed & np.isfinite(blind).all(axis=1)] = 50
    blind[(outcomes.targets < Target.ABSENT) & np.isfinite(blind)] = -50
    assert recalibrate(replace(outcomes, logits=blind), rules) == card


def test_deciding_again_by_the_same_card_changes_nothing(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes()
    again = decide_again(outcomes, outcomes.card, identity=outcomes.identity)
    assert again.decisions == outcomes.decisions
    np.testing.assert_array_equal(again.probabilities, outcomes.probabilities)
    assert Decision.FAILED in again.decisions
    assert Decision.OUT_OF_SCOPE in again.decisions


def test_a_rule_for_no_finding_of_the_model_is_refused(single_label_outcomes: MakeOutcomes) -> None:
    rules = CalibrationRules(by_finding={"EDEMA": ThresholdRule("youden")})
    with pytest.raises(
        UsageError,
        match="expected one of the findings any_finding, PNEUMONIA, COVID19, got 'EDEMA'",
    ):
        recalibrate(single_label_outcomes(), rules)


def test_a_rule_that_the_images_cannot_carry_names_the_finding(
    single_label_outcomes: MakeOutcomes,
) -> None:
    rules = CalibrationRules(threshold=ThresholdRule("sensitivity", 0.999))
    with pytest.raises(UsageError, match=r"any_finding: sensitivity: only .* be told from 1"):
        recalibrate(single_label_outcomes(), rules)


def test_without_assessed_images_there_is_no_temperature(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes(60, failed=0, out_of_scope=60)
    with pytest.raises(UsageError, match="expected assessed images with a known label, got none"):
        recalibrate(outcomes, CalibrationRules())


def test_the_new_card_says_where_its_settings_and_its_older_figures_come_from(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes()
    figure = Figure(name="AUROC", subject="x", data="y", value=0.9, n=10, note="within a source")
    old = replace(outcomes.card, performance=(figure,))
    rules = CalibrationRules(by_finding={ANY_FINDING: ThresholdRule("youden")})
    chosen_on = describe_calibration_images(outcomes, "site.csv")
    assert chosen_on == (
        "site.csv: 240 images of 120 patients or groups (80 NORMAL, 80 PNEUMONIA, 80 COVID19), "
        "230 of them assessed"
    )
    new = make_calibrated_card(
        recalibrate(outcomes, rules), old, rules, version="2", chosen_on=chosen_on
    )
    assert new.version == "2"
    assert new.performance[0].note == (
        "within a source; with the temperature and thresholds of version 1.0"
    )
    assert new.limitations[-1].startswith(f"Temperature and thresholds were chosen on {chosen_on}")
    assert "Youden's index for any_finding" in new.limitations[-1]
    assert new.training["recalibrated"] == {"from": "1.0", "chosen_on": chosen_on}
