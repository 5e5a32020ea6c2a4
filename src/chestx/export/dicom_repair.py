"""Values of a DICOM file made valid, or left out where nothing valid can be told from them.

A value is put right only where that cannot change what it says. An identifier that breaks
the standard is left out whole, because half an identifier is another one; a name or a
description that is too long is shortened where everybody sees it, with three dots.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import date

from pydicom.valuerep import format_number_as_ds

MAX_CHARACTERS = {
    "DS": 16,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "ST": 1024,
    "UC": 1024,
    "UR": 1024,
    "UT": 1024,
}
"""Of a value; of a name, of each of its component groups. Source: PS3.5 table 6.2-1.

UC, UR and UT have no limit there; here one that no code or address comes near.
"""

MULTI_VALUED = frozenset(
    {
        "DeidentificationMethod",
        "ImagerPixelSpacing",
        "LossyImageCompressionMethod",
        "LossyImageCompressionRatio",
        "PatientOrientation",
        "PixelSpacing",
        "SpecificCharacterSet",
        "WindowCenter",
        "WindowWidth",
    }
)
"""Keywords whose value may be several; of all others there is one."""

# What stands in these is read by people, so that it may be shortened. All else names
# something, and is whole or is not there.
_PROSE = frozenset(
    {
        "ClinicalTrialProtocolName",
        "ClinicalTrialSiteName",
        "ClinicalTrialSponsorName",
        "CodeMeaning",
        "DeidentificationMethod",
        "LUTExplanation",
        "PatientName",
        "ReferringPhysicianName",
        "RequestedProcedureDescription",
        "ScheduledProcedureStepDescription",
        "StudyDescription",
    }
)
_ENUMERATED = {
    "BurnedInAnnotation": ("YES", "NO"),
    "ImageLaterality": ("R", "L", "U", "B"),
    "Laterality": ("R", "L"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
    "LossyImageCompression": ("00", "01"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "PatientSex": ("M", "F", "O"),
    "PresentationLUTShape": ("IDENTITY", "INVERSE"),
    "RecognizableVisualFeatures": ("YES", "NO"),
    "UniversalEntityIDType": ("DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID"),
}
_DOTS = "..."
_GROUPS, _COMPONENTS = 3, 5
_MAX_INTEGER = 2**31

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_DATE = re.compile(r"([0-9]{4})([-./]?)([0-9]{2})\2([0-9]{2})")
_TIME = re.compile(r"([01][0-9]|2[0-3])(?:(:?)([0-5][0-9])(?:\2([0-5][0-9]|60)(?:\.([0-9]+))?)?)?")
_AGE = re.compile(r"([0-9]{1,3})([DWMY])")
_ZONE = re.compile(r"(?!-0000)[+-](0[0-9]|1[0-4])[0-5][0-9]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]{1,3})?")
_DIRECTIONS = re.compile(r"[ARLPHF]{1,3}")
_AXES = {"A": 0, "P": 0, "L": 1, "R": 1, "H": 2, "F": 2}


class Repairs:
    """What was put right or left out, a sentence each, without any value."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    def note(self, keyword: str, what: str) -> None:
        """Adds a sentence, once."""
        self._sentences[f"{keyword}: {what}"] = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """In the order of the elements."""
        return tuple(self._sentences)


def repair_values(keyword: str, vr: str, text: str, *, repairs: Repairs) -> list[str]:
    """The values of a text element that are valid.

    Args:
        keyword: of PS3.6.
        vr: value representation.
        text: decoded, with backslashes between values.
        repairs: takes note of what was wrong.

    Returns:
        Nothing where the element is empty or holds nothing valid.
    """
    values = text.split("\\") if vr not in ("LT", "ST", "UT") else [text]
    # Spaces in front mean nothing by PS3.5, but archives tell identifiers apart by them.
    is_identifier = vr in ("LO", "SH") and keyword not in _PROSE
    strip = str.rstrip if is_identifier else str.strip
    values = _choose_values(keyword, vr, [strip(value, " \0") for value in values], repairs)
    repaired = [_repair_value(keyword, vr, value, repairs) if value else "" for value in values]
    if all(repaired):
        return repaired
    if len(values) > 1:
        # One of several cannot be missing: the others would take its place.
        repairs.note(keyword, "not all of its values are valid; left out")
    return []


