"""Measured numbers of a model, and of the precisions in which it may compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from chestx.domain.texts import check_prose


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
