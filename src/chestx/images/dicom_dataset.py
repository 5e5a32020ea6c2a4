"""The elements of a DICOM data set, and readers for their values that never raise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from chestx.shapes import UInt16


class Tag(IntEnum):
    """The elements that are read, by their keyword in PS3.6."""

    MediaStorageSOPClassUID = 0x00020002
    TransferSyntaxUID = 0x00020010
    SpecificCharacterSet = 0x00080005
    SOPClassUID = 0x00080016
    SOPInstanceUID = 0x00080018
    StudyDate = 0x00080020
    AccessionNumber = 0x00080050
    Modality = 0x00080060
    PresentationIntentType = 0x00080068
    Manufacturer = 0x00080070
    ManufacturerModelName = 0x00081090
    PatientID = 0x00100020
    PatientSex = 0x00100040
    PatientAge = 0x00101010
    BodyPartExamined = 0x00180015
    ImagerPixelSpacing = 0x00181164
    ShutterShape = 0x00181600
    ViewPosition = 0x00185101
    StudyInstanceUID = 0x0020000D
    SeriesInstanceUID = 0x0020000E
    PatientOrientation = 0x00200020
    SamplesPerPixel = 0x00280002
    PhotometricInterpretation = 0x00280004
    PlanarConfiguration = 0x00280006
    NumberOfFrames = 0x00280008
    Rows = 0x00280010
    Columns = 0x00280011
    BitsAllocated = 0x00280100
    BitsStored = 0x00280101
    HighBit = 0x00280102
    PixelRepresentation = 0x00280103
    PixelPaddingValue = 0x00280120
    PixelPaddingRangeLimit = 0x00280121
    BurnedInAnnotation = 0x00280301
    WindowCenter = 0x00281050
    WindowWidth = 0x00281051
    RescaleIntercept = 0x00281052
    RescaleSlope = 0x00281053
    VOILUTFunction = 0x00281056
    RedPaletteColorLookupTableDescriptor = 0x00281101
    GreenPaletteColorLookupTableDescriptor = 0x00281102
    BluePaletteColorLookupTableDescriptor = 0x00281103
    RedPaletteColorLookupTableData = 0x00281201
    GreenPaletteColorLookupTableData = 0x00281202
    BluePaletteColorLookupTableData = 0x00281203
    SegmentedRedPaletteColorLookupTableData = 0x00281221
    ModalityLUTSequence = 0x00283000
    LUTDescriptor = 0x00283002
    LUTData = 0x00283006
    VOILUTSequence = 0x00283010
    PresentationLUTShape = 0x20500020
    FloatPixelData = 0x7FE00008
    DoubleFloatPixelData = 0x7FE00009
    PixelData = 0x7FE00010


MAX_VALUE_BYTES = 1024
"""Of a text that are decoded; the values that are read here need a tenth of it."""

_MAX_WORDS = 1 << 16
"""Of a number that are read: the entries of the longest lookup table."""

PIXEL_TAGS = (Tag.PixelData, Tag.FloatPixelData, Tag.DoubleFloatPixelData)


def name_tag(tag: int) -> str:
    """``(gggg,eeee)`` with the keyword of a tag that chestx knows."""
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        return f"{number} {Tag(tag).name}"
    except ValueError:
        return number


@dataclass(frozen=True, slots=True)
class Element:
    """One data element as it stands in the file.

    Attributes:
        vr: value representation; empty where the file does not state it.
        value: bytes of the value, empty for sequences and encapsulated pixel data.
        is_big_endian: order of bytes in ``value``.
        items: data sets of a sequence.
        fragments: of encapsulated pixel data, the offset table first; None otherwise.
    """

    vr: str
    value: memoryview
    is_big_endian: bool = False
    items: tuple[DataSet, ...] = ()
    fragments: tuple[memoryview, ...] | None = None

    @property
    def words(self) -> UInt16[np.ndarray, " words"]:
        """The value as 16-bit numbers, at most 65,536; an odd last byte is left out."""
        order = ">" if self.is_big_endian else "<"
        whole = self.value[: min(len(self.value) // 2, _MAX_WORDS) * 2]
        return np.frombuffer(whole, dtype=f"{order}u2").astype(np.uint16)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Elements by tag, with readers that never raise on a broken value."""

    elements: Mapping[int, Element]

    def __contains__(self, tag: Tag) -> bool:
        return tag in self.elements

    def find(self, tag: Tag) -> Element | None:
        """The element, None where it is absent."""
        return self.elements.get(tag)

    def find_item(self, tag: Tag) -> DataSet | None:
        """The first item of a sequence, None where there is none."""
        element = self.elements.get(tag)
        return element.items[0] if element and element.items else None

    def read_texts(self, tag: Tag) -> list[str]:
        """The values of a text element, stripped; empty where it is absent or empty.

        An absurdly long one is read up to the last value that is whole.
        """
        element = self.elements.get(tag)
        if element is None or not len(element.value):
            return []
        text = self._decode(bytes(element.value[:MAX_VALUE_BYTES])).strip(" \0")
        values = [_clean(part) for part in text.split("\\")] if text else []
        is_cut = len(element.value) > MAX_VALUE_BYTES and len(values) > 1
        return values[:-1] if is_cut else values

    def read_text(self, tag: Tag) -> str:
        """The first value of a text element, empty where there is none."""
        return next(iter(self.read_texts(tag)), "")

    def read_decimals(self, tag: Tag) -> list[float]:
        """The values of a number written as text; NaN stands for one that is no number."""
        return [_to_float(text) for text in self.read_texts(tag)]

    def read_integer(self, tag: Tag) -> int | None:
        """The first value of a binary integer without sign, None where there is none."""
        element = self.elements.get(tag)
        if element is None or len(element.value) < 2:
            return None
        return int.from_bytes(element.value[:2], "big" if element.is_big_endian else "little")

    def _decode(self, value: bytes) -> str:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        # Reading a radiograph needs no character tables, an identifier in kanji does.
        from pydicom.charset import python_encoding

        declared = self.elements.get(Tag.SpecificCharacterSet)
        listed = bytes(declared.value[:MAX_VALUE_BYTES]) if declared else b""
        terms = listed.decode("latin-1").split("\\")
        encodings = [python_encoding.get(term.strip(" \0"), "latin_1") for term in terms]
        return value.decode(encodings[-1], errors="replace")


def _clean(text: str) -> str:
    """Without padding and control characters, which have no place in a log or a table."""
    return "".join(character for character in text if character.isprintable()).strip()


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
