"""From colour samples to grey: a radiograph that was stored as a colour picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.dicom_dataset import DataSet, Tag
from chestx.images.dicom_decode import StoredImage
from chestx.images.dicom_display import unpack_values
from chestx.images.dicom_lookup import read_table_entries
from chestx.images.tables import apply_table
from chestx.shapes import Float32, Float64, Int64, UInt8

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G and B in grey (ITU-R BT.601)."""

_BLOCK_ROWS = 256
_PALETTE = (
    (Tag.RedPaletteColorLookupTableDescriptor, Tag.RedPaletteColorLookupTableData),
    (Tag.GreenPaletteColorLookupTableDescriptor, Tag.GreenPaletteColorLookupTableData),
    (Tag.BluePaletteColorLookupTableDescriptor, Tag.BluePaletteColorLookupTableData),
)


@dataclass(frozen=True, slots=True, eq=False)
class GreyImage:
    """Grey values of a colour image, and how colourful it was (see ImageHeader)."""

    pixels: UInt8[np.ndarray, "height width"]
    colourfulness: float
    description: str


def convert_to_grey(image: StoredImage, data_set: DataSet) -> GreyImage:
    """Luminance of an RGB, YCbCr or palette image.

    Windows are not applied: they are defined for greyscale only (PS3.3 C.11.2).

    Raises:
        UnreadableImageError: the palette is damaged or of a kind that is not read.
    """
    if image.layout.photometric == "PALETTE COLOR":
        return _convert_palette(image, data_set)
    return _convert_triples(image)


def _convert_triples(image: StoredImage) -> GreyImage:
    values, layout = image.values, image.layout
    shift, largest = layout.high_bit + 1 - layout.bits_stored, (1 << layout.bits_stored) - 1
    grey = np.empty((layout.rows, layout.columns), dtype=np.uint8)
    colour = 0.0
    for row in range(0, layout.rows, _BLOCK_ROWS):
        block = (values[row : row + _BLOCK_ROWS] >> shift) & largest
        rgb = block.astype(np.float32) * np.float32(255 / largest)
        if layout.photometric.startswith("YBR_FULL"):
            rgb = _ycbcr_to_rgb(rgb, neutral=255 / largest * (1 << (layout.bits_stored - 1)))
        grey[row : row + _BLOCK_ROWS] = _to_luminance(rgb)
        colour += float((rgb.max(axis=2) - rgb.min(axis=2)).sum(dtype=np.float64))
    space = "YCbCr" if layout.photometric.startswith("YBR_FULL") else "RGB"
    return GreyImage(grey, colour / grey.size, f"luminance of {space}")


def _to_luminance(rgb: Float32[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    return np.floor(rgb @ np.array(LUMINANCE, dtype=np.float32) + np.float32(0.5)).astype(np.uint8)


def _ycbcr_to_rgb(
    ycbcr: Float32[np.ndarray, "height width 3"], *, neutral: float
) -> Float32[np.ndarray, "height width 3"]:
    """Full-range YCbCr to RGB, 0 to 255.

    Source: PS3.3 C.7.6.3.1.2 (YBR_FULL), inverted; rounded as samples are.
    """
    y = ycbcr[..., 0]
    cb, cr = ycbcr[..., 1] - np.float32(neutral), ycbcr[..., 2] - np.float32(neutral)
    rgb = np.stack(
        [
            y + np.float32(1.402) * cr,
            y - np.float32(0.344136) * cb - np.float32(0.714136) * cr,
            y + np.float32(1.772) * cb,
        ],
        axis=2,
    )
    rounded: Float32[np.ndarray, "height width 3"] = np.clip(np.rint(rgb), 0, 255)
    return rounded


def _convert_palette(image: StoredImage, data_set: DataSet) -> GreyImage:
    if Tag.SegmentedRedPaletteColorLookupTableData in data_set:
        raise UnreadableImageError("expected a plain colour palette, got a segmented one")
    indices = unpack_values(image.layout)
    rgb = np.stack([_read_palette(data_set, indices, *tags) for tags in _PALETTE], axis=1)
    grey = np.floor(rgb @ np.array(LUMINANCE) + 0.5).astype(np.uint8)
    spread = rgb.max(axis=1) - rgb.min(axis=1)
    pixels = apply_table(grey, image.values)
    counts = np.zeros(len(spread), dtype=np.int64)
    for row in range(0, len(pixels), _BLOCK_ROWS):
        block = image.values[row : row + _BLOCK_ROWS].ravel()
        counts += np.bincount(block, minlength=len(spread))
    colour = float((counts * spread).sum() / pixels.size)
    return GreyImage(pixels, colour, "luminance of the palette")


def _read_palette(
    data_set: DataSet,
    indices: Int64[np.ndarray, " values"],
    descriptor_tag: Tag,
    data_tag: Tag,
) -> Float64[np.ndarray, " values"]:
    """One channel, 0 to 255, for every value of a container (PS3.3 C.7.6.3.1.5)."""
    descriptor, data = data_set.find(descriptor_tag), data_set.find(data_tag)
    entries = None
    count, first, bits = 0, 0, 0
    if descriptor is not None and data is not None and len(descriptor.words) == 3:
        count, first, bits = (int(x) for x in descriptor.words)
        entries = read_table_entries(data, count or 1 << 16)
    if entries is None or bits not in (8, 16):
        raise UnreadableImageError(
            f"{data_tag.name}: expected a table of 8 or 16 bits with as many entries as its "
            "descriptor states, got a damaged one"
        )
    # Some writers state 8 bits and fill the whole of a 16-bit word.
    largest = 255 if bits == 8 and entries.max() <= 255 else 65535
    position = np.clip(indices - first, 0, len(entries) - 1)
    channel: Float64[np.ndarray, " values"] = entries[position] * (255.0 / largest)
    return channel
