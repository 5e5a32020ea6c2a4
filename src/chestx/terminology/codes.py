"""Codes for machines: what a label, a site, a decision or a map is called in other systems."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from chestx.domain import ANY_FINDING, FindingDecision


@dataclass(frozen=True, slots=True)
class Code:
    """One coded concept.

    Attributes:
        value: code value, at most 16 characters (DICOM SH).
        scheme: DICOM coding scheme designator: ``SCT``, ``RADLEX``, ``DCM`` or ``99CHESTX``.
        meaning: the concept in words, at most 64 characters (DICOM LO).
    """

    value: str
    scheme: str
    meaning: str


# Sources: SCT: SNOMED CT International Edition; RADLEX: radlex.org; the qualifiers as used by
# DICOM PS3.16 CID 240 "Present-Absent". 99CHESTX is this project's own scheme.
CHEST = Code("816094009", "SCT", "Chest")
LUNG = Code("39607008", "SCT", "Lung")
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")

FINDING_CODES: dict[str, tuple[Code, ...]] = {
    "PNEUMONIA": (
        Code("233604007", "SCT", "Pneumonia"),
        Code("RID5350", "RADLEX", "pneumonia"),
    ),
    "COVID19": (
        Code("COVID19FEATURES", "99CHESTX", "Radiographic features suggestive of COVID-19"),
    ),
    # No code says "normal study": the model does not look for other disease.
    "NORMAL": (),
}
"""Label key -> its codes, the preferred one first. A key that is not here has no code."""

# Of DICOM PS3.16 unless its scheme says otherwise; LN: loinc.org, UCUM: unitsofmeasure.org.
# The plain film has no code of its own in CID 100, the rest does: it is SNOMED CT's.
PLAIN_CHEST_RADIOGRAPH = Code("399208008", "SCT", "Plain chest X-ray")
PLAIN_RADIOGRAPH = Code("43468-8", "LN", "XR unspecified body region")
ANY_FINDING_CODE = Code("ANYFINDING", "99CHESTX", "Any of the findings looked for")
CERTAINTY_OF_FINDING = Code("111012", "DCM", "Certainty of Finding")
PERCENT = Code("%", "UCUM", "Percent")
SUMMARY_OF_DETECTIONS = Code("111064", "DCM", "Summary of Detections")
SUCCEEDED = Code("111222", "DCM", "Succeeded")
FAILED = Code("111224", "DCM", "Failed")
NOT_ATTEMPTED = Code("111225", "DCM", "Not Attempted")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")
CLASS_ACTIVATION = Code("130402", "DCM", "Class activation")
OCCLUSION = Code("OCCLUSION", "99CHESTX", "Occlusion of image parts")

HEATMAP_CODES: dict[str, Code] = {"cam": CLASS_ACTIVATION, "occlusion": OCCLUSION}
"""How a map is made, by the card's word -> its code. None of these outlines anything."""

_FINDING_SITES: dict[str, Code] = {"PNEUMONIA": LUNG, "COVID19": LUNG}

DECISION_CODES: dict[FindingDecision, Code] = {
    FindingDecision.POSITIVE: PRESENT,
    FindingDecision.UNCERTAIN: UNDETERMINED,
    FindingDecision.NEGATIVE: ABSENT,
}
"""The decision on a finding as a qualifier value."""


def get_codes(key: str) -> tuple[Code, ...]:
    """The codes of a label, the preferred one first; empty where it has none and is plain text."""
    return FINDING_CODES.get(key, ())


def get_concept(key: str, display: str) -> Code:
    """The one code under which a finding is reported; of this project's scheme where no other is.

    Args:
        key: of the label, or ANY_FINDING.
        display: how it is written for a person.
    """
    if key == ANY_FINDING:
        return ANY_FINDING_CODE
    if codes := get_codes(key):
        return codes[0]
    # A code value has at most 16 characters: PS3.3 8.8, SH. A long key is told by its checksum.
    value = key if len(key) <= 16 else f"{key[:9]}_{sha256(key.encode()).hexdigest()[:6]}"
    return Code(value, "99CHESTX", display.replace("\\", "/"))


def get_site(key: str) -> Code:
    """Where a finding lies; the chest where the label does not say it."""
    return _FINDING_SITES.get(key, CHEST)
