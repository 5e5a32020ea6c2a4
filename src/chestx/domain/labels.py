"""What a model gives out: labels, and where their probabilities become decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from chestx.domain.texts import ANY_FINDING, LABEL_KEY, check_name, check_prose


class Activation(StrEnum):
    """How logits become probabilities: labels that exclude each other, or not."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class FindingDecision(StrEnum):
    """What is said of one finding of one image."""

    POSITIVE = "positive"
    UNCERTAIN = "uncertain"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Where a calibrated probability becomes a decision.

    Attributes:
        threshold: at or above it, positive.
        uncertain_low, uncertain_high: the abstention band, low <= threshold <= high;
            a probability p with low <= p < high is uncertain. Equal ends: no band.
    """

    threshold: float
    uncertain_low: float
    uncertain_high: float

    def __post_init__(self) -> None:
        if not 0 <= self.uncertain_low <= self.threshold <= self.uncertain_high <= 1:
            raise ValueError(
                "operating point: expected 0 <= uncertain_low <= threshold <= uncertain_high <= 1, "
                f"got {self.uncertain_low}, {self.threshold}, {self.uncertain_high}"
            )

    def decide(self, probability: float) -> FindingDecision:
        """The decision for one calibrated probability."""
        if not 0 <= probability <= 1:
            raise ValueError(f"probability: expected 0 to 1, got {probability}")
        if self.uncertain_low <= probability < self.uncertain_high:
            return FindingDecision.UNCERTAIN
        if probability >= self.threshold:
            return FindingDecision.POSITIVE
        return FindingDecision.NEGATIVE


class LabelRole(StrEnum):
    """A finding is reported; ``no_finding`` is the class of everything not looked for."""

    FINDING = "finding"
    NO_FINDING = "no_finding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One output of a model.

    Attributes:
        key: the class as the training data name it, e.g. ``PNEUMONIA``; a letter, then
            at most 63 letters, digits and underscores, because columns are named after
            it; never ANY_FINDING.
        display: how it is written for a person, e.g. ``pneumonia``; at most 64
            printable characters.
        role: whether it is a finding.
        operating_point: None for the ``no_finding`` label, which is never decided on.
        map_scale: value of the map that is drawn at full strength (for a network of
            ``chestx publish``, the 99th percentile of its peak on validation images).
        caveat: what a reader must know of this label, e.g. that it is experimental.
    """

    key: str
    display: str
    role: LabelRole = LabelRole.FINDING
    operating_point: OperatingPoint | None = None
    map_scale: float = 1.0
    caveat: str = ""

    def __post_init__(self) -> None:
        if not LABEL_KEY.fullmatch(self.key) or self.key == ANY_FINDING:
            raise ValueError(
                "label: expected a key of a letter and at most 63 letters, digits and underscores, "
                f"and not {ANY_FINDING}, got {self.key!r:.80}"
            )
        check_name(f"display of label {self.key}", self.display)
        check_prose(f"caveat of label {self.key}", self.caveat)
        if (self.role is LabelRole.FINDING) != (self.operating_point is not None):
            raise ValueError(
                f"label {self.key}: a finding needs an operating point, no_finding has none"
            )
        if not (math.isfinite(self.map_scale) and self.map_scale > 0):
            raise ValueError(f"label {self.key}: map_scale must be positive, got {self.map_scale}")
