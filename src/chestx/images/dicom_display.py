"""From stored samples to shown grey values: the standard's chain as one lookup table.

Every step of the chain (bits stored, modality LUT, VOI LUT or window, polarity, padding)
depends on a sample's own value alone. So the chain is computed once for each value that a
container can hold, and the image takes its grey values from that table: exact, and without
a copy of the image in floating point.

Source: PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.dicom_dataset import DataSet, Tag
from chestx.images.dicom_header import PixelLayout
from chestx.images.dicom_lookup import Values, read_lookup_table, to_signed
from chestx.shapes import Bool, Int64, UInt8, UInt16

PERCENTILES = (0.5, 99.5)
"""Shown black and white where no window can be used."""

MAX_SAMPLE = 262_144
"""Pixels that the percentiles are taken from, on a regular grid over the image."""

_MAX_NUMBER = 1e9
_MIN_WIDTH = 1e-6
"""Numbers of a header past these are no measurement and would overflow."""

Stored = UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"]


@dataclass(frozen=True, slots=True, eq=False)
class Display:
    """How stored values become shown ones.

    Attributes:
        table: grey value for every value of a container.
        description: the same in words, for the header.
        notes: what could not be used.
    """

    table: UInt8[np.ndarray, " values"]
    description: str
    notes: tuple[str, ...] = ()


def make_display(stored: Stored, layout: PixelLayout, data_set: DataSet) -> Display:
    """Builds the table for one greyscale image.

    The first item of VOILUTSequence is used, else the first window, else a window from
    the 0.5th to the 99.5th percentile. Which of several VOI transformations to apply is
    the viewer's choice by the standard; the first one is what viewers start with. An
    unusable one, or one that shows the whole image in one grey, is passed over with a note.

    Raises:
        UnreadableImageError: the modality transformation cannot be used. A guess could
            show the image inverted, and the window is stated in its output units.
    """
    values = unpack_values(layout)
    is_padding = find_padding(values, layout, data_set)
    modality, description = apply_modality(values, layout, data_set)
    sample = _sample_containers(stored, is_padding)
    notes: list[str] = []
    grey, voi = _apply_voi(modality, layout, data_set, sample, notes)
    table = np.floor(grey * 255.0 + 0.5).astype(np.uint8)
    steps = [*description, voi]
    if _is_inverse(layout, data_set, notes):
        table = 255 - table
        steps.append("inverted")
    if is_padding.any():
        table[is_padding] = 0
        steps.append("padding black")
    return Display(table, ", ".join(steps), tuple(notes))


def unpack_values(layout: PixelLayout) -> Int64[np.ndarray, " values"]:
    """The sample that every value of a container stands for.

    Bits outside BitsStored (old overlays, or noise) are masked off (PS3.5 8.1.1).
    """
    containers = np.arange(1 << layout.bits_allocated, dtype=np.int64)
    values = (containers >> (layout.high_bit + 1 - layout.bits_stored)) & (
        (1 << layout.bits_stored) - 1
    )
    if layout.is_signed:
        values = np.where(
            values >> (layout.bits_stored - 1), values - (1 << layout.bits_stored), values
        )
    return values


def find_padding(
    values: Int64[np.ndarray, " values"], layout: PixelLayout, data_set: DataSet
) -> Bool[np.ndarray, " values"]:
    """Which values are padding outside the image (PS3.3 C.7.5.1.1.2)."""
    first = data_set.read_integer(Tag.PixelPaddingValue)
    if first is None:
        return np.zeros(len(values), dtype=bool)
    last = data_set.read_integer(Tag.PixelPaddingRangeLimit)
    ends = [
        to_signed(x) if layout.is_signed else x for x in (first, first if last is None else last)
    ]
    return (values >= min(ends)) & (values <= max(ends))


def apply_modality(
    values: Int64[np.ndarray, " values"], layout: PixelLayout, data_set: DataSet
) -> tuple[Values, list[str]]:
    """Stored values to the units that windows are stated in, and the step in words.

    Raises:
        UnreadableImageError: ModalityLUTSequence is damaged, or RescaleSlope or
            RescaleIntercept is no usable number.
    """
    if Tag.ModalityLUTSequence in data_set:
        item = data_set.find_item(Tag.ModalityLUTSequence)
        table = read_lookup_table(item, is_signed=layout.is_signed)
        if table is None:
            raise UnreadableImageError(
                "ModalityLUTSequence: expected a descriptor of three values and as many entries "
                "as it states, got a damaged table"
            )
        return table.look_up(values.astype(np.float64)), ["modality LUT"]
    slope = _read_decimal(data_set, Tag.RescaleSlope, absent=1.0)
    intercept = _read_decimal(data_set, Tag.RescaleIntercept, absent=0.0)
    if not (0 < abs(slope) <= _MAX_NUMBER and abs(intercept) <= _MAX_NUMBER):
        raise UnreadableImageError(
            "expected a RescaleSlope other than 0 and a RescaleIntercept, both numbers, "
            f"got {slope:g} and {intercept:g}; the grey values cannot be told"
        )
    words = (
        [] if (slope, intercept) == (1, 0) else [f"rescale slope {slope:g} intercept {intercept:g}"]
    )
    return values * slope + intercept, words


def apply_window(values: Values, centre: float, width: float, function: str) -> Values:
    """Window to 0 (black) .. 1 (white).

    Source: PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT).
    """
    if function == "SIGMOID":
        # Past 700 the exponential of a double overflows; the result is 0 either way.
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    linear: Values = np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)
    return linear


def _apply_voi(
    modality: Values,
    layout: PixelLayout,
    data_set: DataSet,
    sample: Int64[np.ndarray, " pixels"],
    notes: list[str],
) -> tuple[Values, str]:
    """Grey 0 .. 1 for every value, and the step in words."""
    for attempt in (_apply_voi_table, _apply_stated_window):
        result = attempt(modality, data_set, notes)
        if result is None:
            continue
        grey, words = result
        if np.ptp(np.floor(grey[sample] * 255 + 0.5)) > 0:
            return result
        notes.append(f"{words} shows the whole image in one grey and was not used")
    return _apply_percentiles(modality, sample)


def _apply_voi_table(
    modality: Values, data_set: DataSet, notes: list[str]
) -> tuple[Values, str] | None:
    if Tag.VOILUTSequence not in data_set:
        return None
    item = data_set.find_item(Tag.VOILUTSequence)
    # The table's input is the modality transformation's output: signed where that is.
    table = read_lookup_table(item, is_signed=bool(modality.min() < 0))
    if table is None:
        notes.append("VOILUTSequence is damaged and was not used")
        return None
    return table.look_up(modality) / ((1 << table.bits) - 1), "VOI LUT (first item)"


def _apply_stated_window(
    modality: Values, data_set: DataSet, notes: list[str]
) -> tuple[Values, str] | None:
    centres = data_set.read_decimals(Tag.WindowCenter)
    widths = data_set.read_decimals(Tag.WindowWidth)
    if not centres and not widths:
        return None
    function = data_set.read_text(Tag.VOILUTFunction).upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        notes.append("VOILUTFunction is unknown; LINEAR was used")
        function = "LINEAR"
    centre, width = next(iter(centres), math.nan), next(iter(widths), math.nan)
    least_width = 1.0 if function == "LINEAR" else _MIN_WIDTH
    if not (abs(centre) <= _MAX_NUMBER and least_width <= width <= _MAX_NUMBER):
        notes.append(f"window centre {centre:g} width {width:g} ({function}) cannot be used")
        return None
    which = ", first of several" if len(centres) > 1 else ""
    words = f"window centre {centre:g} width {width:g} ({function}{which})"
    return apply_window(modality, centre, width, function), words


def _apply_percentiles(
    modality: Values, sample: Int64[np.ndarray, " pixels"]
) -> tuple[Values, str]:
    """A window over the middle 99 % of the sampled pixels, or all of them where it is empty."""
    low, high = (float(x) for x in np.percentile(modality[sample], PERCENTILES))
    if low == high:
        low, high = float(modality[sample].min()), float(modality[sample].max())
    span = high - low
    grey = np.clip((modality - low) / span, 0.0, 1.0) if span > 0 else np.zeros(len(modality))
    return (
        grey,
        f"window {low:g} to {high:g} (percentiles {PERCENTILES[0]:g} to {PERCENTILES[1]:g})",
    )


def _sample_containers(
    stored: Stored, is_padding: Bool[np.ndarray, " values"]
) -> Int64[np.ndarray, " pixels"]:
    """Containers on a regular grid, without padding unless there is nothing else."""
    step = math.ceil(math.sqrt(max(stored.size / MAX_SAMPLE, 1.0)))
    sample = stored[::step, ::step].ravel().astype(np.int64)
    inside = sample[~is_padding[sample]]
    return inside if len(inside) else sample


def _is_inverse(layout: PixelLayout, data_set: DataSet, notes: list[str]) -> bool:
    """Whether the greatest value is shown black.

    MONOCHROME1 says so, and in a DX image PresentationLUTShape INVERSE says the same of the
    same image once more (PS3.3 C.8.11.3): it is one inversion, not two.
    """
    shape = data_set.read_text(Tag.PresentationLUTShape)
    is_monochrome1 = layout.photometric == "MONOCHROME1"
    if shape == "IDENTITY" and is_monochrome1:
        notes.append("PresentationLUTShape IDENTITY contradicts MONOCHROME1, which was followed")
    if shape == "INVERSE" and not is_monochrome1:
        notes.append("PresentationLUTShape INVERSE was followed, in a MONOCHROME2 image")
    if shape not in ("", "IDENTITY", "INVERSE"):
        notes.append("PresentationLUTShape is unknown and was not used")
    return is_monochrome1 or shape == "INVERSE"


def _read_decimal(data_set: DataSet, tag: Tag, *, absent: float) -> float:
    return next(iter(data_set.read_decimals(tag)), absent)
