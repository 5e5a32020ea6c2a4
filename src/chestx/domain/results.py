"""What is said of one image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from chestx.domain.card import ModelIdentity
from chestx.domain.images import ImageHeader, ScopeReason
from chestx.domain.labels import FindingDecision, OperatingPoint
from chestx.shapes import Float32, UInt8


class Decision(StrEnum):
    """What is said of one image or study, in order of urgency."""

    POSITIVE = "positive"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    OUT_OF_SCOPE = "out_of_scope"
    NEGATIVE = "negative"

    @property
    def urgency(self) -> int:
        """0 is read first; an image that nobody assessed comes before a negative one."""
        return list(Decision).index(self)

    @property
    def is_assessed(self) -> bool:
        """Whether the model's answer stands behind this decision."""
        return self not in (Decision.FAILED, Decision.OUT_OF_SCOPE)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What one forward pass says of one image.

    Attributes:
        logits: as the network gives them.
        probabilities: calibrated, in the order of the card's labels.
        embedding: pooled features.
        maps: class activation maps, one a label, in units of the logit; the mean
            over the map plus the bias is the logit. Not clipped, not scaled. Of no height
            and width where the network makes none.
    """

    logits: Float32[np.ndarray, " labels"]
    probabilities: Float32[np.ndarray, " labels"]
    embedding: Float32[np.ndarray, " features"]
    maps: Float32[np.ndarray, "labels map_height map_width"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer for one label.

    Attributes:
        key, display, caveat: from the card's label.
        probability: calibrated, 0 to 1.
        decision: by the operating point.
        operating_point: what decided.
    """

    key: str
    display: str
    probability: float
    decision: FindingDecision
    operating_point: OperatingPoint
    caveat: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Report:
    """The whole answer for one image that could be read.

    Attributes:
        source: path as it was given, empty for bytes.
        sha256: of the file's bytes.
        header: what the file says of itself.
        model: who spoke.
        decision: positive, uncertain, negative or out_of_scope.
        findings: one a finding label, in the card's order.
        any_finding: the composite 1 - P(no finding), where the card has one.
        probabilities: label key -> calibrated probability, every label.
        scope_reasons: why it is out of scope; empty otherwise.
        flags: remarks, short codes.
        interpretation: the answer in a sentence.
        distance: of the embedding to the training images; the card's scope has its limit.
        shown_label: key of the finding whose map the overlay shows; empty where none.
        map_scales: label key -> map value drawn at full strength.
        logits, embedding: as the network gave them, for evaluation and monitoring.
        maps: by the card's heatmap, in its label order; None without.
        preview: the radiograph as shown, small; None where not asked for.
        pixel_sha256: of the shown pixels at full size, row by row; empty where not asked for.
    """

    source: str
    sha256: str
    header: ImageHeader
    model: ModelIdentity
    decision: Decision
    findings: tuple[Finding, ...]
    any_finding: Finding | None
    probabilities: dict[str, float]
    scope_reasons: tuple[ScopeReason, ...]
    flags: tuple[str, ...]
    interpretation: str
    distance: float | None
    shown_label: str
    map_scales: dict[str, float]
    logits: Float32[np.ndarray, " labels"]
    embedding: Float32[np.ndarray, " features"]
    maps: Float32[np.ndarray, "labels map_height map_width"] | None
    preview: UInt8[np.ndarray, "preview_height preview_width"] | None
    pixel_sha256: str = ""

    def __post_init__(self) -> None:
        if self.decision is Decision.FAILED:
            raise ValueError("a report is of an image that was read; use Failure")
        if (self.decision is Decision.OUT_OF_SCOPE) != bool(self.scope_reasons):
            raise ValueError("out_of_scope and its reasons go together")

    @property
    def study_instance_uid(self) -> str:
        """Empty where the file states none."""
        return self.header.study_instance_uid

    @property
    def patient_id(self) -> str:
        """Empty where the file states none."""
        return self.header.patient_id

    def map_of(self, key: str) -> Float32[np.ndarray, "map_height map_width"] | None:
        """The evidence for one label, 0 (none) to 1 (full strength of the fixed scale)."""
        if self.maps is None:
            return None
        index = list(self.probabilities).index(key)
        scaled = self.maps[index] / np.float32(self.map_scales[key])
        return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that gave no answer, and why.

    Attributes:
        source: path as it was given.
        reason: the fault, for a person.
        sha256: of the file's bytes where they could be read, else empty.
        header: what the file said of itself before the fault, where it got so far.
    """

    source: str
    reason: str
    sha256: str = ""
    header: ImageHeader | None = None

    @property
    def decision(self) -> Decision:
        """A failed image needs a human."""
        return Decision.FAILED

    @property
    def study_instance_uid(self) -> str:
        """Empty where the file states none, or was not read so far."""
        return self.header.study_instance_uid if self.header else ""

    @property
    def patient_id(self) -> str:
        """Empty where the file states none, or was not read so far."""
        return self.header.patient_id if self.header else ""


Result = Report | Failure
