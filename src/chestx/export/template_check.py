"""Whether a structured report of chestx keeps to the templates that it says it is built by.

Validators of DICOM files check modules and value types, not templates: a report without an
observer, or with *Absent* for an image that nobody assessed, passes them. This one is for
whoever receives reports, and for the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from pydicom import Dataset

from chestx.domain import CAVEAT
from chestx.export.template_nodes import Node, get_items, read_nodes
from chestx.export.template_rows import (
    FINDING,
    FINDING_ROWS,
    GROUP,
    PRESENCES,
    REGION,
    REGION_ROWS,
    REPORT,
    REPORT_ROWS,
    STATUS,
    STATUS_ROWS,
    SUCCEEDED,
    TRACKING_IDENTIFIER,
    TRACKING_UID,
    Coded,
    Row,
)

_LIBRARY_GROUP, _ROWS, _COLUMNS = "126200", "110910", "110911"


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """One place where a report breaks a template.

    Attributes:
        row: template and row, e.g. ``TID 1501 row 2``.
        place: of the item, as ``dsrdump +Pn`` counts, e.g. ``1.12.3``.
        text: what is wrong.
    """

    row: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.row} at {self.place}: {self.text}"


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """What a report says, by the images that it says it of.

    Attributes:
        sizes: of each image of the library: rows and columns, None where they are not stated.
        states: of each image.
        presences: of each image and finding.
    """

    sizes: dict[str, tuple[float, float] | None]
    states: dict[str, list[Coded]]
    presences: dict[tuple[str, Coded], Coded]


def find_template_faults(dataset: Dataset) -> tuple[TemplateFault, ...]:
    """Where a structured report of chestx breaks TID 1500 and the templates within it.

    Args:
        dataset: the whole report.

    Returns:
        Every fault; none for a report as it should be.
    """
    root = read_nodes(dataset)
    return (
        *_check_document(dataset, root),
        *_check_content(root, REPORT_ROWS),
        *_check_references(dataset, root),
        *_check_answers(root),
    )


def _check_document(dataset: Dataset, root: Node) -> Iterator[TemplateFault]:
    row = "TID 1500 row 1"
    if root.name != REPORT:
        yield TemplateFault(row, "1", f"expected the title {REPORT}, got {root.name}")
    for node in root.walk():
        expected = _name_template(node)
        if expected and node.templates != (expected,):
            text = f"expected template {expected}, got {node.templates}"
            yield TemplateFault(row, node.place, text)
    for keyword, flag in (("CompletionFlag", "COMPLETE"), ("VerificationFlag", "UNVERIFIED")):
        if dataset.get(keyword) != flag:
            yield TemplateFault(row, "1", f"expected {keyword} {flag}, got {dataset.get(keyword)}")
    for keyword in ("ReferencedPerformedProcedureStepSequence", "PerformedProcedureCodeSequence"):
        if keyword not in dataset:
            yield TemplateFault(row, "1", f"{keyword} is missing; it is of Type 2")
    schemes = {
        code[1] for node in root.walk() for code in (node.name, node.value) if _is_code(code)
    }
    known = {
        str(item.get("CodingSchemeDesignator"))
        for item in get_items(dataset, "CodingSchemeIdentificationSequence")
    }
    for scheme in sorted(schemes - known):
        if scheme.startswith("99"):
            text = f"the coding scheme {scheme} is not identified"
            yield TemplateFault("PS3.3 C.12.1", "1", text)


def _check_content(parent: Node, rows: Sequence[Row]) -> Iterator[TemplateFault]:
    """The items below another: each has a row, and each row its number of items."""
    counts = [0] * len(rows)
    for node in parent.content:
        index = _find_row(node, rows)
        if index is None:
            yield TemplateFault("none", node.place, f"no row allows {node.kind} {node.name} here")
            continue
        counts[index] += 1
        yield from _check_node(node, rows[index])
    for row, count in zip(rows, counts, strict=True):
        if count < row.least or (row.most is not None and count > row.most):
            most = "n" if row.most is None else row.most
            what = row.name or "an evaluation"
            text = f"expected {row.least} to {most} of {what}, got {count}"
            yield TemplateFault(row.number, parent.place, text)


def _find_row(node: Node, rows: Sequence[Row]) -> int | None:
    """The row that an item is of: by name, else by being of no other row's name."""
    named = [i for i, row in enumerate(rows) if row.name and row.name[:2] == node.name[:2]]
    same = [i for i in named if rows[i].value_type == node.kind]
    others = [i for i, row in enumerate(rows) if row.name is None and row.value_type == node.kind]
    return next(iter([*same, *named, *others]), None)


