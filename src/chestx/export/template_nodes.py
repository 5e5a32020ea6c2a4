"""The content tree of a structured report, read once, as its checks ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from chestx.export.template_rows import NAMELESS, Coded


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Node:
    """A content item.

    Attributes:
        place: as ``dsrdump +Pn`` counts, e.g. ``1.12.3``.
        kind: its value type.
        relationship: to the item above; empty for the root.
        name: of its concept.
        value: what is said; None where nothing is, and of other kinds than TEXT, UIDREF, CODE
            and NUM.
        units: of a number.
        reference: SOPInstanceUID of the object that is referred to, or empty.
        points: of a line, column and row in turn; empty of anything but a POLYLINE.
        templates: that it says it is the first row of.
        content: the items below.
    """

    place: str
    kind: str
    relationship: str
    name: Coded
    value: str | float | Coded | None
    units: tuple[Coded, ...]
    reference: str
    points: tuple[float, ...]
    templates: tuple[str, ...]
    content: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """This item and all below."""
        yield self
        for node in self.content:
            yield from node.walk()


def read_nodes(item: Dataset, *, place: str = "1") -> Node:
    """A content item with all below.

    Args:
        item: as in the data set.
        place: of it.
    """
    kind = str(item.get("ValueType", ""))
    measured = get_items(item, "MeasuredValueSequence")
    units = get_items(measured[0], "MeasurementUnitsCodeSequence") if measured else ()
    names = get_items(item, "ConceptNameCodeSequence")
    references = get_items(item, "ReferencedSOPSequence")
    points = item.get("GraphicData") if item.get("GraphicType") == "POLYLINE" else None
    return Node(
        place=place,
        kind=kind,
        relationship=str(item.get("RelationshipType", "")),
        name=_read_code(names[0]) if names else NAMELESS,
        value=_read_value(item, kind),
        units=tuple(_read_code(unit) for unit in units),
        reference=str(references[0].get("ReferencedSOPInstanceUID", "")) if references else "",
        points=tuple(float(value) for value in points or ()),
        templates=tuple(
            str(x.get("TemplateIdentifier")) for x in get_items(item, "ContentTemplateSequence")
        ),
        content=tuple(
            read_nodes(child, place=f"{place}.{number}")
            for number, child in enumerate(get_items(item, "ContentSequence"), 1)
        ),
    )


def get_items(item: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none where there is no such sequence."""
    return item.get(keyword) or ()


def _read_value(item: Dataset, kind: str) -> str | float | Coded | None:
    if kind == "CODE":
        values = get_items(item, "ConceptCodeSequence")
        return _read_code(values[0]) if values else None
    if kind == "NUM":
        measured = get_items(item, "MeasuredValueSequence")
        number = measured[0].get("NumericValue") if measured else None
        return None if number is None else float(number)
    keyword = {"TEXT": "TextValue", "UIDREF": "UID"}.get(kind)
    return str(item.get(keyword) or "").strip() or None if keyword else None


def _read_code(item: Dataset) -> Coded:
    return (
        str(item.get("CodeValue", "")),
        str(item.get("CodingSchemeDesignator", "")),
        str(item.get("CodeMeaning", "")),
    )
