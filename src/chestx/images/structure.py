"""Is a picture file whole? Read from its structure, before and without decoding a pixel.

The picture libraries answer damage with half a picture, so wholeness is decided here:
PNG by its chunks and their checksums, JPEG by its segments and scans, TIFF by where its
strips lie, BMP by its length. Nothing here inflates data or allocates by a number that
the file merely claims.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from chestx.domain import UnreadableImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""Chunks that make the pixels; the others (texts, colour profiles) are never unpacked."""

MAX_JPEG_SCANS = 100
"""Encoders write about ten; thousands in a small file cost minutes to decode."""

MAX_TIFF_SEGMENTS = 1_000_000
"""Strips or tiles; more than any radiograph of one row a strip has."""


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
    orientation = 1
    position = len(PNG_SIGNATURE)
    while not names or names[-1] != b"IEND":
        if position + 12 > len(data):
            raise _damaged("PNG", "it ends before its IEND chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _damaged("PNG", "it ends inside a chunk")
        body = memoryview(data)[position + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(name)) != struct.unpack_from(">I", data, end - 4)[0]:
            raise _damaged("PNG", "the checksum of a chunk does not match")
        if name in (b"acTL", b"fcTL", b"fdAT"):
            raise UnreadableImageError(
                "expected one picture, got an animated PNG; export one frame"
            )
        if not names and (name != b"IHDR" or length != 13):
            raise _damaged("PNG", "it does not begin with its header")
        if name == b"IHDR":
            header = bytes(body)
        elif name == b"eXIf" and length <= 65536:
            orientation = _read_orientation(b"Exif\0\0" + bytes(body))
        if name in PNG_KEPT:
            kept.append(data[position:end])
        names.append(name)
        position = end
    if names.count(b"IHDR") != 1 or b"IDAT" not in names:
        raise _damaged("PNG", "it has no pixel data or two headers")
    width, height, bits, colour = struct.unpack(">IIBB", header[:10])
    kinds = {0: ("GREY", 1), 2: ("RGB", 3), 3: ("PALETTE", 1), 4: ("GREY", 2), 6: ("RGB", 4)}
    if colour not in kinds or bits not in (1, 2, 4, 8, 16):
        raise _damaged("PNG", "its header names no known kind of pixel")
    photometric, samples = kinds[colour]
    return Structure(
        format="PNG",
        width=width,
        height=height,
        bits=bits,
        photometric=photometric,
        samples=samples,
        orientation=orientation,
        data=b"".join(kept),
    )


def examine_jpeg(data: bytes) -> Structure:
    """Walks the segments and scans of a JPEG file up to its end marker.

    Raises:
        UnreadableImageError: the file is cut, has no scan, or is of a kind of JPEG
            that only DICOM carries.
        Source: ITU-T T.81, B.1 and B.2.
    """
    frame: tuple[int, int, int, int] | None = None
    orientation, adobe, scans, coded, position = 1, False, 0, 0, 2
    while True:
        marker, position = _next_marker(data, position)
        if marker == 0xD9:
            break
        (length,) = _unpack("JPEG", ">H", data, position)
        body = data[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            raise _damaged("JPEG", "it ends inside a segment")
        position += length
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _read_orientation(body)
        elif marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise _damaged("JPEG", "it has two frame headers")
            frame = _read_frame(marker, body)
        elif marker == 0xDA:
            scans += 1
            end = _find_scan_end(data, position)
            coded += end - position
            position = end
            if frame is None or scans > MAX_JPEG_SCANS:
                raise _damaged(
                    "JPEG", f"it has no frame header or more than {MAX_JPEG_SCANS} scans"
                )
    if frame is None or not scans:
        raise _damaged("JPEG", "it holds no scan")
    bits, height, width, components = frame
    if coded * 8 < (width // 8) * (height // 8):
        raise _damaged("JPEG", "it holds fewer bits than blocks of pixels")
    if components == 4 and not adobe:
        raise UnreadableImageError(
            "expected a grey or RGB JPEG, got CMYK without the Adobe marker that says whether "
            "it is stored inverted; export it as grey"
        )
    return Structure(
        format="JPEG",
        width=width,
        height=height,
        bits=bits,
        photometric={1: "GREY", 3: "RGB", 4: "CMYK"}[components],
        samples=components,
        orientation=orientation,
        data=data,
    )


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at a position that must hold one, and the position after it."""
    start = position
    while data[position : position + 1] == b"\xff":
        position += 1
    if position == start or position >= len(data):
        raise _damaged("JPEG", "it ends before its end marker")
    return data[position], position + 1


_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def _find_scan_end(data: bytes, position: int) -> int:
    """Where the entropy-coded bytes end: a marker that is neither stuffing nor restart."""
    found = _SCAN_END.search(data, position)
    if found is None:
        raise _damaged("JPEG", "it ends inside its pixels")
    return found.start()


def _read_frame(marker: int, body: bytes) -> tuple[int, int, int, int]:
    """Bits, height, width and components of a frame header that can be decoded."""
    kinds = {0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical"}
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = kinds.get(marker, "arithmetic-coded")
        raise UnreadableImageError(
            f"expected a baseline or progressive JPEG, got a {kind} one; export it as PNG or DICOM"
        )
    bits, height, width, components = _unpack("JPEG", ">BHHB", body, 0)
    if bits != 8:
        raise UnreadableImageError(
            f"expected a JPEG of 8 bits, got {bits} bits; export it as PNG or DICOM"
        )
    if components not in (1, 3, 4) or not width or not height:
        raise _damaged("JPEG", "its frame header names no size or no known kind of pixel")
    return bits, height, width, components


def examine_bmp(data: bytes) -> Structure:
    """Reads the header of an uncompressed BMP file and holds it against the file's length.

    Raises:
        UnreadableImageError: the file is cut, compressed or of an unknown kind.
    """
    (offset,) = _unpack("BMP", "<I", data, 10)
    header_size, width, height, planes, bits, compression = _unpack("BMP", "<IiiHHI", data, 14)
    if header_size < 40 or planes != 1 or bits not in (1, 4, 8, 16, 24, 32):
        raise _damaged("BMP", "its header names no known kind of pixel")
    if _unpack("BMP", "<I", data, 46)[0] > 256:
        raise _damaged("BMP", "its palette has more than 256 colours")
    if compression not in (0, 3):
        raise UnreadableImageError(
            "expected an uncompressed BMP, got a compressed one; export it as PNG"
        )
    stride = (abs(width) * bits + 31) // 32 * 4
    if width <= 0 or not height:
        raise _damaged("BMP", "its header names no size")
    if offset < 14 + header_size or offset + stride * abs(height) > len(data):
        raise _damaged("BMP", "it ends inside its pixels")
    return Structure(
        format="BMP",
        width=width,
        height=abs(height),
        bits=8,
        photometric="PALETTE" if bits <= 8 else "RGB",
        samples=1 if bits <= 8 else 3,
        data=data,
    )


_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
"""BYTE, SHORT and LONG: the only types of the tags that are read here."""

_TIFF_PHOTOMETRIC = {0: "GREY", 1: "GREY", 2: "RGB", 3: "PALETTE", 5: "CMYK", 6: "RGB"}
_TIFF_COMPRESSION = {1, 5, 7, 8, 32773, 32946}
"""None, LZW, JPEG, deflate (two numbers), PackBits."""


def examine_tiff(data: bytes) -> Structure:
    """Reads the one directory of a TIFF file and where its strips or tiles lie.

    The copy for the decoder says min-is-black and upright, whatever the file says:
    decoders disagree on who inverts and who turns, so both are done once, by the caller.

    Raises:
        UnreadableImageError: the file is cut, has several pages, or is of a kind that
            is not read.
        Source: TIFF 6.0 and Technical Note 2 (JPEG).
    """
    order = "<" if data[:2] == b"II" else ">"
    tags, places = _read_directory(data, order)

    def one(tag: int, default: int) -> int:
        return tags[tag][0] if tags.get(tag) else default

    width, height, samples = one(256, 0), one(257, 0), one(277, 1)
    bits, compression = one(258, 1), one(259, 1)
    photometric = one(262, -1)
    if not (width and height and samples and photometric >= 0):
        raise _damaged("TIFF", "its directory lacks the size or the kind of pixel")
    if compression not in _TIFF_COMPRESSION or photometric not in _TIFF_PHOTOMETRIC:
        raise UnreadableImageError(
            f"expected a grey, RGB or palette TIFF that is uncompressed or packed by LZW, "
            f"deflate, JPEG or PackBits, got photometric {photometric} and compression "
            f"{compression}; export it as PNG or DICOM"
        )
    if one(339, 1) != 1 or bits not in (1, 2, 4, 8, 16) or len(set(tags.get(258, (1,)))) > 1:
        raise UnreadableImageError(
            f"expected a TIFF of unsigned whole numbers of 1 to 16 bits, got {bits} bits of "
            f"sample format {one(339, 1)}; export it as 16-bit PNG or DICOM"
        )
    _check_segments(tags, data, width, height, samples, bits, compression)
    patched = bytearray(data)
    if photometric == 0:
        struct.pack_into(order + "H", patched, places[262], 1)
    if 274 in places:
        struct.pack_into(order + "H", patched, places[274], 1)
    return Structure(
        format="TIFF",
        width=width,
        height=height,
        bits=bits,
        photometric=_TIFF_PHOTOMETRIC[photometric],
        samples=samples,
        orientation=one(274, 1) if one(274, 1) in range(1, 9) else 1,
        is_min_white=photometric == 0,
        data=bytes(patched),
    )


def _read_directory(data: bytes, order: str) -> tuple[dict[int, tuple[int, ...]], dict[int, int]]:
    """Tag -> values of the whole-number tags, and tag -> place of the single SHORT ones."""
    (directory,) = _unpack("TIFF", order + "I", data, 4)
    (count,) = _unpack("TIFF", order + "H", data, directory)
    (following,) = _unpack("TIFF", order + "I", data, directory + 2 + 12 * count)
    if following:
        raise UnreadableImageError("expected one picture, got a TIFF of several pages; export one")
    tags: dict[int, tuple[int, ...]] = {}
    places: dict[int, int] = {}
    for index in range(count):
        entry = directory + 2 + 12 * index
        tag, kind, number = _unpack("TIFF", order + "HHI", data, entry)
        if kind not in _TIFF_TYPES or not 0 < number <= MAX_TIFF_SEGMENTS:
            continue
        layout = f"{order}{number}{_TIFF_TYPES[kind]}"
        value_at = entry + 8
        if struct.calcsize(layout) > 4:
            (value_at,) = _unpack("TIFF", order + "I", data, value_at)
        tags[tag] = _unpack("TIFF", layout, data, value_at)
        if kind == 3 and number == 1:
            places[tag] = value_at
        elif tag in (262, 274):
            raise _damaged("TIFF", "its directory has a value of the wrong type")
    return tags, places


def _check_segments(
    tags: dict[int, tuple[int, ...]],
    data: bytes,
    width: int,
    height: int,
    samples: int,
    bits: int,
    compression: int,
) -> None:
    """Every strip or tile that the size asks for is there, inside the file and long enough."""
    is_tiled = 324 in tags
    offsets, counts = (324, 325) if is_tiled else (273, 279)
    wide = tags.get(322, (0,))[0] if is_tiled else width
    high = tags.get(323, (0,))[0] if is_tiled else min(tags.get(278, (height,))[0], height)
    starts, lengths = tags.get(offsets, ()), tags.get(counts, ())
    if not wide or not high:
        raise _damaged("TIFF", "its strips or tiles have no size")
    planes = samples if tags.get(284, (1,))[0] == 2 else 1
    expected = -(-width // wide) * -(-height // high) * planes
    if len(starts) != expected or len(lengths) != expected:
        raise _damaged("TIFF", f"it has {len(starts)} of {expected} strips or tiles")
    if any(s + n > len(data) or not n for s, n in zip(starts, lengths, strict=True)):
        raise _damaged("TIFF", "a strip or tile lies outside of it")
    row = (wide * (samples // planes) * bits + 7) // 8
    rows = high * expected if is_tiled else height * planes
    if compression == 1 and sum(lengths) < row * rows:
        raise _damaged("TIFF", "its strips or tiles are shorter than its size asks for")


def _read_orientation(exif_block: bytes) -> int:
    """EXIF orientation, 1 where the block has none or is not readable."""
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(exif_block)
        orientation = exif.get(0x0112, 1)
    except Exception:  # any nonsense in a side note must not cost the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _unpack(what: str, layout: str, data: bytes, position: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, position)
    except struct.error as error:
        raise _damaged(what, "it ends inside its header") from error


def _damaged(what: str, how: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"expected a whole {what} file, got a damaged one: {how}; fetch it again from its source"
    )
