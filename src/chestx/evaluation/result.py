"""What an evaluation found, as plain values that JSON, CSV and the page are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from chestx.domain import Figure, ModelIdentity

ALL = "all"
"""Key of the slice that holds every image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the images, with all of them accounted for.

    Attributes:
        key: ``all``, or column and value, e.g. ``source=nih``.
        column, value: empty for all.
        images: assessed + out_of_scope + failed.
        reasons: code of a scope reason, or ``failed`` -> how many images.
        positives, negatives: label -> how many by the reference standard, assessed or not.
    """

    key: str
    column: str
    value: str
    images: int
    assessed: int
    out_of_scope: int
    failed: int
    groups: int
    reasons: dict[str, int]
    positives: dict[str, int]
    negatives: dict[str, int]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve.

    Attributes:
        x, y: both from 0 to 1.
        threshold: at or above it, positive; 2 where no image is.
    """

    x: float
    y: float
    threshold: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images of like probability.

    Attributes:
        predicted: mean probability.
        observed, low, high: share that is true and its Wilson interval.
        n: number of images.
    """

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What abstaining buys: the share decided and the share of errors among those."""

    coverage: float
    risk: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Everything measured of one question in one slice.

    Attributes:
        slice_key: of the slice.
        question: label key or ANY_FINDING.
        score: what was ranked, in words.
        n, positives: images with a known answer that were assessed.
        figures: name, subject (the score and what decided), data (the slice) and value of each.
        roc: x is 1 - specificity, y sensitivity.
        precision_recall: x is sensitivity, y ppv.
        note: why figures are missing here, e.g. one class only.
    """

    slice_key: str
    question: str
    score: str
    n: int
    positives: int
    figures: tuple[Figure, ...]
    roc: tuple[Point, ...] = ()
    precision_recall: tuple[Point, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    risk_coverage: tuple[RiskPoint, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts by reference standard (rows) and answer (columns).

    Attributes:
        slice_key: of the slice.
        rows: label keys.
        columns: label keys, then ``out_of_scope`` and ``failed``.
        counts: of each row.
    """

    slice_key: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The whole result.

    Attributes:
        model: who spoke.
        data: name of the manifest and what was taken from it.
        manifest_sha256: of the manifest's file.
        created: UTC, ISO 8601.
        left_out: reason -> rows of the manifest that were not put to the model.
        slices: all first.
        answers: every question in every slice.
        confusions: of single-label tasks.
        overall: macro, micro and weighted figures over the findings.
        baselines: how far the answer can be guessed without lungs, on the same images.
        notes: what a reader must know.
        settings: seed, repeats and the like.
    """

    model: ModelIdentity
    data: str
    manifest_sha256: str
    created: str
    left_out: dict[str, int]
    slices: tuple[Slice, ...]
    answers: tuple[Answered, ...]
    confusions: tuple[Confusion, ...]
    overall: tuple[Figure, ...]
    baselines: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    settings: dict[str, str | int | float] = field(default_factory=dict)
