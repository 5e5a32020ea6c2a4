"""Content items of reports and key objects, and how they are written. Source: PS3.3 C.17.3.

They are written here, not by highdicom or pydicom: these make a data set of every code and
every item, which takes tens of milliseconds a report. ``template_check`` and the tests hold
what is written to the standard's templates and to what both libraries read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding, encode_string
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID

from chestx.export.dicom_charset import TEXT_VRS, choose_character_set
from chestx.export.dicom_common import make_code, to_line
from chestx.shapes import Float64
from chestx.terminology import Code

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
HAS_PROPERTIES = "HAS PROPERTIES"
SELECTED_FROM = "SELECTED FROM"

# So that a dash alone does not change the character set of a whole object.
_PLAIN = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00a0": " ", "\u202f": " ", "\u2019": "'"}
)
_LONG_VRS = ("SQ", "UT")
_ITEM = b"\xfe\xff\x00\xe0"


class Element(NamedTuple):
    """One element of an item.

    Attributes:
        tag: group and element.
        vr: value representation.
        value: text, numbers of an FL, or the items of a sequence.
    """

    tag: int
    vr: str
    value: Any


Item = tuple[Element, ...]
"""The elements of an item of a sequence, by tag."""


class ObjectReference(NamedTuple):
    """An object that the document speaks of.

    Attributes:
        sop_class_uid, sop_instance_uid: its own.
        is_image: whether it was read as an image, or its class is known as one: makers of
            detectors have classes of their own, which PS3.4 does not list.
    """

    sop_class_uid: str
    sop_instance_uid: str
    is_image: bool


def refer_to(item: Dataset, *, was_read: bool = False) -> ObjectReference:
    """A reference to an object by its elements; one that was read as an image is an image."""
    is_image = was_read or "Image Storage" in UID(item.SOPClassUID).name
    return ObjectReference(str(item.SOPClassUID), str(item.SOPInstanceUID), is_image)


def to_plain_text(text: str) -> str:
    """A text with its dashes and dots in ASCII; letters stay as they are."""
    return text.translate(_PLAIN)


def put_document(dataset: Dataset, title: Code, content: Sequence[Item], *, template: str) -> None:
    """Makes an object a document, as it will be written; pydicom reads it when it is asked for.

    It comes last, since the texts of the rest may have changed the character set.

    Args:
        dataset: the object, complete but for this.
        title: of the document.
        content: the items below it.
        template: its number in PS3.16.
    """
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [make_code(title)]
    reference = Dataset()
    reference.MappingResource, reference.TemplateIdentifier = "DCMR", template
    dataset.ContentTemplateSequence = [reference]
    stated = dataset.get("SpecificCharacterSet") or ()
    terms = (stated,) if isinstance(stated, str) else tuple(stated)
    probe = Dataset()
    probe.TextValue = "\n".join(text for text in list_texts(content) if not text.isascii())
    if terms != (chosen := choose_character_set(probe, terms)):
        dataset.SpecificCharacterSet = list(chosen) if len(chosen) > 1 else chosen[0]
    encodings = convert_encodings(list(chosen)) if chosen else [default_encoding]
    value = encode_items(content, encodings=encodings)
    tag = Tag("ContentSequence")
    dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
    # So that pydicom writes the bytes as they are, and does not read and write them again.
    dataset.set_original_encoding(False, True, encodings if chosen else default_encoding)


def make_container(
    relationship: str, name: Code, content: Sequence[Item], *, template: str = ""
) -> Item:
    """A heading with what stands under it.

    Args:
        relationship: to the item above.
        name: of the heading.
        content: the items below.
        template: number of the template whose first row the heading is.
    """
    fields = [Element(0x0040A050, "CS", "SEPARATE")]
    if template:
        reference = (Element(0x00080105, "CS", "DCMR"), Element(0x0040DB00, "CS", template))
        fields.append(Element(0x0040A504, "SQ", (reference,)))
    return _make_item(relationship, "CONTAINER", name, fields, content)


def make_text(relationship: str, name: Code, text: str, *, content: Sequence[Item] = ()) -> Item:
    """A sentence; its dashes become ASCII, its letters stay."""
    fields = [Element(0x0040A160, "UT", to_plain_text(text))]
    return _make_item(relationship, "TEXT", name, fields, content)


def make_choice(
    relationship: str, name: Code, value: Code, *, content: Sequence[Item] = ()
) -> Item:
    """A value that is a code."""
    fields = [Element(0x0040A168, "SQ", (_make_code(value),))]
    return _make_item(relationship, "CODE", name, fields, content)


def make_uid(relationship: str, name: Code, uid: str) -> Item:
    """A UID."""
    return _make_item(relationship, "UIDREF", name, [Element(0x0040A124, "UI", uid)])


def make_number(
    relationship: str, name: Code, number: str, unit: Code, *, content: Sequence[Item] = ()
) -> Item:
    """A number with its unit.

    Args:
        relationship: to the item above.
        name: what is counted or measured.
        number: as it shall stand there, at most 16 characters.
        unit: of the number.
        content: the items below.
    """
    measured = (
        Element(0x004008EA, "SQ", (_make_code(unit),)),
        Element(0x0040A30A, "DS", number),
    )
    fields = [Element(0x0040A300, "SQ", (measured,))]
    return _make_item(relationship, "NUM", name, fields, content)


def make_object(
    relationship: str,
    name: Code | None,
    reference: ObjectReference,
    *,
    content: Sequence[Item] = (),
) -> Item:
    """A reference to an image, or to an object that is none: a document among the images."""
    referred = (
        Element(0x00081150, "UI", reference.sop_class_uid),
        Element(0x00081155, "UI", reference.sop_instance_uid),
    )
    fields = [Element(0x00081199, "SQ", (referred,))]
    value_type = "IMAGE" if reference.is_image else "COMPOSITE"
    return _make_item(relationship, value_type, name, fields, content)


def make_polygon(
    relationship: str, name: Code, points: Float64[np.ndarray, "count 2"], image: ObjectReference
) -> Item:
    """A closed line on an image.

    Args:
        relationship: to the item above.
        name: what the line is.
        points: column and row in pixels from the top left corner of the image; the last
            equals the first. Source: PS3.3 table C.18.6-1.
        image: the radiograph.
    """
    fields = [
        Element(0x00700022, "FL", points.ravel().tolist()),
        Element(0x00700023, "CS", "POLYLINE"),
    ]
    source = make_object(SELECTED_FROM, None, image)
    return _make_item(relationship, "SCOORD", name, fields, [source])


def list_texts(items: Sequence[Item]) -> Iterator[str]:
    """Every text that is in the document's character set."""
    for item in items:
        for element in item:
            if element.vr == "SQ":
                yield from list_texts(element.value)
            elif element.vr in TEXT_VRS:
                yield element.value


