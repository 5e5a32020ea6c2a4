"""Lookup tables of a DICOM header: modality LUT, VOI LUT, palette."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chestx.images.dicom_dataset import DataSet, Element, Tag
from chestx.shapes import Float64, UInt16

Values = Float64[np.ndarray, " values"]


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A modality or VOI LUT (PS3.3 C.11.1.1, C.11.2.1.1)."""

    first: int
    entries: UInt16[np.ndarray, " entries"]
    bits: int

    def look_up(self, values: Values) -> Values:
        """Entries for ``values``; those before the first or past the last take its entry."""
        index = np.floor(values + 0.5) - self.first
        clipped = np.clip(index, 0, len(self.entries) - 1).astype(np.int64)
        found: Values = self.entries[clipped].astype(np.float64)
        return found


def read_lookup_table(item: DataSet | None, *, is_signed: bool) -> LookupTable | None:
    """A LUT item, None where it is missing or damaged.

    ``is_signed`` tells whether the table's input can be negative. It is asked beside the
    descriptor's VR, because many writers put US where SS is meant.
    """
    if item is None:
        return None
    descriptor, data = item.find(Tag.LUTDescriptor), item.find(Tag.LUTData)
    if descriptor is None or data is None or len(descriptor.words) != 3:
        return None
    count, first, bits = (int(x) for x in descriptor.words)
    count = count or 1 << 16
    entries = read_table_entries(data, count)
    if entries is None or not 1 <= bits <= 16:
        return None
    # A descriptor may claim fewer bits than its entries have.
    bits = max(bits, int(entries.max()).bit_length())
    first = to_signed(first) if is_signed or descriptor.vr == "SS" else first
    return LookupTable(first, entries, bits)


def read_table_entries(data: Element, count: int) -> UInt16[np.ndarray, " entries"] | None:
    """Entries of a LUT, one or two to a 16-bit word; None where there are too few.

    Source: PS3.3 C.11.1.1.1 (entries of 8 bits may be packed).
    """
    words = data.words
    if len(words) >= count:
        return words[:count]
    packed = words.astype("<u2").view(np.uint8)
    return packed[:count].astype(np.uint16) if len(packed) >= count else None


def to_signed(word: int) -> int:
    """A 16-bit number read as two's complement."""
    return word - (1 << 16) if word >= 1 << 15 else word
