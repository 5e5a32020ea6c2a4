"""Text in any script as a mask of ink, for any background.

Fonts are the bundled subsets of Noto. Each run of a line takes the first font that
has its characters; one that no font has shows as a box. Text comes from files and
networks: whatever it holds, it is cut to the width that it is given.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from chestx.rendering.bidi import order_runs, resolve_levels
from chestx.rendering.glyphs import BOLD, FONTS, SHAPED, choose_font, open_font
from chestx.rendering.shaping import JOINERS, shape_plainly, split_clusters
from chestx.shapes import UInt8

_ELLIPSIS = "\u2026"
_LONGEST = 400
_MOST_MARKS = 4
# Glyphs are drawn through one FreeType face a font and size, which is not to be
# used by two threads at once.
_LOCK = threading.Lock()

Mask = UInt8[np.ndarray, "_height _width"]


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """The ink of a glyph or a shaped run, to be set down where the last one ended.

    Attributes:
        ink: coverage.
        left, top: of the ink, from the pen on the baseline.
        advance: how far the pen moves on.
    """

    ink: Mask
    left: int
    top: int
    advance: float


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters of one font and direction, in reading order."""

    text: str
    font: str
    level: int


def get_line_height(size: int) -> int:
    """Height in pixels of a line of text of a size in pixels; every script has the same."""
    return ceil(1.4 * size)


def draw_line(
    text: str,
    *,
    size: int,
    width: int,
    bold: bool = False,
    shorten: Literal["end", "middle"] = "end",
) -> Mask:
    """Draws one line, cut with an ellipsis where it is too long.

    Args:
        text: in reading order, any script, any content.
        size: of the letters in pixels.
        width: most that it may take, in pixels.
        bold: heavier letters where the script has them.
        shorten: where to leave out characters.

    Returns:
        Coverage, 0 none to 255 full; at most ``width`` wide; read-only.
    """
    return _draw_line(clean_text(text), size, max(1, width), bold, shorten)


def draw_paragraph(
    text: str, *, size: int, width: int, max_lines: int, bold: bool = False
) -> list[Mask]:
    """Draws text over several lines, broken at spaces and between ideographs.

    Args:
        text: in reading order.
        size: of the letters in pixels.
        width: of a line in pixels.
        max_lines: past it, the last line ends with an ellipsis.
        bold: heavier letters where the script has them.

    Returns:
        One mask a line.
    """
    text = clean_text(text, longest=max_lines * _LONGEST)
    lines = wrap_text(text, size=size, width=width, bold=bold)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], " ".join(lines[max_lines - 1 : max_lines + 1])]
    return [draw_line(line, size=size, width=width, bold=bold) for line in lines]


def measure_text(text: str, *, size: int, bold: bool = False) -> int:
    """The width in pixels that a line of text takes."""
    return _measure(clean_text(text), size, bold)


def wrap_text(text: str, *, size: int, width: int, bold: bool = False) -> list[str]:
    """Breaks text into lines of at most a width in pixels."""
    lines: list[str] = []
    line, taken = "", 0
    space = _measure(" ", size, bold)

    def measure(part: str) -> int:
        return _measure(part, size, bold)

    for word, glued in _split_words(text, measure, width):
        gap = 0 if glued or not line else space
        if line and taken + gap + measure(word) > width:
            lines.append(line)
            line, taken, gap = "", 0, 0
        line = f"{line}{' ' if gap else ''}{word}"
        taken += gap + measure(word)
    return [*lines, line] if line else lines


def clean_text(text: str, *, longest: int = _LONGEST) -> str:
    """Text that can be drawn: bounded, composed, without control characters.

    Line breaks become spaces. Controls, lone surrogates and direction overrides, which
    could make a name read as another, become U+FFFD. Of a flood of marks a few stay.
    """
    if len(text) > 2 * longest:
        text = f"{text[:longest]}{_ELLIPSIS}{text[-longest:]}"
    if text.isascii() and text.isprintable():
        return text
    marks = 0
    kept = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if character.isspace():
            kept.append(" ")
        elif category in ("Cc", "Cs") or character in "\u202d\u202e":
            kept.append("\ufffd")
        elif (category != "Cf" or character in JOINERS) and marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=512)
def _draw_line(text: str, size: int, width: int, bold: bool, shorten: str) -> Mask:
    if _measure(text, size, bold) > width:
        text = _cut(text, lambda part: _measure(part, size, bold), width, shorten)
    taken = min(width, _measure(text, size, bold) + 1)
    mask = np.zeros((get_line_height(size), max(1, taken)), np.uint8)
    pen, baseline = 0.0, ceil(1.04 * size)
    for piece in _draw_pieces(text, size, bold):
        _set_down(mask, piece, round(pen) + piece.left, baseline + piece.top)
        pen += piece.advance
    mask.flags.writeable = False
    return mask


