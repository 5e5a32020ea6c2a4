"""From pixel data to stored samples.

Samples come back as the bits that stand in the file; what they mean is the business of
``dicom_display``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.dicom_codecs import (
    DECODERS,
    JPEG2000,
    Flat,
    Stored,
    choose_reduction,
    decode_jpeg2000_reduced,
    shape_samples,
)
from chestx.images.dicom_dataset import Element, Tag
from chestx.images.dicom_elements import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    DicomFile,
)
from chestx.images.dicom_header import PixelLayout

NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG)


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """Decoded samples and what is now known of them.

    Attributes:
        values: containers as they stand in the file; colour has a third axis of 3.
        layout: as the header states it, corrected by what the codestream states.
        notes: where the two differed, and whether less was decoded than there is.
        reduction: how many rows and columns of the file a value stands for.
    """

    values: Stored
    layout: PixelLayout
    notes: tuple[str, ...] = ()
    reduction: int = 1


def decode_pixels(file: DicomFile, layout: PixelLayout, *, least_side: int = 0) -> StoredImage:
    """Decodes the one frame of a file.

    Args:
        file: with its pixel data.
        layout: as its header states it.
        least_side: shorter side in pixels that will do; 0 for the whole image.

    Raises:
        UnreadableImageError: the transfer syntax is not read, or the pixel data are
            missing, too short, of another size than the header states, or damaged.
    """
    element = _find_pixel_data(file)
    syntax = file.transfer_syntax_uid
    if syntax in NATIVE:
        if element.fragments is not None:
            raise UnreadableImageError(
                f"wrong transfer syntax: {name_uid(syntax)} is stated but the pixel data "
                "are compressed"
            )
        return StoredImage(_read_native(element, layout), _by_pixel(layout))
    decoder = DECODERS.get(syntax)
    if decoder is None:
        raise UnreadableImageError(
            f"transfer syntax {name_uid(syntax)} is not read; convert the file to a common one, "
            "e.g. Explicit VR Little Endian"
        )
    if element.fragments is None:
        raise UnreadableImageError(
            f"wrong transfer syntax: {name_uid(syntax)} is stated but the pixel data "
            "are not compressed"
        )
    stream = b"".join(element.fragments[1:])
    if not stream:
        raise UnreadableImageError("the compressed pixel data are empty")
    reduction = choose_reduction(layout, least_side) if syntax in JPEG2000 else 1
    if reduction > 1 and _may_be_reduced(file, layout):
        reduced = decode_jpeg2000_reduced(stream, layout, reduction)
        if reduced is not None:
            values, found = reduced
            reduction = -(-layout.rows // values.shape[0])
            note = f"decoded at 1/{reduction} of its resolution"
            notes = (*_note_differences(layout, found), note)
            return StoredImage(values, _by_pixel(found), notes, reduction)
    values, found = decoder(stream, layout)
    return StoredImage(values, _by_pixel(found), _note_differences(layout, found))


def _may_be_reduced(file: DicomFile, layout: PixelLayout) -> bool:
    """Whether the mean of neighbouring stored values is shown as what lies between them.

    It is not where values are numbers of colours, where some of them stand for padding, and where
    a table may map them in any way; and a window that is not stated is taken from the values.
    """
    is_grey = layout.photometric in ("MONOCHROME1", "MONOCHROME2")
    unfit = (Tag.PixelPaddingValue, Tag.ModalityLUTSequence, Tag.VOILUTSequence)
    data_set = file.data_set
    return is_grey and Tag.WindowCenter in data_set and not any(tag in data_set for tag in unfit)


def name_uid(uid: str) -> str:
    """A registered UID with its name, any other as it stands (cut to 64 characters)."""
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    if not uid:
        return "an object of no stated class"
    name = UID(uid, validation_mode=IGNORE).name
    return f"{name} ({uid})" if name != uid else uid[:64]


def _by_pixel(layout: PixelLayout) -> PixelLayout:
    """The layout of an array, whose colours are always by pixel."""
    return replace(layout, is_planar=False)


def _note_differences(stated: PixelLayout, found: PixelLayout) -> tuple[str, ...]:
    if stated.bits_stored == found.bits_stored:
        return ()
    return (
        f"the header states {stated.bits_stored} bits stored, the compressed image has "
        f"{found.bits_stored}; the image's own were used",
    )


def _find_pixel_data(file: DicomFile) -> Element:
    element = file.data_set.find(Tag.PixelData)
    if element is not None:
        return element
    for tag in (Tag.FloatPixelData, Tag.DoubleFloatPixelData):
        if tag in file.data_set:
            raise UnreadableImageError(
                f"expected integer pixel data, got {tag.name}, which is not read"
            )
    raise UnreadableImageError("expected PixelData, got none")


def _read_native(element: Element, layout: PixelLayout) -> Stored:
    is_422 = layout.photometric == "YBR_FULL_422"
    samples = 2 if is_422 else layout.samples
    count = layout.rows * layout.columns * samples
    expected = count * layout.bits_allocated // 8
    if len(element.value) < expected:
        raise UnreadableImageError(
            f"the pixel data are cut short: expected {expected} bytes for "
            f"{layout.rows} x {layout.columns} pixels, got {len(element.value)}"
        )
    values = _read_containers(element, count, layout.bits_allocated)
    if is_422:
        return _expand_422(values, layout)
    return shape_samples(values, layout, is_planar=layout.is_planar)


def _read_containers(element: Element, count: int, bits_allocated: int) -> Flat:
    if bits_allocated == 16:
        order = ">" if element.is_big_endian else "<"
        values = np.frombuffer(element.value, dtype=f"{order}u2", count=count)
        return values.astype(np.uint16, copy=False)
    values = np.frombuffer(element.value, dtype=np.uint8)
    if element.is_big_endian and element.vr == "OW" and len(values) % 2 == 0:
        # Two 8-bit samples in a word that was swapped as a whole (PS3.5 8.1.1).
        values = values.reshape(-1, 2)[:, ::-1].reshape(-1)
    return values[:count]


def _expand_422(values: Flat, layout: PixelLayout) -> Stored:
    """Y1 Y2 Cb Cr of two neighbours becomes a YCbCr triple each (PS3.3 C.7.6.3.1.2)."""
    if layout.columns % 2 or layout.bits_allocated != 8:
        raise UnreadableImageError(
            "YBR_FULL_422: expected an even number of columns of 8 bits, "
            f"got {layout.columns} of {layout.bits_allocated} bits"
        )
    pairs = values.reshape(layout.rows, layout.columns // 2, 4)
    out = np.empty((layout.rows, layout.columns // 2, 2, 3), dtype=values.dtype)
    out[..., 0] = pairs[..., :2]
    out[..., 1] = pairs[..., 2:3]
    out[..., 2] = pairs[..., 3:4]
    return out.reshape(layout.rows, layout.columns, 3)
