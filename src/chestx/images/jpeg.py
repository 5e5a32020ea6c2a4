"""JPEG streams: what their segments say, whether every scan is there, and the pixels of whole ones.

libjpeg answers missing data with grey blocks and a warning, and missing scans with a
coarse picture and none. Here warnings are errors, and the scans are counted before.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.structure import Structure, read_orientation, report_damage, unpack
from chestx.shapes import UInt8

MAX_SCANS = 100
"""Encoders write about ten; thousands in a small file cost minutes to decode."""

MAX_SEGMENTS = 10_000
"""More than 512 MB hold in segments of full length."""

_PROGRESSIVE, _SCAN, _END = 0xC2, 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES = frozenset({0xC4, 0xDB, 0xDD})
"""Huffman and quantisation tables, restart interval."""

_FILL = re.compile(rb"\xff*")
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
"""The segment that says YCbCr; what else it says (version, thumbnail) is not needed."""

_LOSS = re.compile(r"Corrupt|[Pp]remature|Inconsistent progression")
"""Warnings of libjpeg that mean damaged pixels; others remark upon the header."""

_TRAILING = re.compile(r"extraneous bytes before marker 0xd9$")
"""Only the first warning is reported, so with this one every scan before was whole."""

_PAD = bytes(range(0x15, 0x55))
"""Any bytes but FF, which a decoder that has all pixels steps over."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment; that of a scan goes on to the end of its entropy-coded bytes.

    Attributes:
        marker: second byte of the marker.
        start: of the marker.
        body: where it begins, after the length.
        coded: where entropy-coded bytes begin; ``end`` where there are none.
        end: after the last byte, fill bytes before the next marker left out.
    """

    marker: int
    start: int
    body: int
    coded: int
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame header says."""

    marker: int
    bits: int
    height: int
    width: int
    components: tuple[int, ...]


