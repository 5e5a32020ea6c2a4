"""What is said of an image, of a file that could not be read, and of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chestx.domain import Failure, Finding, FindingDecision, Result, ScopeReason, Study
from chestx.terminology.answers import sort_findings
from chestx.terminology.phrases import format_probability, join_names
from chestx.terminology.wording import ENGLISH, Wording


def interpret(
    findings: Sequence[Finding],
    any_finding: Finding | None,
    *,
    scope_reasons: Sequence[ScopeReason] = (),
    words: Wording = ENGLISH,
) -> str:
    """The answer for one image in a sentence or two.

    Args:
        findings: one a finding label.
        any_finding: the composite score, where the model has one.
        scope_reasons: why the image is not answered for.
        words: the language.
    """
    if scope_reasons:
        reasons = [_trim(reason.sentence) or reason.code for reason in scope_reasons]
        return words.not_assessed.format(reasons=". ".join(reasons))
    ordered = sort_findings(findings)
    positive = [x for x in ordered if x.decision is FindingDecision.POSITIVE]
    uncertain = [x for x in ordered if x.decision is FindingDecision.UNCERTAIN]
    any_decision = any_finding.decision if any_finding else FindingDecision.NEGATIVE
    names = join_names([finding.display for finding in findings], words)
    named: Sequence[Finding] = [*positive, *uncertain]
    if positive:
        sentences = [_say_found(words.positive, x.display, x, [x], words) for x in positive]
    elif any_finding and any_decision is FindingDecision.POSITIVE:
        sentences = [_say_found(words.not_told_apart, names, any_finding, findings, words)]
        named = findings
    elif uncertain:
        sentence = words.uncertain.format(parts=_say_bands(uncertain, words))
        return _join_sentences([sentence], uncertain)
    elif any_finding and any_decision is FindingDecision.UNCERTAIN:
        name = words.not_told_apart_name.format(names=names)
        sentence = words.uncertain.format(parts=_say_band(any_finding, name, words))
        return _join_sentences([sentence], findings)
    else:
        return words.negative.format(names=names)
    if uncertain:
        sentences.append(words.uncertain_beside.format(parts=_say_bands(uncertain, words)))
    return _join_sentences(sentences, named)


def interpret_failure(reason: str, *, words: Wording = ENGLISH) -> str:
    """What is said of a file that could not be read."""
    return words.unreadable.format(reason=_trim(reason))


def interpret_result(result: Result, *, words: Wording = ENGLISH) -> str:
    """What is said of one result, read or not."""
    if isinstance(result, Failure):
        return interpret_failure(result.reason, words=words)
    return result.interpretation


def interpret_study(sentence: str, study: Study[Any], *, words: Wording = ENGLISH) -> str:
    """What is said of a study: its answer, then how many other images nobody assessed.

    Args:
        sentence: what is said of the image that answers.
        study: its images.
        words: the language.
    """
    further = study.not_assessed - (not study.answering.decision.is_assessed)
    return f"{sentence} {describe_not_assessed(further, words=words)}".rstrip()


def describe_not_assessed(count: int, *, words: Wording = ENGLISH) -> str:
    """How many further images of a study nobody assessed; empty for none."""
    if count == 0:
        return ""
    return words.further_image if count == 1 else words.further_images.format(count=count)


def _say_found(
    sentence: str, names: str, finding: Finding, named: Sequence[Finding], words: Wording
) -> str:
    """A sentence with the probability of a finding in words and as a number.

    Words of certainty would contradict a caveat: where what is named has one, the
    number stands alone.
    """
    score = format_probability(finding.probability, operating_point=finding.operating_point)
    if not any(x.caveat for x in named):
        rounded = round(finding.probability, 2)
        level = next(text for least, text in words.probabilities if rounded >= least)
        score = words.score.format(words=level, number=score)
    return sentence.format(names=names, score=score)


def _say_bands(findings: Sequence[Finding], words: Wording) -> str:
    return ", ".join(_say_band(finding, finding.display, words) for finding in findings)


def _say_band(finding: Finding, name: str, words: Wording) -> str:
    point = finding.operating_point
    return words.uncertain_part.format(
        name=name,
        number=format_probability(finding.probability, operating_point=point),
        low=f"{point.uncertain_low:.2f}",
        high=f"{point.uncertain_high:.2f}",
    )


def _join_sentences(sentences: Sequence[str], findings: Sequence[Finding]) -> str:
    """The sentences, then the first sentence of each finding's caveat.

    Where several findings are named, it says whose it is.
    """
    for finding in findings:
        caveat = _trim(finding.caveat.split(". ")[0])
        if caveat:
            is_clear = len(findings) == 1 or finding.display in caveat
            prefix = "" if is_clear else f"{finding.display}: "
            sentences = [*sentences, f"{prefix}{caveat}."]
    return " ".join(sentences)


def _trim(sentence: str) -> str:
    return sentence.strip().rstrip(".")
