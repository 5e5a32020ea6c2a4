"""Content items of a small document, each a data set. Source: PS3.3 C.17.3."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from chestx.export.dicom_common import make_code
from chestx.terminology import Code

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"

# So that a dash alone does not change the character set of a whole object.
_PLAIN = str.maketrans({"\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00a0": " "})


def to_plain_text(text: str) -> str:
    """A text with its dashes and dots in ASCII; letters stay as they are."""
    return text.translate(_PLAIN)


def make_root(title: Code, content: Sequence[Dataset], *, template: str) -> Dataset:
    """A document whose root is its title.

    Args:
        title: of the document.
        content: the items below.
        template: its number in PS3.16.
    """
    root = Dataset()
    root.ValueType = "CONTAINER"
    root.ConceptNameCodeSequence = [make_code(title)]
    root.ContinuityOfContent = "SEPARATE"
    reference = Dataset()
    reference.MappingResource, reference.TemplateIdentifier = "DCMR", template
    root.ContentTemplateSequence = [reference]
    root.ContentSequence = list(content)
    return root


def make_text(relationship: str, name: Code, text: str) -> Dataset:
    """A sentence."""
    item = _make_item(relationship, "TEXT", name)
    item.TextValue = to_plain_text(text)
    return item


def make_choice(relationship: str, name: Code, value: Code) -> Dataset:
    """A value that is a code."""
    item = _make_item(relationship, "CODE", name)
    item.ConceptCodeSequence = [make_code(value)]
    return item


def make_uid(relationship: str, name: Code, uid: str) -> Dataset:
    """A UID."""
    item = _make_item(relationship, "UIDREF", name)
    item.UID = uid
    return item


def make_object(relationship: str, reference: Dataset) -> Dataset:
    """A reference to an image, or to an object that is none, e.g. a report."""
    is_image = "Image Storage" in reference.ReferencedSOPClassUID.name
    item = _make_item(relationship, "IMAGE" if is_image else "COMPOSITE", None)
    item.ReferencedSOPSequence = [reference]
    return item


def _make_item(relationship: str, value_type: str, name: Code | None) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    if name is not None:
        item.ConceptNameCodeSequence = [make_code(name)]
    return item
