"""The bundled fonts: which of them has a character, and where shaping is needed."""

from __future__ import annotations

import struct
import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from chestx.rendering.shaping import JOINERS

FOLDER = Path(__file__).parent / "fonts"
BOLD = "NotoSans-Bold.ttf"
_SCRIPTS = (
    "Arabic", "Hebrew", "Armenian", "Georgian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati",
    "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar",
    "Ethiopic",
)  # fmt: skip
# In order of choice; CJK before the small ones, since it is asked for most.
FONTS = (
    "NotoSans-Regular.ttf",
    "NotoSansCJKsc-Regular.otf",
    *(f"NotoSans{script}-Regular.ttf" for script in _SCRIPTS),
)
# Fonts whose letters change with their neighbours; the rest needs no shaping, and so
# looks the same with and without a shaping library.
SHAPED = frozenset(
    f"NotoSans{script}-Regular.ttf"
    for script in _SCRIPTS
    if script not in ("Hebrew", "Armenian", "Georgian", "Ethiopic")
)


def choose_font(character: str, current: str, *, bold: bool = False) -> str:
    """The font for a character; what has no script of its own stays with its neighbours."""
    attached = character in JOINERS or unicodedata.category(character)[0] == "M"
    if current and (attached or character == " ") and has_glyph(current, character):
        return current
    if bold and has_glyph(BOLD, character):
        return BOLD
    for name in FONTS:
        if has_glyph(name, character):
            return name
    return FONTS[0]


def has_glyph(font: str, character: str) -> bool:
    """Whether a font can show a character."""
    starts, ends = _read_coverage(font)
    index = bisect_right(starts, ord(character)) - 1
    return index >= 0 and ord(character) <= ends[index]


@cache
def _read_coverage(font: str) -> tuple[list[int], list[int]]:
    """First and last characters of the ranges that a font has glyphs for.

    Source: OpenType 1.9, ``cmap``, formats 4 and 12.
    """
    data = (FOLDER / font).read_bytes()
    count = struct.unpack_from(">H", data, 4)[0]
    records = (struct.unpack_from(">4sIII", data, 12 + 16 * index) for index in range(count))
    table = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    count = struct.unpack_from(">H", data, table + 2)[0]
    subtables = {
        struct.unpack_from(">H", data, table + offset)[0]: table + offset
        for offset in (
            struct.unpack_from(">I", data, table + 8 + 8 * index)[0] for index in range(count)
        )
    }
    if 12 in subtables:
        start = subtables[12]
        groups = struct.unpack_from(">I", data, start + 12)[0]
        triples = np.frombuffer(data, ">u4", groups * 3, start + 16).reshape(-1, 3)
        return triples[:, 0].tolist(), triples[:, 1].tolist()
    start = subtables[4]
    segments = struct.unpack_from(">H", data, start + 6)[0] // 2
    ends = np.frombuffer(data, ">u2", segments, start + 14).tolist()
    starts = np.frombuffer(data, ">u2", segments, start + 16 + 2 * segments).tolist()
    return starts[:-1], ends[:-1]  # the last segment is the end mark 0xFFFF


@lru_cache(maxsize=128)
def open_font(name: str, size: int, engine: ImageFont.Layout) -> ImageFont.FreeTypeFont:
    """The font at a size in pixels; one thread at a time may use it."""
    return ImageFont.truetype(str(FOLDER / name), size, layout_engine=engine)
