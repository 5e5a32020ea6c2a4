"""Shenzhen: 662 radiographs of out-patients of the No. 3 People's Hospital."""

from __future__ import annotations

import re
from pathlib import Path

from chestx.datasets.sources.common import MAX_AGE_YEARS, refuse_options
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.sources.tuberculosis_sets import NamedSet, Reading, join_lines, scan_names

# The typing is a person's: "male 45yrs", "femal 32yrs", "Female, 28yrs", "male 16month".
_FIRST_LINE = re.compile(
    r"(?P<sex>fe?male?|male)?[\s,.]*(?:(?P<age>\d{1,3})\s*(?P<unit>[a-z]*)\.?)?(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_UNITS_A_YEAR = {"": 1.0, "y": 1.0, "m": 12.0, "d": 365.2425}


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the Shenzhen set.

    Raises:
        UsageError: no such images, or any option.
    """
    refuse_options(options, source=SHENZHEN.name)
    return scan_names(folder, SHENZHEN)


def _parse_reading(lines: list[str]) -> Reading:
    """``male 45yrs``, then the reading, sometimes all in one line."""
    if not lines:
        return Reading()
    match = _FIRST_LINE.fullmatch(lines[0])
    if match is None or not (match["sex"] or match["age"]):
        return Reading(text=join_lines(lines))
    sex = (match["sex"] or "")[:1].upper()
    return Reading(sex, _read_age(match), join_lines([match["rest"], *lines[1:]]))


def _read_age(match: re.Match[str]) -> float | None:
    units = _UNITS_A_YEAR.get((match["unit"] or "")[:1].lower())
    if not match["age"] or units is None:
        return None
    years = int(match["age"]) / units
    return years if years <= MAX_AGE_YEARS else None


SHENZHEN = NamedSet(
    name="shenzhen",
    prefix="CHNCXR",
    licence="research use, source to be named (the set's ReadMe)",
    parse_reading=_parse_reading,
    notes=(
        "The label is in the file name: 0 normal, 1 abnormal with manifestations of "
        "tuberculosis; other diseases are in neither class.",
        "The files are numbered by class (normal first): the number alone gives the label.",
        "The number in the file name is taken as the patient; the set does not say so.",
    ),
)
