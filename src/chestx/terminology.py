"""Codes for machines and words for people: the one source of both.

Every writer takes its codes and sentences from here, so the CSV, the picture and
the page say the same thing. A negative answer never reads as a normal study, and
COVID-19 never carries the disease's code, which would claim an infection. What is
found are features of a disease, never the disease; a finding with a caveat carries a
mark, a number without words of certainty, and its caveat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chestx.domain import (
    ANY_FINDING,
    Decision,
    Failure,
    Finding,
    FindingDecision,
    ModelIdentity,
    OperatingPoint,
    Result,
    ScopeReason,
    Study,
)


@dataclass(frozen=True, slots=True)
class Code:
    """One coded concept.

    Attributes:
        value: code value, at most 16 characters (DICOM SH).
        scheme: DICOM coding scheme designator: ``SCT``, ``RADLEX``, ``DCM`` or ``99CHESTX``.
        meaning: the concept in words, at most 64 characters (DICOM LO).
    """

    value: str
    scheme: str
    meaning: str


# Sources: SCT: SNOMED CT International Edition; RADLEX: radlex.org; the qualifiers as used by
# DICOM PS3.16 CID 240 "Present-Absent". 99CHESTX is this project's own scheme.
CHEST = Code("816094009", "SCT", "Chest")
LUNG = Code("39607008", "SCT", "Lung")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")

FINDING_CODES: dict[str, tuple[Code, ...]] = {
    "PNEUMONIA": (
        Code("233604007", "SCT", "Pneumonia"),
        Code("RID5350", "RADLEX", "pneumonia"),
    ),
    "COVID19": (
        Code("COVID19FEATURES", "99CHESTX", "Radiographic features suggestive of COVID-19"),
    ),
    # No code says "normal study": the model does not look for other disease.
    "NORMAL": (),
}
"""Label key -> its codes, the preferred one first. A key that is not here has no code."""

# Of DICOM PS3.16 unless its scheme says otherwise; LN: loinc.org, UCUM: unitsofmeasure.org.
# The plain film has no code of its own in CID 100, the rest does: it is SNOMED CT's.
PLAIN_CHEST_RADIOGRAPH = Code("399208008", "SCT", "Plain chest X-ray")
PLAIN_RADIOGRAPH = Code("43468-8", "LN", "XR unspecified body region")
ANY_FINDING_CODE = Code("ANYFINDING", "99CHESTX", "Any of the findings looked for")
CERTAINTY_OF_FINDING = Code("111012", "DCM", "Certainty of Finding")
PERCENT = Code("%", "UCUM", "Percent")
SUMMARY_OF_DETECTIONS = Code("111064", "DCM", "Summary of Detections")
SUCCEEDED = Code("111222", "DCM", "Succeeded")
FAILED = Code("111224", "DCM", "Failed")
NOT_ATTEMPTED = Code("111225", "DCM", "Not Attempted")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")
CLASS_ACTIVATION = Code("130402", "DCM", "Class activation")
OCCLUSION = Code("OCCLUSION", "99CHESTX", "Occlusion of image parts")

HEATMAP_CODES: dict[str, Code] = {"cam": CLASS_ACTIVATION, "occlusion": OCCLUSION}
"""How a map is made, by the card's word -> its code. None of these outlines anything."""

_FINDING_SITES: dict[str, Code] = {"PNEUMONIA": LUNG, "COVID19": LUNG}

DECISION_CODES: dict[FindingDecision, Code] = {
    FindingDecision.POSITIVE: PRESENT,
    FindingDecision.UNCERTAIN: UNDETERMINED,
    FindingDecision.NEGATIVE: ABSENT,
}
"""The decision on a finding as a qualifier value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Every word that a reader sees, in one language. Braces are filled in by name."""

    decisions: dict[str, str]
    """Value of a decision -> its word."""
    probabilities: tuple[tuple[float, str], ...]
    """Least probability -> its words, falling."""
    or_word: str
    headline: str
    features: str
    features_scored: str
    marked: str
    experimental: str
    caveated: str
    negative: str
    positive: str
    score: str
    not_told_apart: str
    not_told_apart_name: str
    uncertain: str
    uncertain_beside: str
    uncertain_part: str
    not_assessed: str
    unreadable: str
    further_image: str
    further_images: str
    map_low: str
    map_high: str
    map_high_softmax: str
    map_scale: str
    map_caveat: str
    no_map: str
    any_of_these: str
    bar_key: str
    calibrated: str
    not_calibrated: str
    thresholds: str
    region: str
    certainty: str
    certainty_of_any: str
    tracked: str
    tracked_image: str
    tracked_region: str
    decides: str
    abstains: str
    of_checksum: str
    of_precision: str


