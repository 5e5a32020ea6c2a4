"""A result and the DICOM image that it is of: what every object is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset

from chestx.domain import MANUFACTURER, ChestxError, Failure, ModelIdentity, Report, Result
from chestx.export.dicom_elements import read_elements


class NoDicomSourceError(ChestxError):
    """A result to which no DICOM object can be made; the text says why."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DicomImage:
    """One DICOM image with its answer.

    Attributes:
        result: the answer, or why there is none.
        attributes: whose image it is and how it is shown: decoded, repaired where the file
            breaks the standard, Type 2 elements of patient and study present.
            SpecificCharacterSet is that in which the file's texts are, in truth; absent for
            the default repertoire. Never with pixel data or private elements.
        model: who spoke, or tried to.
        assessed_at: when the answer was given, with its time zone.
        repairs: what was put right or left out of the file's elements, a sentence each,
            without values.
    """

    result: Result
    attributes: Dataset
    model: ModelIdentity
    assessed_at: datetime
    repairs: tuple[str, ...] = ()

    @property
    def report(self) -> Report | None:
        """The answer; None where the image could not be read."""
        return None if isinstance(self.result, Failure) else self.result


def read_dicom_image(result: Result, *, model: ModelIdentity, assessed_at: datetime) -> DicomImage:
    """What objects can be made from.

    Args:
        result: of a DICOM file; a report needs its ``pixel_sha256``.
        model: who spoke, or tried to.
        assessed_at: when the answer was given, with its time zone.

    Raises:
        NoDicomSourceError: the image is no DICOM image, is a result of chestx itself, states
            no UIDs that an object could refer to, or a PatientID that cannot be written.
    """
    header = result.header
    if header is None or header.format != "DICOM":
        raise NoDicomSourceError("the image is no DICOM image; there is no study to add to")
    if header.manufacturer == MANUFACTURER:
        # A router that sends all of a study back would else have results of results made.
        raise NoDicomSourceError("the file is a result of chestx itself and no radiograph")
    read = read_elements(header.dicom_attributes)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if keyword not in read.attributes:
            raise NoDicomSourceError(
                f"the image states no valid {keyword}; an object could not refer to it"
            )
    if header.patient_id and not read.attributes.get("PatientID"):
        raise NoDicomSourceError(
            "the image states a PatientID that breaks the standard; an object without it would be "
            "filed under nobody"
        )
    return DicomImage(
        result=result,
        attributes=read.attributes,
        model=model,
        assessed_at=assessed_at,
        repairs=read.repairs,
    )
