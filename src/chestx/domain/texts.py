"""Fixed words, and what a text must look like before a person, a page or a table sees it."""

from __future__ import annotations

import re

CAVEAT = "Research use only. Not a cleared medical device. A physician must read every image."
"""The one sentence that stands on every output that a person may read."""

ANY_FINDING = "any_finding"
"""Key of the composite score 1 - P(no finding): something is there, whichever it is."""

MANUFACTURER = "chestx"
"""Of every object that is made; one that states it is no radiograph."""

LABEL_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""What a label may be called, in cards and in tables: columns are named after it."""

AGE_BANDS = ((0, 1), (1, 6), (6, 18), (18, 40), (40, 60), (60, 80), (80, 200))
"""Years: from, up to but not including."""

# What a spreadsheet takes for the start of a formula, full-width forms included.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_JOINERS = "\u200c\u200d"  # Invisible, and letters of Persian and Indic words lean on them.
_MAX_NAME, _MAX_PROSE = 64, 2_000


def name_age_band(age: float | None) -> str:
    """``under 1``, ``18 to 39``, ``80 and over``; empty where no age is stated or it is none."""
    if age is None:
        return ""
    for low, high in AGE_BANDS:
        if low <= age < high:
            if low == 0:
                return f"under {high}"
            return f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"
    return ""


def format_count(number: int, noun: str) -> str:
    """``1 image``, ``2,469 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def starts_formula(text: str) -> bool:
    """Whether a spreadsheet would take a text for a formula. Source: OWASP, CSV injection."""
    return _FORMULA.match(text) is not None


def check_name(what: str, text: str) -> None:
    """One line for a person, without anything that could move or hide other text."""
    if not (
        text.strip()
        and len(text) <= _MAX_NAME
        and all(letter.isprintable() or letter in _JOINERS for letter in text)
    ):
        raise ValueError(
            f"{what}: expected 1 to {_MAX_NAME} printable characters, got {text!r:.80}"
        )


def check_prose(what: str, text: str) -> None:
    """Sentences: printable, with line breaks and the spaces that break no line."""
    if len(text) > _MAX_PROSE or not all(
        letter.isprintable() or letter in "\n\u00a0\u202f" + _JOINERS for letter in text
    ):
        raise ValueError(
            f"{what}: expected at most {_MAX_PROSE:,} characters without control characters, "
            f"got {len(text):,}: {text!r:.80}"
        )