def _check_node(node: Node, row: Row) -> Iterator[TemplateFault]:
    for what, expected, got in (
        ("value type", row.value_type, node.kind),
        ("relationship", row.relationship, node.relationship),
        ("concept name", row.name or node.name, node.name),
    ):
        if expected != got:
            yield TemplateFault(row.number, node.place, f"expected {what} {expected}, got {got}")
    if text := _describe_fault_of_value(node, row):
        yield TemplateFault(row.number, node.place, text)
    yield from _check_content(node, _choose_rows(node) if row.name == GROUP else row.content)


def _describe_fault_of_value(node: Node, row: Row) -> str:
    """What is wrong with what an item says; empty for nothing."""
    if node.kind in ("TEXT", "UIDREF", "CODE", "NUM") and not (
        node.value is not None and (not _is_code(node.value) or all(node.value))
    ):
        return f"expected a value, got {node.value}"
    if row.values and node.kind == "CODE" and node.value not in row.values:
        return f"expected one of {row.values}, got {node.value}"
    if node.kind == "NUM" and node.units != (row.unit,):
        return f"expected the unit {row.unit}, got {node.units}"
    if node.units and node.units[0][0] == "%" and not 0 <= float(str(node.value)) <= 100:
        return f"expected 0 to 100 %, got {node.value}"
    if node.kind in ("IMAGE", "COMPOSITE") and not node.reference:
        return "expected a reference to an object, got none"
    # Source: PS3.3 C.18.6.1.2.
    if node.kind == "SCOORD" and (len(node.points) < 8 or node.points[:2] != node.points[-2:]):
        return "expected a polyline of four points or more that is closed"
    return ""


def _check_references(dataset: Dataset, root: Node) -> Iterator[TemplateFault]:
    """Every object that is spoken of stands in the library and among the evidence."""
    evidence = {
        str(reference.get("ReferencedSOPInstanceUID"))
        for study in get_items(dataset, "CurrentRequestedProcedureEvidenceSequence")
        for series in get_items(study, "ReferencedSeriesSequence")
        for reference in get_items(series, "ReferencedSOPSequence")
    }
    library = _read_sizes(root)
    for node in root.walk():
        uid = node.reference
        if uid and uid not in evidence:
            yield TemplateFault("PS3.3 C.17.2", node.place, f"{uid} is not among the evidence")
        if uid and uid not in library:
            yield TemplateFault("TID 1601 row 1", node.place, f"{uid} is not in the image library")
    tracked = Counter(
        str(node.value) for node in root.walk() if node.name in (TRACKING_UID, TRACKING_IDENTIFIER)
    )
    for value in sorted(value for value, count in tracked.items() if count > 1):
        yield TemplateFault("TID 1501 rows 2, 3", "1", f"{value} is tracked more than once")


def _check_answers(root: Node) -> Iterator[TemplateFault]:
    """What is said agrees: nothing is found, or found absent, that was not looked at."""
    answers = _read_answers(root)
    for uid in answers.sizes:
        if len(states := answers.states.get(uid, [])) != 1:
            text = f"expected one status of image {uid}, got {states}"
            yield TemplateFault("TID 1501 row 11", "1", text)
    for group in _list_groups(root):
        yield from _check_group(group, answers)
    if not any(node.kind == "TEXT" and node.value == CAVEAT for node in root.walk()):
        yield TemplateFault("TID 1500 row 14", "1", f"the sentence {CAVEAT!r} is missing")


