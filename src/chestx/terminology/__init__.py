"""Codes for machines and words for people: the one source of both.

Every writer takes its codes and sentences from here, so the CSV, the picture and
the page say the same thing. A negative answer never reads as a normal study, and
COVID-19 never carries the disease's code, which would claim an infection. What is
found are features of a disease, never the disease; a finding with a caveat carries a
mark, a number without words of certainty, and its caveat.
"""

from chestx.terminology.answers import (
    choose_shown_label,
    decide_image,
    describe_basis,
    write_headline,
)
from chestx.terminology.codes import (
    ANY_FINDING_CODE,
    CERTAINTY_OF_FINDING,
    CHEST,
    DECISION_CODES,
    FAILED,
    FINDING_CODES,
    HEATMAP_CODES,
    LUNG,
    NOT_ATTEMPTED,
    PERCENT,
    PLAIN_CHEST_RADIOGRAPH,
    PLAIN_RADIOGRAPH,
    SUCCEEDED,
    SUMMARY_OF_DETECTIONS,
    VISUAL_EXPLANATION,
    Code,
    get_codes,
    get_concept,
    get_site,
)
from chestx.terminology.phrases import (
    add_mark,
    describe_calibration,
    describe_certainty,
    describe_identity,
    describe_map,
    describe_operating_point,
    describe_thresholds,
    format_probability,
    get_mark,
    name_decision,
)
from chestx.terminology.sentences import (
    describe_not_assessed,
    interpret,
    interpret_result,
    interpret_study,
)
from chestx.terminology.wording import ENGLISH

__all__ = [
    "ANY_FINDING_CODE",
    "CERTAINTY_OF_FINDING",
    "CHEST",
    "DECISION_CODES",
    "ENGLISH",
    "FAILED",
    "FINDING_CODES",
    "HEATMAP_CODES",
    "LUNG",
    "NOT_ATTEMPTED",
    "PERCENT",
    "PLAIN_CHEST_RADIOGRAPH",
    "PLAIN_RADIOGRAPH",
    "SUCCEEDED",
    "SUMMARY_OF_DETECTIONS",
    "VISUAL_EXPLANATION",
    "Code",
    "add_mark",
    "choose_shown_label",
    "decide_image",
    "describe_basis",
    "describe_calibration",
    "describe_certainty",
    "describe_identity",
    "describe_map",
    "describe_not_assessed",
    "describe_operating_point",
    "describe_thresholds",
    "format_probability",
    "get_codes",
    "get_concept",
    "get_mark",
    "get_site",
    "interpret",
    "interpret_result",
    "interpret_study",
    "name_decision",
    "write_headline",
]
