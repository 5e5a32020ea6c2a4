"""Montgomery County: 138 radiographs of a tuberculosis control programme in Maryland."""

from __future__ import annotations

import re
from pathlib import Path

from chestx.datasets.sources.common import parse_age, parse_sex, refuse_options
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.sources.tuberculosis_sets import NamedSet, Reading, join_lines, scan_names

_STATED = re.compile(r"Patient's (Sex|Age):\s*(.*)", re.IGNORECASE)


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the Montgomery County set.

    Raises:
        UsageError: no such images, or any option.
    """
    refuse_options(options, source=MONTGOMERY.name)
    return scan_names(folder, MONTGOMERY)


def _parse_reading(lines: list[str]) -> Reading:
    """``Patient's Sex: F``, ``Patient's Age: 027Y``, then the reading."""
    stated: dict[str, str] = {}
    rest = []
    for line in lines:
        match = _STATED.fullmatch(line)
        if match:
            stated[match[1].lower()] = match[2]
        else:
            rest.append(line)
    return Reading(
        parse_sex(stated.get("sex", "")), parse_age(stated.get("age", "")), join_lines(rest)
    )


MONTGOMERY = NamedSet(
    name="montgomery",
    prefix="MCUCXR",
    licence="research use, not to be passed on, source to be named (the set's ReadMe)",
    parse_reading=_parse_reading,
    notes=(
        "The label is in the file name: 0 normal, 1 abnormal with manifestations of "
        "tuberculosis; other diseases are in neither class.",
        "The number in the file name is taken as the patient; the set does not say so.",
    ),
)
