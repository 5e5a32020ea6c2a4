"""The grey values of a presentation state: the source's own, so that the picture stays as it is.

Read from the same elements, by the same functions and in the same order of preference as the
road from a file to shown pixels (``chestx.images.dicom_display``). What that road had to choose
itself, since the source states nothing usable, the state states.
"""

from __future__ import annotations

import re

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from chestx.domain import ChestxError, ImageHeader, Limits
from chestx.images.dicom_dataset import DataSet, Tag
from chestx.images.dicom_elements import read_dicom_file
from chestx.images.dicom_lookup import LookupTable, read_lookup_table, to_signed

_CHOSEN = re.compile(r"window (\S+) to (\S+) \(percentiles ")
"""In ``ImageHeader.display``: black and white were taken from the pixels."""

_MOST_BITS = 16
_WHITE = 0xFFFF


class NoPresentationStateError(ChestxError):
    """An image whose look a Grayscale Softcopy Presentation State cannot state; says why."""


def add_grayscale(dataset: Dataset, *, header: ImageHeader, rescale_type: str = "") -> None:
    """Adds the modules that turn stored values into shown ones, as chestx showed them.

    Args:
        dataset: a Grayscale Softcopy Presentation State.
        header: of a source of one sample a pixel.
        rescale_type: units of the modality transformation, where the source states them.

    Raises:
        NoPresentationStateError: the image is in colour, or shown by a lookup table that is
            not at hand.

    Source: PS3.3 C.11.1 (Modality LUT), C.11.8 (Softcopy VOI LUT), C.11.6 (Softcopy
    Presentation LUT).
    """
    if header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise NoPresentationStateError(
            "expected an image in grey for a Grayscale Softcopy Presentation State, "
            f"got one in {header.photometric}; its answer stands in the other objects"
        )
    source = read_dicom_file(header.dicom_attributes, limits=Limits()).data_set
    _add_modality(dataset, source, header.display, rescale_type or "US")
    _add_voi(dataset, source, header.display)
    shape = source.read_text(Tag.PresentationLUTShape)
    is_inverse = header.photometric == "MONOCHROME1" or shape == "INVERSE"
    # A state has its polarity from here alone; MONOCHROME1 of its image counts no more.
    dataset.PresentationLUTShape = "INVERSE" if is_inverse else "IDENTITY"


def _add_modality(dataset: Dataset, source: DataSet, display: str, rescale_type: str) -> None:
    """The lookup table or the line; nothing where stored values are the units already."""
    if "modality LUT" in display:
        is_signed = _is_signed(source)
        table = _read_table(source, Tag.ModalityLUTSequence, is_signed=is_signed)
        item = _write_table(table, is_signed=is_signed)
        item.ModalityLUTType = "US"
        dataset.ModalityLUTSequence = [item]
        return
    slope, intercept = _read_line(source)
    if (slope, intercept) != (1.0, 0.0):
        dataset.RescaleIntercept = _to_decimal(intercept)
        dataset.RescaleSlope = _to_decimal(slope)
        dataset.RescaleType = rescale_type


def _add_voi(dataset: Dataset, source: DataSet, display: str) -> None:
    """The transformation that was shown: the first table, the first window, or a chosen one."""
    item = Dataset()
    if chosen := _CHOSEN.search(display):
        low, high = float(chosen[1]), float(chosen[2])
        # Black at low and white at high by the function LINEAR, which every viewer knows
        # (C.11.2.1.2.1).
        item.WindowCenter = _to_decimal((low + high + 1) / 2)
        item.WindowWidth = _to_decimal(high - low + 1)
    elif "VOI LUT" in display:
        is_signed = _has_negative_units(source)
        table = _read_table(source, Tag.VOILUTSequence, is_signed=is_signed)
        item.VOILUTSequence = [_write_table(_widen(table), is_signed=is_signed)]
    else:
        item.WindowCenter = _to_decimal(source.read_decimals(Tag.WindowCenter)[0])
        item.WindowWidth = _to_decimal(source.read_decimals(Tag.WindowWidth)[0])
        function = source.read_text(Tag.VOILUTFunction).upper()
        if function in ("LINEAR_EXACT", "SIGMOID"):
            item.VOILUTFunction = function
    dataset.SoftcopyVOILUTSequence = [item]


def _read_table(source: DataSet, tag: Tag, *, is_signed: bool) -> LookupTable:
    table = read_lookup_table(source.find_item(tag), is_signed=is_signed)
    if table is None:
        raise NoPresentationStateError(
            f"expected the {tag.name} that the image is shown by, got none that could be kept; "
            "its answer stands in the other objects"
        )
    return table


def _widen(table: LookupTable) -> LookupTable:
    """A VOI table whose entries keep their share of full white, of which 16 bits hold any."""
    white = (1 << table.bits) - 1
    entries = np.floor(table.entries * (float(_WHITE) / white) + 0.5).astype(np.uint16)
    return LookupTable(table.first, entries, _MOST_BITS)


def _write_table(table: LookupTable, *, is_signed: bool) -> Dataset:
    """Entries of 8 bits, two to a word, or of 16: others a state may not have (C.11.1.1.1)."""
    # 0 stands for 65,536 entries.
    numbers = [len(table.entries) & _WHITE, table.first & _WHITE]
    if is_signed:
        numbers = [to_signed(number) for number in numbers]
    is_narrow = table.bits <= 8
    data = table.entries.astype("u1" if is_narrow else "<u2").tobytes()
    item = Dataset()
    item.add_new(
        Tag.LUTDescriptor,
        "SS" if is_signed else "US",
        [*numbers, 8 if is_narrow else _MOST_BITS],
    )
    item.add_new(Tag.LUTData, "OW", data + b"\0" * (len(data) % 2))
    return item


def _read_line(source: DataSet) -> tuple[float, float]:
    slope = next(iter(source.read_decimals(Tag.RescaleSlope)), 1.0)
    return slope, next(iter(source.read_decimals(Tag.RescaleIntercept)), 0.0)


def _is_signed(source: DataSet) -> bool:
    return source.read_integer(Tag.PixelRepresentation) == 1


def _has_negative_units(source: DataSet) -> bool:
    """Whether what a VOI table is asked for can be negative."""
    if Tag.ModalityLUTSequence in source:
        return False
    bits = source.read_integer(Tag.BitsStored) or _MOST_BITS
    low = -(1 << (bits - 1)) if _is_signed(source) else 0
    slope, intercept = _read_line(source)
    return min(low * slope, (low + (1 << bits) - 1) * slope) + intercept < 0


def _to_decimal(number: float) -> DSfloat:
    """As many digits as a decimal string of 16 characters holds."""
    return DSfloat(number, auto_format=True)
