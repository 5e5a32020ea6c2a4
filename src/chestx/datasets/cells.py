"""Cells of a manifest: text -> value and back. What is wrong is said without a patient's data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping

from chestx.datasets.example import Box, Target

SPLITS = ("train", "validation", "test")
MAX_AGE_YEARS = 120.0
MAX_BOXES = 1_000

_SPLIT_WORDS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SEX_WORDS: Mapping[str, str] = {
    "": "",
    "u": "",
    "unknown": "",
    "m": "M",
    "male": "M",
    "f": "F",
    "female": "F",
    "o": "O",
    "other": "O",
}
_TARGET_WORDS: Mapping[str, Target] = {
    "1": Target.PRESENT,
    "1.0": Target.PRESENT,
    "0": Target.ABSENT,
    "0.0": Target.ABSENT,
    "": Target.UNKNOWN,
    "-": Target.NOT_ASKED,
}
_DICOM_AGE = re.compile(r"(\d{1,3})([YMWD])", re.IGNORECASE)
# Days of the mean Gregorian year.
_UNITS_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.2425 / 7, "D": 365.2425}
_BOX_KEYS = {"label", "x", "y", "width", "height"}


def normalise_split(text: str) -> str:
    """``train``, ``validation`` or ``test`` for their usual names; any other text unchanged."""
    return _SPLIT_WORDS.get(text.lower(), text)


def parse_split(text: str) -> str:
    """``train``, ``validation``, ``test`` or empty.

    Raises:
        ValueError: another word.
    """
    split = normalise_split(text)
    if split and split not in SPLITS:
        raise ValueError(
            "split: expected train, validation (val, valid, dev), test or nothing, "
            f"got {text!r:.40}"
        )
    return split


def parse_sex(text: str) -> str:
    """``M``, ``F``, ``O`` or empty.

    Raises:
        ValueError: another word.
    """
    try:
        return _SEX_WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"sex: expected M, F, O or nothing, got {text!r:.40}") from None


def is_wordy_age(text: str) -> bool:
    """Whether it says something of an age without any number: ``adult``, ``unknown``."""
    return text[:1].isalpha() and text.replace(" ", "").isalpha() and not _is_no_number(text)


def _is_no_number(text: str) -> bool:
    """``nan`` and ``inf``, which some program made out of a missing or broken number."""
    try:
        return not math.isfinite(float(text))
    except ValueError:
        return False


def parse_age(text: str) -> float | None:
    """Years, from ``63``, ``0.5`` or a DICOM age such as ``063Y`` or ``011M``.

    Returns:
        None where it is empty or a word.

    Raises:
        ValueError: neither, or past MAX_AGE_YEARS.
    """
    if not text or is_wordy_age(text):
        return None
    match = _DICOM_AGE.fullmatch(text)
    try:
        age = float(match[1]) / _UNITS_A_YEAR[match[2].upper()] if match else float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(
            f"age: expected years from 0 to {MAX_AGE_YEARS:g} or a DICOM age such as 063Y, "
            f"got {text!r:.20}; leave it empty where it is not known"
        )
    return age


def format_age(age: float | None) -> str:
    """Years as :func:`parse_age` reads them, exactly."""
    if age is None:
        return ""
    return str(int(age)) if age == int(age) else repr(age)


def parse_target(text: str) -> Target:
    """What a cell of a label's column says.

    Raises:
        ValueError: it is not 1, 0, empty or ``-``.
    """
    try:
        return _TARGET_WORDS[text]
    except KeyError:
        raise ValueError(
            "expected 1 (present), 0 (absent), nothing (unknown) or - (not asked), "
            f"got {text!r:.40}"
        ) from None


def format_target(target: Target) -> str:
    """The cell of a label's column."""
    return {
        Target.PRESENT: "1",
        Target.ABSENT: "0",
        Target.UNKNOWN: "",
        Target.NOT_ASKED: "-",
    }[target]


def parse_boxes(text: str) -> tuple[Box, ...]:
    """Boxes from a JSON list of objects with label, x, y, width and height; none if empty.

    Raises:
        ValueError: it is something else.
    """
    if not text:
        return ()
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("boxes: expected a JSON list, got other text") from None
    if not isinstance(entries, list) or len(entries) > MAX_BOXES:
        raise ValueError(f"boxes: expected a JSON list of at most {MAX_BOXES:,} boxes")
    return tuple(map(_parse_box, entries))


def _parse_box(entry: object) -> Box:
    if not isinstance(entry, dict) or set(entry) != _BOX_KEYS:
        raise ValueError(
            'boxes: expected objects {"label", "x", "y", "width", "height"}, got another'
        )
    label = entry["label"]
    sides = [entry[name] for name in ("x", "y", "width", "height")]
    if not (isinstance(label, str) and 0 < len(label) <= 64):
        raise ValueError("boxes: expected a label of 1 to 64 characters")
    if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in sides):
        raise ValueError("boxes: expected numbers for x, y, width and height")
    try:
        x, y, width, height = map(float, sides)
    except OverflowError:
        raise ValueError("boxes: expected finite numbers for x, y, width and height") from None
    return Box(label=label, x=x, y=y, width=width, height=height)


def format_boxes(boxes: Iterable[Box]) -> str:
    """The cell that :func:`parse_boxes` reads; empty without a box."""
    entries = [
        {"label": box.label, "x": box.x, "y": box.y, "width": box.width, "height": box.height}
        for box in boxes
    ]
    return json.dumps(entries, ensure_ascii=False) if entries else ""
