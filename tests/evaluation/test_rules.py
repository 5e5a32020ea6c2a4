"""What a person writes becomes a rule; anything else is refused with the forms that are known."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.domain import UsageError
from chestx.evaluation.rules import AbstentionRule, ThresholdRule, choose_operating_point


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        ("sensitivity=0.95", ThresholdRule("sensitivity", 0.95), "sensitivity 0.95"),
        ("specificity=0.9", ThresholdRule("specificity", 0.9), "specificity 0.9"),
        ("youden", ThresholdRule("youden"), "Youden's index"),
        (
            "cost=5@0.1",
            ThresholdRule("cost", 5.0, 0.1),
            "least cost, a missed finding as 5 false alarms, at a prevalence of 0.1",
        ),
        ("ppv=0.3@0.05", ThresholdRule("ppv", 0.3, 0.05), "PPV 0.3 at a prevalence of 0.05"),
    ],
)
def test_a_threshold_rule_is_read_and_said(text: str, rule: ThresholdRule, words: str) -> None:
    assert ThresholdRule.parse(text) == rule
    assert str(rule) == words


@pytest.mark.parametrize(
    "text",
    ["", "0.5", "sensitivity", "youden=1", "cost=5", "ppv=0.3", "sensitivity=0.9@0.1", "cost=a@b",
     "accuracy=0.9", "sensitivity="],
)  # fmt: skip
def test_another_threshold_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"threshold: expected sensitivity=S, .*, got "):
        ThresholdRule.parse(text)


@pytest.mark.parametrize(
    ("text", "rule", "words"),
    [
        ("none", AbstentionRule("none"), "no abstention"),
        ("error=0.5@0.1", AbstentionRule("error", 0.5, 0.1), "at most 10% left undecided"),
        ("risk=0.05", AbstentionRule("risk", 0.05), "at most 5.0% of the decided wrong"),
        ("coverage=0.9", AbstentionRule("coverage", 0.9), "at least 90% decided"),
        ("conformal=0.05", AbstentionRule("conformal", 0.05), "conformal, at most 5.0% of each"),
    ],
)
def test_an_abstention_rule_is_read_and_said(text: str, rule: AbstentionRule, words: str) -> None:
    assert AbstentionRule.parse(text) == rule
    assert str(rule).startswith(words)


@pytest.mark.parametrize("text", ["", "none=1", "error=0.5", "risk=0.1@0.2", "band=0.1", "risk=x"])
def test_another_abstention_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"abstention: expected error=RATIO@SHARE, .*, got "):
        AbstentionRule.parse(text)


@pytest.mark.parametrize(
    "threshold",
    ["sensitivity=0.9", "specificity=0.9", "youden", "cost=5@0.1", "ppv=0.3@0.1"],
)
@pytest.mark.parametrize(
    "abstain", ["none", "error=0.5@0.2", "risk=0.2", "coverage=0.9", "conformal=0.1"]
)
def test_every_pair_of_rules_gives_a_point_that_holds_together(
    threshold: str, abstain: str
) -> None:
    generator = np.random.default_rng(0)
    y_true = generator.random(400) < 0.4
    y_prob = np.clip(0.3 + 0.3 * y_true + generator.normal(0, 0.15, 400), 0, 1)
    point = choose_operating_point(
        y_true,
        y_prob,
        np.arange(400),
        threshold=ThresholdRule.parse(threshold),
        abstention=AbstentionRule.parse(abstain),
    )
    assert 0 < point.uncertain_low <= point.threshold <= point.uncertain_high < 1
    if abstain == "none":
        assert point.uncertain_low == point.uncertain_high
    if abstain == "coverage=0.9":
        inside = (point.uncertain_low <= y_prob) & (y_prob < point.uncertain_high)
        assert 0 < inside.mean() <= 0.1
    if threshold == "sensitivity=0.9":
        assert (y_prob[y_true] >= point.threshold).mean() >= 0.9
    if threshold == "specificity=0.9":
        assert (y_prob[~y_true] < point.threshold).mean() >= 0.9