def _set_down(mask: Mask, piece: _Piece, left: int, top: int) -> None:
    """Adds the part of a piece that lies inside the mask."""
    first_row, first_column = max(0, -top), max(0, -left)
    ink = piece.ink[first_row : mask.shape[0] - top, first_column : max(0, mask.shape[1] - left)]
    row, column = top + first_row, left + first_column
    cell = mask[row : row + ink.shape[0], column : column + ink.shape[1]]
    np.maximum(cell, ink, out=cell)


def _cut(text: str, measure: Callable[[str], int], width: int, where: str) -> str:
    """As much of the text as fits, with an ellipsis for what was left out.

    Adding up its parts is quick and, where letters join, a little too wide.
    """
    clusters = split_clusters(text)
    widths = [measure(cluster) for cluster in clusters]
    kept = len(clusters)
    taken = sum(widths) + measure(_ELLIPSIS)
    while kept and taken > width:
        kept -= 1
        head = kept if where == "end" else (kept + 1) // 2
        # Of the parts between head and tail the one that has just been left out.
        taken -= widths[head if where == "end" or kept % 2 == 0 else head - kept - 1]
    while kept and measure(_leave_out(clusters, kept, where)) > width:
        kept -= 1
    return _leave_out(clusters, kept, where)


def _leave_out(clusters: list[str], kept: int, where: str) -> str:
    head = kept if where == "end" else (kept + 1) // 2
    tail = clusters[len(clusters) - (kept - head) :]
    return f"{''.join(clusters[:head]).rstrip()}{_ELLIPSIS}{''.join(tail)}"


def _split_words(text: str, measure: Callable[[str], int], width: int) -> list[tuple[str, bool]]:
    """Pieces that may start a line, each with whether it follows without a space."""
    pieces: list[tuple[str, bool]] = []
    for word in text.split():
        fits = measure(word) <= width
        current, glued = "", False
        for cluster in [word] if fits and not _has_ideograph(word) else split_clusters(word):
            full = not fits and measure(current + cluster) > width
            if current and (full or _has_ideograph(cluster)):
                pieces.append((current, glued))
                current, glued = "", True
            current += cluster
        pieces.append((current, glued))
    return pieces


def _has_ideograph(text: str) -> bool:
    return any("\u3040" <= character <= "\u9fff" for character in text)


@lru_cache(maxsize=4096)
def _measure(text: str, size: int, bold: bool) -> int:
    return ceil(sum(piece.advance for piece in _draw_pieces(text, size, bold)))


@lru_cache(maxsize=256)
def _draw_pieces(text: str, size: int, bold: bool) -> tuple[_Piece, ...]:
    """The ink of a line from left to right: glyph by glyph, or shaped run by shaped run."""
    pieces: list[_Piece] = []
    for run in _lay_out(text, bold):
        right_to_left = run.level % 2 == 1
        if _can_shape() and (run.font in SHAPED or _has_marks(run.text)):
            direction = "rtl" if right_to_left else "ltr"
            pieces.append(_draw_piece(run.text, run.font, size, direction))
        else:
            drawn = shape_plainly(run.text, right_to_left=right_to_left)
            pieces.extend(_draw_piece(character, run.font, size, "") for character in drawn)
    return tuple(pieces)


@lru_cache(maxsize=8192)
def _draw_piece(text: str, font: str, size: int, direction: str) -> _Piece:
    """Draws one glyph, or with a direction a run of letters that are shaped together."""
    engine = ImageFont.Layout.RAQM if direction else ImageFont.Layout.BASIC
    way = direction or None
    with _LOCK:
        face = open_font(font, size, engine)
        left, top, right, bottom = face.getbbox(text, anchor="ls", direction=way)
        image = Image.new("L", (max(1, ceil(right - left)), max(1, ceil(bottom - top))), 0)
        draw = ImageDraw.Draw(image)
        draw.text((-left, -top), text, fill=255, font=face, anchor="ls", direction=way)
        advance = face.getlength(text, direction=way)
    return _Piece(np.array(image), int(left), int(top), advance)


def _has_marks(text: str) -> bool:
    return not text.isascii() and any(unicodedata.category(x)[0] == "M" for x in text)


@lru_cache(maxsize=1024)
def _lay_out(text: str, bold: bool) -> tuple[_Run, ...]:
    """The runs of a line, leftmost first."""
    if text.isascii():
        return (_Run(text, BOLD if bold else FONTS[0], 0),)
    runs: list[_Run] = []
    for character, level in zip(text, resolve_levels(text), strict=True):
        font = choose_font(character, runs[-1].font if runs else "", bold=bold)
        if runs and (runs[-1].font, runs[-1].level) == (font, level):
            runs[-1] = _Run(runs[-1].text + character, font, level)
        else:
            runs.append(_Run(character, font, level))
    return tuple(runs[index] for index in order_runs([run.level for run in runs]))


@cache
def _can_shape() -> bool:
    return bool(features.check_feature("raqm"))
