"""TIFF files: what the directory says, held against the file, and the pixels.

Decoders copy every entry of a directory and allocate whole tiles, whatever these claim.
So they are given a directory of the needed entries alone, whose sizes were checked.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.jpeg import check_scans
from chestx.images.structure import Structure, report_damage, unpack
from chestx.shapes import Shaped

MAX_ENTRIES = 200
"""Cameras and microscopes write less than a hundred."""

MAX_SEGMENTS = 1_000_000
"""Strips or tiles; more than any radiograph of one row a strip has."""

MAX_JPEG_TABLES = 4096
"""Bytes; four tables of each kind have less than 3,000."""

MAX_SAMPLES = 6
"""Four inks and two more values a pixel."""

USUAL_TILE = 1024
"""A side up to which a tile may be larger than its picture; writers have one fixed size."""

_NUMBERS = {1: "B", 3: "H", 4: "I"}
"""BYTE, SHORT and LONG: the only types of the numbers that are read here."""

_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value by its type."""

_SIZE, _SHAPE = (256, 257), (258, 259, 262, 266, 277, 284, 317, 338, 339)
_STRIPS, _TILES = (273, 278, 279), (322, 323, 324, 325)
_COLOURS, _JPEG_TABLES = (320, 529, 530, 532), 347
_ORIENTATION = 274
_NEEDED = frozenset((*_SIZE, *_SHAPE, *_STRIPS, *_TILES, *_COLOURS, _JPEG_TABLES, _ORIENTATION))

_PHOTOMETRIC = {0: "GREY", 1: "GREY", 2: "RGB", 3: "PALETTE", 5: "CMYK", 6: "RGB"}
_JPEG = 7
_COMPRESSION = {1, 5, _JPEG, 8, 32773, 32946}
"""None, LZW, JPEG, deflate (two numbers), PackBits."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The needed entries of the only directory.

    Attributes:
        order: ``<`` or ``>``.
        numbers: by tag, of those that hold whole numbers.
        entries: by tag, the twelve bytes as they stand in the file.
    """

    order: str
    numbers: dict[int, tuple[int, ...]]
    entries: dict[int, bytes]

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return self.numbers[tag][0] if tag in self.numbers else default


@dataclass(frozen=True, slots=True)
class Segments:
    """Strips or tiles: how large, where, and how long."""

    width: int
    height: int
    starts: tuple[int, ...]
    lengths: tuple[int, ...]


def examine_tiff(data: bytes) -> Structure:
    """Reads the one directory of a TIFF file and where its strips or tiles lie.

    The copy for the decoder says min-is-black and upright, whatever the file says:
    decoders disagree on who inverts and who turns, so both are done once, by the caller.

    Raises:
        UnreadableImageError: the file is cut, has several pages, contradicts itself, or
            is of a kind that is not read.
        Source: TIFF 6.0 and Technical Note 2 (JPEG).
    """
    directory = _read_directory(data)
    width, height = directory.first(256, 0), directory.first(257, 0)
    samples, bits = directory.first(277, 1), directory.first(258, 1)
    photometric = directory.first(262, -1)
    if not (width and height and samples and photometric >= 0):
        raise report_damage("TIFF", "its directory lacks the size or the kind of pixel")
    _check_kind(directory)
    segments = _check_segments(directory, data, width, height)
    if directory.first(259, 1) == _JPEG:
        _check_jpeg_segments(directory, data, segments)
    orientation = directory.first(_ORIENTATION, 1)
    return Structure(
        format="TIFF",
        width=width,
        height=height,
        bits=bits,
        photometric=_PHOTOMETRIC[photometric],
        samples=samples,
        orientation=orientation if orientation in range(1, 9) else 1,
        is_min_white=photometric == 0,
        data=_rewrite(data, directory),
    )


