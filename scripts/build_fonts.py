"""Makes the fonts of ``src/chestx/rendering/fonts`` out of two Debian packages.

    apt-get install fonts-noto-core fonts-noto-cjk
    pip install fonttools
    python scripts/build_fonts.py

Noto fonts (SIL Open Font License 1.1), cut to the characters that names and
sentences need, without hinting. The same packages give the same bytes: nothing
of the clock goes into a file. Built from fonts-noto-core 20201225-1 and
fonts-noto-cjk 1:20220127+repack1-1 with fonttools 4.68.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]
from fontTools.ttLib import TTCollection, TTFont  # type: ignore[import-untyped]

OUTPUT = Path(__file__).parents[1] / "src/chestx/rendering/fonts"
CORE = Path("/usr/share/fonts/truetype/noto")
CJK = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
CORE_LICENCE = Path("/usr/share/doc/fonts-noto-core/copyright")

# Latin, Greek and Cyrillic with their extensions, marks, punctuation, currency and signs.
LATIN_GREEK_CYRILLIC = (
    (0x0020, 0x052F), (0x1AB0, 0x1AFF), (0x1C80, 0x1C8F), (0x1D00, 0x1FFF), (0x2000, 0x209F),
    (0x20A0, 0x20CF), (0x2100, 0x218F), (0x2190, 0x2BFF), (0x2C60, 0x2C7F), (0x2DE0, 0x2E5F),
    (0xA640, 0xA69F), (0xA720, 0xA7FF), (0xAB30, 0xAB6F), (0xFB00, 0xFB06), (0xFFFD, 0xFFFD),
)  # fmt: skip
BOLD = ((0x0020, 0x017F), (0x0370, 0x03FF), (0x0400, 0x045F), (0x2010, 0x203A))
EVERYTHING = ((0x0020, 0x10FFFF),)
SCRIPTS = (
    "Arabic", "Hebrew", "Armenian", "Georgian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati",
    "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar",
    "Ethiopic",
)  # fmt: skip


def main() -> None:
    """Writes the fonts and their licence, and prints size and checksum of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    notices = []
    for name, ranges in (
        ("NotoSans-Regular", LATIN_GREEK_CYRILLIC),
        ("NotoSans-Bold", BOLD),
        *((f"NotoSans{script}-Regular", EVERYTHING) for script in SCRIPTS),
    ):
        font = TTFont(CORE / f"{name}.ttf", recalcTimestamp=False)
        notices.append(_write(font, output / f"{name}.ttf", _spread(ranges)))
    faces = TTCollection(CJK).fonts
    font = next(face for face in faces if face["name"].getDebugName(4) == "Noto Sans CJK SC")
    # The advances and outlines alone: one glyph a character needs no shaping.
    written = _write(font, output / "NotoSansCJKsc-Regular.otf", _list_cjk(), features=[])
    (output / "OFL.txt").write_text(_make_licence([*notices, written]), encoding="utf-8")
    total = sum(path.stat().st_size for path in output.iterdir())
    print(f"{total:>9} bytes in all")


def _write(
    font: TTFont, path: Path, characters: Iterable[int], *, features: list[str] | None = None
) -> str:
    """Cuts the font to the characters, writes it and returns its copyright notice."""
    notice = str(font["name"].getDebugName(0))
    options = Options()
    options.hinting = False
    options.notdef_outline = True  # a character without a glyph shows as a box
    options.name_IDs = [0, 1, 2, 4, 6, 13, 14]
    options.drop_tables += ["vhea", "vmtx", "VORG", "STAT", "meta", "MATH"]
    if features is not None:
        options.layout_features = features
        options.drop_tables += ["GSUB", "GPOS", "GDEF", "BASE"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.recalcTimestamp = False
    font.save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.stat().st_size:>9} {digest[:16]} {len(font.getBestCmap()):>6} {path.name}")
    return f"{path.name}: {notice}"


def _spread(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


def _list_cjk() -> Iterator[int]:
    """GB 2312, JIS X 0208, KS X 1001, Big5 level 1, every Hangul syllable, kana and full width."""
    yield from _spread(((0x3000, 0x30FF), (0x3131, 0x318E), (0x31F0, 0x31FF), (0xAC00, 0xD7A3)))
    yield from _spread(((0xFF00, 0xFFEF), (0x2460, 0x24FF), (0x3200, 0x33FF), (0x2190, 0x266F)))
    for codec in ("gb2312", "iso2022_jp", "euc_kr"):
        yield from (code for code in range(0x80, 0x10000) if _encodes(code, codec))
    for lead in range(0xA4, 0xC7):
        for trail in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
            yield from map(ord, bytes((lead, trail)).decode("big5", errors="ignore"))


def _encodes(code: int, codec: str) -> bool:
    try:
        chr(code).encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _make_licence(notices: list[str]) -> str:
    """The notices of the fonts, then the text of the licence as the package carries it."""
    text = CORE_LICENCE.read_text(encoding="utf-8")
    found = re.search(r"^License: OFL-1\.1\n( PREAMBLE\n(?: .*\n)+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"expected the text of the OFL 1.1, got none, in {CORE_LICENCE}")
    lines = [line[1:] if line != " ." else "" for line in found[1].rstrip().split("\n")]
    return "\n".join(
        [
            "Subsets of Noto fonts, made by scripts/build_fonts.py.",
            "",
            *notices,
            "",
            "This Font Software is licensed under the SIL Open Font License, Version 1.1.",
            "https://openfontlicense.org",
            "",
            "SIL OPEN FONT LICENSE Version 1.1 - 26 February 2007",
            "",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
