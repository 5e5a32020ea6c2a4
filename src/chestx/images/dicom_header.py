"""What a DICOM file says of its image: the header, and the layout of its pixels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from chestx.domain import ImageHeader, Limits, UnreadableImageError
from chestx.images.dicom_attributes import write_attributes
from chestx.images.dicom_dataset import DataSet, Tag
from chestx.images.dicom_elements import DicomFile

MAX_TEXT = 64
"""Characters of a text value that are kept: the most that LO allows (PS3.5 6.2)."""

_UID = re.compile(r"[0-9.]{1,64}")
_AGE = re.compile(r"(\d{1,3})([DWMY])")
_DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_MAX_AGE_YEARS = 130.0
_MAX_NOTES, _MAX_NOTE = 10, 200

_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_SAMPLES = {name: 1 for name in (*_MONOCHROME, "PALETTE COLOR")} | {name: 3 for name in _COLOUR}

_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_OVERLAY_DATA = 0x3000


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """How samples are stored, checked for consistency.

    Attributes:
        samples: 1, or 3 for colour.
        bits_allocated: 8 or 16, the container of a sample.
        bits_stored: significant bits of a sample.
        high_bit: position of the highest significant bit in the container.
        is_signed: whether significant bits are two's complement.
        is_planar: colour by plane rather than by pixel.
        photometric: PhotometricInterpretation.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    photometric: str

    @property
    def is_colour(self) -> bool:
        """Whether a pixel has three samples."""
        return self.samples == 3


def read_header(file: DicomFile) -> ImageHeader:
    """What the file says of itself, in as far as it can be understood. Never raises."""
    data_set, notes = file.data_set, list(file.notes)
    notes += _note_decorations(data_set)
    return ImageHeader(
        format="DICOM",
        rows=data_set.read_integer(Tag.Rows) or 0,
        columns=data_set.read_integer(Tag.Columns) or 0,
        bits_stored=data_set.read_integer(Tag.BitsStored) or 0,
        photometric=_read_text(data_set, Tag.PhotometricInterpretation),
        transfer_syntax_uid=file.transfer_syntax_uid if _is_uid(file.transfer_syntax_uid) else "",
        sop_class_uid=_read_uid(data_set, Tag.SOPClassUID, notes),
        sop_instance_uid=_read_uid(data_set, Tag.SOPInstanceUID, notes),
        series_instance_uid=_read_uid(data_set, Tag.SeriesInstanceUID, notes),
        study_instance_uid=_read_uid(data_set, Tag.StudyInstanceUID, notes),
        patient_id=_read_text(data_set, Tag.PatientID),
        accession_number=_read_text(data_set, Tag.AccessionNumber),
        study_date=_read_text(data_set, Tag.StudyDate),
        modality=_read_text(data_set, Tag.Modality),
        body_part_examined=_read_text(data_set, Tag.BodyPartExamined),
        view_position=_read_text(data_set, Tag.ViewPosition),
        patient_orientation="\\".join(data_set.read_texts(Tag.PatientOrientation))[:MAX_TEXT],
        manufacturer=_read_text(data_set, Tag.Manufacturer),
        manufacturer_model_name=_read_text(data_set, Tag.ManufacturerModelName),
        burned_in_annotation=_read_text(data_set, Tag.BurnedInAnnotation),
        age_years=_read_age(data_set, notes),
        sex=_read_sex(data_set),
        imager_pixel_spacing_mm=_read_spacing(data_set),
        notes=_bound_notes(notes),
        dicom_attributes=write_attributes(data_set),
    )


def read_layout(data_set: DataSet, *, limits: Limits) -> PixelLayout:
    """The layout of the pixel data.

    Raises:
        UnreadableImageError: it is missing, contradicts itself, is of a kind that is not
            read, or passes a limit.

    Source: PS3.3 C.7.6.3.
    """
    _require_one_frame(data_set)
    rows, columns = _require(data_set, Tag.Rows), _require(data_set, Tag.Columns)
    _require_size(rows, columns, limits)
    photometric = data_set.read_text(Tag.PhotometricInterpretation)
    samples = _read_samples(data_set, photometric)
    allocated, stored = _require(data_set, Tag.BitsAllocated), _require(data_set, Tag.BitsStored)
    high_bit = data_set.read_integer(Tag.HighBit)
    high_bit = stored - 1 if high_bit is None else high_bit
    if allocated not in (8, 16):
        raise UnreadableImageError(
            f"BitsAllocated: expected 8 or 16, got {allocated}; such pixel data are not read"
        )
    if not 1 <= stored <= high_bit + 1 <= allocated:
        raise UnreadableImageError(
            "expected 1 <= BitsStored <= HighBit + 1 <= BitsAllocated, "
            f"got BitsStored {stored}, HighBit {high_bit}, BitsAllocated {allocated}"
        )
    sign = data_set.read_integer(Tag.PixelRepresentation)
    if sign not in (0, 1, None):
        raise UnreadableImageError(f"PixelRepresentation: expected 0 or 1, got {sign}")
    if sign and samples == 3:
        raise UnreadableImageError("PixelRepresentation: expected unsigned colour, got signed")
    return PixelLayout(
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        is_signed=sign == 1,
        is_planar=data_set.read_integer(Tag.PlanarConfiguration) == 1,
        photometric=photometric,
    )


