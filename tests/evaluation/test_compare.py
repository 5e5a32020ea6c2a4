"""A comparison says what the images show, and no more."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

import numpy as np
import pytest

from chestx.domain import ANY_FINDING, UsageError
from chestx.evaluation.compare import compare, describe_difference
from chestx.evaluation.comparison import Comparison, Difference, Gate, check_gate
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.result import ALL
from chestx.evaluation.verdicts import (
    Verdict,
    adjust_p_values,
    compute_p_value,
    judge_difference,
    widen_certainty,
)
from chestx.metrics import Estimate, compute_auroc

MakeOutcomes = Any
"""The factory fixtures of conftest.py, which tests cannot import."""


def run(first: Outcomes, second: Outcomes, **options: Any) -> Comparison:
    options = {"repeats": 200, **options}
    return compare(first, second, generator=np.random.default_rng(0), **options)


def find(
    comparison: Comparison, name: str, key: str = ALL, question: str = ANY_FINDING
) -> Difference:
    (one,) = (
        one
        for one in comparison.differences
        if (one.name, one.slice_key, one.question) == (name, key, question)
    )
    return one


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.05, Verdict.BETTER),
        (-0.08, -0.03, Verdict.INFERIOR),
        (-0.015, -0.005, Verdict.WORSE),
        (-0.05, -0.005, Verdict.WORSE),
        (-0.015, 0.03, Verdict.NON_INFERIOR),
        (-0.01, 0.01, Verdict.NON_INFERIOR),
        (-0.04, 0.01, Verdict.NOT_SHOWN),
        (-0.04, 0.04, Verdict.INCONCLUSIVE),
        (math.nan, math.nan, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_follows_from_the_interval_and_the_margin(
    low: float, high: float, verdict: Verdict
) -> None:
    middle = 0.0 if math.isnan(low) else (low + high) / 2
    found = Estimate(middle, low, high, 100)
    assert judge_difference(found, margin=0.02, higher_is_better=True) is verdict
    turned = Estimate(-middle, -high, -low, 100)
    assert judge_difference(turned, margin=0.02, higher_is_better=False) is verdict


def test_holms_adjustment_is_that_of_the_worked_example() -> None:
    # Wright, Biometrics 1992;48:1005: ordered p times how many are left, never falling.
    found = adjust_p_values([0.01, math.nan, 0.04, 0.03, 0.005])
    assert [found[0], *found[2:]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(found[1])


def test_draws_that_all_agree_are_no_proof() -> None:
    certain = Estimate(0.0, 0.0, 0.0, 100, 0.0)
    few = widen_certainty(certain, groups=3, level=0.95)
    many = widen_certainty(certain, groups=500, level=0.95)
    assert few.high == -few.low == pytest.approx(0.5615, abs=1e-4)
    assert judge_difference(few, margin=0.02, higher_is_better=True) is Verdict.INCONCLUSIVE
    assert judge_difference(many, margin=0.02, higher_is_better=True) is Verdict.NON_INFERIOR
    assert compute_p_value(certain, groups=3) == 1
    assert compute_p_value(Estimate(1.0, 1.0, 1.0, 100, 0.0), groups=5) == 2 / 32


def test_a_p_value_without_an_interval_is_not_a_number() -> None:
    assert math.isnan(compute_p_value(Estimate(0.1, math.nan, math.nan, 0), groups=3))


def test_a_model_is_as_good_as_itself(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(120)
    found = run(outcomes, outcomes)
    assert all(one.value == 0 and one.p_value == 1 for one in found.differences)
    assert {(one.low, one.high) for one in found.differences} == {(0, 0)}
    assert {one.verdict for one in found.differences} == {Verdict.NON_INFERIOR}
    assert found.notes == ("Both models are the same one.",)
    first = found.agreements[0]
    assert (first.same, first.shift_p99, first.shift_max) == (1, 0, 0)
    assert (first.true_gained, first.true_lost, first.false_gained, first.false_lost) == (0,) * 4
    assert check_gate(found, Gate()) == ()


def change(outcomes: Outcomes, **changes: Any) -> Outcomes:
    """As another model's."""
    identity = dataclasses.replace(outcomes.identity, checksum="1" * 64)
    return dataclasses.replace(outcomes, identity=identity, **changes)


