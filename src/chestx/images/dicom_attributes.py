"""What an answer in DICOM takes over from the file that it is of."""

from __future__ import annotations

import struct

import numpy as np

from chestx.images.dicom_dataset import DataSet, Element

# By group and element of PS3.6. Patient, study and request say whose image it is; of the
# image what others need to show an answer in its place. Nothing else leaves the file.
_KEPT = frozenset(
    {
        0x00080005,  # SpecificCharacterSet
        0x00080016,  # SOPClassUID
        0x00080018,  # SOPInstanceUID
        0x00080020,  # StudyDate
        0x00080022,  # AcquisitionDate
        0x00080023,  # ContentDate
        0x00080030,  # StudyTime
        0x00080032,  # AcquisitionTime
        0x00080033,  # ContentTime
        0x00080050,  # AccessionNumber
        0x00080051,  # IssuerOfAccessionNumberSequence
        0x00080060,  # Modality
        0x00080090,  # ReferringPhysicianName
        0x00080201,  # TimezoneOffsetFromUTC
        0x00081030,  # StudyDescription
        0x00081032,  # ProcedureCodeSequence
        0x00081111,  # ReferencedPerformedProcedureStepSequence
        0x00082218,  # AnatomicRegionSequence
        0x00100010,  # PatientName
        0x00100020,  # PatientID
        0x00100021,  # IssuerOfPatientID
        0x00100024,  # IssuerOfPatientIDQualifiersSequence
        0x00100030,  # PatientBirthDate
        0x00100040,  # PatientSex
        0x00101010,  # PatientAge
        0x00120010,  # ClinicalTrialSponsorName
        0x00120020,  # ClinicalTrialProtocolID
        0x00120021,  # ClinicalTrialProtocolName
        0x00120030,  # ClinicalTrialSiteID
        0x00120031,  # ClinicalTrialSiteName
        0x00120040,  # ClinicalTrialSubjectID
        0x00120042,  # ClinicalTrialSubjectReadingID
        0x00120062,  # PatientIdentityRemoved
        0x00120063,  # DeidentificationMethod
        0x00120064,  # DeidentificationMethodCodeSequence
        0x00180015,  # BodyPartExamined
        0x00181164,  # ImagerPixelSpacing
        0x00185101,  # ViewPosition
        0x0020000D,  # StudyInstanceUID
        0x0020000E,  # SeriesInstanceUID
        0x00200010,  # StudyID
        0x00200011,  # SeriesNumber
        0x00200013,  # InstanceNumber
        0x00200020,  # PatientOrientation
        0x00200060,  # Laterality
        0x00200062,  # ImageLaterality
        0x00280004,  # PhotometricInterpretation
        0x00280010,  # Rows
        0x00280011,  # Columns
        0x00280030,  # PixelSpacing
        0x00280101,  # BitsStored
        0x00280103,  # PixelRepresentation
        0x00280301,  # BurnedInAnnotation
        0x00280302,  # RecognizableVisualFeatures
        0x00280303,  # LongitudinalTemporalInformationModified
        0x00281050,  # WindowCenter
        0x00281051,  # WindowWidth
        0x00281052,  # RescaleIntercept
        0x00281053,  # RescaleSlope
        0x00281054,  # RescaleType
        0x00281056,  # VOILUTFunction
        0x00282110,  # LossyImageCompression
        0x00282112,  # LossyImageCompressionRatio
        0x00282114,  # LossyImageCompressionMethod
        0x00283000,  # ModalityLUTSequence
        0x00283010,  # VOILUTSequence
        0x00400275,  # RequestAttributesSequence
        0x00400253,  # PerformedProcedureStepID
        0x00400260,  # PerformedProtocolCodeSequence
        0x20500020,  # PresentationLUTShape
    }
)

