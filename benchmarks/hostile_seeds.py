"""Good radiographs in every format that is read, to be broken; and the writers for them.

The DICOM writer here is byte by byte on purpose: what is to be wrong in a file must get
into it exactly, which a library that keeps the standard would not allow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "examples" / "samples"

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_12 = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
NAMES = {
    IMPLICIT: "implicit",
    EXPLICIT: "explicit",
    DEFLATED: "deflated",
    BIG: "big-endian",
    RLE: "rle",
    JPEG: "jpeg",
    JPEG_12: "jpeg-12",
    JPEG_LOSSLESS: "jpeg-lossless",
    JPEG_LS: "jpeg-ls",
    J2K: "j2k",
    HTJ2K: "htj2k",
}

UNDEFINED = 0xFFFFFFFF
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"OF", b"OD"}

Expected = Literal["failed", "readable", "either"]


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile file.

    Attributes:
        kind: what is wrong with it, a short name shared by files of the kind.
        name: path in the folder; bytes where it is no UTF-8.
        content: its bytes, or what makes it at a path.
        expected: whether it must fail, must be readable, or may be either.
        note: why a file that is not expected to fail may be read.
        must_name: a part of the reason that a failed one must give, lower case.
    """

    kind: str
    name: str | bytes
    content: bytes | Callable[[Path], None]
    expected: Expected = "failed"
    note: str = ""
    must_name: str = ""


Value = tuple[bytes, bytes | int]
"""VR and value; an integer is written as 16 bits in the file's order."""
Elements = dict[int, Value]


def write_element(
    tag: int,
    vr: bytes,
    value: bytes,
    *,
    syntax: str = EXPLICIT,
    length: int | None = None,
) -> bytes:
    """One data element; ``length`` overrides the true one."""
    order = ">" if syntax == BIG else "<"
    size = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack(order + "L", size) + value
    if vr in _LONG:
        return head + vr + b"\0\0" + struct.pack(order + "L", size) + value
    return head + vr + struct.pack(order + "H", size & 0xFFFF) + value


def write_elements(elements: Mapping[int, Value], syntax: str = EXPLICIT) -> bytes:
    """Elements in the order of the mapping."""
    order = ">" if syntax == BIG else "<"
    parts = []
    for tag, (vr, value) in elements.items():
        raw = struct.pack(order + "H", value) if isinstance(value, int) else value
        if len(raw) % 2:
            raw += b"\0" if vr in (b"UI", b"OB") else b" "
        parts.append(write_element(tag, vr, raw, syntax=syntax))
    return b"".join(parts)


def write_part10(body: bytes, syntax: str | None = EXPLICIT, *, preamble: bytes = b"") -> bytes:
    """A file with preamble and group 2 around an encoded data set."""
    meta: Elements = {0x00020002: (b"UI", CR_IMAGE.encode())}
    if syntax is not None:
        meta[0x00020010] = (b"UI", syntax.encode())
    group = write_elements(meta)
    length = write_element(0x00020000, b"UL", struct.pack("<L", len(group)))
    return preamble.ljust(128, b"\0") + b"DICM" + length + group + body


