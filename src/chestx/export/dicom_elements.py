"""From the bytes that a file's reader set aside to a data set that keeps the standard."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.tag import Tag

from chestx.export.dicom_charset import TEXT_VRS, Text, decode_text, find_character_set, read_terms
from chestx.export.dicom_repair import Repairs, are_positive, is_orientation, repair_values

_CHARACTER_SET = 0x00080005
_HEAD, _ITEM = 8, 0xFFFEE000
_MAX_DEPTH = 4
_MAX_ENTRIES = 65_536
_NUMBERS = {"US": "<H", "SS": "<h"}

# Type 2 of the modules Patient and General Study (PS3.3 C.7.1.1, C.7.2.1).
_EXPECTED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)

_CODE = frozenset(
    {
        "CodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "CodeMeaning",
        "LongCodeValue",
        "URNCodeValue",
    }
)
_ISSUER = frozenset({"LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType"})
_REFERENCE = frozenset({"ReferencedSOPClassUID", "ReferencedSOPInstanceUID"})
_LUT = frozenset({"LUTDescriptor", "LUTData", "LUTExplanation", "ModalityLUTType"})
_REQUEST = frozenset(
    {
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "RequestedProcedureCodeSequence",
        "RequestedProcedureDescription",
        "RequestedProcedureID",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
        "ScheduledProtocolCodeSequence",
        "StudyInstanceUID",
    }
)
_QUALIFIERS = frozenset({"UniversalEntityID", "UniversalEntityIDType", "IdentifierTypeCode"})
_ITEMS = {
    "AnatomicRegionSequence": _CODE,
    "DeidentificationMethodCodeSequence": _CODE,
    "IssuerOfAccessionNumberSequence": _ISSUER,
    "IssuerOfPatientIDQualifiersSequence": _QUALIFIERS,
    "ModalityLUTSequence": _LUT,
    "PerformedProtocolCodeSequence": _CODE,
    "ProcedureCodeSequence": _CODE,
    "ReferencedPerformedProcedureStepSequence": _REFERENCE,
    "RequestAttributesSequence": _REQUEST,
    "RequestedProcedureCodeSequence": _CODE,
    "ScheduledProtocolCodeSequence": _CODE,
    "VOILUTSequence": _LUT,
}
"""Sequence -> what its items may hold; no other sequence is taken over."""

_SINGLE_ITEM = frozenset(
    {
        "AnatomicRegionSequence",
        "IssuerOfAccessionNumberSequence",
        "IssuerOfPatientIDQualifiersSequence",
        "ModalityLUTSequence",
        "ReferencedPerformedProcedureStepSequence",
    }
)

_TRIAL = (
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
)
_TRIAL_NEEDED = ("ClinicalTrialSponsorName", "ClinicalTrialProtocolID")
_TRIAL_SUBJECT = ("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID")

_NOT_STATED = "Method not stated in the source image"

_Elements = Mapping[int, bytes]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReadElements:
    """What came of the bytes.

    Attributes:
        attributes: decoded and repaired; with SpecificCharacterSet unless the texts were in
            the default repertoire.
        repairs: what was put right or left out, a sentence each, without values.
    """

    attributes: Dataset
    repairs: tuple[str, ...]


def read_elements(data: bytes) -> ReadElements:
    """Decodes and repairs elements in Implicit VR Little Endian; never raises on their content.

    Elements that PS3.6 does not list and items of sequences that lack what makes them
    readable are left out. Type 2 elements of patient and study are there, empty where the
    file says nothing.
    """
    elements = dict(_walk(data))
    repairs = Repairs()
    declared = read_terms(elements.get(_CHARACTER_SET, b""))
    terms, fault = find_character_set(list(_list_texts(elements)), declared)
    if fault:
        repairs.note("SpecificCharacterSet", fault)
    reader = _Reader(terms=terms, repairs=repairs, is_signed=_is_signed(elements))
    attributes = reader.read(elements)
    for keyword in _EXPECTED:
        if keyword not in attributes:
            setattr(attributes, keyword, "")
    _repair_groups(attributes, repairs)
    if terms:
        attributes.SpecificCharacterSet = list(terms) if len(terms) > 1 else terms[0]
    return ReadElements(attributes=attributes, repairs=repairs.sentences)


def _walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Elements in Implicit VR Little Endian up to the first that is not whole."""
    position = 0
    while position + _HEAD <= len(data):
        group, number, length = struct.unpack_from("<HHI", data, position)
        position += _HEAD
        if length > len(data) - position:
            return
        yield group << 16 | number, data[position : position + length]
        position += length


def _walk_items(data: bytes) -> Iterator[_Elements]:
    for tag, content in _walk(data):
        if tag != _ITEM:
            return
        yield dict(_walk(content))


def _list_texts(elements: _Elements, depth: int = 0) -> Iterator[Text]:
    for tag, value in elements.items():
        keyword, vr = _look_up(tag)
        if vr in TEXT_VRS:
            yield value, vr
        elif keyword in _ITEMS and depth < _MAX_DEPTH:
            for item in _walk_items(value):
                yield from _list_texts(item, depth + 1)


@cache
def _look_up(tag: int) -> tuple[str, str]:
    """Keyword and VR of PS3.6; both empty for an element that is not there."""
    try:
        return keyword_for_tag(Tag(tag)), dictionary_VR(Tag(tag))
    except KeyError:
        return "", ""