def _choose_values(keyword: str, vr: str, values: list[str], repairs: Repairs) -> list[str]:
    if len(values) == 1 or keyword in MULTI_VALUED:
        return values
    if len(set(values)) == 1:
        return values[:1]
    if keyword in _PROSE and vr != "PN":
        repairs.note(keyword, "several values where one may stand; joined")
        return [" / ".join(filter(None, values))]
    repairs.note(keyword, "several values where one may stand; left out")
    return []


def _repair_value(keyword: str, vr: str, value: str, repairs: Repairs) -> str:
    by_form = _REPAIRERS.get(vr)
    repaired = by_form(value) if by_form else _repair_text(keyword, vr, value)
    permitted = _ENUMERATED.get(keyword)
    if permitted is not None and repaired not in permitted:
        repaired = ""
    if keyword == "TimezoneOffsetFromUTC" and not _ZONE.fullmatch(repaired):
        repaired = ""
    if not repaired:
        repairs.note(keyword, f"not a valid {vr}; left out")
    elif repaired != value:
        repairs.note(keyword, f"not a valid {vr}; put right")
    return repaired


def _repair_text(keyword: str, vr: str, value: str) -> str:
    """LO, SH and the like."""
    limit = MAX_CHARACTERS[vr]
    if keyword in _PROSE:
        return _shorten(_CONTROL.sub(" ", value).strip(), limit)
    return "" if _CONTROL.search(value) or len(value) > limit else value


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - len(_DOTS)].rstrip() + _DOTS


def _repair_name(value: str) -> str:
    """A person's name; what is valid stays as it is. Source: PS3.5 6.2.1."""
    cleaned = _CONTROL.sub(" ", value).strip()
    return "=".join(_repair_group(group) for group in cleaned.split("=")[:_GROUPS])


def _repair_group(group: str) -> str:
    components = group.split("^")
    if len(components) > _COMPONENTS:
        components[_COMPONENTS - 1 :] = [" ".join(components[_COMPONENTS - 1 :]).strip()]
    return _shorten("^".join(components), MAX_CHARACTERS["PN"])


def _repair_code_string(value: str) -> str:
    upper = value.upper() if value.isascii() else ""
    return upper if _CODE_STRING.fullmatch(upper) else ""


def _repair_uid(value: str) -> str:
    return value if len(value) <= 64 and _UID.fullmatch(value) else ""


def _repair_date(value: str) -> str:
    """``YYYYMMDD``; dots as in ACR-NEMA and dashes as in ISO 8601 are taken away."""
    match = _DATE.fullmatch(value)
    if match is None or not value.isascii():
        return ""
    try:
        date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return ""
    return match[1] + match[3] + match[4]


def _repair_time(value: str) -> str:
    """``HHMMSS.FFFFFF``, of which the end may be missing; colons are taken away."""
    match = _TIME.fullmatch(value)
    if match is None or not value.isascii():
        return ""
    hours, _, minutes, seconds, fraction = match.groups()
    return f"{hours}{minutes or ''}{seconds or ''}{'.' + fraction[:6] if fraction else ''}"


def _repair_age(value: str) -> str:
    match = _AGE.fullmatch(value.upper())
    return f"{int(match[1]):03d}{match[2]}" if match and value.isascii() else ""


def _repair_integer(value: str) -> str:
    if not _INTEGER.fullmatch(value) or not value.isascii():
        return ""
    return value if -_MAX_INTEGER <= int(value) < _MAX_INTEGER else ""


def _repair_decimal(value: str) -> str:
    if not _DECIMAL.fullmatch(value) or not value.isascii() or not math.isfinite(float(value)):
        return ""
    return value if len(value) <= MAX_CHARACTERS["DS"] else format_number_as_ds(float(value))


_REPAIRERS: dict[str, Callable[[str], str]] = {
    "AS": _repair_age,
    "CS": _repair_code_string,
    "DA": _repair_date,
    "DS": _repair_decimal,
    "IS": _repair_integer,
    "PN": _repair_name,
    "TM": _repair_time,
    "UI": _repair_uid,
}


def is_orientation(values: Sequence[str]) -> bool:
    """Whether values are a PatientOrientation. Source: PS3.3 C.7.6.1.1.1."""
    if len(values) != 2 or not all(_DIRECTIONS.fullmatch(value) for value in values):
        return False
    rows, columns = ([_AXES[letter] for letter in value] for value in values)
    # A direction names an axis once; along rows and columns the chief ones differ.
    return len({*rows}) == len(rows) and len({*columns}) == len(columns) and rows[0] != columns[0]


def are_positive(values: Sequence[str], count: int) -> bool:
    """Whether values are that many numbers above 0."""
    return len(values) == count and all(value and float(value) > 0 for value in values)
