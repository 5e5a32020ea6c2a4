"""What every DICOM object shares, whoever builds its content: whose it is, who made it, when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from chestx import __version__
from chestx.domain import MANUFACTURER, UsageError
from chestx.export.dicom_charset import choose_character_set
from chestx.export.dicom_identity import derive_device_uid, derive_instance_uid, derive_series_uid
from chestx.export.dicom_source import DicomImage
from chestx.terminology import Code, describe_thresholds

IMPLEMENTATION_CLASS_UID = "2.25.338472951395395329790341132132052524778"
"""Of this writer (PS3.7 D.3.3.2): a UUID that was drawn once."""

PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")

# Modules Patient and Clinical Trial Subject, General Study and Patient Study (PS3.3 C.7.1, C.7.2).
_OF_PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "LongitudinalTemporalInformationModified",
)
_OF_STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PatientAge",
)
_OF_SERIES = ("Modality", "BodyPartExamined", "Laterality")
_CODED_MAX, _LINE_MAX = 16, 64


class ObjectKind(StrEnum):
    """The kinds of objects that are made of a result."""

    SC = "sc"
    SR = "sr"
    GSPS = "gsps"
    KOS = "kos"
    WITHDRAWAL = "withdrawal"

    @property
    def series_number(self) -> int:
        """Of every series of this kind, far from what modalities count to."""
        return 9101 + list(ObjectKind).index(self)

    @property
    def series_description(self) -> str:
        """What a list of series shows, so that nobody takes it for a radiograph to read."""
        return f"AI {_DESCRIPTIONS[self]} - not for diagnosis"

    @property
    def modality(self) -> str:
        """Of the series; empty where it is that of the source.

        A Secondary Capture holds the radiograph, and Modality says what acquired the data
        that the series was made from (PS3.3 C.7.3.1.1.1).
        """
        return _MODALITIES[self]


_DESCRIPTIONS = {
    ObjectKind.SC: "result picture",
    ObjectKind.SR: "result report",
    ObjectKind.GSPS: "result marks",
    ObjectKind.KOS: "key images",
    ObjectKind.WITHDRAWAL: "results withdrawn",
}
_MODALITIES = {
    ObjectKind.SC: "",
    ObjectKind.SR: "SR",
    ObjectKind.GSPS: "PR",
    ObjectKind.KOS: "KO",
    ObjectKind.WITHDRAWAL: "KO",
}


def complete_object(
    dataset: Dataset,
    images: Sequence[DicomImage],
    *,
    kind: ObjectKind,
    variant: str = "",
    instance_number: int | None = None,
) -> None:
    """Puts in what objects share; the last step in building one.

    Patient and study are those of the first image, byte for byte where its texts can be
    written in its character set, which is chosen here for all text of the object. What
    stands there already under the same keywords is replaced. SeriesDate and SeriesTime are
    taken away: the objects of one series are made at different times.

    Args:
        dataset: with its content and SOPClassUID.
        images: of one study, the first one's patient and study are taken over.
        kind: of the object.
        variant: names the form where one kind comes in several.
        instance_number: within its series; without it that of a single image, else 1.

    Raises:
        UsageError: there is no image, or the images are of several studies or patients.
    """
    _check_images(images)
    first = images[0]
    for keyword in (*_OF_PATIENT, *_OF_STUDY):
        dataset.pop(keyword, None)
        if keyword in first.attributes:
            dataset.add(deepcopy(first.attributes[keyword]))
    _put_series(dataset, first, kind)
    _put_equipment(dataset, first)
    dataset.SOPInstanceUID = derive_instance_uid(f"{kind}{variant}", images)
    dataset.InstanceNumber = instance_number or _find_instance_number(images)
    _put_times(dataset, images, kind)
    _put_character_set(dataset, first)


def find_local_time(images: Sequence[DicomImage]) -> datetime:
    """When the last of the answers was given, in the time zone of the study's other times.

    That is the zone that the first image states; where it states none, the clock times of
    ``assessed_at`` itself, as the modality's are those of its own clock.
    """
    latest = max(image.assessed_at for image in images)
    offset = str(images[0].attributes.get("TimezoneOffsetFromUTC", ""))
    if not offset:
        return latest
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return latest.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def format_date_time(at: datetime) -> str:
    """DT with its offset from UTC, e.g. ``20261121173005.250000+0100``."""
    return at.strftime("%Y%m%d%H%M%S.%f%z")


def make_code(code: Code) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def make_reference(named: Dataset) -> Dataset:
    """An item that refers to an object, of which the elements that name it are given."""
    item = Dataset()
    item.ReferencedSOPClassUID = named.SOPClassUID
    item.ReferencedSOPInstanceUID = named.SOPInstanceUID
    return item


def list_evidence(named: Iterable[Dataset]) -> list[Dataset]:
    """Every object that a document refers to, once, by study and series.

    Source: PS3.3 C.17.2.1, Table C.17-3.
    """
    studies: dict[str, dict[str, dict[str, Dataset]]] = {}
    for item in named:
        series = studies.setdefault(str(item.StudyInstanceUID), {})
        objects = series.setdefault(str(item.SeriesInstanceUID), {})
        objects[str(item.SOPInstanceUID)] = make_reference(item)
    listed = []
    for study_uid, series in studies.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, objects in series.items():
            entry = Dataset()
            entry.SeriesInstanceUID = series_uid
            entry.ReferencedSOPSequence = list(objects.values())
            study.ReferencedSeriesSequence.append(entry)
        listed.append(study)
    return listed


def encode_object(dataset: Dataset) -> bytes:
    """A whole file in Explicit VR Little Endian; the same data set gives the same bytes.

    Source: PS3.10 section 7.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"CHESTX {__version__}"[:_CODED_MAX]
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def to_line(text: str) -> str:
    """A text as the value of an LO: without backslashes, which part values, and not too long."""
    return text.replace("\\", "/")[:_LINE_MAX].strip()


