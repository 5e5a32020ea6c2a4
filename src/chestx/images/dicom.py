"""Reads a DICOM radiograph as a reader sees it."""

from __future__ import annotations

from dataclasses import replace

from chestx.domain import MANUFACTURER, ImageHeader, Limits, Radiograph, UnreadableImageError
from chestx.images.dicom_colour import convert_to_grey
from chestx.images.dicom_dataset import PIXEL_TAGS, Tag
from chestx.images.dicom_decode import decode_pixels, name_uid
from chestx.images.dicom_display import make_display
from chestx.images.dicom_elements import DicomFile, is_dicom, read_dicom_file
from chestx.images.dicom_header import read_header, read_layout
from chestx.images.tables import apply_table

__all__ = ["decode_dicom", "is_dicom"]

# Digital X-Ray, Mammography and Intra-Oral Image Storage - For Processing (PS3.6 annex A).
_FOR_PROCESSING = {
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.1.3.1",
}


def decode_dicom(data: bytes, *, limits: Limits, least_side: int = 0) -> Radiograph:
    """Decodes one DICOM image of one frame to grey values for display.

    The image is not rotated; shutters and overlays are not burnt in.

    Args:
        data: the file's bytes, with or without preamble.
        limits: what the file may cost.
        least_side: shorter side in pixels that will do, 0 for all there are; only JPEG 2000
            can be decoded in part.

    Raises:
        UnreadableImageError: the file is no image, is raw detector data, is damaged,
            contradicts itself, passes a limit or is of a kind that is not read. The error
            carries the header wherever one could be read.

    Source: PS3.3 C.7.6.3, C.11.1, C.11.2; PS3.5 sections 7 and 8.
    """
    file = read_dicom_file(data, limits=limits)
    header = read_header(file)
    try:
        return _decode_image(file, header, limits, least_side)
    except UnreadableImageError as error:
        error.header = header
        raise


def _decode_image(
    file: DicomFile, header: ImageHeader, limits: Limits, least_side: int
) -> Radiograph:
    _require_image(file)
    layout = read_layout(file.data_set, limits=limits)
    image = decode_pixels(file, layout, least_side=least_side)
    notes = header.notes + image.notes
    if layout.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        grey = convert_to_grey(image, file.data_set)
        header = replace(
            header, display=grey.description, colourfulness=grey.colourfulness, notes=notes
        )
        return Radiograph(grey.pixels, header, image.reduction)
    display = make_display(image.values, image.layout, file.data_set)
    header = replace(header, display=display.description, notes=notes + display.notes)
    return Radiograph(apply_table(display.table, image.values), header, image.reduction)


def _require_image(file: DicomFile) -> None:
    """Refuses other objects than images first, by name, then files with a fault."""
    data_set = file.data_set
    uid = data_set.read_text(Tag.SOPClassUID) or file.meta.read_text(Tag.MediaStorageSOPClassUID)
    has_pixels = any(tag in data_set for tag in PIXEL_TAGS)
    if not has_pixels and uid and "Image Storage" not in name_uid(uid):
        raise UnreadableImageError(f"expected an image, got {name_uid(uid)}")
    if data_set.read_text(Tag.Manufacturer) == MANUFACTURER:
        raise UnreadableImageError(
            "expected a radiograph, got a result of chestx itself; give the image it was made of"
        )
    intent = data_set.read_text(Tag.PresentationIntentType).upper()
    if intent == "FOR PROCESSING" or uid in _FOR_PROCESSING:
        raise UnreadableImageError(
            "expected an image For Presentation, got raw detector data For Processing "
            f"in {name_uid(uid)}; export the processed image"
        )
    if file.fault:
        raise UnreadableImageError(file.fault)
    if not has_pixels:
        raise UnreadableImageError(f"expected an image, got {name_uid(uid)} without pixel data")
