"""The order in which the characters of a line stand, left to right, on the screen.

The Unicode Bidirectional Algorithm without explicit formatting characters and
paired brackets: its levels come from the characters alone.

Source: UAX #9, rules P2-P3, W1-W7, N1-N2, I1-I2, L1-L2.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LEFT, _RIGHT = "([{<\u00ab\u2039\u2264", ")]}>\u00bb\u203a\u2265"
MIRRORED = dict(zip(_LEFT + _RIGHT, _RIGHT + _LEFT, strict=True))
"""A character of a right-to-left run -> the one that is drawn for it."""

_NEUTRAL = ("B", "S", "WS", "ON")


def resolve_levels(text: str) -> list[int]:
    """The embedding level of each character: even runs left to right, odd right to left."""
    types = [unicodedata.bidirectional(character) or "L" for character in text]
    base = int(next((kind for kind in types if kind in ("L", "R", "AL")), "L") != "L")
    whitespace = [kind in ("WS", "S", "B") for kind in types]
    strong = "LR"[base]
    _resolve_weak(types, strong)
    _resolve_neutral(types, strong)
    levels = [_raise_level(base, kind) for kind in types]
    for index in range(len(text) - 1, -1, -1):  # L1: trailing white space follows the line
        if not whitespace[index]:
            break
        levels[index] = base
    return levels


def order_runs(levels: Sequence[int]) -> list[int]:
    """The visual order of runs from their levels (L2): indices, leftmost first."""
    order = list(range(len(levels)))
    for level in range(max(levels, default=0), 0, -1):
        start = 0
        while start < len(order):
            if levels[order[start]] < level:
                start += 1
                continue
            end = start
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[start:end] = reversed(order[start:end])
            start = end
    return order


def _raise_level(base: int, kind: str) -> int:
    """I1, I2: numbers inside right-to-left text still run left to right."""
    if base == 0:
        return {"L": 0, "R": 1}.get(kind, 2)
    return 1 if kind == "R" else 2


def _resolve_weak(types: list[str], strong: str) -> None:
    """W1 to W7 in place; afterwards there are L, R, EN, AN and neutrals."""
    previous, last_strong = strong, strong
    for index, kind in enumerate(types):
        if kind in ("NSM", "BN"):  # W1
            kind = previous
        if kind in ("L", "R", "AL"):
            last_strong = kind
        elif kind == "EN" and last_strong == "AL":  # W2
            kind = "AN"
        types[index] = previous = kind
    for index, kind in enumerate(types):
        if kind in ("ES", "CS") and 0 < index < len(types) - 1:  # W4
            before, after = types[index - 1], types[index + 1]
            if before == after and (before == "EN" or (before == "AN" and kind == "CS")):
                types[index] = before
    _resolve_terminators(types)
    last_strong = strong
    for index, kind in enumerate(types):
        if kind == "AL":  # W3
            types[index] = kind = "R"
        if kind in ("L", "R"):
            last_strong = kind
        elif kind == "EN" and last_strong == "L":  # W7
            types[index] = "L"
        elif kind not in ("EN", "AN"):  # W6
            types[index] = "ON"


def _resolve_terminators(types: list[str]) -> None:
    """W5: terminators (%, $, degree) beside a European number belong to it."""
    for indices in (range(1, len(types)), range(len(types) - 2, -1, -1)):
        step = indices.step
        for index in indices:
            if types[index] == "ET" and types[index - step] == "EN":
                types[index] = "EN"


def _resolve_neutral(types: list[str], strong: str) -> None:
    """N1, N2 in place: neutrals between equal sides take that side, else the line's."""
    index = 0
    before = strong
    while index < len(types):
        if types[index] not in _NEUTRAL:
            before = "L" if types[index] == "L" else "R"
            index += 1
            continue
        end = index
        while end < len(types) and types[end] in _NEUTRAL:
            end += 1
        after = strong if end == len(types) else ("L" if types[end] == "L" else "R")
        types[index:end] = [before if before == after else strong] * (end - index)
        index = end
