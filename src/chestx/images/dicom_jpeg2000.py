"""Is a JPEG 2000 codestream whole, and what does it ask of a decoder?

A decoder leaves tiles that are missing black, and allocates whatever structures the header
states. Both are read here from the markers, before and without decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from chestx.domain import UnreadableImageError

CODESTREAM_START = b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP  "
_COD, _COC, _TILE_PART, _DATA, _END = 0x52, 0x53, 0x90, 0x93, b"\xff\xd9"

PIXELS_A_STRUCTURE = 64
"""Pixels that a code-block or packet must have on average.

Usual ones have thousands; a decoder spends some 400 bytes on each.
"""

_SPARE_STRUCTURES = 4096
_MAX_TILE_PARTS = 200_000


@dataclass(frozen=True, slots=True)
class _Coding:
    """How a component is divided: COD or COC.

    Attributes:
        levels: of decomposition.
        block: log2 of width and height of a code-block.
        precincts: log2 of width and height of a precinct, by resolution.
    """

    levels: int
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]


def extract_codestream(stream: bytes) -> bytes:
    """The codestream itself, also out of a JP2 file, so that nobody reads another one.

    Source: ISO/IEC 15444-1 annex I.
    """
    if not stream.startswith(_JP2_START):
        return stream
    position = 0
    while position + 8 <= len(stream):
        length, kind = struct.unpack_from(">L4s", stream, position)
        start = position + 8
        if length == 1 and start + 8 <= len(stream):
            length, start = struct.unpack_from(">Q", stream, start)[0], start + 8
        end = len(stream) if length == 0 else position + length
        if kind == b"jp2c":
            return stream[start:end]
        if end < start:
            break
        position = end
    raise UnreadableImageError("the JP2 file in the pixel data holds no codestream")


def check_jpeg2000(stream: bytes) -> int:
    """Requires every tile of a codestream and a sane division of it.

    Args:
        stream: whose SIZ marker was found sane.

    Returns:
        How many levels of decomposition every part of the image has.

    Raises:
        UnreadableImageError: a tile is missing or cut short, or the image is divided into
            more code-blocks and packets than its pixels are worth.

    Source: ISO/IEC 15444-1 A.4.2, A.6.1, A.6.2, B.6, B.7.
    """
    x1, y1, x0, y0, wide, high, left, top, components = struct.unpack_from(">8LH", stream, 8)
    across, down = -(-(x1 - left) // wide), -(-(y1 - top) // high)
    codings: list[tuple[_Coding, int]] = []
    first = _read_markers(stream, 2, codings, stop=len(stream))
    _require_tiles(stream, first, across * down, codings)
    # A tile may be larger than the image.
    size = (min(wide, x1 - x0), min(high, y1 - y0))
    most = max((_count_structures(coding, layers, size) for coding, layers in codings), default=0)
    pixels = (x1 - x0) * (y1 - y0)
    if most * across * down > pixels // PIXELS_A_STRUCTURE + _SPARE_STRUCTURES:
        raise UnreadableImageError(
            "the JPEG 2000 stream divides its pixels into absurdly small or many parts "
            f"({components} components, {across * down} tiles); export the image again"
        )
    return min((coding.levels for coding, _ in codings), default=0)


def _require_tiles(
    stream: bytes, position: int, tiles: int, codings: list[tuple[_Coding, int]]
) -> None:
    """Follows the tile-parts, whose lengths chain them, and counts the tiles."""
    found: set[int] = set()
    parts = 0
    while stream[position : position + 2] == b"\xff\x90" and position + 12 <= len(stream):
        index, length = struct.unpack_from(">HL", stream, position + 4)
        end = len(stream) if length == 0 else position + length
        parts += 1
        is_sane = index < tiles and parts <= _MAX_TILE_PARTS and not 0 < length < 14
        if end > len(stream) or not is_sane:
            raise UnreadableImageError(
                f"the JPEG 2000 stream is cut short or damaged in tile {index + 1} of {tiles}; "
                "get the file again"
            )
        _read_markers(stream, position + 12, codings, stop=end)
        found.add(index)
        position = end
    if len(found) != tiles:
        raise UnreadableImageError(
            f"the JPEG 2000 stream is cut short: expected {tiles} tiles, got {len(found)}; "
            "get the file again"
        )


def _read_markers(
    stream: bytes, position: int, codings: list[tuple[_Coding, int]], *, stop: int
) -> int:
    """Collects the codings of a header; the position of the marker that ends it."""
    for marker, start, end in _walk_header(stream, position, stop):
        if marker in (_TILE_PART, _DATA):
            return start
        body = stream[start + 4 : end]
        layers = codings[0][1] if codings else 1
        if marker == _COD and len(body) >= 10:
            layers = struct.unpack_from(">H", body, 2)[0]
            codings.append((_read_coding(body[5:], has_precincts=bool(body[0] & 1)), layers))
        elif marker == _COC:
            # The component's number takes two bytes where there are more than 256.
            components = struct.unpack_from(">H", stream, 40)[0]
            body = body[1 if components < 257 else 2 :]
            if len(body) >= 6:
                codings.append((_read_coding(body[1:], has_precincts=bool(body[0] & 1)), layers))
    raise UnreadableImageError("the JPEG 2000 stream is damaged: a header has no end")


def _walk_header(stream: bytes, position: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the segments of a header, up to the marker that ends it."""
    while position + 2 <= stop and stream[position] == 0xFF:
        marker = stream[position + 1]
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        yield marker, position, end
        position = max(end, position + 4)


def _read_coding(body: bytes, *, has_precincts: bool) -> _Coding:
    levels = min(body[0], 32)
    sizes = body[5 : 6 + levels] if has_precincts else b""
    precincts = tuple((size & 0xF, size >> 4) for size in sizes.ljust(levels + 1, b"\xff"))
    return _Coding(levels, ((body[1] & 0xF) + 2, (body[2] & 0xF) + 2), precincts)


def _count_structures(coding: _Coding, layers: int, size: tuple[int, int]) -> int:
    """About how many code-blocks and packets one component of a tile has."""
    count = 0
    for resolution, precinct in enumerate(coding.precincts):
        shrink = coding.levels - resolution
        wide, high = (max(-(-side >> shrink), 1) for side in size)
        precincts = -(-wide >> precinct[0]) * -(-high >> precinct[1])
        # Bands of all resolutions but the first have half its side, and there are three.
        halving = int(resolution > 0)
        block = [min(b, max(p - halving, 0)) for b, p in zip(coding.block, precinct, strict=True)]
        blocks = -(-wide >> block[0] + halving) * -(-high >> block[1] + halving)
        count += precincts * layers + blocks * (3 if halving else 1)
    return count