def _check_images(images: Sequence[DicomImage]) -> None:
    groups = {
        (str(image.attributes.StudyInstanceUID), str(image.attributes.get("PatientID", "")))
        for image in images
    }
    if len(groups) != 1:
        raise UsageError(
            "a DICOM object: expected images of one study of one patient, "
            f"got {len(images)} images of {len(groups)}; make one object a patient and study"
        )


def _put_series(dataset: Dataset, image: DicomImage, kind: ObjectKind) -> None:
    for keyword in ("SeriesDate", "SeriesTime"):
        dataset.pop(keyword, None)
    dataset.Modality = kind.modality or image.attributes.get("Modality") or "OT"
    parts: list[str] = []
    if kind in (ObjectKind.SC, ObjectKind.GSPS):
        _put_body_part(dataset, image)
        # Objects of one series agree in these.
        parts = [str(dataset.get(name, "")) for name in _OF_SERIES]
    dataset.SeriesInstanceUID = derive_series_uid(kind, image, parts=parts)
    dataset.SeriesNumber = kind.series_number
    dataset.SeriesDescription = kind.series_description


def _put_body_part(dataset: Dataset, image: DicomImage) -> None:
    """The chest is no paired part; with any other or none a Laterality is asked for.

    Source: PS3.3 C.7.3.1, Type 2C. Words other than CHEST are left out, since of each one
    would have to be known whether it is paired.
    """
    for keyword in ("BodyPartExamined", "Laterality"):
        dataset.pop(keyword, None)
    if image.attributes.get("BodyPartExamined") == "CHEST":
        dataset.BodyPartExamined = "CHEST"
    else:
        dataset.Laterality = image.attributes.get("Laterality", "")


def _put_equipment(dataset: Dataset, image: DicomImage) -> None:
    model = image.model
    versions = [to_line(__version__), to_line(model.version)]
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = to_line(model.name)
    dataset.DeviceSerialNumber = model.checksum[:_CODED_MAX]
    dataset.SoftwareVersions = versions
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [make_code(PROCESSING_EQUIPMENT)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = to_line(model.name)
    item.DeviceSerialNumber = model.checksum[:_CODED_MAX]
    item.SoftwareVersions = versions
    item.DeviceUID = derive_device_uid(image)
    item.ContributionDescription = (
        f"Model {model.name} {model.version}, checksum {model.checksum}, "
        f"precision {model.precision}. {describe_thresholds(model)}"
    )
    dataset.ContributingEquipmentSequence = [item]


def _find_instance_number(images: Sequence[DicomImage]) -> int:
    if len(images) > 1:
        return 1
    return max(1, int(images[0].attributes.get("InstanceNumber") or 1))


def _put_times(dataset: Dataset, images: Sequence[DicomImage], kind: ObjectKind) -> None:
    at = find_local_time(images)
    date, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    if kind is ObjectKind.GSPS:
        dataset.PresentationCreationDate, dataset.PresentationCreationTime = date, time
    else:
        dataset.ContentDate, dataset.ContentTime = date, time
    dataset.ContributingEquipmentSequence[0].ContributionDateTime = format_date_time(at)
    # It would speak for the study's times too (PS3.3 C.12.1.1.8), of which nobody stated it.
    dataset.pop("TimezoneOffsetFromUTC", None)
    if "TimezoneOffsetFromUTC" in images[0].attributes:
        dataset.TimezoneOffsetFromUTC = images[0].attributes.TimezoneOffsetFromUTC


def _put_character_set(dataset: Dataset, image: DicomImage) -> None:
    dataset.pop("SpecificCharacterSet", None)
    stated = image.attributes.get("SpecificCharacterSet") or ()
    source = (stated,) if isinstance(stated, str) else tuple(stated)
    terms = choose_character_set(dataset, source)
    if terms:
        dataset.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
