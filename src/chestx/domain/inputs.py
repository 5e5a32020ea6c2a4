"""What may go in: what a file may cost, how pixels become model input, whom a model is for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chestx.domain.errors import UsageError


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
