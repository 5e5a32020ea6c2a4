"""What a model says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chestx.domain.figures import Figure, Precision, PrecisionVariant
from chestx.domain.inputs import InputSpec, ScopeSpec
from chestx.domain.labels import Activation, Label, LabelRole, OperatingPoint
from chestx.domain.texts import check_name, check_prose

_MAX_NESTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model folder says of itself (``card.json``).

    Attributes:
        format_version: of the folder's layout; a newer one is refused.
        name, version: identity in words, e.g. ``chestx-default`` and ``0.1``.
        summary: one sentence.
        labels: in the order of the outputs.
        activation: softmax or sigmoid.
        temperature: logits are divided by it before the activation.
        input: preprocessing.
        heatmap: ``cam``, ``occlusion`` or ``none``.
        any_finding: operating point of 1 - P(no_finding); None without such a label.
        scope: which images it may answer for.
        embedding_size: length of the embedding.
        training: provenance, plain JSON values.
        performance: measured figures.
        intended_use, not_looked_for: sentences.
        limitations: sentences.
        licence: of the weights.
        files: name in the folder -> sha256 in hexadecimal, for every file but card.json.
        precisions: variants that were tried, kept or not.
    """

    format_version: int
    name: str
    version: str
    summary: str
    labels: tuple[Label, ...]
    activation: Activation
    temperature: float
    input: InputSpec
    heatmap: str
    any_finding: OperatingPoint | None
    scope: ScopeSpec
    embedding_size: int
    intended_use: str
    not_looked_for: str
    licence: str
    files: dict[str, str]
    limitations: tuple[str, ...] = ()
    performance: tuple[Figure, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    precisions: tuple[PrecisionVariant, ...] = ()

    def __post_init__(self) -> None:
        keys = [label.key for label in self.labels]
        if len(set(keys)) != len(keys) or not keys:
            raise ValueError(f"labels: expected at least one and no key twice, got {keys}")
        if not self.findings:
            raise ValueError("labels: expected at least one finding")
        if not 0.001 <= self.temperature <= 1000:
            raise ValueError(f"temperature: expected 0.001 to 1000, got {self.temperature}")
        if self.heatmap not in ("cam", "occlusion", "none"):
            raise ValueError(f"heatmap: expected cam, occlusion or none, got {self.heatmap!r:.80}")
        no_finding = [x for x in self.labels if x.role is LabelRole.NO_FINDING]
        if len(no_finding) > 1:
            raise ValueError("labels: expected at most one with the role no_finding")
        if (self.any_finding is not None) != bool(no_finding):
            raise ValueError("any_finding: goes with exactly one no_finding label")
        if no_finding and self.activation is not Activation.SOFTMAX:
            raise ValueError("a no_finding label needs the softmax activation")
        tried = [variant.precision for variant in self.precisions]
        if len(set(tried)) != len(tried):
            raise ValueError(f"precisions: expected none twice, got {', '.join(tried)}")
        self._check_texts()

    def _check_texts(self) -> None:
        """Card texts reach terminals, pages and tables; a card may come from anywhere."""
        for what in ("name", "version"):
            check_name(what, getattr(self, what))
        for what in ("summary", "intended_use", "not_looked_for", "licence"):
            check_prose(what, getattr(self, what))
        for sentence in self.limitations:
            check_prose("limitations", sentence)
        for term in (*self.scope.modalities, *self.scope.body_parts, *self.scope.views):
            check_name("scope", term)
        _check_nested("training", self.training)

    @property
    def findings(self) -> tuple[Label, ...]:
        """The labels that are reported."""
        return tuple(label for label in self.labels if label.role is LabelRole.FINDING)

    def find_precision(self, precision: Precision) -> PrecisionVariant | None:
        """The variant of that precision; None where none was tried."""
        return next((one for one in self.precisions if one.precision is precision), None)


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who spoke. It stands in every output.

    Attributes:
        name, version: from the card.
        checksum: sha256 of card.json, which holds the checksum of every other file.
        precision: numeric variant that ran, e.g. ``f32``.
        site: for which place a site profile set the thresholds; empty without one.
        site_profile: sha256 of that profile; empty without one.
    """

    name: str
    version: str
    checksum: str
    precision: str = "f32"
    site: str = ""
    site_profile: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.checksum[:12]})"


def _check_nested(what: str, value: Any, depth: int = 0) -> None:
    """Every text in plain JSON values, keys among them."""
    if depth > _MAX_NESTED:
        raise ValueError(f"{what}: expected values nested {_MAX_NESTED} deep at most, got deeper")
    if isinstance(value, str):
        check_prose(what, value)
    elif isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else ()
        inner = value.values() if isinstance(value, dict) else value
        for item in (*keys, *inner):
            _check_nested(what, item, depth + 1)