def _read_directory(data: bytes) -> Directory:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = unpack("TIFF", order + "I", data, 4)
    (count,) = unpack("TIFF", order + "H", data, place)
    if count > MAX_ENTRIES:
        raise report_damage("TIFF", f"its directory has {count} entries, {MAX_ENTRIES} at most")
    (following,) = unpack("TIFF", order + "I", data, place + 2 + 12 * count)
    if following:
        raise UnreadableImageError("expected one picture, got a TIFF of several pages; export one")
    numbers: dict[int, tuple[int, ...]] = {}
    entries: dict[int, bytes] = {}
    total = 0
    for at in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, number = unpack("TIFF", order + "HHI", data, at)
        total += _WIDTHS.get(kind, 0) * number
        if total > len(data):
            raise report_damage("TIFF", "the values of its directory are larger than it is")
        if tag not in _NEEDED:
            continue
        if tag in entries:
            raise report_damage("TIFF", f"its directory has two entries for tag {tag}")
        entries[tag] = data[at : at + 12]
        if kind in _NUMBERS and 0 < number <= MAX_SEGMENTS:
            layout = f"{order}{number}{_NUMBERS[kind]}"
            in_place = struct.calcsize(layout) <= 4
            value_at = at + 8 if in_place else unpack("TIFF", order + "I", data, at + 8)[0]
            numbers[tag] = unpack("TIFF", layout, data, value_at)
    return Directory(order, numbers, entries)


def _check_kind(directory: Directory) -> None:
    """Refuses what would be decoded wrongly or not at all."""
    photometric, compression = directory.first(262, -1), directory.first(259, 1)
    if compression not in _COMPRESSION or photometric not in _PHOTOMETRIC:
        raise UnreadableImageError(
            f"expected a grey, RGB or palette TIFF that is uncompressed or packed by LZW, "
            f"deflate, JPEG or PackBits, got photometric {photometric} and compression "
            f"{compression}; export it as PNG or DICOM"
        )
    depths, sample_format = set(directory.numbers.get(258, (1,))), directory.first(339, 1)
    if sample_format != 1 or len(depths) > 1 or not depths <= {1, 2, 4, 8, 16}:
        raise UnreadableImageError(
            f"expected a TIFF of unsigned whole numbers of 1 to 16 bits, got "
            f"{directory.first(258, 1)} bits of sample format {sample_format}; "
            "export it as 16-bit PNG or DICOM"
        )
    samples = directory.first(277, 1)
    if samples > MAX_SAMPLES:
        raise UnreadableImageError(
            f"expected a TIFF of at most {MAX_SAMPLES} values a pixel, got {samples}; "
            "export it as PNG or DICOM"
        )