def test_another_model_with_the_same_answers_is_as_good(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes(120)
    found = run(outcomes, change(outcomes))
    assert {one.verdict for one in found.differences} == {Verdict.NON_INFERIOR}
    assert found.notes == (
        "any_finding, NORMAL, PNEUMONIA, COVID19: both models give every one of these 120 images "
        "the same probability and the same answer, so every difference is 0.",
    )


def test_the_same_answers_to_a_handful_prove_little(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(56)
    found = run(outcomes, change(outcomes))
    assert find(found, "sensitivity").verdict is Verdict.INCONCLUSIVE


def test_that_nobody_changed_sides_is_no_proof_where_probabilities_moved(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes(120)
    # Everything moves, in one order, and nothing over a threshold.
    moved = outcomes.probabilities.copy()
    moved[:, 0] = np.where(moved[:, 0] > 0.7, 0.7 + 0.9 * (moved[:, 0] - 0.7), moved[:, 0])
    found = run(outcomes, change(outcomes, probabilities=moved))
    sensitivity = find(found, "sensitivity")
    assert (sensitivity.value, sensitivity.verdict) == (0, Verdict.INCONCLUSIVE)
    auroc = find(found, "AUROC")
    assert (auroc.low, auroc.high, auroc.verdict) == (0, 0, Verdict.NON_INFERIOR)
    assert "any_finding" not in "".join(found.notes)


def test_a_stronger_model_is_found_better_and_a_weaker_one_inferior(
    single_label_outcomes: MakeOutcomes,
) -> None:
    weak, strong = (
        single_label_outcomes(600, strength=0.5),
        single_label_outcomes(600, strength=3.0),
    )
    up, down = run(weak, strong), run(strong, weak)
    assert find(up, "AUROC").verdict is Verdict.BETTER
    assert find(down, "AUROC").verdict is Verdict.INFERIOR
    assert find(up, "AUROC").value == pytest.approx(-find(down, "AUROC").value)
    for one in up.differences:
        assert one.value == pytest.approx(one.second - one.first)
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
    assert any("better" in sentence for sentence in up.summary)
    faults = check_gate(down, Gate())
    assert any("AUROC of any_finding on all: expected a drop of at most 0.005" in x for x in faults)
    assert any("answers on any_finding: expected at least 99.00% the same" in x for x in faults)
    assert any("probability of NORMAL: expected 99 % of the images" in x for x in faults)


def test_figures_are_of_the_images_that_both_assessed(single_label_outcomes: MakeOutcomes) -> None:
    first = single_label_outcomes(120, out_of_scope=6, failed=4)
    second = single_label_outcomes(120, seed=1, out_of_scope=20, failed=2)
    one = find(run(first, second), "AUROC")
    rows = slice(0, 98)
    y_true = first.targets[rows, 0] == 0
    assert one.n == 98
    assert one.first == pytest.approx(compute_auroc(y_true, 1 - first.probabilities[rows, 0]))
    assert one.second == pytest.approx(compute_auroc(y_true, 1 - second.probabilities[rows, 0]))


def test_refusing_images_costs_coverage(single_label_outcomes: MakeOutcomes) -> None:
    found = run(
        single_label_outcomes(300, out_of_scope=0, failed=0),
        single_label_outcomes(300, out_of_scope=90, failed=0),
    )
    one = find(found, "coverage")
    assert one.n == 300
    assert one.verdict is Verdict.INFERIOR
    agreement = found.agreements[0]
    assert agreement.same == pytest.approx(0.7)
    assert agreement.known == 210


def test_gained_and_lost_images_make_up_the_difference(single_label_outcomes: MakeOutcomes) -> None:
    found = run(single_label_outcomes(300, strength=1.0), single_label_outcomes(300, seed=3))
    agreement = found.agreements[0]
    assert agreement.question == ANY_FINDING
    sensitivity, specificity = find(found, "sensitivity"), find(found, "specificity")
    assert sensitivity.value * sensitivity.n == pytest.approx(
        agreement.true_gained - agreement.true_lost
    )
    assert specificity.value * specificity.n == pytest.approx(
        agreement.false_gained - agreement.false_lost
    )
    assert agreement.true_gained + agreement.false_gained > 0


def test_sources_are_told_apart_and_one_class_gives_no_auroc(
    single_label_outcomes: MakeOutcomes,
) -> None:
    def make(seed: int) -> Outcomes:
        outcomes: Outcomes = single_label_outcomes(300, seed=seed, failed=0)
        is_normal = outcomes.targets[:, 0] == 1
        source = tuple("healthy" if one else "clinic" for one in is_normal)
        return dataclasses.replace(outcomes, attributes={"source": source})

    found = run(make(0), make(1))
    assert {one.slice_key for one in found.differences} == {
        ALL,
        "source=clinic",
        "source=healthy",
    }
    names = {
        one.name
        for one in found.differences
        if one.slice_key == "source=healthy" and one.question == ANY_FINDING
    }
    assert names == {"specificity", "accuracy", "coverage", "ECE"}


def test_a_source_of_a_few_images_is_no_further_look(single_label_outcomes: MakeOutcomes) -> None:
    def make(seed: int) -> Outcomes:
        source = ["far" if row < 8 else "near" for row in range(120)]
        outcomes: Outcomes = single_label_outcomes(120, seed=seed, attributes={"source": source})
        return outcomes

    keys = {one.slice_key for one in run(make(0), make(1), repeats=20).differences}
    assert keys == {ALL, "source=near"}


def test_labels_that_are_not_known_are_left_out(multi_label_outcomes: MakeOutcomes) -> None:
    first, second = multi_label_outcomes(), multi_label_outcomes()
    found = run(first, second)
    known = (first.targets[:, 3] >= 0) & first.is_assessed
    assert find(found, "AUROC", question="NODULE").n == known.sum()
    south = [one.name for one in found.differences if one.slice_key == "source=south"]
    assert south
    assert not [
        one
        for one in found.differences
        if one.slice_key == "source=south" and one.question == "NODULE"
    ]


def test_a_question_without_an_operating_point_is_ranked_only(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes()
    found = run(outcomes, outcomes)
    names = {one.name for one in found.differences if one.question == "NORMAL"}
    assert names == {"AUROC", "ECE"}
    agreement = next(one for one in found.agreements if one.question == "NORMAL")
    assert agreement.same is None
    assert agreement.shift_p99 == 0


def reorder(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(outcomes):
        value = getattr(outcomes, field.name)
        if isinstance(value, np.ndarray):
            changes[field.name] = value[rows]
        elif isinstance(value, tuple) and field.name != "notes":
            changes[field.name] = tuple(value[row] for row in rows)
    attributes = {
        name: tuple(values[row] for row in rows) for name, values in outcomes.attributes.items()
    }
    return dataclasses.replace(outcomes, attributes=attributes, **changes)


def test_images_are_paired_by_path_and_not_by_place(single_label_outcomes: MakeOutcomes) -> None:
    first, second = single_label_outcomes(), single_label_outcomes(seed=1)
    shuffled = reorder(second, np.random.default_rng(0).permutation(len(second)))
    assert run(first, second) == run(first, shuffled)


def test_other_images_are_refused(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes()
    with pytest.raises(
        UsageError, match="got 240 and 239 with 239 in common; evaluate both on one manifest"
    ):
        run(outcomes, reorder(outcomes, np.arange(239)))
    with pytest.raises(UsageError, match="expected every image once, got some twice"):
        run(outcomes, reorder(outcomes, np.array([0, *range(239)])))
    nothing = reorder(outcomes, np.arange(0))
    with pytest.raises(UsageError, match="expected labelled images, got none"):
        run(nothing, nothing)


def test_another_reference_standard_is_refused(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes()
    targets = outcomes.targets.copy()
    targets[5] = np.roll(targets[5], 1)
    with pytest.raises(UsageError, match=r"got another for \d of 240 images; evaluate both"):
        run(outcomes, dataclasses.replace(outcomes, targets=targets))


def test_models_without_a_common_label_are_refused_and_others_are_told(
    single_label_outcomes: MakeOutcomes, multi_label_outcomes: MakeOutcomes
) -> None:
    single = single_label_outcomes()
    renamed = tuple(
        dataclasses.replace(label, key=f"{label.key}_X") for label in single.card.labels[1:]
    )
    normal = single.card.labels[0]
    card = dataclasses.replace(single.card, labels=(normal, *renamed))
    found = run(single, dataclasses.replace(single, card=card))
    assert "PNEUMONIA: asked of the first model only, not compared" in found.notes
    assert "PNEUMONIA_X: asked of the second model only, not compared" in found.notes
    multi = multi_label_outcomes()
    labels = tuple(dataclasses.replace(label, key=f"{label.key}_X") for label in multi.card.labels)
    card = dataclasses.replace(multi.card, labels=labels)
    with pytest.raises(UsageError, match="expected models with a label in common, got PNEUMONIA"):
        run(multi, dataclasses.replace(multi, card=card))


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.0])
def test_a_margin_in_percent_is_refused(margin: float, single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes()
    with pytest.raises(UsageError, match="margin: expected above 0 and below 1"):
        run(outcomes, outcomes, margin=margin)


def test_a_pooled_gain_that_hides_a_loss_within_a_source_is_told(
    single_label_outcomes: MakeOutcomes,
) -> None:
    first = single_label_outcomes(1200, failed=0, out_of_scope=0, per_group=1, strength=1.5)
    is_sick = first.targets[:, 0] == 0
    generator = np.random.default_rng(1)
    # Most of the sick are from the clinic, and the second model knows the clinic only.
    clinic = np.where(is_sick, generator.random(1200) < 0.95, generator.random(1200) < 0.05)
    source = tuple("clinic" if one else "street" for one in clinic)
    shortcut = np.where(clinic, 0.9, 0.1) + 0.05 * generator.random(1200)
    probabilities = first.probabilities.copy()
    probabilities[:, 0] = 1 - shortcut
    second = dataclasses.replace(
        first, probabilities=probabilities.astype(np.float32), attributes={"source": source}
    )
    first = dataclasses.replace(first, attributes={"source": source})
    found = run(first, second)
    assert find(found, "AUROC").verdict is Verdict.BETTER
    assert find(found, "AUROC", "source=clinic").verdict is Verdict.INFERIOR
    assert any(
        "AUROC is better on all images and inferior on source=clinic" in note
        for note in found.notes
    )


def test_how_many_were_looked_at_is_told_and_few_hold_by_chance(
    single_label_outcomes: MakeOutcomes,
) -> None:
    found = run(single_label_outcomes(300), single_label_outcomes(300, seed=9))
    last = found.summary[-1]
    assert last.startswith(f"{len(found.differences)} differences were looked at")
    assert "after Holm's correction" in last
    for one in found.differences:
        assert one.p_value is not None
        assert one.adjusted_p_value is not None
        assert one.p_value <= one.adjusted_p_value <= 1


def test_a_difference_is_told_in_a_sentence(single_label_outcomes: MakeOutcomes) -> None:
    found = run(single_label_outcomes(300, strength=0.5), single_label_outcomes(300, strength=3.0))
    text = describe_difference(find(found, "AUROC"))
    assert text.startswith("any_finding, AUROC on 290 images: 0.")
    assert "95 % interval +0." in text
    assert text.endswith(": better.")
    bare = dataclasses.replace(find(found, "AUROC"), low=None, high=None)
    assert "no interval" in describe_difference(bare)


def test_the_result_is_the_same_for_the_same_generator_and_json_takes_it(
    single_label_outcomes: MakeOutcomes,
) -> None:
    first, second = single_label_outcomes(), single_label_outcomes(seed=1)
    found = run(first, second)
    assert found == run(first, second)
    text = json.dumps(dataclasses.asdict(found), allow_nan=False)
    assert json.loads(text)["differences"][0]["verdict"] in {verdict.value for verdict in Verdict}


def test_a_comparison_on_two_thousand_images_takes_seconds(
    single_label_outcomes: MakeOutcomes,
) -> None:
    first, second = single_label_outcomes(2000), single_label_outcomes(2000, seed=1)
    start = time.process_time()
    run(first, second, repeats=200)
    assert time.process_time() - start < 10  # 1 s on one idle core.