ENGLISH = Wording(
    decisions={
        "positive": "positive",
        "uncertain": "uncertain",
        "failed": "failed",
        "out_of_scope": "out of scope",
        "negative": "negative",
    },
    probabilities=(
        (0.9, "very high probability"),
        (0.7, "high probability"),
        (0.4, "moderate probability"),
        (0.1, "low probability"),
        (0.0, "very low probability"),
    ),
    or_word="or",
    headline="{decision}: {basis}",
    features="features of {names}",
    features_scored="{features} {number}",
    marked="{text} ({mark})",
    experimental="experimental",
    caveated="see caveat",
    negative="No features of {names} found; other disease not assessed.",
    positive="Features of {names} found ({score}).",
    score="{words}, {number}",
    not_told_apart="Features of {names} found, not told apart ({score}).",
    not_told_apart_name="{names}, not told apart,",
    uncertain="Uncertain: {parts}, where the model does not decide; a physician must decide.",
    uncertain_beside="Not decided: {parts}.",
    uncertain_part="{name} {number} lies inside the band {low}\u2013{high}",
    not_assessed="Not assessed: {reasons}.",
    unreadable="Not assessed: the file could not be read: {reason}.",
    further_image="1 further image of this study was not assessed.",
    further_images="{count} further images of this study were not assessed.",
    map_low="none",
    map_high="strong evidence for {name}",
    map_high_softmax="strong evidence for {name} against the other labels",
    map_scale="Fixed scale.",
    map_caveat="A heatmap shows what moved the score; it is not a boundary.",
    no_map="No heatmap.",
    any_of_these="any of these",
    bar_key="Bar: probability 0 to 1; tick: threshold; light part: no decision.",
    calibrated="calibrated for {site} (site profile {checksum})",
    not_calibrated="not calibrated for this site",
    thresholds="Thresholds: {description}.",
    region="Heatmap evidence; not a boundary.",
    certainty="Calibrated probability that features of {name} are present",
    certainty_of_any="Calibrated probability that features of any finding looked for are present",
    tracked="{key}, image {number}",
    tracked_image="image {number}",
    tracked_region="{key}, image {number}, region {region}",
    decides="positive at or above {threshold}",
    abstains="no decision from {low} to below {high}",
    of_checksum="model checksum (SHA-256): {checksum}",
    of_precision="precision: {precision}",
)


_MOST_SPOKEN = 3


def get_codes(key: str) -> tuple[Code, ...]:
    """The codes of a label, the preferred one first; empty where it has none and is plain text."""
    return FINDING_CODES.get(key, ())


def get_concept(key: str, display: str) -> Code:
    """The one code under which a finding is reported; of this project's scheme where no other is.

    Args:
        key: of the label, or ANY_FINDING.
        display: how it is written for a person.
    """
    if key == ANY_FINDING:
        return ANY_FINDING_CODE
    if codes := get_codes(key):
        return codes[0]
    # A code value has at most 16 characters: PS3.3 8.8, SH. A long key is told by its checksum.
    value = key if len(key) <= 16 else f"{key[:9]}_{sha256(key.encode()).hexdigest()[:6]}"
    return Code(value, "99CHESTX", display.replace("\\", "/"))


def get_site(key: str) -> Code:
    """Where a finding lies; the chest where the label does not say it."""
    return _FINDING_SITES.get(key, CHEST)


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
    matching = [x for x in _sort_findings(findings) if x.decision.value == decision.value]
    if not matching and any_finding:
        names = [add_mark(x.display, x.caveat, words=words) for x in findings]
        return _score_features(_join_names(names, words), any_finding, words)
    spoken = [
        add_mark(_score_features(x.display, x, words), x.caveat, words=words)
        for x in matching[:_MOST_SPOKEN]
    ]
    return ", ".join(spoken if len(matching) <= _MOST_SPOKEN else [*spoken, "\u2026"])


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
    ordered = _sort_findings(findings)
    return ordered[0].key if ordered else ""


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
    ordered = _sort_findings(findings)
    positive = [x for x in ordered if x.decision is FindingDecision.POSITIVE]
    uncertain = [x for x in ordered if x.decision is FindingDecision.UNCERTAIN]
    any_decision = any_finding.decision if any_finding else FindingDecision.NEGATIVE
    names = _join_names([finding.display for finding in findings], words)
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


def interpret_failure(reason: str, *, words: Wording = ENGLISH) -> str:
    """What is said of a file that could not be read."""
    return words.unreadable.format(reason=_trim(reason))


def interpret_result(result: Result, *, words: Wording = ENGLISH) -> str:
    """What is said of one result, read or not."""
    if isinstance(result, Failure):
        return interpret_failure(result.reason, words=words)
    return result.interpretation


def describe_not_assessed(count: int, *, words: Wording = ENGLISH) -> str:
    """How many further images of a study nobody assessed; empty for none."""
    if count == 0:
        return ""
    return words.further_image if count == 1 else words.further_images.format(count=count)


def interpret_study(sentence: str, study: Study[Any], *, words: Wording = ENGLISH) -> str:
    """What is said of a study: its answer, then how many other images nobody assessed.

    Args:
        sentence: what is said of the image that answers.
        study: its images.
        words: the language.
    """
    further = study.not_assessed - (not study.answering.decision.is_assessed)
    return f"{sentence} {describe_not_assessed(further, words=words)}".rstrip()


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


def _sort_findings(findings: Sequence[Finding]) -> list[Finding]:
    urgency = list(FindingDecision)
    return sorted(findings, key=lambda x: (urgency.index(x.decision), -x.probability))


def _join_names(names: Sequence[str], words: Wording) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {words.or_word} {names[-1]}"


def _score_features(names: str, finding: Finding, words: Wording) -> str:
    number = format_probability(finding.probability, operating_point=finding.operating_point)
    return words.features_scored.format(features=words.features.format(names=names), number=number)


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
