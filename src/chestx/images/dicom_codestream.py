"""What a compressed image says of itself, read from its own header.

Reading these few bytes first keeps a decoder from being asked for an image of another
size than the DICOM header states, or for more memory than the limits allow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from chestx.domain import UnreadableImageError
from chestx.images.dicom_jpeg import FRAMES
from chestx.images.dicom_jpeg2000 import CODESTREAM_START

_JPEG_LS_FRAME = 0xF7
_SCAN = 0xDA
_STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
_MAX_TILES = 65535
_MAX_EDGE = 1 << 31
_END = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Codestream:
    """Header of a compressed image.

    Attributes:
        kind: ``JPEG``, ``JPEG-LS`` or ``JPEG 2000``.
        process: low byte of the JPEG frame marker (0xC0 baseline, 0xC3 lossless ...).
        precision: bits of a sample.
        is_signed: whether samples are signed; only JPEG 2000 can say so.
        is_jfif: whether a JFIF header says that three components are YCbCr.
        adobe_transform: of the Adobe marker (0 RGB, 1 YCbCr), None without one.
    """

    kind: str
    rows: int
    columns: int
    samples: int
    precision: int
    process: int = 0
    is_signed: bool = False
    is_jfif: bool = False
    adobe_transform: int | None = None


def read_jpeg_header(stream: bytes) -> Codestream:
    """Reads the frame header of a JPEG or JPEG-LS stream.

    Raises:
        UnreadableImageError: not JPEG, no frame header, or the end marker is missing.

    Source: ISO/IEC 10918-1 annex B, ISO/IEC 14495-1 annex C.
    """
    is_jfif, adobe = False, None
    for marker, start, end in _walk_segments(stream):
        body = stream[start + 4 : end]
        if marker in FRAMES or marker == _JPEG_LS_FRAME:
            _require_end(stream, "JPEG")
            return _read_jpeg_frame(body, marker, is_jfif, adobe)
        is_jfif = is_jfif or (marker == 0xE0 and body.startswith(b"JFIF\0"))
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
    raise UnreadableImageError("the JPEG stream holds no frame header; the pixel data are damaged")


def _walk_segments(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of every segment up to the first scan, until one is damaged."""
    if stream[:2] != b"\xff\xd8":
        raise UnreadableImageError(
            f"expected a JPEG stream in the pixel data, got {stream[:2].hex(' ') or 'nothing'}"
        )
    position = 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + max(_word(stream, position + 2), 2)
        yield marker, position, end
        if marker == _SCAN:
            return
        position = end


def _read_jpeg_frame(
    body: bytes, marker: int, is_jfif: bool, adobe_transform: int | None
) -> Codestream:
    if len(body) < 6:
        raise UnreadableImageError("the JPEG frame header is cut short")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
    return Codestream(
        kind="JPEG-LS" if marker == _JPEG_LS_FRAME else "JPEG",
        rows=rows,
        columns=columns,
        samples=samples,
        precision=precision,
        process=marker,
        is_jfif=is_jfif,
        adobe_transform=adobe_transform,
    )


def read_jpeg2000_header(stream: bytes) -> Codestream:
    """Reads the SIZ marker of a JPEG 2000 or HTJ2K codestream.

    Raises:
        UnreadableImageError: no codestream, more tiles than the standard allows,
            components of different kinds, or the end marker is missing.

    Source: ISO/IEC 15444-1 A.5.1.
    """
    if not stream.startswith(CODESTREAM_START):
        raise UnreadableImageError(
            "expected a JPEG 2000 codestream in the pixel data, "
            f"got {stream[:4].hex(' ') or 'nothing'}"
        )
    if len(stream) < 45:
        raise UnreadableImageError("the JPEG 2000 header is cut short")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, samples = struct.unpack_from(
        ">8LH", stream, 8
    )
    tiles = _count_tiles(x1, tile_x, tile_x0) * _count_tiles(y1, tile_y, tile_y0)
    is_size = x0 < x1 < _MAX_EDGE and y0 < y1 < _MAX_EDGE
    if not is_size or not 1 <= tiles <= _MAX_TILES:
        raise UnreadableImageError("the JPEG 2000 header states an impossible size or tiling")
    kinds = {stream[42 + 3 * i : 43 + 3 * i] for i in range(samples)}
    if len(kinds) != 1 or b"" in kinds:
        raise UnreadableImageError("expected JPEG 2000 components of one depth, got several")
    depth = kinds.pop()[0]
    _require_end(stream, "JPEG 2000")
    return Codestream(
        kind="JPEG 2000",
        rows=y1 - y0,
        columns=x1 - x0,
        samples=samples,
        precision=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
    )


def _count_tiles(end: int, size: int, origin: int) -> int:
    return -(-(end - origin) // size) if size and end > origin else 0


def _require_end(stream: bytes, kind: str) -> None:
    # No entropy-coded segment of these formats can hold FF D9, so a stream that was
    # cut anywhere lacks it; a few bytes of padding may follow it.
    if _END not in stream[-1024:]:
        raise UnreadableImageError(
            f"the {kind} stream is cut short: its end marker is missing; get the file again"
        )


def _word(stream: bytes, position: int) -> int:
    return int.from_bytes(stream[position : position + 2], "big")