def deflate(body: bytes) -> bytes:
    """Raw deflate as PS3.5 A.5 wants it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


def deflate_more_zeros(packer: zlib._Compress, size: int) -> bytes:
    """Ends what a raw packer has begun with ``size`` zero bytes.

    A full flush makes every block of zeros the same bytes, so one is packed and repeated.
    """
    begun = packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(b"\0" * (size & 0xFFFFF)) + packer.flush()
    return begun + block * (size >> 20) + rest


def encapsulate(stream: bytes | Iterable[bytes]) -> bytes:
    """The pixel data element of compressed fragments."""
    fragments = [stream] if isinstance(stream, bytes) else list(stream)
    item = b"\xfe\xff\x00\xe0"
    out = [struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED), item + b"\0\0\0\0"]
    for fragment in fragments:
        padded = fragment + b"\0" * (len(fragment) % 2)
        out += [item, struct.pack("<L", len(padded)), padded]
    return b"".join([*out, b"\xfe\xff\xdd\xe0\0\0\0\0"])


@cache
def make_picture(rows: int = 96, columns: int = 80) -> np.ndarray:
    """A real radiograph, small, 8 bits."""
    picture = cv2.imread(str(SAMPLES / "adult-1-no-finding.png"), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise SystemExit(f"expected the samples of the project in {SAMPLES}, got none")
    return cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)


@cache
def make_stored(rows: int = 96, columns: int = 80) -> np.ndarray:
    """The same picture with 12 bits."""
    return make_picture(rows, columns).astype(np.uint16) << 4


def describe_image(
    rows: int = 96, columns: int = 80, *, bits: int = 12, allocated: int = 16
) -> Elements:
    """The header of a computed radiograph."""
    return {
        0x00080016: (b"UI", CR_IMAGE.encode()),
        0x00080018: (b"UI", b"1.2.826.0.1.3680043.8.498.1"),
        0x00080060: (b"CS", b"CR"),
        0x00100010: (b"PN", b"HOSTILE^FILE"),
        0x00100020: (b"LO", b"H-1"),
        0x0020000D: (b"UI", b"1.2.826.0.1.3680043.8.498.2"),
        0x0020000E: (b"UI", b"1.2.826.0.1.3680043.8.498.3"),
        0x00280002: (b"US", 1),
        0x00280004: (b"CS", b"MONOCHROME2"),
        0x00280010: (b"US", rows),
        0x00280011: (b"US", columns),
        0x00280100: (b"US", allocated),
        0x00280101: (b"US", bits),
        0x00280102: (b"US", bits - 1),
        0x00280103: (b"US", 0),
    }


def write_native(
    changes: Mapping[int, Value | None] | None = None, syntax: str = EXPLICIT
) -> bytes:
    """An uncompressed radiograph; ``changes`` replaces elements, or drops them by None."""
    order = ">" if syntax == BIG else "<"
    elements = describe_image()
    elements[0x7FE00010] = (b"OW", make_stored().astype(order + "u2").tobytes())
    for tag, value in (changes or {}).items():
        if value is None:
            elements.pop(tag, None)
        else:
            elements[tag] = value
    body = write_elements(dict(sorted(elements.items())), syntax)
    return write_part10(deflate(body) if syntax == DEFLATED else body, syntax)


def write_compressed(
    stream: bytes,
    syntax: str,
    *,
    shape: tuple[int, int] = (96, 80),
    bits: int = 12,
    allocated: int = 16,
    changes: Elements | None = None,
) -> bytes:
    """A radiograph around a codestream."""
    elements = describe_image(*shape, bits=bits, allocated=allocated) | (changes or {})
    return write_part10(
        write_elements(dict(sorted(elements.items()))) + encapsulate(stream), syntax
    )


def encode_rle(samples: np.ndarray) -> bytes:
    """Both byte planes as literal runs."""
    planes = [(samples >> 8).astype(np.uint8).tobytes(), samples.astype(np.uint8).tobytes()]
    packed = []
    for plane in planes:
        runs = [plane[i : i + 128] for i in range(0, len(plane), 128)]
        part = b"".join(bytes([len(run) - 1]) + run for run in runs)
        packed.append(part + b"\0" * (len(part) % 2))
    return frame_rle(packed)


def frame_rle(segments: list[bytes]) -> bytes:
    """The header of 64 bytes and the segments."""
    offsets = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(
        segments
    )


def encode_jpeg_lossless(samples: np.ndarray) -> bytes:
    """JPEG process 14 with the first predictor, 12 bits."""
    values = samples.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 11
    bits = "".join(_code_difference(d) for d in (values - predicted).ravel().tolist())
    return _frame_jpeg(0xC3, samples.shape, bits, predictor=1)


def encode_jpeg_12(samples: np.ndarray) -> bytes:
    """JPEG process 4, 12 bits, one flat value a block of 8 x 8."""
    blocks = samples.reshape(samples.shape[0] // 8, 8, samples.shape[1] // 8, 8).mean((1, 3))
    levels = (blocks.ravel().astype(np.int64) - 2048).tolist()
    pairs = zip([0, *levels], levels, strict=False)
    # A difference, then "end of block" for the other 63 coefficients.
    bits = "".join(_code_difference(now - before) + "0" for before, now in pairs)
    return _frame_jpeg(0xC1, samples.shape, bits, predictor=0)


def _code_difference(difference: int) -> str:
    """Its number of bits as a code of five, then the bits (ISO/IEC 10918-1 F.1.2.1)."""
    size = abs(difference).bit_length()
    low = difference if difference >= 0 else difference + (1 << size) - 1
    return f"{size:05b}" + (f"{low:0{size}b}" if size else "")


def _frame_jpeg(marker: int, shape: tuple[int, ...], bits: str, *, predictor: int) -> bytes:
    length = -(-len(bits) // 8)
    coded = int(bits.ljust(8 * length, "1"), 2).to_bytes(length, "big").replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BBHBHHBBBB", 0xFF, marker, 11, 12, shape[0], shape[1], 1, 1, 0x11, 0)
    quantise = b"\xff\xdb\x00\x43\x00" + b"\x08" * 64
    tables = b"\xff\xc4\x00\x24\x00" + bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    tables += b"\xff\xc4\x00\x14\x10" + bytes([1, *[0] * 15, 0])
    scan = b"\xff\xda\x00\x08\x01\x01\x00" + bytes([predictor, 0 if predictor else 63, 0])
    return b"\xff\xd8" + quantise + frame + tables + scan + coded + b"\xff\xd9"


@cache
def make_streams() -> dict[str, tuple[bytes, tuple[int, int], int, int]]:
    """Transfer syntax -> codestream, rows and columns, bits stored and allocated."""
    import jpeg_ls
    import openjpeg.utils

    stored, picture = make_stored(), make_picture()
    usual = (stored.shape[0], stored.shape[1])
    encoded, jpeg = cv2.imencode(".jpg", picture)
    if not encoded:
        raise RuntimeError("OpenCV could not encode a JPEG")
    htj2k = (ROOT / "tests" / "images" / "data" / "htj2k_lossless_16.jph").read_bytes()
    start = htj2k.find(b"\xff\x4f\xff\x51")
    columns, rows = struct.unpack_from(">2L", htj2k, start + 8)
    return {
        RLE: (encode_rle(stored), usual, 12, 16),
        JPEG: (jpeg.tobytes(), usual, 8, 8),
        JPEG_12: (encode_jpeg_12(stored), usual, 12, 16),
        JPEG_LOSSLESS: (encode_jpeg_lossless(stored), usual, 12, 16),
        JPEG_LS: (bytes(jpeg_ls.encode_array(stored)), usual, 12, 16),
        J2K: (openjpeg.utils.encode_array(stored, bits_stored=12), usual, 12, 16),
        HTJ2K: (htj2k, (rows, columns), 16, 16),
    }


def write_good(syntax: str) -> bytes:
    """A good radiograph in a transfer syntax."""
    if syntax in (IMPLICIT, EXPLICIT, BIG, DEFLATED):
        return write_native(syntax=syntax)
    stream, shape, bits, allocated = make_streams()[syntax]
    return write_compressed(stream, syntax, shape=shape, bits=bits, allocated=allocated)


def make_good_pictures() -> dict[str, bytes]:
    """Good files in the picture formats, by name."""
    picture, deep = make_picture(), make_stored() << 4
    wanted: dict[str, tuple[str, np.ndarray, list[int]]] = {
        "grey.png": (".png", picture, []),
        "grey-16.png": (".png", deep, []),
        "baseline.jpg": (".jpg", picture, []),
        "progressive.jpg": (".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "plain.tif": (".tif", picture, [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
        "lzw.tif": (".tif", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
        "deflate.tif": (".tif", picture, [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
        "grey.bmp": (".bmp", picture, []),
    }
    files = {}
    for name, (suffix, pixels, options) in wanted.items():
        done, data = cv2.imencode(suffix, pixels, options)
        if not done:
            raise RuntimeError(f"OpenCV could not encode {name}")
        files[name] = data.tobytes()
    return files