# Of codes, issuers, references, requests and lookup tables; more is in no item.
_KEPT_INSIDE = frozenset(
    {
        0x00080050,  # AccessionNumber
        0x00080051,  # IssuerOfAccessionNumberSequence
        0x00080100,  # CodeValue
        0x00080102,  # CodingSchemeDesignator
        0x00080103,  # CodingSchemeVersion
        0x00080104,  # CodeMeaning
        0x00080119,  # LongCodeValue
        0x00080120,  # URNCodeValue
        0x00081150,  # ReferencedSOPClassUID
        0x00081155,  # ReferencedSOPInstanceUID
        0x0020000D,  # StudyInstanceUID
        0x00283002,  # LUTDescriptor
        0x00283003,  # LUTExplanation
        0x00283004,  # ModalityLUTType
        0x00283006,  # LUTData
        0x00321060,  # RequestedProcedureDescription
        0x00321064,  # RequestedProcedureCodeSequence
        0x00400007,  # ScheduledProcedureStepDescription
        0x00400008,  # ScheduledProtocolCodeSequence
        0x00400009,  # ScheduledProcedureStepID
        0x00400031,  # LocalNamespaceEntityID
        0x00400032,  # UniversalEntityID
        0x00400033,  # UniversalEntityIDType
        0x00400035,  # IdentifierTypeCode
        0x00401001,  # RequestedProcedureID
    }
)

MAX_VALUE = 16 * 1024
"""Bytes of one value; a longer one is left out whole, since half a name is another name."""

MAX_TABLE = 2 * 65_536
"""Bytes of a lookup table."""

MAX_BYTES = 512 * 1024
"""Bytes of all that is taken over; elements past it are left out."""

_LUT_DATA = 0x00283006
_TABLES = frozenset({0x00283000, 0x00283010})
_SEQUENCES = _TABLES | {
    0x00080051,
    0x00081032,
    0x00081111,
    0x00082218,
    0x00100024,
    0x00120064,
    0x00321064,
    0x00400008,
    0x00400260,
    0x00400275,
}
_MAX_DEPTH, _MAX_ITEMS = 4, 16
_SWAPPED = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8}


def write_attributes(data_set: DataSet) -> bytes:
    """The elements that an answer takes over, as a data set in Implicit VR Little Endian.

    Values stand as they stand in the file, in its character set. What items hold beside
    codes, issuers, references, requests and lookup tables is left out.
    """
    written = bytearray()
    for tag in sorted(_KEPT & data_set.elements.keys()):
        element = _write_element(tag, data_set.elements[tag], depth=0)
        if len(written) + len(element) <= MAX_BYTES:
            written += element
    return bytes(written)


def _write_element(tag: int, element: Element, *, depth: int) -> bytes:
    """An element; nothing where it is too long, or is a sequence where none belongs."""
    is_sequence = tag in _SEQUENCES
    if element.fragments is not None or is_sequence != bool(element.items):
        return b""
    if is_sequence:
        value = _write_items(element.items, depth=depth)
        limit = MAX_BYTES if tag in _TABLES else MAX_VALUE
    else:
        value = _to_little_endian(element)
        limit = MAX_TABLE if tag == _LUT_DATA else MAX_VALUE
    if len(value) > limit:
        return b""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def _write_items(items: tuple[DataSet, ...], *, depth: int) -> bytes:
    if depth == _MAX_DEPTH:
        return b""
    written = bytearray()
    for item in items[:_MAX_ITEMS]:
        content = b"".join(
            _write_element(tag, item.elements[tag], depth=depth + 1)
            for tag in sorted(_KEPT_INSIDE & item.elements.keys())
        )
        if len(written) + len(content) > MAX_BYTES:
            break
        written += struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
    return bytes(written)


def _to_little_endian(element: Element) -> bytes:
    """The value, or a byte more than any may have of one that is longer."""
    value = bytes(element.value[: MAX_TABLE + 1])
    width = _SWAPPED.get(element.vr, 1) if element.is_big_endian else 1
    if width == 1 or len(value) > MAX_TABLE:
        return value
    whole = len(value) // width * width
    return np.frombuffer(value[:whole], f">u{width}").astype(f"<u{width}").tobytes()
