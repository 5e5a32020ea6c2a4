"""What a whole run looks like: counts, tables and what is unusual about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chestx.domain import AGE_BANDS, Decision, name_age_band
from chestx.export.worklist import Entry

MOST_FAILED = 0.02
"""Share of the images that may fail before the page warns."""
MOST_OUT_OF_SCOPE = 0.10
"""Share of the images that may be out of scope before the page warns."""
MOST_UNLIKE_TRAINING = 0.05
"""Share of the images that may be unlike the training images before the page warns."""

HISTOGRAM_BINS = 20
MOST_GROUPS = 12
"""Rows of a table; the rarer values share the last."""


def count_decisions(entries: Sequence[Entry]) -> dict[str, int]:
    """Image decision -> how many, in order of urgency."""
    counts = Counter(entry.decision for entry in entries)
    return {decision.value: counts[decision] for decision in Decision}


def count_bins(probabilities: Sequence[float]) -> list[int]:
    """A histogram from 0 to 1 in ``HISTOGRAM_BINS`` equal bins."""
    counts, _ = np.histogram(probabilities, bins=HISTOGRAM_BINS, range=(0, 1))
    return [int(count) for count in counts]


def read_age_band(row: Mapping[str, str]) -> str:
    """The band that a row's age is in; empty where it has none."""
    try:
        return name_age_band(float(row.get("age", "")))
    except ValueError:
        return ""


def tabulate(
    title: str, entries: Sequence[Entry], name: Callable[[Mapping[str, str]], str]
) -> dict[str, Any]:
    """Decisions by a property of the image; bands of age in their order, others by frequency."""
    groups: dict[str, Counter[str]] = {}
    for entry in entries:
        groups.setdefault(name(entry.row), Counter())[entry.decision.value] += 1
    unstated = groups.pop("", None)
    bands = [name_age_band(float(low)) for low, _ in AGE_BANDS]
    order = {band: index for index, band in enumerate(bands)}
    names = sorted(groups, key=lambda x: (order.get(x, len(order)), -groups[x].total(), x))
    rows = [(x, groups[x]) for x in names[:MOST_GROUPS]]
    if rest := names[MOST_GROUPS:]:
        rows.append((f"{len(rest)} other values", sum((groups[x] for x in rest), Counter())))
    if unstated:
        rows.append(("not stated", unstated))
    return {
        "title": title,
        "rows": [[x, *(counts[decision.value] for decision in Decision)] for x, counts in rows],
    }


def list_warnings(entries: Sequence[Entry]) -> list[str]:
    """What is unusual about the whole run, a sentence each."""
    total = len(entries)
    failed = sum(entry.decision is Decision.FAILED for entry in entries)
    outside = sum(entry.decision is Decision.OUT_OF_SCOPE for entry in entries)
    unlike = sum(
        "unlike_training" in entry.row.get("scope_reasons", "").split() for entry in entries
    )
    checks = (
        ("Not readable", failed, MOST_FAILED, "Nobody assessed them."),
        (
            "Out of scope",
            outside,
            MOST_OUT_OF_SCOPE,
            "The model gives no answer for them; their reading rests on the physician alone.",
        ),
        (
            "Unlike the images that the model learnt from",
            unlike,
            MOST_UNLIKE_TRAINING,
            "Have the device, its processing or the patients changed? "
            "Then the other answers deserve doubt too.",
        ),
    )
    return [
        f"{what}: {count} of {total} images ({100 * count / total:.1f} %, expected at most "
        f"{100 * most:.0f} %). {advice}"
        for what, count, most, advice in checks
        if count > most * total
    ]