def examine_jpeg(data: bytes) -> Structure:
    """Walks the segments and scans of a JPEG file up to its end marker.

    The decoder is to see the frame, the tables, the scans and what tells the colour
    space; comments, profiles and side notes are left out.

    Raises:
        UnreadableImageError: the file is cut, lacks scans, or is of a kind of JPEG
            that only DICOM carries.
        Source: ITU-T T.81, B.1 and B.2.
    """
    segments = list(walk_segments(data))
    frame = _check_kind(_check_coverage(data, segments))
    coded = sum(segment.end - segment.coded for segment in segments)
    if coded * 8 < (frame.width // 8) * (frame.height // 8):
        raise report_damage("JPEG", "it holds fewer bits than blocks of pixels")
    kept, orientation, is_adobe = [data[:2]], 0, False
    for segment in segments:
        if segment.marker == 0xE1 and data.startswith(b"Exif\0\0", segment.body):
            orientation = orientation or read_orientation(data[segment.body + 6 : segment.end])
        elif segment.marker == 0xE0 and data.startswith(b"JFIF\0", segment.body):
            kept.append(_JFIF)
        elif segment.marker == 0xEE and data.startswith(b"Adobe", segment.body):
            is_adobe = True
            kept.append(data[segment.start : segment.end])
        elif segment.marker in _FRAMES | _TABLES | {_SCAN}:
            kept.append(data[segment.start : segment.end])
    if len(frame.components) == 4 and not is_adobe:
        raise UnreadableImageError(
            "expected a grey or RGB JPEG, got CMYK without the Adobe marker that says whether "
            "it is stored inverted; export it as grey"
        )
    return Structure(
        format="JPEG",
        width=frame.width,
        height=frame.height,
        bits=frame.bits,
        photometric={1: "GREY", 3: "RGB", 4: "CMYK"}[len(frame.components)],
        samples=len(frame.components),
        orientation=orientation or 1,
        data=b"".join([*kept, b"\xff\xd9"]),
    )


def check_scans(stream: bytes) -> Frame:
    """Makes sure that the scans of a JPEG stream carry every part of every component once.

    A stream that was cut between two scans decodes to a coarse or colourless picture,
    and one that repeats a scan to no more than costs.

    Args:
        stream: of any process of ITU-T T.81, from its first marker to its end marker.

    Returns:
        What its frame header says.

    Raises:
        UnreadableImageError: the stream is cut, a part is missing or comes twice, or
            there are more than ``MAX_SCANS`` scans.
        Source: ITU-T T.81, B.2.3 and G.1.1.1.
    """
    return _check_coverage(stream, walk_segments(stream))


def lacks_pixels(stream: bytes) -> bool:
    """Whether the entropy-coded bytes of some scan end before its last block.

    A decoder that has every block steps over more bytes before the next marker; one
    that lacks some takes them for pixels, and the picture changes. Two decodings: for
    streams that the strict decoder does not take.
    """
    parts, position = [], 0
    for segment in walk_segments(stream):
        if segment.marker == _SCAN:
            parts += [stream[position : segment.end], _PAD]
            position = segment.end
    return _fingerprint(stream) != _fingerprint(b"".join([*parts, stream[position:]]))


def decode_jpeg(data: bytes, *, samples: int) -> UInt8[np.ndarray, "height width *channels"]:
    """Pixels of a JPEG file of 8 bits: grey, BGR, or of four inks.

    Args:
        data: as :func:`examine_jpeg` leaves it.
        samples: components, 1, 3 or 4; inks come inverted, in the order yellow,
            magenta, cyan, black: BGR and a fourth value to multiply by.

    Raises:
        ValueError, OSError: pixels are missing or damaged.
    """
    import simplejpeg

    space = {1: "GRAY", 3: "BGR", 4: "CMYK"}[samples]
    decoded: np.ndarray
    try:
        decoded = simplejpeg.decode_jpeg(data, colorspace=space)
    except ValueError as error:
        if _TRAILING.search(str(error)):
            decoded = simplejpeg.decode_jpeg(data, colorspace=space, strict=False)
        elif _LOSS.search(str(error)):
            raise
        else:  # an unusual sampling of colour, or a header that is not quite by the book
            decoded = _decode_leniently(data)
    if samples == 1:
        return decoded.reshape(decoded.shape[:2])
    return decoded if samples == 3 else decoded[..., [2, 1, 0, 3]]


def _decode_leniently(data: bytes) -> UInt8[np.ndarray, "height width *channels"]:
    if lacks_pixels(data):
        raise ValueError("pixels are missing")
    values = _decode_with_pillow(data)
    if values.ndim == 2:
        return values
    # Pillow inverts inks, as they are stored inverted; its colours are in the order RGB.
    return 255 - values if values.shape[2] == 4 else values[..., ::-1].copy()


def walk_segments(stream: bytes) -> Iterator[Segment]:
    """Every segment that has a body, up to the end marker.

    Raises:
        UnreadableImageError: the stream ends before its end marker, or something else
            lies between two segments.
    """
    position = 2
    for _ in range(MAX_SEGMENTS):
        start = position
        position = _FILL.match(stream, position).end()  # type: ignore[union-attr]
        if position == start or position >= len(stream):
            raise report_damage("JPEG", "it ends before its end marker")
        marker = stream[position]
        if marker == _END:
            return
        (length,) = unpack("JPEG", ">H", stream, position + 1)
        coded = position + 1 + length
        if length < 2 or coded > len(stream):
            raise report_damage("JPEG", "it ends inside a segment")
        # A marker has one FF; more before it fill.
        start, body, position = position - 1, position + 3, coded
        if marker == _SCAN:
            found = _SCAN_END.search(stream, coded)
            if found is None:
                raise report_damage("JPEG", "it ends inside its pixels")
            position = found.start()
        end = position
        while marker == _SCAN and end > coded and stream[end - 1] == 0xFF:
            end -= 1
        yield Segment(marker, start, body, coded, end)
        position = end if marker == _SCAN else position
    raise report_damage("JPEG", f"it has more than {MAX_SEGMENTS} segments")


def _check_coverage(stream: bytes, segments: Iterable[Segment]) -> Frame:
    """The frame header, where the scans bring each coefficient to its last bit, once."""
    frame: Frame | None = None
    scans = 0
    missing: dict[tuple[int, int], int] = {}
    for segment in segments:
        if segment.marker in _FRAMES:
            if frame is not None:
                raise report_damage("JPEG", "it has two frame headers")
            frame = _read_frame(stream[segment.body : segment.coded], segment.marker)
            bands = range(64 if frame.marker == _PROGRESSIVE else 1)
            # 0 stands for a coefficient that no scan has brought yet, 1 + n for one that
            # lacks its last n bits.
            missing = dict.fromkeys(((c, k) for c in frame.components for k in bands), 0)
        elif segment.marker == _SCAN:
            scans += 1
            if frame is None or scans > MAX_SCANS:
                raise report_damage(
                    "JPEG", f"it has no frame header or more than {MAX_SCANS} scans"
                )
            header = stream[segment.body : segment.coded]
            _follow_scan(header, frame.marker == _PROGRESSIVE, missing)
    if frame is None or not scans:
        raise report_damage("JPEG", "it holds no scan")
    if any(left != 1 for left in missing.values()):
        raise report_damage("JPEG", "scans of it are missing")
    return frame


def _follow_scan(header: bytes, is_progressive: bool, missing: dict[tuple[int, int], int]) -> None:
    """Notes what one scan brings."""
    count = header[0] if header else 0
    if len(header) != 4 + 2 * count:
        raise report_damage("JPEG", "the header of a scan has another length than it says")
    first, last, bits = header[-3:] if is_progressive else bytes(3)
    before, after = bits >> 4, bits & 15
    for component in header[1:-3:2]:
        for band in range(first, last + 1):
            left = missing.get((component, band))
            if left != (1 + before if before else 0):
                raise report_damage("JPEG", "a scan of it comes twice or too early")
            missing[component, band] = 1 + after


def _read_frame(header: bytes, marker: int) -> Frame:
    bits, height, width, count = unpack("JPEG", ">BHHB", header, 0)
    components = tuple(header[6::3])
    if len(header) != 6 + 3 * count or len(set(components)) != count or not count:
        raise report_damage("JPEG", "its frame header names no size or no known kind of pixel")
    return Frame(marker, bits, height, width, components)


def _check_kind(frame: Frame) -> Frame:
    """The frame, where it is of a kind that pictures outside of DICOM have."""
    kinds = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}
    if frame.marker not in (0xC0, 0xC1, _PROGRESSIVE):
        kind = kinds.get(frame.marker, "arithmetic-coded")
        raise UnreadableImageError(
            f"expected a baseline or progressive JPEG, got a {kind} one; export it as PNG or DICOM"
        )
    if frame.bits != 8:
        raise UnreadableImageError(
            f"expected a JPEG of 8 bits, got {frame.bits} bits; export it as PNG or DICOM"
        )
    if len(frame.components) not in (1, 3, 4) or not frame.width or not frame.height:
        raise report_damage("JPEG", "its frame header names no size or no known kind of pixel")
    return frame


def _fingerprint(stream: bytes) -> int:
    return zlib.crc32(_decode_with_pillow(stream).data)


def _decode_with_pillow(stream: bytes) -> UInt8[np.ndarray, "height width *channels"]:
    from PIL import JpegImagePlugin

    return np.array(JpegImagePlugin.JpegImageFile(io.BytesIO(stream)))
