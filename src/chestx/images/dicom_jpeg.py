"""Makes a JPEG stream of the pixel data plain: what decoding needs, and none other."""

from __future__ import annotations

from dataclasses import dataclass

from chestx.domain import UnreadableImageError
from chestx.images.jpeg import check_scans, walk_segments

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Frame headers (ISO/IEC 10918-1 table B.1); C4, C8 and CC are none."""

_PROGRESSIVE, _LOSSLESS, _SCAN = 0xC2, 0xC3, 0xDA
# Frame header, Huffman and quantisation tables, restart interval.
_NEEDED = FRAMES | {0xC4, 0xDB, 0xDD}


@dataclass(frozen=True, slots=True)
class CleanJpeg:
    """A stream of needed segments only.

    Attributes:
        data: from the start marker to the last entropy-coded byte, without the end marker.
        scans: how many it holds.
    """

    data: bytes
    scans: int


def clean_jpeg(stream: bytes, *, extra: bytes = b"") -> CleanJpeg:
    """Checks the scans of a JPEG stream and keeps what decoding needs.

    The header of a sequential scan selects all coefficients, as it must. Some writers leave
    that selection zero, of which decoders warn.

    Args:
        stream: with its end marker.
        extra: segments to put first.

    Raises:
        UnreadableImageError: scans are missing, repeat each other or are absurdly many, or
            something else stands between the segments.

    Source: ISO/IEC 10918-1 B.2.
    """
    try:
        check_scans(stream)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"JPEG pixel data: {error}") from None
    kept, scans, is_sequential = [stream[:2], extra], 0, False
    for segment in walk_segments(stream):
        header = stream[segment.start : segment.coded]
        if segment.marker == _SCAN:
            scans += 1
            header = header[:-3] + b"\x00\x3f\x00" if is_sequential else header
            kept += [header, stream[segment.coded : segment.end]]
        elif segment.marker in _NEEDED:
            kept.append(header)
        if segment.marker in FRAMES:
            is_sequential = segment.marker not in (_PROGRESSIVE, _LOSSLESS)
    return CleanJpeg(b"".join(kept), scans)
