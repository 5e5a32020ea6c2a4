"""Right-to-left and joined scripts without a shaping library.

Pillow shapes with raqm and HarfBuzz only where the system has FriBidi. Elsewhere
these functions put characters into the order and the form in which they are
drawn: Arabic letters join, Hebrew stands right to left, and a vowel sign that is
written before its consonant stands before it. Conjuncts of Indic scripts stay
apart, which is legible and not beautiful.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from chestx.rendering.bidi import MIRRORED

JOINERS = "\u200c\u200d"

# Vowel signs drawn before the consonant that they follow in the text.
_PRE_BASE = frozenset(
    "\u093f\u09bf\u09c7\u09c8\u0a3f\u0abf\u0bc6\u0bc7\u0bc8\u0d46\u0d47\u0d48\u0dd9\u0ddb"
    "\u1031\u17c1\u17c2\u17c3"
)
_TATWEEL = "\u0640"


def split_clusters(text: str) -> list[str]:
    """Splits text where a reader would: marks and joined letters stay with their base."""
    clusters: list[str] = []
    joined = False
    for character in text:
        combines = unicodedata.category(character)[0] == "M" or character in JOINERS
        if clusters and (combines or joined):
            clusters[-1] += character
        else:
            clusters.append(character)
        # A virama binds the next letter into a conjunct.
        joined = character == "\u200d" or unicodedata.combining(character) == 9
    return clusters


def shape_plainly(text: str, *, right_to_left: bool) -> str:
    """The characters as they are drawn one after the other, left to right.

    Args:
        text: a run of one direction, in reading order.
        right_to_left: its direction.
    """
    clusters = split_clusters(_join_arabic(text) if right_to_left else text)
    clusters = [_move_vowel(cluster.strip(JOINERS)) for cluster in clusters]
    if not right_to_left:
        return "".join(clusters)
    # Marks of these fonts are drawn before their base, where its pen starts.
    return "".join(MIRRORED.get(cluster, cluster[::-1]) for cluster in reversed(clusters))


def _move_vowel(cluster: str) -> str:
    for index, character in enumerate(cluster):
        if index and character in _PRE_BASE:
            return character + cluster[:index] + cluster[index + 1 :]
    return cluster


@cache
def _presentation_forms() -> dict[str, dict[str, str]]:
    """Arabic letters (or lam with alef) -> form (isolated, final, initial, medial) -> character."""
    forms: dict[str, dict[str, str]] = {}
    for code in (*range(0xFB50, 0xFBB2), *range(0xFBD3, 0xFC00), *range(0xFE80, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        if len(letters) == 1 or (len(letters) == 2 and code >= 0xFEF5):
            base = "".join(chr(int(letter, 16)) for letter in letters)
            forms.setdefault(base, {})[kind.strip("<>")] = chr(code)
    forms[_TATWEEL] = dict.fromkeys(("isolated", "final", "initial", "medial"), _TATWEEL)
    return forms


def _join_arabic(text: str) -> str:
    """Replaces Arabic letters by the forms that they take beside their neighbours."""
    forms = _presentation_forms()
    units = _pair_lam_alef(text)
    drawn = []
    for index, unit in enumerate(units):
        own = forms.get(unit)
        if own is None:
            drawn.append(unit)
            continue
        before = "final" in own and "initial" in forms.get(_neighbour(units, index, -1), {})
        after = "initial" in own and "final" in forms.get(_neighbour(units, index, 1), {})
        kind = ("isolated", "initial", "final", "medial")[after + 2 * before]
        drawn.append(own.get(kind, unit))
    return "".join(drawn)


def _pair_lam_alef(text: str) -> list[str]:
    """The characters, with lam and a following alef as one unit: they are always drawn as one."""
    units: list[str] = []
    for character in text:
        if units and units[-1] == "\u0644" and "\u0644" + character in _presentation_forms():
            units[-1] += character
        else:
            units.append(character)
    return units


def _neighbour(units: list[str], index: int, step: int) -> str:
    """The next unit that is not a mark; empty at an end."""
    index += step
    while 0 <= index < len(units) and unicodedata.category(units[index][0]) == "Mn":
        index += step
    return units[index] if 0 <= index < len(units) else ""
