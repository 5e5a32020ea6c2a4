"""The answer for one image: its decision, what it rests on, and both in a line."""

from __future__ import annotations

from collections.abc import Sequence

from chestx.domain import Decision, Finding, FindingDecision, ScopeReason
from chestx.terminology.phrases import add_mark, format_probability, join_names, name_decision
from chestx.terminology.wording import ENGLISH, Wording

_MOST_SPOKEN = 3


def decide_image(
    findings: Sequence[Finding],
    any_finding: Finding | None,
    *,
    scope_reasons: Sequence[ScopeReason] = (),
) -> Decision:
    """The answer for one image: out of scope, or its most urgent finding's."""
    if scope_reasons:
        return Decision.OUT_OF_SCOPE
    spoken = [*findings, *([any_finding] if any_finding else [])]
    decisions = {finding.decision for finding in spoken}
    if FindingDecision.POSITIVE in decisions:
        return Decision.POSITIVE
    return Decision.UNCERTAIN if FindingDecision.UNCERTAIN in decisions else Decision.NEGATIVE


def choose_shown_label(findings: Sequence[Finding]) -> str:
    """Key of the finding to show first: most urgent, then most probable; empty for none."""
    ordered = sort_findings(findings)
    return ordered[0].key if ordered else ""


def sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Most urgent first, then most probable."""
    urgency = list(FindingDecision)
    return sorted(findings, key=lambda x: (urgency.index(x.decision), -x.probability))


def write_headline(
    decision: Decision,
    findings: Sequence[Finding],
    any_finding: Finding | None,
    *,
    words: Wording = ENGLISH,
) -> str:
    """The answer for one image in a line, e.g. ``positive: features of pneumonia 0.93``."""
    name = name_decision(decision, words=words)
    basis = describe_basis(decision, findings, any_finding, words=words)
    return words.headline.format(decision=name, basis=basis) if basis else name


def describe_basis(
    decision: Decision,
    findings: Sequence[Finding],
    any_finding: Finding | None,
    *,
    words: Wording = ENGLISH,
) -> str:
    """What the decision on an image rests on: features with numbers, most probable first.

    Args:
        decision: of the image.
        findings: one a finding label.
        any_finding: the composite score, where the model has one.
        words: the language.

    Returns:
        e.g. ``features of COVID-19 0.98 (experimental)``; empty where nothing was assessed.
    """
    if not decision.is_assessed:
        return ""
    matching = [x for x in sort_findings(findings) if x.decision.value == decision.value]
    if not matching and any_finding:
        names = [add_mark(x.display, x.caveat, words=words) for x in findings]
        return _score_features(join_names(names, words), any_finding, words)
    spoken = [
        add_mark(_score_features(x.display, x, words), x.caveat, words=words)
        for x in matching[:_MOST_SPOKEN]
    ]
    return ", ".join(spoken if len(matching) <= _MOST_SPOKEN else [*spoken, "\u2026"])


def _score_features(names: str, finding: Finding, words: Wording) -> str:
    number = format_probability(finding.probability, operating_point=finding.operating_point)
    return words.features_scored.format(features=words.features.format(names=names), number=number)
