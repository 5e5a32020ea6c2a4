"""Parts of sentences and lines of a table: numbers, marks, names, what a model is."""

from __future__ import annotations

from collections.abc import Sequence

from chestx.domain import (
    ANY_FINDING,
    Decision,
    Finding,
    FindingDecision,
    ModelIdentity,
    OperatingPoint,
)
from chestx.terminology.wording import ENGLISH, Wording


def name_decision(decision: Decision | FindingDecision, *, words: Wording = ENGLISH) -> str:
    """The word for a decision, e.g. ``out of scope``."""
    return words.decisions[decision.value]


def format_probability(probability: float, *, operating_point: OperatingPoint | None = None) -> str:
    """A probability in two digits, never as a certainty.

    Where rounding would carry it across the operating point, so that the number
    and the decision beside it disagree, it gets the digits that keep it on its side.

    Args:
        probability: 0 to 1.
        operating_point: what decided on it.

    Returns:
        e.g. ``0.93``, ``>0.99``, ``<0.01``, ``0.498``.
    """
    digits = 2
    if operating_point is not None:
        decision = operating_point.decide(probability)
        while digits < 6 and operating_point.decide(round(probability, digits)) is not decision:
            digits += 1
    # The four digits of the tables decide, so that a page made from them writes the same.
    if digits == 2 and round(probability, 4) > 0.99:
        return ">0.99"
    if digits == 2 and round(probability, 4) < 0.01:
        return "<0.01"
    return f"{probability:.{digits}f}"


def get_mark(caveat: str, *, words: Wording = ENGLISH) -> str:
    """The mark that a finding with a caveat carries beside its name; empty without a caveat."""
    if not caveat:
        return ""
    # Cards are written in English.
    return words.experimental if caveat.lower().startswith("experimental") else words.caveated


def add_mark(text: str, caveat: str, *, words: Wording = ENGLISH) -> str:
    """A name or a score with the mark of its caveat, e.g. ``COVID-19 (experimental)``."""
    mark = get_mark(caveat, words=words)
    return words.marked.format(text=text, mark=mark) if mark else text


def join_names(names: Sequence[str], words: Wording) -> str:
    """Names in a row, the last after an "or"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {words.or_word} {names[-1]}"


def describe_calibration(identity: ModelIdentity, *, words: Wording = ENGLISH) -> str:
    """Whether the thresholds were set for the place where the model speaks."""
    if not identity.site_profile:
        return words.not_calibrated
    return words.calibrated.format(site=identity.site, checksum=identity.site_profile[:12])


def describe_thresholds(identity: ModelIdentity, *, words: Wording = ENGLISH) -> str:
    """``describe_calibration`` as a sentence of its own."""
    return words.thresholds.format(description=describe_calibration(identity, words=words))


def describe_operating_point(point: OperatingPoint, *, words: Wording = ENGLISH) -> tuple[str, ...]:
    """What decides on a finding: its threshold, then its band where it has one."""
    described = [words.decides.format(threshold=f"{point.threshold:g}")]
    if point.uncertain_low < point.uncertain_high:
        low, high = f"{point.uncertain_low:g}", f"{point.uncertain_high:g}"
        described.append(words.abstains.format(low=low, high=high))
    return tuple(described)


def describe_identity(identity: ModelIdentity, *, words: Wording = ENGLISH) -> tuple[str, ...]:
    """What tells a model from others of its name and version, and where it was calibrated."""
    return (
        words.of_checksum.format(checksum=identity.checksum),
        words.of_precision.format(precision=identity.precision),
        describe_thresholds(identity, words=words),
    )


def describe_certainty(key: str, display: str, *, words: Wording = ENGLISH) -> str:
    """What the certainty of a finding is the probability of."""
    if key == ANY_FINDING:
        return words.certainty_of_any
    return words.certainty.format(name=display)


def describe_map(finding: Finding, *, against_others: bool, words: Wording = ENGLISH) -> str:
    """What the strong end of a heatmap's scale means.

    Args:
        finding: whose map it is.
        against_others: whether the labels exclude each other, so that the map is
            evidence for this one against the rest.
        words: the language.
    """
    sentence = words.map_high_softmax if against_others else words.map_high
    return sentence.format(name=add_mark(finding.display, finding.caveat, words=words))
