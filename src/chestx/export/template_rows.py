"""The rows of the DICOM templates that chestx reports by, as PS3.16 2026a states them.

They are written down here a second time, apart from what writes reports, so that a slip in
one is found by the other. A row that its template leaves to the user (U) and that every
report of chestx has is asked for too.
"""

from __future__ import annotations

from dataclasses import dataclass

Coded = tuple[str, str, str]
"""Value, scheme and meaning."""

NAMELESS: Coded = ("", "", "")
"""Of an item that has no concept name."""

_CONTAINS, _MOD, _CONTEXT = "CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT"
_ACQUIRED, _PROPERTIES, _SELECTED = "HAS ACQ CONTEXT", "HAS PROPERTIES", "SELECTED FROM"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a template.

    Attributes:
        number: of the template and the row.
        relationship, value_type: of the item.
        name: of its concept; None for any, which no other row names.
        least, most: how often it may stand there; most is None for any number.
        values: what a code may say; empty for anything.
        unit: of a number.
        content: the rows below.
    """

    number: str
    relationship: str
    value_type: str
    name: Coded | None
    least: int = 0
    most: int | None = 1
    values: tuple[Coded, ...] = ()
    unit: Coded | None = None
    content: tuple[Row, ...] = ()


PRESENCES = (
    ("52101004", "SCT", "Present"),
    ("272519000", "SCT", "Absent"),
    ("373068000", "SCT", "Undetermined"),
)  # CID 240
SUCCEEDED = ("111222", "DCM", "Succeeded")
_STATES = (SUCCEEDED, ("111224", "DCM", "Failed"), ("111225", "DCM", "Not Attempted"))  # CID 6042
_EXPLANATIONS = (
    ("130402", "DCM", "Class activation"),
    ("130403", "DCM", "Gradient-weighted class activation"),
    ("130404", "DCM", "Saliency"),
    ("OCCLUSION", "99CHESTX", "Occlusion of image parts"),
)  # CID 217, and one of our own
_MODALITIES = (
    ("CR", "DCM", "Computed Radiography"),
    ("DX", "DCM", "Digital Radiography"),
    ("RG", "DCM", "Radiographic imaging"),
    ("RF", "DCM", "Radiofluoroscopy"),
    ("XA", "DCM", "X-Ray Angiography"),
    ("MG", "DCM", "Mammography"),
)  # CID 29
_SIDES = (
    ("7771000", "SCT", "Left"),
    ("24028007", "SCT", "Right"),
    ("51440002", "SCT", "Bilateral"),
)  # CID 244
_VIEWS = (
    ("399348003", "SCT", "antero-posterior"),
    ("272479007", "SCT", "postero-anterior"),
    ("399173006", "SCT", "left lateral"),
    ("399198007", "SCT", "right lateral"),
)  # CID 4010
_PROCEDURES = (
    ("399208008", "SCT", "Plain chest X-ray"),
    ("43468-8", "LN", "XR unspecified body region"),
)
_SITES = (("39607008", "SCT", "Lung"), ("816094009", "SCT", "Chest"))
_PIXELS = ("{pixels}", "UCUM", "pixels")
_MILLIMETER = ("mm", "UCUM", "millimeter")

FINDING = ("121071", "DCM", "Finding")
STATUS = ("111064", "DCM", "Summary of Detections")
REGION = ("111030", "DCM", "Image Region")
TRACKING_UID = ("112040", "DCM", "Tracking Unique Identifier")
TRACKING_IDENTIFIER = ("112039", "DCM", "Tracking Identifier")
GROUP = ("125007", "DCM", "Measurement Group")
REPORT = ("126000", "DCM", "Imaging Measurement Report")
_COMMENT, _SUMMARY = ("121106", "DCM", "Comment"), ("121111", "DCM", "Summary")

_ALGORITHM = (
    Row("TID 4019 row 1", _MOD, "TEXT", ("111001", "DCM", "Algorithm Name"), 1),
    Row("TID 4019 row 2", _MOD, "TEXT", ("111003", "DCM", "Algorithm Version"), 1),
    Row("TID 4019 row 2b", _MOD, "TEXT", ("122405", "DCM", "Algorithm Manufacturer"), 1),
    Row("TID 4019 row 3", _MOD, "TEXT", ("111002", "DCM", "Algorithm Parameters"), 1, None),
)


def _list_tracking(template: str) -> tuple[Row, ...]:
    return (
        Row(f"{template} row 2", _CONTEXT, "TEXT", TRACKING_IDENTIFIER, 1),
        Row(f"{template} row 3", _CONTEXT, "UIDREF", TRACKING_UID, 1),
    )


_SOURCES = tuple(
    Row("TID 1501 row 10b", _CONTAINS, kind, ("121112", "DCM", "Source of Measurement"))
    for kind in ("IMAGE", "COMPOSITE")
)
_OPERATING_POINT = Row(
    "TID 310 extension",
    _PROPERTIES,
    "NUM",
    ("111071", "DCM", "CAD Operating Point"),
    1,
    unit=("1", "UCUM", "no units"),
    content=(
        Row(
            "TID 310 extension",
            _PROPERTIES,
            "TEXT",
            ("111081", "DCM", "CAD Operating Point Description"),
            1,
        ),
    ),
)
_CERTAINTY = Row(
    "TID 300 row 1",
    _CONTAINS,
    "NUM",
    ("111012", "DCM", "Certainty of Finding"),
    1,
    unit=("%", "UCUM", "Percent"),
    content=(
        Row(
            "TID 301 row 16",
            _MOD,
            "TEXT",
            ("121050", "DCM", "Equivalent Meaning of Concept Name"),
            1,
        ),
        _OPERATING_POINT,
    ),
)

FINDING_ROWS = (
    *_list_tracking("TID 1501"),
    Row("TID 1501 row 3b", _CONTAINS, "CODE", FINDING, 1),
    Row("TID 1501 row 6", _MOD, "CODE", ("363698007", "SCT", "Finding Site"), 1, values=_SITES),
    *_ALGORITHM,
    _CERTAINTY,
    *_SOURCES,
    Row("TID 1501 row 11", _CONTAINS, "CODE", None, 1, values=PRESENCES),
    Row("TID 1501 row 12", _CONTAINS, "TEXT", _COMMENT, 0, None),
)
STATUS_ROWS = (
    *_list_tracking("TID 1501"),
    Row("TID 1501 row 11", _CONTAINS, "CODE", STATUS, 1, values=_STATES),
    Row("TID 1501 row 12", _CONTAINS, "TEXT", _SUMMARY, 1),
    *_SOURCES,
)
REGION_ROWS = (
    *_list_tracking("TID 1410"),
    Row("TID 1410 row 3b", _CONTAINS, "CODE", FINDING, 1),
    Row(
        "TID 1410 row 5",
        _CONTAINS,
        "SCOORD",
        REGION,
        1,
        content=(Row("TID 1410 row 6", _SELECTED, "IMAGE", NAMELESS, 1),),
    ),
    Row(
        "TID 1410 row 12",
        _CONTAINS,
        "CODE",
        ("130401", "DCM", "Visual explanation"),
        1,
        values=_EXPLANATIONS,
    ),
    Row("TID 1410 row 13", _CONTAINS, "TEXT", _COMMENT, 1),
)

_DESCRIPTORS = (
    Row("TID 1602 row 1", _ACQUIRED, "CODE", ("121139", "DCM", "Modality"), values=_MODALITIES),
    Row(
        "TID 1602 row 2",
        _ACQUIRED,
        "CODE",
        ("123014", "DCM", "Target Region"),
        values=(("816094009", "SCT", "Chest"),),
    ),
    Row("TID 1602 row 3", _ACQUIRED, "CODE", ("111027", "DCM", "Image Laterality"), values=_SIDES),
    Row("TID 1602 row 11", _ACQUIRED, "NUM", ("110910", "DCM", "Pixel Data Rows"), unit=_PIXELS),
    Row("TID 1602 row 12", _ACQUIRED, "NUM", ("110911", "DCM", "Pixel Data Columns"), unit=_PIXELS),
    Row("TID 1603 row 1", _ACQUIRED, "CODE", ("111031", "DCM", "Image View"), values=_VIEWS),
    Row("TID 1603 row 3", _ACQUIRED, "TEXT", ("111044", "DCM", "Patient Orientation Row")),
    Row("TID 1603 row 4", _ACQUIRED, "TEXT", ("111043", "DCM", "Patient Orientation Column")),
    Row(
        "TID 1603 row 5",
        _ACQUIRED,
        "NUM",
        ("111026", "DCM", "Horizontal Pixel Spacing"),
        unit=_MILLIMETER,
    ),
    Row(
        "TID 1603 row 6",
        _ACQUIRED,
        "NUM",
        ("111066", "DCM", "Vertical Pixel Spacing"),
        unit=_MILLIMETER,
    ),
)
_LIBRARY_GROUP = Row(
    "TID 1600 row 2",
    _CONTAINS,
    "CONTAINER",
    ("126200", "DCM", "Image Library Group"),
    1,
    content=tuple(
        Row("TID 1601 row 1", _CONTAINS, kind, NAMELESS, 0, None, content=_DESCRIPTORS)
        for kind in ("IMAGE", "COMPOSITE")
    ),
)

REPORT_ROWS = (
    Row(
        "TID 1204 row 1",
        _MOD,
        "CODE",
        ("121049", "DCM", "Language of Content Item and Descendants"),
        1,
        values=(("en", "RFC5646", "English"),),
    ),
    Row(
        "TID 1002 row 1",
        _CONTEXT,
        "CODE",
        ("121005", "DCM", "Observer Type"),
        1,
        values=(("121007", "DCM", "Device"),),
    ),
    Row("TID 1004 row 1", _CONTEXT, "UIDREF", ("121012", "DCM", "Device Observer UID"), 1),
    Row("TID 1004 row 2", _CONTEXT, "TEXT", ("121013", "DCM", "Device Observer Name"), 1),
    Row("TID 1004 row 3", _CONTEXT, "TEXT", ("121014", "DCM", "Device Observer Manufacturer"), 1),
    Row("TID 1004 row 4", _CONTEXT, "TEXT", ("121015", "DCM", "Device Observer Model Name"), 1),
    Row("TID 1004 row 5", _CONTEXT, "TEXT", ("121016", "DCM", "Device Observer Serial Number"), 1),
    Row(
        "TID 1500 row 4",
        _MOD,
        "CODE",
        ("121058", "DCM", "Procedure reported"),
        1,
        values=_PROCEDURES,
    ),
    Row(
        "TID 1500 row 12",
        _CONTAINS,
        "CONTAINER",
        ("C0034375", "UMLS", "Qualitative Evaluations"),
        1,
        content=(
            Row("TID 1500 row 14", _CONTAINS, "TEXT", _COMMENT, 1, None),
            Row("TID 1500 row 14", _CONTAINS, "TEXT", _SUMMARY, 1),
        ),
    ),
    Row(
        "TID 1600 row 1",
        _CONTAINS,
        "CONTAINER",
        ("111028", "DCM", "Image Library"),
        1,
        content=(_LIBRARY_GROUP,),
    ),
    Row(
        "TID 1500 row 6",
        _CONTAINS,
        "CONTAINER",
        ("126010", "DCM", "Imaging Measurements"),
        1,
        content=(*_ALGORITHM, Row("TID 1501 row 1", _CONTAINS, "CONTAINER", GROUP, 1, None)),
    ),
)
"""Below the root; what stands in a measurement group depends on its kind."""