def _require(data_set: DataSet, tag: Tag) -> int:
    value = data_set.read_integer(tag)
    if value is None:
        raise UnreadableImageError(f"the header states no {tag.name}, which an image must have")
    return value


def _require_size(rows: int, columns: int, limits: Limits) -> None:
    if rows * columns > limits.max_pixels:
        raise UnreadableImageError(
            f"expected at most {limits.max_pixels} pixels, got {rows} x {columns}"
        )
    if min(rows, columns) < limits.min_side:
        raise UnreadableImageError(
            f"expected at least {limits.min_side} pixels a side, got {rows} x {columns}"
        )


def _require_one_frame(data_set: DataSet) -> None:
    frames = data_set.read_text(Tag.NumberOfFrames)
    # Not by int(), which refuses thousands of digits.
    if frames and frames.lstrip("0") != "1":
        shown = frames if len(frames) <= 12 else f"{frames[:12]}..."
        raise UnreadableImageError(
            f"NumberOfFrames: expected one frame, got {shown}; "
            "a radiograph is a single image, give the frames as files"
        )


def _read_samples(data_set: DataSet, photometric: str) -> int:
    expected = _SAMPLES.get(photometric)
    if expected is None:
        raise UnreadableImageError(
            "PhotometricInterpretation: expected MONOCHROME1, MONOCHROME2, PALETTE COLOR, "
            f"{', '.join(_COLOUR)}, got {photometric[:16] or 'none'}"
        )
    samples = data_set.read_integer(Tag.SamplesPerPixel)
    if samples not in (expected, None):
        raise UnreadableImageError(
            f"SamplesPerPixel: expected {expected} for {photometric}, got {samples}"
        )
    return expected


def _note_decorations(data_set: DataSet) -> list[str]:
    notes = []
    if Tag.ShutterShape in data_set:
        notes.append("a display shutter is stated; it was not applied")
    if any(group << 16 | _OVERLAY_DATA in data_set.elements for group in _OVERLAY_GROUPS):
        notes.append("an overlay is present; it was not burnt in")
    return notes


def _bound_notes(notes: list[str]) -> tuple[str, ...]:
    """Each note once and of bounded length, and how many more there were."""
    unique = [note[:_MAX_NOTE] for note in dict.fromkeys(notes)]
    more = len(unique) - _MAX_NOTES
    return (*unique[:_MAX_NOTES], *([f"and {more} more"] if more > 0 else []))


def _read_text(data_set: DataSet, tag: Tag) -> str:
    return data_set.read_text(tag)[:MAX_TEXT]


def _is_uid(text: str) -> bool:
    return _UID.fullmatch(text) is not None


def _read_uid(data_set: DataSet, tag: Tag, notes: list[str]) -> str:
    text = data_set.read_text(tag)
    if text and not _is_uid(text):
        notes.append(f"{tag.name} is no UID and was left out")
        return ""
    return text


def _read_age(data_set: DataSet, notes: list[str]) -> float | None:
    text = data_set.read_text(Tag.PatientAge).upper()
    if not text:
        return None
    match = _AGE.fullmatch(text)
    if match is None:
        notes.append("PatientAge is no DICOM age and was left out")
        return None
    years = int(match[1]) * _DAYS[match[2]] / _DAYS["Y"]
    if years > _MAX_AGE_YEARS:
        notes.append(f"PatientAge of more than {_MAX_AGE_YEARS:.0f} years was left out")
        return None
    return years


def _read_sex(data_set: DataSet) -> str:
    sex = data_set.read_text(Tag.PatientSex).upper()
    return sex if sex in ("M", "F", "O") else ""


def _read_spacing(data_set: DataSet) -> tuple[float, float] | None:
    spacing = data_set.read_decimals(Tag.ImagerPixelSpacing)
    if len(spacing) != 2 or not all(math.isfinite(x) and x > 0 for x in spacing):
        return None
    return spacing[0], spacing[1]
