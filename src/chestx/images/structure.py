"""Is a picture file whole? Read from its structure, before and without decoding a pixel.

The picture libraries answer damage with half a picture, so wholeness is decided here:
PNG by its chunks and their checksums, BMP by its length; JPEG and TIFF have modules of
their own. Nothing here inflates data or allocates by a number that the file merely claims.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from chestx.domain import UnreadableImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""Chunks that make the pixels; the others (texts, colour profiles) are never unpacked."""

MAX_PNG_CHUNKS = 100_000
"""Encoders cut pixel data into pieces of 8 KB and more; the largest files have 65,536."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a whole file says of its one picture.

    Attributes:
        format: ``PNG``, ``JPEG``, ``TIFF`` or ``BMP``.
        width, height: as stored, before orientation.
        bits: of one sample.
        photometric: ``GREY``, ``RGB``, ``PALETTE`` or ``CMYK``.
        orientation: EXIF orientation, 1 to 8.
        is_min_white: zero is shown white (TIFF).
        samples: values a pixel, alpha included.
        data: what the decoder is to see; the file without what it must not see.
    """

    format: str
    width: int
    height: int
    bits: int
    photometric: str
    data: bytes
    orientation: int = 1
    is_min_white: bool = False
    samples: int = 1


def examine_png(data: bytes) -> Structure:
    """Walks the chunks of a PNG file.

    Raises:
        UnreadableImageError: a chunk is cut, out of order or fails its checksum; the
            file is animated.
        Source: PNG specification (third edition), 5 and 11.
    """
    kept = [PNG_SIGNATURE]
    names: list[bytes] = []
    header = b""
    orientation = 0
    position = len(PNG_SIGNATURE)
    while not names or names[-1] != b"IEND":
        if len(names) >= MAX_PNG_CHUNKS:
            raise report_damage("PNG", f"it has more than {MAX_PNG_CHUNKS} chunks")
        if position + 12 > len(data):
            raise report_damage("PNG", "it ends before its IEND chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise report_damage("PNG", "it ends inside a chunk")
        body = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(name)) != struct.unpack_from(">I", data, end - 4)[0]:
            raise report_damage("PNG", "the checksum of a chunk does not match")
        if name in (b"acTL", b"fcTL", b"fdAT"):
            raise UnreadableImageError(
                "expected one picture, got an animated PNG; export one frame"
            )
        if not names and (name != b"IHDR" or length != 13):
            raise report_damage("PNG", "it does not begin with its header")
        if name == b"IHDR":
            header = bytes(body)
        elif name == b"eXIf" and length <= 65536:
            orientation = orientation or read_orientation(bytes(body))
        if name in PNG_KEPT:
            kept.append(data[position:end])
        names.append(name)
        position = end
    if names.count(b"IHDR") != 1 or b"IDAT" not in names:
        raise report_damage("PNG", "it has no pixel data or two headers")
    width, height, bits, colour = struct.unpack(">IIBB", header[:10])
    kinds = {0: ("GREY", 1), 2: ("RGB", 3), 3: ("PALETTE", 1), 4: ("GREY", 2), 6: ("RGB", 4)}
    if colour not in kinds or bits not in (1, 2, 4, 8, 16):
        raise report_damage("PNG", "its header names no known kind of pixel")
    photometric, samples = kinds[colour]
    return Structure(
        format="PNG",
        width=width,
        height=height,
        bits=bits,
        photometric=photometric,
        samples=samples,
        orientation=orientation or 1,
        data=b"".join(kept),
    )


def examine_bmp(data: bytes) -> Structure:
    """Reads the header of an uncompressed BMP file and holds it against the file's length.

    Raises:
        UnreadableImageError: the file is cut, compressed or of an unknown kind.
    """
    (offset,) = unpack("BMP", "<I", data, 10)
    header_size, width, height, planes, bits, compression = unpack("BMP", "<IiiHHI", data, 14)
    if header_size < 40 or planes != 1 or bits not in (1, 4, 8, 16, 24, 32):
        raise report_damage("BMP", "its header names no known kind of pixel")
    if unpack("BMP", "<I", data, 46)[0] > 256:
        raise report_damage("BMP", "its palette has more than 256 colours")
    if compression not in (0, 3):
        raise UnreadableImageError(
            "expected an uncompressed BMP, got a compressed one; export it as PNG"
        )
    stride = (abs(width) * bits + 31) // 32 * 4
    if width <= 0 or not height:
        raise report_damage("BMP", "its header names no size")
    if offset < 14 + header_size or offset + stride * abs(height) > len(data):
        raise report_damage("BMP", "it ends inside its pixels")
    return Structure(
        format="BMP",
        width=width,
        height=abs(height),
        bits=8,
        photometric="PALETTE" if bits <= 8 else "RGB",
        samples=1 if bits <= 8 else 3,
        data=data,
    )


def read_orientation(block: bytes) -> int:
    """EXIF orientation, 1 where the block has none or is not readable.

    Args:
        block: EXIF data, a TIFF file in itself; only its first directory is looked at.
    """
    order = ">" if block[:1] == b"M" else "<"
    try:
        (directory,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", block, entry)
            if tag == 0x0112 and kind in (3, 4):
                (value,) = struct.unpack_from(order + " HI"[kind - 2], block, entry + 8)
                return value if value in range(1, 9) else 1
    except struct.error:  # any nonsense in a side note must not cost the picture
        pass
    return 1


def unpack(what: str, layout: str, data: bytes, position: int) -> tuple[int, ...]:
    """Numbers at a place of a file.

    Raises:
        UnreadableImageError: the file ends before.
    """
    try:
        return struct.unpack_from(layout, data, position)
    except struct.error as error:
        raise report_damage(what, "it ends inside its header") from error


def report_damage(what: str, how: str) -> UnreadableImageError:
    """The error to raise for a damaged file of a format."""
    return UnreadableImageError(
        f"expected a whole {what} file, got a damaged one: {how}; fetch it again from its source"
    )
