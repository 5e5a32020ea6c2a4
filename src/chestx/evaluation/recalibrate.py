"""The same network with another temperature and other thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from chestx.datasets.cells import normalise_split
from chestx.datasets.example import Target
from chestx.datasets.manifest import ManifestTable
from chestx.domain import (
    ANY_FINDING,
    Activation,
    Decision,
    Figure,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    UsageError,
)
from chestx.evaluation.calibrate import fit_temperature
from chestx.evaluation.outcomes import Outcomes, list_questions
from chestx.evaluation.rules import AbstentionRule, ThresholdRule, choose_operating_point
from chestx.models.classifier import apply_temperature, to_findings
from chestx.shapes import Bool, Float32, Int8
from chestx.terminology import decide_image

DEFAULT_THRESHOLD = ThresholdRule("sensitivity", 0.95)
DEFAULT_ABSTENTION = AbstentionRule("error", 0.5, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRules:
    """What is asked of the new settings.

    Attributes:
        threshold: for every finding that ``by_finding`` does not name.
        by_finding: label key, or ANY_FINDING -> rule.
        abstention: for every finding.
        keep_temperature: leave the card's temperature.
    """

    threshold: ThresholdRule = DEFAULT_THRESHOLD
    by_finding: Mapping[str, ThresholdRule] | None = None
    abstention: AbstentionRule = DEFAULT_ABSTENTION
    keep_temperature: bool = False


def take_calibration_rows(
    table: ManifestTable, *, split: str = "validation", name: str
) -> tuple[ManifestTable, str]:
    """The rows that settings may be chosen on, and what to call them.

    Args:
        table: as it was read; a manifest without splits is taken whole.
        split: which rows; never those of a test.
        name: of the manifest.

    Raises:
        UsageError: the split is that of the test, or holds no row.
    """
    split, examples = normalise_split(split), table.manifest.examples
    if not any(example.split for example in examples):
        return table, name
    if split == "test":
        raise UsageError(
            "--split: expected validation images, got test; settings chosen on test images make "
            "every figure on them too good"
        )
    kept = tuple(example for example in examples if example.split == split)
    if not kept:
        present = sorted({example.split or "(empty)" for example in examples})
        raise UsageError(
            f"split {split}: expected rows of this split in {name}, got none; "
            f"it has {', '.join(present)}"
        )
    manifest = replace(table.manifest, examples=kept)
    return replace(table, manifest=manifest), f"{name}, split {split}"


def recalibrate(outcomes: Outcomes, rules: CalibrationRules) -> ModelCard:
    """The card with temperature and operating points chosen on these images.

    Only images that the model assessed and whose answer is known are looked at.

    Args:
        outcomes: of validation images, never of those that the figures are then told of.
        rules: what is asked for.

    Raises:
        UsageError: a rule for no finding of the model, or images that cannot carry a rule.
    """
    card = outcomes.card
    by_finding = dict(rules.by_finding or {})
    decided = [question.key for question in list_questions(outcomes) if question.operating_point]
    if unknown := sorted(by_finding.keys() - set(decided)):
        raise UsageError(
            f"threshold: expected one of the findings {', '.join(decided)}, got {unknown[0]!r:.64}"
        )
    if not rules.keep_temperature:
        card = replace(card, temperature=round(_fit_temperature(outcomes), 6))
    outcomes = decide_again(outcomes, card, identity=outcomes.identity)
    points: dict[str, OperatingPoint] = {}
    for question in list_questions(outcomes):
        if question.key not in decided:
            continue
        taken = question.is_known & outcomes.is_assessed
        try:
            points[question.key] = choose_operating_point(
                question.y_true[taken],
                question.y_prob[taken],
                outcomes.groups[taken],
                threshold=by_finding.get(question.key, rules.threshold),
                abstention=rules.abstention,
            )
        except UsageError as error:
            raise UsageError(f"{question.key}: {error}") from error
    labels = tuple(
        replace(label, operating_point=points[label.key]) if label.operating_point else label
        for label in card.labels
    )
    return replace(card, labels=labels, any_finding=points.get(ANY_FINDING))


def decide_again(outcomes: Outcomes, card: ModelCard, *, identity: ModelIdentity) -> Outcomes:
    """What the same network says of the same images under another card."""
    finite = np.isfinite(outcomes.logits).all(axis=1)
    probabilities = np.full_like(outcomes.probabilities, np.nan)
    if finite.any():
        probabilities[finite] = apply_temperature(outcomes.logits[finite], card)
    decisions = tuple(
        _decide(card, row) if decision.is_assessed else decision
        for decision, row in zip(outcomes.decisions, probabilities, strict=True)
    )
    return replace(
        outcomes, card=card, identity=identity, probabilities=probabilities, decisions=decisions
    )


def _decide(card: ModelCard, probabilities: Float32[np.ndarray, " labels"]) -> Decision:
    findings, any_finding = to_findings(card, probabilities)
    return decide_image(findings, any_finding, scope_reasons=())


def _fit_temperature(outcomes: Outcomes) -> float:
    logits, targets = outcomes.logits[outcomes.is_assessed], outcomes.targets[outcomes.is_assessed]
    if outcomes.card.activation is Activation.SOFTMAX:
        one = _find_one_label(targets)
        logits, y_true = logits[one], targets[one] == Target.PRESENT
    else:
        known = targets >= 0
        logits, y_true = logits[known][:, None], (targets[known] == Target.PRESENT)[:, None]
    if not len(logits):
        raise UsageError("temperature: expected assessed images with a known label, got none")
    return fit_temperature(logits, y_true, activation=outcomes.card.activation)


def _find_one_label(targets: Int8[np.ndarray, "images labels"]) -> Bool[np.ndarray, " images"]:
    """Images of exactly one label among those of the model."""
    return np.asarray((targets == Target.PRESENT).sum(axis=1) == 1)


def describe_calibration_images(outcomes: Outcomes, name: str) -> str:
    """On what the settings were chosen, in words with numbers."""
    assessed = int(outcomes.is_assessed.sum())
    groups = len(np.unique(outcomes.groups))
    counts = ", ".join(
        f"{int((outcomes.targets[:, index] == Target.PRESENT).sum())} {label.key}"
        for index, label in enumerate(outcomes.card.labels)
    )
    return (
        f"{name}: {len(outcomes)} images of {groups} patients or groups ({counts}), "
        f"{assessed} of them assessed"
    )


def make_calibrated_card(
    card: ModelCard, old: ModelCard, rules: CalibrationRules, *, version: str, chosen_on: str
) -> ModelCard:
    """A card that says where its settings come from and that older figures were at others.

    Args:
        card: with the new settings.
        old: as it was.
        rules: what was asked for.
        version: of the new model.
        chosen_on: the images, in words.
    """
    asked = [f"{rules.threshold} for every finding"]
    asked += [f"{rule} for {key}" for key, rule in (rules.by_finding or {}).items()]
    sentence = (
        f"Temperature and thresholds were chosen on {chosen_on}: {'; '.join(asked)}; "
        f"{rules.abstention}. Figures on these very images would be too good."
    )
    return replace(
        card,
        version=version,
        performance=tuple(_mark_older(figure, old) for figure in old.performance),
        limitations=(*old.limitations, sentence[:2000]),
        training={**old.training, "recalibrated": {"from": old.version, "chosen_on": chosen_on}},
    )


def _mark_older(figure: Figure, old: ModelCard) -> Figure:
    mark = f"with the temperature and thresholds of version {old.version}"
    return replace(figure, note=f"{figure.note}; {mark}" if figure.note else mark)