def encode_items(items: Sequence[Item], *, encodings: Sequence[str]) -> bytes:
    """The value of a sequence in Explicit VR Little Endian.

    Args:
        items: of the sequence.
        encodings: of the object's character set, as Python names them.
    """
    written = bytearray()
    for item in items:
        body = b"".join(_encode_element(element, encodings) for element in item)
        written += _ITEM + struct.pack("<I", len(body)) + body
    return bytes(written)


def _encode_element(element: Element, encodings: Sequence[str]) -> bytes:
    """Source: PS3.5 7.1.2."""
    tag, vr, value = element
    if vr == "SQ":
        body = encode_items(value, encodings=encodings)
    elif vr == "FL":
        body = struct.pack(f"<{len(value)}f", *value)
    else:
        body = value.encode("ascii") if value.isascii() else encode_string(value, encodings)
        body += (b"\0" if vr == "UI" else b" ") * (len(body) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    size = struct.pack("<HI", 0, len(body)) if vr in _LONG_VRS else struct.pack("<H", len(body))
    return head + size + body


def _make_code(code: Code) -> Item:
    return (
        Element(0x00080100, "SH", code.value),
        Element(0x00080102, "SH", code.scheme),
        Element(0x00080104, "LO", to_line(to_plain_text(code.meaning))),
    )


def _make_item(
    relationship: str,
    value_type: str,
    name: Code | None,
    fields: Sequence[Element],
    content: Sequence[Item] = (),
) -> Item:
    elements = [
        Element(0x0040A010, "CS", relationship),
        Element(0x0040A040, "CS", value_type),
        *fields,
    ]
    if name is not None:
        elements.append(Element(0x0040A043, "SQ", (_make_code(name),)))
    if content:
        elements.append(Element(0x0040A730, "SQ", tuple(content)))
    return tuple(sorted(elements, key=lambda element: element.tag))
