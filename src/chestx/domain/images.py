"""A radiograph: what its file says, what a reader sees, what the pixels alone tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chestx.shapes import UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What a file says of itself. Identifiers stay exactly as they stand in the file.

    Attributes:
        format: ``PNG``, ``JPEG``, ``TIFF``, ``BMP`` or ``DICOM``.
        rows, columns: size of the image as shown (EXIF orientation applied).
        bits_stored: significant bits of a sample as stored.
        photometric: DICOM PhotometricInterpretation, or for other formats
            ``GREY``, ``RGB``, ``PALETTE``, ``CMYK`` as stored.
        display: how stored values became shown ones, in words, e.g.
            ``window centre 2048 width 4096 (LINEAR)``.
        colourfulness: mean of max(R, G, B) - min(R, G, B), 0 to 255; 0 for grey.
        age_years: PatientAge in years, None where not stated or not a DICOM age.
        sex: PatientSex (``M``, ``F``, ``O``) or empty.
        imager_pixel_spacing_mm: row and column spacing at the detector where it is
            stated and positive.
        notes: peculiarities that were met and how they were handled, a sentence each.
        dicom_attributes: of a DICOM file, what an answer in DICOM takes over from it: a short
            list of elements as they stand there, as a data set in Implicit VR Little Endian.
    """

    format: str
    rows: int
    columns: int
    bits_stored: int = 8
    photometric: str = "GREY"
    display: str = "as stored"
    colourfulness: float = 0.0
    transfer_syntax_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    accession_number: str = ""
    study_date: str = ""
    modality: str = ""
    body_part_examined: str = ""
    view_position: str = ""
    patient_orientation: str = ""
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    burned_in_annotation: str = ""
    age_years: float | None = None
    sex: str = ""
    imager_pixel_spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    dicom_attributes: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Radiograph:
    """One image as a reader sees it: window applied, bright is dense, nothing burnt in.

    Attributes:
        pixels: grey values for display, 0 black to 255 white; read-only.
        header: what the file says of itself.
        reduction: how many rows and columns of the file a pixel stands for; 1 unless a
            reduced picture was asked for.
    """

    pixels: UInt8[np.ndarray, "height width"]
    header: ImageHeader
    reduction: int = 1

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2:
            raise ValueError(
                f"expected uint8 pixels of two dimensions, "
                f"got {self.pixels.dtype} of {self.pixels.ndim}"
            )
        rows, columns = (
            -(-side // self.reduction) for side in (self.header.rows, self.header.columns)
        )
        if self.pixels.shape != (rows, columns):
            raise ValueError(
                f"expected {rows} x {columns} pixels as the header says, "
                f"got {self.pixels.shape[0]} x {self.pixels.shape[1]}"
            )
        self.pixels.flags.writeable = False


@dataclass(frozen=True, slots=True)
class ScopeReason:
    """Why an image is not answered for.

    Attributes:
        code: short and stable, e.g. ``lateral``.
        sentence: for a person, with the measured value and the limit.
    """

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Quality:
    """What the pixels alone tell of an image's fitness.

    Attributes:
        reasons: faults that put it out of scope.
        flags: remarks that leave it in scope, short and stable codes.
        measures: the numbers behind both, by name.
    """

    reasons: tuple[ScopeReason, ...] = ()
    flags: tuple[str, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)
