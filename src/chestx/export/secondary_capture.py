"""A result as a picture that every viewer of a picture archive shows: a Secondary Capture.

One picture an image, RGB, beside the radiograph in its study. What is measured on it would be
wrong: it is reduced, and a part of it is words. So it states no spacing of pixels.

Source: PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6 (SC modules).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from pydicom import Dataset
from pydicom.uid import (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
)

from chestx import __version__
from chestx.domain import Report, UsageError
from chestx.export.dicom_common import (
    ObjectKind,
    complete_object,
    find_local_time,
    make_code,
    make_reference,
)
from chestx.export.dicom_source import DicomImage
from chestx.rendering.bands import Picture
from chestx.rendering.capture import RADIOGRAPH_SIZE, draw_capture
from chestx.terminology import ENGLISH, Code, describe_calibration

SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
RESAMPLING = Code("113085", "DCM", "Spatial resampling")

# Transfer syntax -> method of PS3.3 C.7.6.1.1.5.1. JPEG 2000 and HTJ2K may be either: what
# the file says of itself decides.
_LOSSY: dict[str, str] = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
}


def make_secondary_capture(image: DicomImage) -> Dataset:
    """The radiograph with its map and the answer in words, as a DICOM object.

    An image that is out of scope is shown without a map, with the reason.

    Args:
        image: with a report that has a preview, best of ``RADIOGRAPH_SIZE``.

    Raises:
        UsageError: the image could not be read, or its report has no preview.
    """
    report = image.report
    if report is None:
        raise UsageError(
            "a Secondary Capture: expected an image that could be read, got one that failed; "
            "its reason stands in the structured report"
        )
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    # What is shown is turned as the source is: its pixels are never turned or mirrored.
    dataset.PatientOrientation = deepcopy(image.attributes.get("PatientOrientation", ""))
    _put_derivation(dataset, image, report)
    _put_compression(dataset, image, report)
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    _put_pixels(dataset, draw_capture(report, _list_facts(image)))
    complete_object(dataset, [image], kind=ObjectKind.SC)
    return dataset


def _put_derivation(dataset: Dataset, image: DicomImage, report: Report) -> None:
    source = make_reference(image.attributes)
    source.PurposeOfReferenceCodeSequence = [make_code(SOURCE_IMAGE)]
    source.SpatialLocationsPreserved = "NO"
    dataset.SourceImageSequence = [source]
    steps = ["Radiograph as displayed"]
    if max(report.header.rows, report.header.columns) != RADIOGRAPH_SIZE:
        steps.append(f"resized to {RADIOGRAPH_SIZE} pixels along its longer side")
        dataset.DerivationCodeSequence = [make_code(RESAMPLING)]
    if report.decision.is_assessed and report.shown_label:
        steps.append(f"heatmap laid over it ({report.shown_label})")
    steps.append("words of the AI result added beside or below it")
    dataset.DerivationDescription = f"{', '.join(steps)}. {ENGLISH.map_caveat}"


def _put_compression(dataset: Dataset, image: DicomImage, report: Report) -> None:
    """Whether pixels were ever compressed with loss, which no later copy undoes."""
    syntax, attributes = report.header.transfer_syntax_uid, image.attributes
    if syntax not in _LOSSY and attributes.get("LossyImageCompression") != "01":
        if attributes.get("LossyImageCompression") == "00":
            dataset.LossyImageCompression = "00"
        return
    dataset.LossyImageCompression = "01"
    if syntax in _LOSSY:
        dataset.LossyImageCompressionMethod = _LOSSY[syntax]
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if attributes.get(keyword):
            dataset[keyword] = deepcopy(attributes[keyword])


def _put_pixels(dataset: Dataset, picture: Picture) -> None:
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    data = picture.tobytes()
    dataset.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))


def _list_facts(image: DicomImage) -> Sequence[tuple[str, str]]:
    """What the study calls itself, as far as it does, and who spoke when."""
    attributes, model = image.attributes, image.model
    stated = [
        ("Study", _read_text(attributes, "StudyDescription")),
        ("Study date", _format_date(_read_text(attributes, "StudyDate"))),
        ("View", _read_text(attributes, "ViewPosition")),
        ("Accession number", _read_text(attributes, "AccessionNumber")),
    ]
    at = find_local_time([image])
    return [
        *((name, value) for name, value in stated if value),
        ("Model", f"{model}, {model.precision}, chestx {__version__}"),
        ("Assessed", f"{at:%Y-%m-%d %H:%M:%S} UTC{at:%z}"),
        ("Thresholds", describe_calibration(model)),
    ]


def _read_text(attributes: Dataset, keyword: str) -> str:
    return str(attributes.get(keyword) or "").strip()


def _format_date(date: str) -> str:
    """``20261120`` as ``2026-11-20``; what is no such date stays as it is."""
    if len(date) == 8 and date.isdecimal():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date