def _check_group(group: Node, answers: _Answers) -> Iterator[TemplateFault]:
    rows, uids = _choose_rows(group), _list_references(group)
    if len(uids) != 1:
        text = f"expected one image, got {len(uids)}"
        yield TemplateFault("TID 1501 row 10b", group.place, text)
        return
    if rows is STATUS_ROWS:
        return
    uid, finding = uids[0], _find_finding(group)
    if answers.states.get(uid) != [SUCCEEDED]:
        text = "an answer for an image that was not assessed"
        yield TemplateFault("TID 1501 row 11", group.place, text)
    if rows is FINDING_ROWS:
        names = [node.name for node in group.content if node.value in PRESENCES]
        if names != [finding]:
            text = f"expected an evaluation of {finding}, got {names}"
            yield TemplateFault("TID 1501 row 11", group.place, text)
    elif finding is None or answers.presences.get((uid, finding)) != PRESENCES[0]:
        text = "a region of what is not said to be present"
        yield TemplateFault("TID 1410 row 5", group.place, text)
    for node in group.content:
        if node.points and not _is_inside(node.points, answers.sizes.get(uid)):
            text = f"the region leaves the image of {answers.sizes.get(uid)} pixels"
            yield TemplateFault("TID 1410 row 5", node.place, text)


def _is_inside(points: Sequence[float], size: tuple[float, float] | None) -> bool:
    """Whether a line is within rows and columns that are known."""
    return (
        size is not None
        and min(points) >= 0
        and max(points[::2]) <= size[1]
        and max(points[1::2]) <= size[0]
    )


def _is_code(value: object) -> TypeGuard[Coded]:
    return isinstance(value, tuple)


def _name_template(node: Node) -> str:
    """The number that an item must state as its template; empty for none."""
    if node.name == GROUP:
        return "1410" if _choose_rows(node) is REGION_ROWS else "1501"
    return {"126000": "1500", "111028": "1600"}.get(node.name[0], "")


def _choose_rows(group: Node) -> tuple[Row, ...]:
    names = {node.name for node in group.content}
    if REGION in names:
        return REGION_ROWS
    return STATUS_ROWS if STATUS in names else FINDING_ROWS


def _read_answers(root: Node) -> _Answers:
    answers = _Answers(sizes=_read_sizes(root), states={}, presences={})
    for group in _list_groups(root):
        for uid in _list_references(group):
            for node in group.content:
                if node.name == STATUS and isinstance(node.value, tuple):
                    answers.states.setdefault(uid, []).append(node.value)
                if node.value in PRESENCES and isinstance(node.value, tuple):
                    answers.presences[uid, node.name] = node.value
    return answers


def _read_sizes(root: Node) -> dict[str, tuple[float, float] | None]:
    sizes: dict[str, tuple[float, float] | None] = {}
    for group in root.walk():
        for entry in group.content if group.name[0] == _LIBRARY_GROUP else ():
            stated = {node.name[0]: node.value for node in entry.content}
            rows, columns = stated.get(_ROWS), stated.get(_COLUMNS)
            is_known = isinstance(rows, float) and isinstance(columns, float)
            sizes[entry.reference] = (float(str(rows)), float(str(columns))) if is_known else None
    return sizes


def _list_groups(root: Node) -> list[Node]:
    return [node for node in root.walk() if node.name == GROUP]


def _list_references(group: Node) -> list[str]:
    return [node.reference for node in group.walk() if node.reference]


def _find_finding(group: Node) -> Coded | None:
    values = [node.value for node in group.content if node.name == FINDING]
    return values[0] if values and isinstance(values[0], tuple) else None