def _check_segments(directory: Directory, data: bytes, width: int, height: int) -> Segments:
    """Every strip or tile that the size asks for is there, inside the file and long enough."""
    is_tiled = 324 in directory.numbers
    offsets, counts = (324, 325) if is_tiled else (273, 279)
    wide = directory.first(322, 0) if is_tiled else width
    high = directory.first(323, 0) if is_tiled else min(directory.first(278, height), height)
    starts, lengths = directory.numbers.get(offsets, ()), directory.numbers.get(counts, ())
    if not wide or not high:
        raise report_damage("TIFF", "its strips or tiles have no size")
    if is_tiled and (wide > _limit_tile(width) or high > _limit_tile(height)):
        raise report_damage(
            "TIFF", f"its tiles of {wide} x {high} pixels are larger than {width} x {height}"
        )
    samples = directory.first(277, 1)
    planes = samples if directory.first(284, 1) == 2 else 1
    expected = -(-width // wide) * -(-height // high) * planes
    if len(starts) != expected or len(lengths) != expected:
        raise report_damage("TIFF", f"it has {len(starts)} of {expected} strips or tiles")
    if any(s + n > len(data) or not n for s, n in zip(starts, lengths, strict=True)):
        raise report_damage("TIFF", "a strip or tile lies outside of it")
    # Empty tiles may be stored once; those that lie across each other only cost.
    if sum(n for _, n in set(zip(starts, lengths, strict=True))) > len(data):
        raise report_damage("TIFF", "its strips or tiles lie across each other")
    row = (wide * (samples // planes) * directory.first(258, 1) + 7) // 8
    rows = high * expected if is_tiled else height * planes
    if directory.first(259, 1) == 1 and sum(lengths) < row * rows:
        raise report_damage("TIFF", "its strips or tiles are shorter than its size asks for")
    return Segments(wide, high, starts, lengths)


def _limit_tile(side: int) -> int:
    """The longest side of a tile for a side of the picture; tiles come in steps of 16."""
    return max(-(-side // 16) * 16, USUAL_TILE)


def _check_jpeg_segments(directory: Directory, data: bytes, segments: Segments) -> None:
    """Each strip or tile is a whole JPEG stream; libtiff passes over what is missing."""
    import simplejpeg

    tables = b"\xff\xd8"
    if _JPEG_TABLES in directory.entries:
        entry = directory.entries[_JPEG_TABLES]
        _, number, at = struct.unpack_from(directory.order + "HII", entry, 2)
        if number > MAX_JPEG_TABLES:
            raise report_damage("TIFF", f"its JPEG tables have {number} bytes")
        tables = data[at : at + number].removesuffix(b"\xff\xd9")
    for start, length in sorted(set(zip(segments.starts, segments.lengths, strict=True))):
        stream = tables + data[start + 2 : start + length]
        frame = check_scans(stream)
        if frame.bits != 8 or frame.width > segments.width or frame.height > segments.height:
            raise report_damage("TIFF", "a JPEG stream in it has another size or depth")
        try:
            simplejpeg.decode_jpeg(stream, colorspace="GRAY")
        except ValueError as error:
            raise report_damage("TIFF", "pixels of a strip or tile are missing") from error


def _rewrite(data: bytes, directory: Directory) -> bytes:
    """The file with a new directory at its end, and the old one out of sight."""
    order = directory.order
    entries = dict(directory.entries)
    if directory.first(262, -1) == 0:
        entries[262] = struct.pack(order + "HHIHH", 262, 3, 1, 1, 0)
    entries.pop(_ORIENTATION, None)
    gap = len(data) % 2
    head = data[:4] + struct.pack(order + "I", len(data) + gap)
    listed = b"".join(entry for _, entry in sorted(entries.items()))
    new = struct.pack(order + "H", len(entries)) + listed + bytes(4)
    return b"".join([head, memoryview(data)[8:], bytes(gap), new])


def decode_tiff(structure: Structure) -> Shaped[np.ndarray, "height width *channels"] | None:
    """Samples of 8 bits or fewer, or 16-bit grey; None for 16-bit colour.

    OpenCV reads 8-bit TIFF through libtiff's RGBA layer, which loses which kind of
    alpha was stored; Pillow loses the low byte of 16-bit colour.
    """
    import cv2
    from PIL import Image, TiffImagePlugin

    if structure.bits == 16 and structure.samples > 1:
        return None
    with warnings.catch_warnings():
        # Pillow warns of cut tags and goes on; here damage is an error.
        warnings.simplefilter("error")
        image: Image.Image = TiffImagePlugin.TiffImageFile(io.BytesIO(structure.data))
        image.load()
    if image.mode in ("I;16", "I;16B", "I;16L"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        if image.mode == "La":
            image = image.convert("LA")
        straight = image if image.mode == "RGBA" else image.convert("RGBA")
        return cv2.cvtColor(np.asarray(straight), cv2.COLOR_RGBA2BGRA)
    if image.mode in ("RGB", "P", "CMYK", "YCbCr"):
        coloured = image if image.mode == "RGB" else image.convert("RGB")
        return cv2.cvtColor(np.asarray(coloured), cv2.COLOR_RGB2BGR)
    return None
