"""DICOM files that are damaged, contradict themselves, or ask for more than they may."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from itertools import permutations

import numpy as np
from hostile_seeds import (
    BIG,
    DEFLATED,
    EXPLICIT,
    HTJ2K,
    IMPLICIT,
    J2K,
    JPEG,
    JPEG_12,
    JPEG_LOSSLESS,
    JPEG_LS,
    NAMES,
    RLE,
    UNDEFINED,
    Case,
    Elements,
    Expected,
    Value,
    deflate,
    deflate_more_zeros,
    describe_image,
    encapsulate,
    frame_rle,
    make_stored,
    make_streams,
    write_compressed,
    write_element,
    write_elements,
    write_good,
    write_native,
    write_part10,
)

FALLBACK = "an unusable window is passed over with a note; the pixels are whole"


def list_dicom_cases(rng: random.Random) -> Iterator[Case]:
    """Every DICOM case."""
    yield from _cut()
    yield from _cut_streams()
    yield from _wrong_syntax()
    yield from _contradictions()
    yield from _missing()
    yield from _odd_displays()
    yield from _odd_texts()
    yield from _lengths()
    yield from _nesting()
    yield from _deflate_bombs()
    yield from _text_bombs()
    yield from _rle_bombs()
    yield from _codestream_bombs()
    yield from _element_floods()
    yield from _foreign_syntax()
    yield from _not_images()
    yield from _flipped(rng)


def _cut() -> Iterator[Case]:
    for syntax, name in NAMES.items():
        data = write_good(syntax)
        for part in range(1, 16):
            yield Case("dicom cut", f"cut-{name}-{part:02}.dcm", data[: len(data) * part // 16])


def _cut_streams() -> Iterator[Case]:
    """Codestreams that end too early, with the end marker put back where it is looked for."""
    for syntax in (RLE, JPEG, JPEG_12, JPEG_LOSSLESS, JPEG_LS, J2K, HTJ2K):
        stream, shape, bits, allocated = make_streams()[syntax]
        end = b"" if syntax == RLE else b"\xff\xd9"
        coded = stream if syntax == RLE else stream[: stream.rfind(end)]
        for percent in (30, 50, 80, 95):
            cut = coded[: len(coded) * percent // 100].rstrip(b"\xff") + end
            data = write_compressed(cut, syntax, shape=shape, bits=bits, allocated=allocated)
            yield Case("stream cut, end put back", f"{NAMES[syntax]}-{percent}.dcm", data)


def _wrong_syntax() -> Iterator[Case]:
    """Every pair of what is written and what is stated, of families that differ."""
    families = [IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE, JPEG, JPEG_LOSSLESS, JPEG_LS, J2K]
    for written, stated in permutations(families, 2):
        data = write_good(written)
        body = data[132 + _measure_group_2(data[132:]) :]
        yield Case(
            "wrong transfer syntax",
            f"written-{NAMES[written]}-stated-{NAMES[stated]}.dcm",
            write_part10(body, stated),
        )


def _measure_group_2(data: bytes) -> int:
    return 12 + int(struct.unpack_from("<L", data, 8)[0])


def _contradictions() -> Iterator[Case]:
    """Numbers of the pixel module that cannot be, and pixel data that do not fit them."""
    size = "the sizes that the header states are impossible"
    wrong: dict[str, tuple[int, Value]] = {
        "rows-0": (0x00280010, (b"US", 0)),
        "rows-1": (0x00280010, (b"US", 1)),
        "rows-minus-96": (0x00280010, (b"SS", 65440)),
        "rows-65535": (0x00280010, (b"US", 65535)),
        "rows-empty": (0x00280010, (b"US", b"")),
        "columns-0": (0x00280011, (b"US", 0)),
        "columns-65535": (0x00280011, (b"US", 65535)),
        "columns-text": (0x00280011, (b"US", b"wide")),
        "allocated-0": (0x00280100, (b"US", 0)),
        "allocated-1": (0x00280100, (b"US", 1)),
        "allocated-12": (0x00280100, (b"US", 12)),
        "allocated-32": (0x00280100, (b"US", 32)),
        "allocated-65535": (0x00280100, (b"US", 65535)),
        "stored-0": (0x00280101, (b"US", 0)),
        "stored-32": (0x00280101, (b"US", 32)),
        "stored-17": (0x00280101, (b"US", 17)),
        "high-bit-3": (0x00280102, (b"US", 3)),
        "high-bit-65535": (0x00280102, (b"US", 65535)),
        "signed-7": (0x00280103, (b"US", 7)),
        "samples-0": (0x00280002, (b"US", 0)),
        "samples-2": (0x00280002, (b"US", 2)),
        "samples-3": (0x00280002, (b"US", 3)),
        "samples-65535": (0x00280002, (b"US", 65535)),
        "frames-0": (0x00280008, (b"IS", b"0")),
        "frames-2": (0x00280008, (b"IS", b"2")),
        "frames-minus-1": (0x00280008, (b"IS", b"-1")),
        "frames-2e9": (0x00280008, (b"IS", b"2000000000")),
        "frames-abc": (0x00280008, (b"IS", b"abc")),
        "frames-5000-digits": (0x00280008, (b"IS", b"9" * 5000)),
        "photometric-unknown": (0x00280004, (b"CS", b"INFRARED")),
        "photometric-rgb": (0x00280004, (b"CS", b"RGB")),
        "photometric-palette": (0x00280004, (b"CS", b"PALETTE COLOR")),
        "photometric-html": (0x00280004, (b"CS", b"<script>")),
        "photometric-empty": (0x00280004, (b"CS", b"")),
        "slope-0": (0x00281053, (b"DS", b"0")),
        "slope-nan": (0x00281053, (b"DS", b"NaN")),
        "slope-1e308": (0x00281053, (b"DS", b"1e308")),
        "intercept-inf": (0x00281052, (b"DS", b"inf")),
        "intercept-text": (0x00281052, (b"DS", b"much")),
        "modality-lut-empty": (0x00283000, (b"SQ", b"")),
    }
    for name, (tag, value) in wrong.items():
        yield Case("contradicting header", f"{name}.dcm", write_native({tag: value}), note=size)
    pixels = make_stored().tobytes()
    for name, raw in {
        "half": pixels[: len(pixels) // 2],
        "one-byte-short": pixels[:-2],
        "none": b"",
        "two-bytes": b"\0\0",
    }.items():
        yield Case(
            "pixels too short", f"pixels-{name}.dcm", write_native({0x7FE00010: (b"OW", raw)})
        )
    for extra in (2, 4096, 1 << 20):
        data = write_native({0x7FE00010: (b"OW", pixels + b"\x55" * extra)})
        note = "trailing padding is common; the image is whole"
        yield Case("pixels too long", f"pixels-{extra}-more.dcm", data, "readable", note)
    for syntax in (RLE, JPEG, JPEG_12, JPEG_LOSSLESS, JPEG_LS, J2K, HTJ2K):
        stream, (rows, columns), bits, allocated = make_streams()[syntax]
        for shape in ((100, 100), (65535, 1500), (rows, columns - 1), (columns, rows)):
            data = write_compressed(stream, syntax, shape=shape, bits=bits, allocated=allocated)
            if syntax == RLE and shape == (columns, rows):
                continue  # RLE states no shape, and the number of pixels is right.
            yield Case("stream of another size", f"{NAMES[syntax]}-{shape[0]}x{shape[1]}.dcm", data)


def _missing() -> Iterator[Case]:
    for name, tag in {
        "rows": 0x00280010,
        "columns": 0x00280011,
        "bits-allocated": 0x00280100,
        "bits-stored": 0x00280101,
        "photometric": 0x00280004,
        "pixel-data": 0x7FE00010,
    }.items():
        yield Case("missing attribute", f"without-{name}.dcm", write_native({tag: None}))
    for name, tag in {
        "samples": 0x00280002,
        "high-bit": 0x00280102,
        "sign": 0x00280103,
        "sop-class": 0x00080016,
        "sop-instance": 0x00080018,
        "study": 0x0020000D,
    }.items():
        note = "the image can be told without it"
        yield Case(
            "missing detail", f"without-{name}.dcm", write_native({tag: None}), "readable", note
        )
    body = write_good(EXPLICIT)
    body = body[132 + _measure_group_2(body[132:]) :]
    yield Case(
        "missing detail",
        "without-transfer-syntax.dcm",
        write_part10(body, None),
        "readable",
        "explicit VR is told from the first element",
    )
    yield Case(
        "missing detail", "without-preamble.dcm", body, "readable", "the first element is plausible"
    )
    yield Case("empty pixel data", "no-fragments.dcm", write_compressed(b"", JPEG))
    empty = write_part10(
        write_elements(describe_image())
        + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED),
        J2K,
    )
    yield Case("empty pixel data", "no-items.dcm", empty)


def _odd_displays() -> Iterator[Case]:
    """Windows and tables that no viewer could use; the image itself is whole."""
    windows = {
        "nan": (b"NaN", b"NaN"),
        "inf": (b"1e999", b"inf"),
        "minus-inf": (b"-inf", b"400"),
        "text": (b"mid", b"wide"),
        "zero-width": (b"2048", b"0"),
        "negative-width": (b"2048", b"-4096"),
        "tiny-width": (b"2048", b"1e-300"),
        "huge-width": (b"2048", b"1e300"),
        "far-centre": (b"1e308", b"1"),
        "empty": (b"", b""),
        "no-width": (b"2048", b""),
        "a-thousand": (b"\\".join([b"1"] * 1000), b"\\".join([b"2"] * 1000)),
        "nul": (b"20\x0048", b"40\x0096"),
        "unicode-digits": ("\u0662\u0660".encode(), "\u0664".encode()),
        "hex": (b"0x800", b"0x1000"),
    }
    for name, (centre, width) in windows.items():
        data = write_native({0x00281050: (b"DS", centre), 0x00281051: (b"DS", width)})
        yield Case("unusable window", f"window-{name}.dcm", data, "readable", FALLBACK)
    for name, function in {"html": b"<b>", "sigmoid": b"SIGMOID", "unknown": b"CUBIC"}.items():
        data = write_native(
            {
                0x00281050: (b"DS", b"2048"),
                0x00281051: (b"DS", b"1e-5"),
                0x00281056: (b"CS", function),
            }
        )
        yield Case("unusable window", f"function-{name}.dcm", data, "readable", FALLBACK)
    descriptors = {"of-65536": (0, 0, 16), "of-2": (2, 0, 16), "of-0-bits": (4096, 0, 0)}
    for name, numbers in descriptors.items():
        table = write_elements(
            {0x00283002: (b"US", struct.pack("<3H", *numbers)), 0x00283006: (b"OW", b"\0\1")}
        )
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(table)) + table
        data = write_native({0x00283010: (b"SQ", item)})
        yield Case("short VOI LUT", f"voi-lut-{name}.dcm", data, "readable", FALLBACK)
        data = write_native({0x00283000: (b"SQ", item)})
        whole = name == "of-2"
        note = "two entries of 8 bits in one word are all that it states" if whole else ""
        expected: Expected = "readable" if whole else "failed"
        yield Case("short modality LUT", f"modality-lut-{name}.dcm", data, expected, note)
    stored = make_stored()
    noisy = stored | (
        np.random.default_rng(1).integers(0, 16, stored.shape).astype(np.uint16) << 12
    )
    yield Case(
        "overlay bits",
        "overlay-in-high-bits.dcm",
        write_native({0x7FE00010: (b"OW", noisy.astype("<u2").tobytes())}),
        "readable",
        "bits past BitsStored are masked, as the standard asks",
    )
    overlay: Elements = {
        0x60000010: (b"US", 65535),
        0x60000011: (b"US", 65535),
        0x60003000: (b"OW", b"\xff" * 10),
    }
    yield Case(
        "overlay bits",
        "overlay-65535x65535.dcm",
        write_native(dict(overlay)),
        "readable",
        "overlays are not burnt in, so their size is not used",
    )
    for name, value in {"all": 2048, "low": 0}.items():
        flat = write_native(
            {
                0x7FE00010: (b"OW", np.full_like(stored, value).tobytes()),
                0x00280120: (b"US", value),
            }
        )
        yield Case(
            "all padding", f"padding-{name}.dcm", flat, "readable", "whole, but blank: out of scope"
        )


def _odd_texts() -> Iterator[Case]:
    """Text fields that attack whoever shows them or makes paths of them."""
    note = "text fields are not needed to read the image; they are cleaned or left out"
    texts: dict[str, Elements] = {
        "uid-traversal": {0x00080018: (b"UI", b"../../etc/passwd")},
        "study-traversal": {0x0020000D: (b"UI", b"..\\..\\windows")},
        "uid-600-digits": {0x00080018: (b"UI", b"1." * 300)},
        "uid-nul": {0x00080018: (b"UI", b"1.2\x00.3")},
        "id-html": {0x00100020: (b"LO", b"<img src=x onerror=alert(1)>")},
        "id-formula": {0x00100020: (b"LO", b"=cmd|' /C calc'!A0")},
        "id-newlines": {0x00100020: (b"LO", b'a\r\nb,"c"\td')},
        "id-escape": {0x00100020: (b"LO", b"\x1b[2J\x1b]0;x\x07")},
        "id-not-utf-8": {
            0x00080005: (b"CS", b"ISO_IR 192"),
            0x00100020: (b"LO", b"\xff\xfe\xc3\x28"),
        },
        "id-right-to-left": {
            0x00080005: (b"CS", b"ISO_IR 192"),
            0x00100020: (b"LO", "a\u202egnp.exe".encode()),
        },
        "charset-unknown": {
            0x00080005: (b"CS", b"KLINGON"),
            0x00100020: (b"LO", b"\xe9\xe8"),
        },
        "charset-html": {
            0x00080005: (b"CS", b"<b>\\\\<i>"),
            0x00100020: (b"LO", b"\xe9\x1b$B"),
        },
        "charset-codec-name": {
            0x00080005: (b"CS", b"rot13"),
            0x00100020: (b"LO", b"\xe9"),
        },
        "age-words": {0x00101010: (b"AS", b"old ")},
        "age-999": {0x00101010: (b"AS", b"999Y")},
        "age-negative": {0x00101010: (b"AS", b"-40Y")},
        "sex-html": {0x00100040: (b"CS", b"<x>")},
        "date-words": {0x00080020: (b"DA", b"tomorrow")},
        "spacing-zero": {0x00181164: (b"DS", b"0\\0")},
        "spacing-nan": {0x00181164: (b"DS", b"NaN\\-1")},
        "modality-long": {0x00080060: (b"CS", b"C" * 60000)},
    }
    for name, changes in texts.items():
        yield Case(
            "hostile text", f"text-{name}.dcm", write_native(dict(changes)), "readable", note
        )
    good = write_good(EXPLICIT)
    programs = {
        "mz": b"MZ\x90\0",
        "elf": b"\x7fELF",
        "script": b"#!/bin/sh\nrm -rf /\n",
        "macho": b"\xcf\xfa\xed\xfe",
    }
    for name, start in programs.items():
        data = start.ljust(128, b"\0") + good[128:]
        yield Case("program in the preamble", f"preamble-{name}.dcm", data)
    tiff = b"II*\0\x08\0\0\0".ljust(128, b"\0") + good[128:]
    yield Case(
        "TIFF in the preamble",
        "preamble-tiff.dcm",
        tiff,
        "readable",
        "PS3.10 allows this double use",
    )


def _lengths() -> Iterator[Case]:
    """Lengths that lie."""
    header = describe_image()
    pixels = make_stored().tobytes()
    for length in (0xFFFFFFFE, 0xFFFFFFF0, 0x80000000, 0x7FFFFFFF, len(pixels) + 2):
        element = write_element(0x7FE00010, b"OW", pixels, length=length)
        yield Case(
            "length past the end",
            f"pixel-length-{length:x}.dcm",
            write_part10(write_elements(header) + element),
            must_name="cut short",
        )
    for vr in (b"UN", b"UT", b"OB", b"SQ"):
        element = write_element(0x00090010, vr, b"x" * 16, length=0xFFFFFFF0)
        body = element + write_elements(header)
        name = f"header-length-{vr.decode().lower()}.dcm"
        yield Case("length past the end", name, write_part10(body), must_name="cut short")
    body = write_elements(header)
    for offset in (40, 41, 44, 47, 90, 91, 120):
        data = write_part10(body[:offset] + b"\xff\xff" + body[offset + 2 :])
        yield Case("length past the end", f"header-ffff-at-{offset}.dcm", data)
    for length in (0, 7, 0x7FFFFFFF, UNDEFINED):
        good = bytearray(write_good(EXPLICIT))
        struct.pack_into("<L", good, 140, length)
        note = "the group's length is not needed: its elements tell where it ends"
        yield Case(
            "wrong group length", f"group-length-{length:x}.dcm", bytes(good), "either", note
        )
    for length in (0xFFFFFFFE, 0x10000, 1):
        fragment = b"\xfe\xff\x00\xe0" + struct.pack("<L", length) + b"\xff\xd8\xff\xd9"
        element = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED)
        body = write_elements(header) + element + b"\xfe\xff\x00\xe0\0\0\0\0" + fragment
        yield Case("fragment past the end", f"fragment-{length:x}.dcm", write_part10(body, JPEG))
    many = write_part10(
        write_elements(header) + encapsulate(bytes([b]) * 2 for b in range(200)), JPEG
    )
    yield Case("fragments of nonsense", "fragments-200.dcm", many)
    swapped = {0x00280010: (b"US", 96), **describe_image()}
    swapped[0x7FE00010] = (b"OW", pixels)
    order = dict(sorted(swapped.items(), key=lambda pair: (pair[0] == 0x7FE00010, -pair[0])))
    yield Case(
        "elements out of order",
        "backwards.dcm",
        write_part10(write_elements(order)),
        "either",
        "the order carries no meaning",
    )
    first = dict([(0x7FE00010, (b"OW", pixels)), *describe_image().items()])
    yield Case("elements out of order", "pixels-first.dcm", write_part10(write_elements(first)))
    twice = write_elements({0x00280010: (b"US", 65535)}) + write_elements(
        describe_image() | {0x7FE00010: (b"OW", pixels)}
    )
    note = "the last of two is used and fits the pixels"
    yield Case("element twice", "rows-twice.dcm", write_part10(twice), "either", note)
    for vr in (b"ZZ", b"??", b"\0\0", b"us"):
        body = write_elements(
            {0x00080008: (vr, b"XX"), **describe_image(), 0x7FE00010: (b"OW", pixels)}
        )
        yield Case(
            "unknown VR",
            f"vr-{vr.hex()}.dcm",
            write_part10(body),
            "either",
            "it may be passed over",
        )


def _nesting() -> Iterator[Case]:
    after = write_elements({**describe_image(), 0x7FE00010: (b"OW", make_stored().tobytes())})
    for depth in (33, 1000, 5000, 50_000):
        opening = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED)
        opening += b"\xfe\xff\x00\xe0" + struct.pack("<L", UNDEFINED)
        closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        body = opening * depth + closing * depth + after
        name = f"nested-undefined-{depth}.dcm"
        yield Case("nested sequences", name, write_part10(body), must_name="nested")
        name = f"nested-unclosed-{depth}.dcm"
        yield Case("nested sequences", name, write_part10(opening * depth), must_name="nested")
    for depth in (33, 1000, 5000):
        for syntax in (EXPLICIT, IMPLICIT):
            inner = b""
            for _ in range(depth):
                item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
                inner = write_element(0x00081140, b"SQ", item, syntax=syntax)
            body = inner + (after if syntax == EXPLICIT else b"")
            name = f"nested-defined-{NAMES[syntax]}-{depth}.dcm"
            yield Case("nested sequences", name, write_part10(body, syntax), must_name="nested")


def _deflate_bombs() -> Iterator[Case]:
    header = write_elements(describe_image())
    for size in (600_000_000, 1_500_000_000):
        packer_input = header + write_element(0x7FE00010, b"OW", b"", length=size)
        data = write_part10(_deflate_zeros(packer_input, size), DEFLATED)
        yield Case("deflate bomb", f"deflate-{size}.dcm", data, must_name="limit")
    texts = {
        "id": (0x00100020, b"\xe9"),
        "window": (0x00281050, b"\\"),
        "charset": (0x00080005, b"\\"),
    }
    for name, (tag, fill) in texts.items():
        # UT has a 32-bit length in explicit VR, whatever the dictionary says of the tag.
        elements = describe_image() | {
            0x00100020: (b"LO", b"\xe9 "),
            tag: (b"UT", fill * 60_000_000),
        }
        elements[0x7FE00010] = (b"OW", make_stored().tobytes())
        body = write_elements(dict(sorted(elements.items())))
        data = write_part10(deflate(body), DEFLATED)
        note = "a text of 60 MB where 64 characters are allowed; whoever cuts it may go on"
        yield Case("deflated text", f"deflated-{name}.dcm", data, "either", note)
    yield Case("deflate damaged", "deflate-noise.dcm", write_part10(b"\xff" * 500, DEFLATED))
    yield Case("deflate damaged", "deflate-empty.dcm", write_part10(b"", DEFLATED))


def _deflate_zeros(start: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(start) + deflate_more_zeros(packer, size)


def _text_bombs() -> Iterator[Case]:
    """Values of many megabytes where a few characters are expected."""
    note = "whoever cuts the value to what the standard allows may go on"
    fills: dict[str, tuple[int, bytes]] = {
        "window-values": (0x00281050, b"1\\"),
        "id-kanji": (0x00100020, b"\x1b$B"),
        "frames-digits": (0x00280008, b"1"),
        "slope-digits": (0x00281053, b"9"),
        "rows-words": (0x00280010, b"\x60\0"),
    }
    for name, (tag, fill) in fills.items():
        value = fill * (24_000_000 // len(fill) // 2 * 2)
        data = write_native({tag: (b"UT", value)})
        yield Case("value of 24 MB", f"long-{name}.dcm", data, "either", note)


def _rle_bombs() -> Iterator[Case]:
    """Two bytes of a replicated run give 128."""
    for name, runs in {"250-mb": 1_000_000, "3-gb": 12_000_000}.items():
        segment = b"\x81\0" * runs
        stream = frame_rle([segment, segment])
        yield Case("RLE bomb", f"rle-{name}.dcm", write_compressed(stream, RLE))
    stream = frame_rle([b"\x81\0" * 100, b"\x81\0" * 100])
    yield Case("RLE bomb", "rle-16000.dcm", write_compressed(stream, RLE, shape=(16000, 16000)))
    yield Case("RLE bomb", "rle-9900.dcm", write_compressed(stream, RLE, shape=(9900, 9900)))
    good = make_streams()[RLE][0]
    damaged = {
        "segments-0": struct.pack("<L", 0) + good[4:],
        "segments-16": struct.pack("<L", 16) + good[4:],
        "segments-4e9": struct.pack("<L", 0xFFFFFFFF) + good[4:],
        "offset-past-end": good[:8] + struct.pack("<L", 0xFFFFFFF0) + good[12:],
        "offset-backwards": good[:4] + struct.pack("<2L", 5000, 64) + good[12:],
        "offset-zero": good[:4] + struct.pack("<2L", 0, 0) + good[12:],
        "header-only": good[:64],
        "cut-run": good[:64] + b"\x7f",
        "no-op-runs": frame_rle([b"\x80" * 100_000, b"\x80" * 100_000]),
    }
    for name, stream in damaged.items():
        yield Case("RLE damaged", f"rle-{name}.dcm", write_compressed(stream, RLE))


def _codestream_bombs() -> Iterator[Case]:
    """Codestreams that state giant sizes, with headers that agree as far as 16 bits can."""
    for syntax, kind in ((J2K, "J2K bomb"), (HTJ2K, "HTJ2K bomb")):
        good = make_streams()[syntax][0]
        changes: dict[str, dict[int, int]] = {
            "siz-4g": {8: 0xFFFFFFFF, 12: 0xFFFFFFFF, 24: 0xFFFFFFFF, 28: 0xFFFFFFFF},
            "siz-65535": {8: 65535, 12: 65535, 24: 65535, 28: 65535},
            "siz-offset": {8: 0xFFFFFFFF, 16: 0xFFFFFFFF - 80, 24: 0xFFFFFFFF},
            "tiles-1x1": {24: 1, 28: 1},
            "tiles-0": {24: 0, 28: 0},
        }
        for name, words in changes.items():
            changed = bytearray(good)
            for offset, value in words.items():
                struct.pack_into(">L", changed, offset, value)
            for shape in ((65535, 65535), (96, 80)):
                data = write_compressed(bytes(changed), syntax, shape=shape)
                yield Case(kind, f"{NAMES[syntax]}-{name}-{shape[0]}.dcm", data)
    yield from _j2k_structure_bombs()
    frames = {
        JPEG: (b"\xff\xc0", "JPEG bomb"),
        JPEG_12: (b"\xff\xc1", "JPEG bomb"),
        JPEG_LOSSLESS: (b"\xff\xc3", "JPEG bomb"),
        JPEG_LS: (b"\xff\xf7", "JPEG-LS bomb"),
    }
    for syntax, (marker, kind) in frames.items():
        stream, _, bits, allocated = make_streams()[syntax]
        at = stream.find(marker) + 5
        for rows, columns in ((65500, 65500), (65535, 65535), (9999, 9999), (0, 80)):
            grown = stream[:at] + struct.pack(">2H", rows, columns) + stream[at + 4 :]
            name = f"{NAMES[syntax]}-sof-{rows}x{columns}"
            for shape in {(rows, columns), (96, 80)}:
                data = write_compressed(grown, syntax, shape=shape, bits=bits, allocated=allocated)
                yield Case(kind, f"{name}-{shape[0]}.dcm", data)
    yield Case(
        "JPEG scan bomb",
        "progressive-5000-scans.dcm",
        write_compressed(make_scan_bomb(5000, 9600), JPEG, shape=(9600, 9600), bits=8, allocated=8),
        "either",
        "a limit of scans, or of time, ends it",
    )


def make_scan_bomb(scans: int, side: int) -> bytes:
    """A progressive JPEG whose every scan walks the whole picture and costs ten bytes."""
    table = b"\xff\xc4\x00\x14\x00" + b"\x01" + b"\0" * 15 + b"\0"
    table_ac = b"\xff\xc4\x00\x14\x10" + b"\x01" + b"\0" * 15 + b"\xe0"
    quantise = b"\xff\xdb\x00\x43\x00" + b"\x01" * 64
    frame = b"\xff\xc2\x00\x0b\x08" + struct.pack(">2H", side, side) + b"\x01\x01\x11\x00"
    blocks = (side // 8) ** 2
    first = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + b"\0" * (blocks // 8 + 2)
    # One code ends the band for 2^14 blocks and more; each scan states one coefficient.
    runs = blocks // (1 << 14) + 1
    bits = "".join("0" + "1" * 14 for _ in range(runs))
    coded = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    coded = coded.replace(b"\xff", b"\xff\x00")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00" + coded
    return b"\xff\xd8" + quantise + frame + table + table_ac + first + scan * scans + b"\xff\xd9"


def _j2k_structure_bombs() -> Iterator[Case]:
    """J2K headers of a few bytes that ask for many structures within the pixel limit."""
    side = 9000
    markers = {
        "precincts-of-1": (b"\x01", 1, 5, b"\x11" * 5 + b"\x11"),
        "layers-65535": (b"\x00", 65535, 5, b""),
        "levels-32": (b"\x00", 1, 32, b""),
        "code-blocks-4x4": (b"\x00", 1, 0, b""),
    }
    for name, (style, layers, levels, precincts) in markers.items():
        for tile in (side, 36):
            size = struct.pack(">8L", side, side, 0, 0, tile, tile, 0, 0)
            siz = b"\xff\x51" + struct.pack(">2H", 41, 0) + size + b"\0\x01\x07\x01\x01"
            blocks = b"\0\0" if "blocks" in name else b"\x04\x04"
            cod = (
                style
                + b"\x02"
                + struct.pack(">HB", layers, 0)
                + bytes([levels])
                + blocks
                + b"\0\x01"
            )
            cod = b"\xff\x52" + struct.pack(">H", len(cod) + len(precincts) + 2) + cod + precincts
            steps = b"\x08" * (3 * levels + 1)
            qcd = b"\xff\x5c" + struct.pack(">H", len(steps) + 3) + b"\x40" + steps
            body = b"\xff\x93" + b"\0" * 64
            sot = b"\xff\x90" + struct.pack(">2HLBB", 10, 0, len(body) + 12, 0, 1)
            stream = b"\xff\x4f" + siz + cod + qcd + sot + body + b"\xff\xd9"
            data = write_compressed(stream, J2K, shape=(side, side), bits=8, allocated=8)
            note = "within the limit of pixels; the rest of the picture is missing"
            yield Case("J2K bomb", f"j2k-{name}-tile-{tile}.dcm", data, "either", note)
    good = make_streams()[J2K][0]
    giant = bytearray(good)
    for offset in (8, 12, 24, 28):
        struct.pack_into(">L", giant, offset, 60000)
    decoy = b"\xff\x4f" + good[2:47]
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    boxes += struct.pack(">L4s", 8 + 16 + len(decoy), b"uuid") + b"\0" * 16 + decoy
    head = struct.pack(">L4s2LHBBBB", 22, b"ihdr", 60000, 60000, 1, 11, 7, 0, 0)
    head += struct.pack(">L4sBBBL", 15, b"colr", 1, 0, 0, 17)
    boxes += struct.pack(">L4s", 8 + len(head), b"jp2h") + head
    boxes += struct.pack(">L4s", 8 + len(giant), b"jp2c") + bytes(giant)
    yield Case("J2K bomb", "jp2-decoy-header.dcm", write_compressed(boxes, J2K))


def _element_floods() -> Iterator[Case]:
    """Very many small elements, each cheap in the file."""
    after = write_elements({**describe_image(), 0x7FE00010: (b"OW", make_stored().tobytes())})
    flood = b"".join(write_element(0x00090000 + i % 0xF000, b"LO", b"") for i in range(300_000))
    yield Case(
        "flood of elements",
        "elements-300000.dcm",
        write_part10(flood + after),
        must_name="elements",
    )
    # A sequence whose item has a broken inside is passed over; each one leaves a remark.
    broken = write_element(
        0x00081140, b"SQ", b"\xfe\xff\x00\xe0\x10\0\0\0" + b"\x08\0\x16\0UI\xff\0" + b"\0" * 8
    )
    note = "damaged sequences are passed over; the remarks on them must stay bounded"
    yield Case(
        "flood of remarks",
        "broken-sequences-50000.dcm",
        write_part10(broken * 50_000 + after),
        "either",
        note,
    )
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 250_000
    sequence = write_element(0x00081140, b"SQ", items)
    yield Case(
        "flood of elements",
        "items-250000.dcm",
        write_part10(sequence + after),
        must_name="elements",
    )


def _foreign_syntax() -> Iterator[Case]:
    body = write_elements({**describe_image(), 0x7FE00010: (b"OW", make_stored().tobytes())})
    syntaxes = {
        "mpeg-4": "1.2.840.10008.1.2.4.102",
        "hevc": "1.2.840.10008.1.2.4.107",
        "jpip": "1.2.840.10008.1.2.4.94",
        "ge-private": "1.2.840.113619.5.2",
        "unknown": "1.2.3.4",
        "traversal": "../../etc/passwd",
        "html": "<script>alert(1)</script>",
        "long": "1." * 3000 + "1",
    }
    for name, syntax in syntaxes.items():
        yield Case("foreign transfer syntax", f"syntax-{name}.dcm", write_part10(body, syntax))


def _not_images() -> Iterator[Case]:
    classes = {
        "structured-report": b"1.2.840.10008.5.1.4.1.1.88.33",
        "encapsulated-pdf": b"1.2.840.10008.5.1.4.1.1.104.1",
        "presentation-state": b"1.2.840.10008.5.1.4.1.1.11.1",
        "dicomdir": b"1.2.840.10008.1.3.10",
        "html": b"<script>alert(1)</script>",
        "ecg": b"1.2.840.10008.5.1.4.1.1.9.1.1",
    }
    for name, uid in classes.items():
        data = write_native({0x00080016: (b"UI", uid), 0x7FE00010: None})
        yield Case("no image object", f"object-{name}.dcm", data)
    raw = {0x00080068: (b"CS", b"FOR PROCESSING")}
    yield Case("no image object", "object-for-processing.dcm", write_native(dict(raw)))
    floats = {0x7FE00010: None, 0x7FE00008: (b"OF", b"\0" * 96 * 80 * 4)}
    yield Case("no image object", "object-float-pixels.dcm", write_native(floats))


def _flipped(rng: random.Random) -> Iterator[Case]:
    note = "a changed byte may leave a whole picture; the run must merely go on"
    for syntax, name in NAMES.items():
        good = write_good(syntax)
        for turn in range(8):
            data = bytearray(good)
            start = 132 if turn < 4 else len(data) // 4
            for _ in range(1 + 5 * turn):
                data[rng.randrange(start, len(data))] = rng.randrange(256)
            yield Case("bytes changed", f"flipped-{name}-{turn}.dcm", bytes(data), "either", note)