def _is_signed(elements: _Elements) -> bool:
    return elements.get(0x00280103, b"")[:1] == b"\1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads elements, and those inside sequences alike."""

    terms: tuple[str, ...]
    repairs: Repairs
    is_signed: bool

    def read(self, elements: _Elements, *, permitted: frozenset[str] | None = None) -> Dataset:
        """Those elements that are permitted; all that PS3.6 lists where that is None."""
        dataset = Dataset()
        for tag, value in elements.items():
            keyword, vr = _look_up(tag)
            if not keyword or tag == _CHARACTER_SET:
                continue
            if permitted is None or keyword in permitted:
                self._add(dataset, keyword, vr, value)
        return dataset

    def _add(self, dataset: Dataset, keyword: str, vr: str, value: bytes) -> None:
        if vr == "SQ":
            items = self._read_items(keyword, value)
            if items:
                dataset.add_new(keyword, vr, items)
        elif vr in _NUMBERS:
            numbers = _unpack(_NUMBERS[vr], value)
            if numbers:
                dataset.add_new(keyword, vr, numbers[0])
        elif keyword == "LUTDescriptor":
            sign = "SS" if self.is_signed else "US"
            dataset.add_new(keyword, sign, _unpack(_NUMBERS[sign], value))
        elif vr == "US or OW":
            dataset.add_new(keyword, "OW", value)
        else:
            text = decode_text((value, vr), self.terms if vr in TEXT_VRS else ())
            values = repair_values(keyword, vr, text, repairs=self.repairs)
            if values:
                dataset.add_new(keyword, vr, values if len(values) > 1 else values[0])

    def _read_items(self, keyword: str, value: bytes) -> list[Dataset]:
        permitted = _ITEMS.get(keyword)
        if permitted is None:
            return []
        read = [self.read(item, permitted=permitted) for item in _walk_items(value)]
        items = [item for item in read if _is_readable(item, permitted)]
        if len(items) < len(read) or (value and not read):
            self.repairs.note(keyword, "an item lacks what makes it readable; left out")
        return items[:1] if keyword in _SINGLE_ITEM else items


def _unpack(form: str, value: bytes) -> list[int]:
    return [number for (number,) in struct.iter_unpack(form, value[: len(value) // 2 * 2])]


def _is_readable(item: Dataset, permitted: frozenset[str]) -> bool:
    """Whether an item holds what its kind needs; parts that are nothing alone are taken away."""
    if permitted is _CODE:
        return _is_code(item)
    if permitted is _REFERENCE:
        return all(keyword in item for keyword in _REFERENCE)
    if permitted is _LUT:
        return _is_table(item)
    if ("UniversalEntityID" in item) != ("UniversalEntityIDType" in item):
        for keyword in ("UniversalEntityID", "UniversalEntityIDType"):
            item.pop(keyword, None)
    return len(item) > 0


def _is_code(item: Dataset) -> bool:
    """Source: PS3.3 table 8.8-1."""
    values = [name for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if name in item]
    if len(values) != 1 or "CodeMeaning" not in item:
        return False
    return "CodingSchemeDesignator" in item or values == ["URNCodeValue"]


def _is_table(item: Dataset) -> bool:
    """Whether a lookup table is as long as it says. Source: PS3.3 C.11.1.1."""
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData", b"")
    if descriptor is None or len(descriptor) != 3:
        return False
    entries = int(descriptor[0]) % _MAX_ENTRIES or _MAX_ENTRIES
    return len(data) in (entries, entries * 2)


def _repair_groups(attributes: Dataset, repairs: Repairs) -> None:
    """Elements that are right only beside each other."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in attributes and not are_positive(_list_values(attributes, keyword), 2):
            _drop(attributes, repairs, "not two sizes above 0", keyword)
    orientation = _list_values(attributes, "PatientOrientation")
    if orientation and not is_orientation(orientation):
        _drop(attributes, repairs, "not two directions", "PatientOrientation")
    _repair_window(attributes, repairs)
    slope = attributes.get("RescaleSlope")
    if ("RescaleIntercept" in attributes) != (slope is not None) or (
        slope is not None and not slope
    ):
        names = ("RescaleIntercept", "RescaleSlope", "RescaleType")
        _drop(attributes, repairs, "not a whole rescale", *names)
    _repair_trial(attributes, repairs)
    removed = attributes.get("PatientIdentityRemoved") == "YES"
    how = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    if removed and not any(keyword in attributes for keyword in how):
        attributes.DeidentificationMethod = _NOT_STATED


def _repair_window(attributes: Dataset, repairs: Repairs) -> None:
    centers, widths = (_list_values(attributes, name) for name in ("WindowCenter", "WindowWidth"))
    if len(centers) != len(widths) or not are_positive(widths, len(widths)):
        _drop(attributes, repairs, "not a whole window", "WindowCenter", "WindowWidth")


def _repair_trial(attributes: Dataset, repairs: Repairs) -> None:
    """The module Clinical Trial Subject, whole or not at all. Source: PS3.3 C.7.1.3."""
    present = [name for name in (*_TRIAL, *_TRIAL_NEEDED, *_TRIAL_SUBJECT) if name in attributes]
    has_subject = any(name in attributes for name in _TRIAL_SUBJECT)
    if not present:
        return
    if has_subject and all(name in attributes for name in _TRIAL_NEEDED):
        for name in _TRIAL:
            attributes.setdefault(name, "")
    else:
        _drop(attributes, repairs, "the trial is not stated whole", *present)


def _list_values(attributes: Dataset, keyword: str) -> list[str]:
    if keyword not in attributes:
        return []
    element = attributes[keyword]
    return [str(value) for value in (element.value if element.VM > 1 else [element.value])]


def _drop(attributes: Dataset, repairs: Repairs, why: str, *keywords: str) -> None:
    for keyword in keywords:
        if attributes.pop(keyword, None) is not None:
            repairs.note(keyword, f"{why}; left out")
