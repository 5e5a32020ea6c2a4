"""The nouns of chestx: frozen, and valid once constructed.

Nothing here reads a file or knows a library beyond numpy. Every other layer
imports this one; this one imports none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from chestx.shapes import Float32, UInt8

CAVEAT = "Research use only. Not a cleared medical device. A physician must read every image."
"""The one sentence that stands on every output that a person may read."""

ANY_FINDING = "any_finding"
"""Key of the composite score 1 - P(no finding): something is there, whichever it is."""


class ChestxError(Exception):
    """Base of every error that chestx raises on purpose; its text is written for the user."""


class UnreadableImageError(ChestxError):
    """A file that cannot become a radiograph.

    Attributes:
        header: what the file said of itself before the fault was met, where it
            got that far. It keeps a broken image with its study.
    """

    def __init__(self, reason: str, *, header: ImageHeader | None = None) -> None:
        super().__init__(reason)
        self.header = header


class InvalidModelError(ChestxError):
    """A model folder that is missing, incomplete, tampered with or too new."""


class UsageError(ChestxError):
    """A request that cannot be carried out as it was put (the CLI exits with 2)."""


class FindingDecision(StrEnum):
    """What is said of one finding of one image."""

    POSITIVE = "positive"
    UNCERTAIN = "uncertain"
    NEGATIVE = "negative"


MANUFACTURER = "chestx"
"""Of every object that is made; one that states it is no radiograph."""


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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one input may cost; past a limit it is refused with the reason.

    Attributes:
        max_bytes: size of the file.
        max_pixels: rows x columns of the decoded image.
        min_side: shorter side in pixels, under which nothing can be read.
        max_nesting: depth of nested DICOM sequences.
    """

    max_bytes: int = 512 * 1024 * 1024
    max_pixels: int = 100_000_000
    min_side: int = 16
    max_nesting: int = 32

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "min_side", "max_nesting"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: expected a positive number, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What a file says of itself. Identifiers stay exactly as they stand in the file.

    Attributes:
        format: ``PNG``, ``JPEG``, ``TIFF``, ``BMP`` or ``DICOM``.
        rows, columns: size of the image as shown (EXIF orientation applied).
        bits_stored: significant bits of a sample as stored.
        photometric: DICOM PhotometricInterpretation, or for other formats
            ``GREY``, ``RGB``, ``PALETTE``, ``CMYK`` as stored.
        display: how stored values became shown ones, in words, e.g.
            ``window centre 2048 width 4096 (LINEAR)``.
        colourfulness: mean of max(R, G, B) - min(R, G, B), 0 to 255; 0 for grey.
        age_years: PatientAge in years, None where not stated or not a DICOM age.
        sex: PatientSex (``M``, ``F``, ``O``) or empty.
        imager_pixel_spacing_mm: row and column spacing at the detector where it is
            stated and positive.
        notes: peculiarities that were met and how they were handled, a sentence each.
        dicom_attributes: of a DICOM file, what an answer in DICOM takes over from it: a short
            list of elements as they stand there, as a data set in Implicit VR Little Endian.
    """

    format: str
    rows: int
    columns: int
    bits_stored: int = 8
    photometric: str = "GREY"
    display: str = "as stored"
    colourfulness: float = 0.0
    transfer_syntax_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    study_date: str = ""
    modality: str = ""
    body_part_examined: str = ""
    view_position: str = ""
    patient_orientation: str = ""
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    burned_in_annotation: str = ""
    age_years: float | None = None
    sex: str = ""
    imager_pixel_spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    dicom_attributes: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One image as a reader sees it: window applied, bright is dense, nothing burnt in.

    Attributes:
        pixels: grey values for display, 0 black to 255 white; read-only.
        header: what the file says of itself.
        reduction: how many rows and columns of the file a pixel stands for; 1 unless a
            reduced picture was asked for.
    """

    pixels: UInt8[np.ndarray, "height width"]
    header: ImageHeader
    reduction: int = 1

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2:
            raise ValueError(
                f"expected uint8 pixels of two dimensions, "
                f"got {self.pixels.dtype} of {self.pixels.ndim}"
            )
        rows, columns = (
            -(-side // self.reduction) for side in (self.header.rows, self.header.columns)
        )
        if self.pixels.shape != (rows, columns):
            raise ValueError(
                f"expected {rows} x {columns} pixels as the header says, "
                f"got {self.pixels.shape[0]} x {self.pixels.shape[1]}"
            )
        self.pixels.flags.writeable = False


LABEL_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""What a label may be called, in cards and in tables: columns are named after it."""

AGE_BANDS = ((0, 1), (1, 6), (6, 18), (18, 40), (40, 60), (60, 80), (80, 200))
"""Years: from, up to but not including."""

# What a spreadsheet takes for the start of a formula, full-width forms included.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_JOINERS = "\u200c\u200d"  # Invisible, and letters of Persian and Indic words lean on them.
_MAX_NAME, _MAX_PROSE, _MAX_NESTED = 64, 2_000, 8


def name_age_band(age: float | None) -> str:
    """``under 1``, ``18 to 39``, ``80 and over``; empty where no age is stated or it is none."""
    if age is None:
        return ""
    for low, high in AGE_BANDS:
        if low <= age < high:
            if low == 0:
                return f"under {high}"
            return f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"
    return ""


def format_count(number: int, noun: str) -> str:
    """``1 image``, ``2,469 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def starts_formula(text: str) -> bool:
    """Whether a spreadsheet would take a text for a formula. Source: OWASP, CSV injection."""
    return _FORMULA.match(text) is not None


def check_name(what: str, text: str) -> None:
    """One line for a person, without anything that could move or hide other text."""
    if not (
        text.strip()
        and len(text) <= _MAX_NAME
        and all(letter.isprintable() or letter in _JOINERS for letter in text)
    ):
        raise ValueError(
            f"{what}: expected 1 to {_MAX_NAME} printable characters, got {text!r:.80}"
        )


def check_prose(what: str, text: str) -> None:
    """Sentences: printable, with line breaks and the spaces that break no line."""
    if len(text) > _MAX_PROSE or not all(
        letter.isprintable() or letter in "\n\u00a0\u202f" + _JOINERS for letter in text
    ):
        raise ValueError(
            f"{what}: expected at most {_MAX_PROSE:,} characters without control characters, "
            f"got {len(text):,}: {text!r:.80}"
        )


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


class Activation(StrEnum):
    """How logits become probabilities: labels that exclude each other, or not."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class LabelRole(StrEnum):
    """A finding is reported; ``no_finding`` is the class of everything not looked for."""

    FINDING = "finding"
    NO_FINDING = "no_finding"


class Denoise(StrEnum):
    """Filter after the resize, before CLAHE."""

    NONE = "none"
    MEDIAN = "median"
    BILATERAL = "bilateral"
    NON_LOCAL_MEANS = "non_local_means"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """From shown pixels to model input, the same in training and serving.

    The image is stretched to a square: keeping the aspect ratio would hand the
    model the shape of the detector, which in public data sets tells the label.

    Attributes:
        size: side of the square in pixels.
        denoise: filter after the resize.
        clahe_clip_limit: contrast limit of CLAHE after the filter, 0 for none.
        clahe_tiles: tiles a side.
    """

    size: int
    denoise: Denoise = Denoise.NONE
    clahe_clip_limit: float = 0.0
    clahe_tiles: int = 8

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise ValueError(f"input size: expected 16 to 4096, got {self.size}")
        if not 0 <= self.clahe_clip_limit <= 100:
            raise ValueError(f"CLAHE clip limit: expected 0 to 100, got {self.clahe_clip_limit}")
        if not 1 <= self.clahe_tiles <= 64:
            raise ValueError(f"CLAHE tiles: expected 1 to 64, got {self.clahe_tiles}")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSpec:
    """Which images a model may answer for.

    Attributes:
        modalities, body_parts, views: DICOM values that are accepted where the file
            states one; empty means any.
        min_age_years, max_age_years: ages that the model was made for, both included;
            None for no limit. An unknown age is flagged, not refused.
        max_distance: limit of the embedding's distance to the training images
            (see ``models.scope``); None for no check.
    """

    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    min_age_years: float | None = None
    max_age_years: float | None = None
    max_distance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number with where it was measured and how sure it is.

    Attributes:
        name: e.g. ``AUROC``, ``sensitivity``.
        subject: what was scored, e.g. ``1 - P(NORMAL)``.
        data: on which images, e.g. ``Kermany official test``.
        value, low, high: the figure and its 95 % interval, both ends or neither
            (None where none was taken).
        n: number of images.
        note: what a reader must know to not be misled.
    """

    name: str
    subject: str
    data: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for what in ("name", "subject", "data", "note"):
            check_prose(f"figure {what}", getattr(self, what))
        if (self.low is None) != (self.high is None):
            raise ValueError(
                f"figure {self.name!r:.80}: expected both low and high or neither, "
                f"got {self.low} and {self.high}"
            )
        if (
            self.low is not None
            and self.high is not None
            and not self.low <= self.value <= self.high
        ):
            raise ValueError(
                f"figure {self.name!r:.80}: expected low <= value <= high, "
                f"got {self.low}, {self.value}, {self.high}"
            )


class Precision(StrEnum):
    """In which numbers a network computes."""

    F32 = "f32"
    """Single precision: what a card's figures are of, unless they say otherwise."""
    BF16 = "bf16"
    """The same graph in bfloat16, on a processor that has it."""
    INT8 = "int8"
    """A graph of its own whose weights and activations are whole numbers of 8 bits."""


class PrecisionMeasure(StrEnum):
    """What a variant is compared with f32 by, on the same images."""

    AUROC_CHANGE = "AUROC change"
    """AUROC of the variant less that of f32."""
    DECISIONS_ALIKE = "decisions alike"
    """Share of the images for which both say the same."""
    PROBABILITY_CHANGE = "probability change"
    """99 % of the images moved by at most this much in probability."""
    MAP_CORRELATION = "map correlation"
    """Mean over the images of Pearson's correlation of both heatmaps of a label."""

    @property
    def is_distance(self) -> bool:
        """Whether the size must stay at or under the limit; else the value at or over it."""
        return self in (PrecisionMeasure.AUROC_CHANGE, PrecisionMeasure.PROBABILITY_CHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionFigure:
    """One comparison of a variant with f32.

    Attributes:
        measure: what was compared.
        slice_key: ``all`` or ``source=...``.
        subject: label key or ANY_FINDING.
        value: what was found.
        limit: what it had to keep within.
        n: number of images.
    """

    measure: PrecisionMeasure
    slice_key: str
    subject: str
    value: float
    limit: float
    n: int

    def __post_init__(self) -> None:
        check_prose("precision slice", self.slice_key)
        check_prose("precision subject", self.subject)
        if not (math.isfinite(self.value) and self.limit > 0 and self.n > 0):
            raise ValueError(
                "precision figure: expected a finite value, a positive limit and images, "
                f"got {self.value}, {self.limit}, {self.n}"
            )

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        if self.measure.is_distance:
            return abs(self.value) <= self.limit
        return self.value >= self.limit

    @property
    def excess(self) -> float:
        """How far it lies beyond the limit, in units of what the limit leaves; above 1: failed."""
        if self.measure.is_distance:
            return abs(self.value) / self.limit
        return math.inf if self.limit == 1 else (1 - self.value) / (1 - self.limit)

    def __str__(self) -> str:
        sign = "<=" if self.measure.is_distance else ">="
        return (
            f"{self.measure} of {self.subject} on {self.slice_key} ({self.n} images): "
            f"{self.value:.4f}, wanted {sign} {self.limit:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionVariant:
    """A precision that was tried for a model, with the evidence.

    Attributes:
        precision: any but f32.
        kept: whether it may be run: every figure is within its limit.
        data: on which images, in words.
        images: how many.
        figures: pooled, per label and per source.
        known_gap: the largest move of a logit on the folder's known images against f32.
        speed: images per second over those of f32, one call at a time on one thread.
        made_by: library and processor that computed, and how the variant was made.
    """

    precision: Precision
    kept: bool
    data: str
    images: int
    figures: tuple[PrecisionFigure, ...]
    known_gap: float
    speed: float
    made_by: str

    def __post_init__(self) -> None:
        check_prose(f"{self.precision} data", self.data)
        check_prose(f"{self.precision} made_by", self.made_by)
        if self.precision is Precision.F32:
            raise ValueError("precisions: expected variants, got f32, which every model has")
        if not (0 <= self.known_gap < math.inf and 0 < self.speed < math.inf):
            raise ValueError(
                f"{self.precision}: expected known_gap of 0 or more and a positive speed, "
                f"got {self.known_gap} and {self.speed}"
            )
        if self.kept != (bool(self.figures) and not self.failed):
            raise ValueError(
                f"{self.precision}: kept goes with figures that are all within their limits"
            )

    @property
    def failed(self) -> tuple[PrecisionFigure, ...]:
        """Figures beyond their limit, the furthest first."""
        beyond = (figure for figure in self.figures if not figure.holds)
        return tuple(sorted(beyond, key=lambda figure: figure.excess, reverse=True))


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


@dataclass(frozen=True, slots=True)
class ScopeReason:
    """Why an image is not answered for.

    Attributes:
        code: short and stable, e.g. ``lateral``.
        sentence: for a person, with the measured value and the limit.
    """

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What the pixels alone tell of an image's fitness.

    Attributes:
        reasons: faults that put it out of scope.
        flags: remarks that leave it in scope, short and stable codes.
        measures: the numbers behind both, by name.
    """

    reasons: tuple[ScopeReason, ...] = ()
    flags: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)


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


@runtime_checkable
class Answer(Protocol):
    """What a study is made of: a result, or what was written down of one."""

    @property
    def source(self) -> str:
        """Path as it was given."""
        ...

    @property
    def decision(self) -> Decision:
        """Of the image."""
        ...

    @property
    def study_instance_uid(self) -> str:
        """Empty where the file states none."""
        ...

    @property
    def patient_id(self) -> str:
        """Empty where the file states none."""
        ...


AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Study(Generic[AnswerT]):
    """Images that belong together and the answer for all of them.

    Attributes:
        key: StudyInstanceUID, or the path of the one image that has none.
        answers: of its images in input order.
        answering: the one that speaks for the study.
    """

    key: str
    answers: tuple[AnswerT, ...]
    answering: AnswerT

    @property
    def decision(self) -> Decision:
        """The study's answer."""
        return self.answering.decision

    @property
    def not_assessed(self) -> int:
        """How many of its images nobody assessed."""
        return sum(not answer.decision.is_assessed for answer in self.answers)


def group_studies(answers: Iterable[AnswerT]) -> list[Study[AnswerT]]:
    """Groups images by StudyInstanceUID and patient, in order of first appearance.

    By both, because badly made files use one UID for several patients, and one of them
    must not vanish behind another.

    A study's answer is that of its most urgent assessed image (only frontal images
    are assessed); where none was assessed, that of its most urgent image. A broken
    file whose header names a study stays in it; an image without a UID is a study.
    """
    groups: dict[tuple[str, str], list[AnswerT]] = {}
    for position, answer in enumerate(answers):
        uid = answer.study_instance_uid
        groups.setdefault((uid, answer.patient_id if uid else str(position)), []).append(answer)
    studies = []
    for (uid, _), members in groups.items():
        assessed = [member for member in members if member.decision.is_assessed]
        answering = min(assessed or members, key=lambda member: member.decision.urgency)
        studies.append(Study(uid or members[0].source, tuple(members), answering))
    return studies
