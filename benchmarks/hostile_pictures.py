"""PNG, JPEG, TIFF and BMP files that are damaged or ask for more than they may; other formats."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

from hostile_dicom import make_scan_bomb
from hostile_seeds import Case, Expected, deflate_more_zeros, make_good_pictures, make_picture

WITHIN = "within the limits of pixels and bytes; a time or memory limit may still end it"


def list_picture_cases(rng: random.Random) -> Iterator[Case]:
    """Every case in a picture format, and the files of other kinds."""
    good = make_good_pictures()
    for name, data in good.items():
        stem, suffix = name.split(".")
        for part in range(1, 16):
            cut = data[: len(data) * part // 16]
            yield Case("picture cut", f"cut-{stem}-{part:02}.{suffix}", cut)
        for turn in range(4):
            changed = bytearray(data)
            for _ in range(1 + 6 * turn):
                changed[rng.randrange(8, len(changed))] = rng.randrange(256)
            note = "a changed byte may leave a whole picture; the run must merely go on"
            target = f"flipped-{stem}-{turn}.{suffix}"
            yield Case("picture bytes changed", target, bytes(changed), "either", note)
    yield from _png_cases(good["grey.png"])
    yield from _jpeg_cases(good["baseline.jpg"], good["progressive.jpg"])
    yield from _tiff_cases(good["plain.tif"])
    yield from _bmp_cases(good["grey.bmp"])
    yield from _foreign(good)
    yield from _noise(rng)


def write_chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def write_png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 0,
    interlace: int = 0,
    data: bytes = b"",
) -> list[bytes]:
    """Signature, header, pixel data and end of a PNG file."""
    header = struct.pack(">2L5B", width, height, bits, colour, 0, 0, interlace)
    return [
        b"\x89PNG\r\n\x1a\n",
        write_chunk(b"IHDR", header),
        write_chunk(b"IDAT", data),
        write_chunk(b"IEND", b""),
    ]


def deflate_zeros(size: int) -> bytes:
    """``size`` zero bytes in zlib's form, a thousandth of it."""
    # Adler-32 of zeros: the first sum stays 1, the second counts them.
    checksum = struct.pack(">L", (size % 65521) << 16 | 1)
    return (
        b"\x78\xda" + deflate_more_zeros(zlib.compressobj(9, zlib.DEFLATED, -15), size) + checksum
    )


def _png_cases(good: bytes) -> Iterator[Case]:
    few = zlib.compress(b"\0" * 100)
    for width, height in (
        (50_000, 50_000),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFFFFF, 16),
        (100_001, 1000),
    ):
        data = b"".join(write_png(width, height, data=few))
        yield Case("PNG bomb", f"png-{width}x{height}.png", data, must_name="pixels")
    for width, height in ((0, 0), (0, 100), (1, 1), (15, 4000)):
        data = b"".join(write_png(width, height, data=few))
        yield Case("PNG too small", f"png-{width}x{height}.png", data)
    for name, bits, colour, interlace in (
        ("grey", 8, 0, 0),
        ("rgba-16", 16, 6, 0),
        ("interlaced", 8, 0, 1),
    ):
        samples = {0: 1, 6: 4}[colour] * bits // 8
        side = 9990
        pixels = deflate_zeros(side * (side * samples + 1) + (side * 8 if interlace else 0))
        data = b"".join(
            write_png(side, side, bits=bits, colour=colour, interlace=interlace, data=pixels)
        )
        yield Case("PNG bomb", f"png-99-mp-{name}.png", data, "either", WITHIN)
    start, header, pixels, end = (good[:8], good[8:33], good[33:-12], good[-12:])
    bomb = deflate_zeros(1_500_000_000)
    for name, body in {
        "zTXt": b"Comment\0\0" + bomb,
        "iTXt": b"Comment\0\1\0\0\0" + bomb,
        "iCCP": b"icc\0\0" + bomb,
    }.items():
        data = start + header + write_chunk(name.encode(), body) + pixels + end
        note = "texts and profiles are never unpacked; the picture is whole"
        yield Case("PNG chunk bomb", f"chunk-{name}.png", data, "readable", note)
    empty = write_chunk(b"tEXt", b"")
    for count in (100_000, 3_000_000):
        data = start + header + empty * count + pixels + end
        yield Case("PNG chunk bomb", f"chunks-{count}.png", data, "either", WITHIN)
    data = start + header + write_chunk(b"IDAT", b"") * 1_000_000 + pixels + end
    yield Case("PNG chunk bomb", "empty-idat-1000000.png", data, "either", WITHIN)
    damaged = {
        "checksum": good[:40] + bytes([good[40] ^ 255]) + good[41:],
        "length-4g": start + header + b"\xff\xff\xff\xff" + pixels[4:] + end,
        "no-ihdr": start + pixels + end,
        "two-ihdr": start + header + header + pixels + end,
        "no-idat": start + header + end,
        "text-between-idat": start + header + pixels + empty + pixels + end,
        "colour-type-5": b"".join(write_png(96, 80, colour=5, data=few)),
        "bits-3": b"".join(write_png(96, 80, bits=3, data=few)),
        "palette-missing": b"".join(write_png(96, 80, colour=3, data=few)),
        "too-few-rows": b"".join(write_png(96, 80, data=few)),
        "no-zlib": b"".join(write_png(96, 80, data=b"\xff" * 100)),
        "animated": start + header + write_chunk(b"acTL", b"\0" * 8) + pixels + end,
    }
    for name, data in damaged.items():
        between = name == "text-between-idat"
        note = "out of order, but the first pixel data are whole" if between else ""
        yield Case("PNG damaged", f"png-{name}.png", data, "either" if between else "failed", note)
    data = good + b"<script>alert(1)</script>" + b"PK\x03\x04" * 100
    yield Case(
        "PNG with a tail", "png-and-zip.png", data, "readable", "what follows the end is not read"
    )


def _jpeg_cases(good: bytes, progressive: bytes) -> Iterator[Case]:
    at = good.find(b"\xff\xc0") + 5
    sizes = ((65500, 65500), (65535, 1600), (0, 80), (80, 0), (9999, 9999), (1, 1))
    for rows, columns in sizes:
        data = good[:at] + struct.pack(">2H", rows, columns) + good[at + 4 :]
        yield Case("JPEG bomb", f"jpeg-{rows}x{columns}.jpg", data)
    for scans, side in ((99, 9900), (5000, 4000)):
        data = make_scan_bomb(scans, side)
        yield Case("JPEG scan bomb", f"scans-{scans}-side-{side}.jpg", data, "either", WITHIN)
    for name, marker in {"lossless": 0xC3, "arithmetic": 0xC9, "hierarchical": 0xC5}.items():
        data = good[: at - 4] + bytes([marker]) + good[at - 3 :]
        yield Case("JPEG of another process", f"jpeg-{name}.jpg", data)
    scan = good.find(b"\xff\xda")
    damaged = {
        "no-frame": good[: at - 5] + good[scan:],
        "two-frames": good[:scan] + good[at - 5 : at + 14] + good[scan:],
        "no-scan": good[:scan] + b"\xff\xd9",
        "no-tables": good[:2] + good[at - 5 : at - 5 + 13] + good[scan:],
        "segment-length-0": good[:4] + b"\0\0" + good[6:],
        "segment-length-ffff": good[:4] + b"\xff\xff" + good[6:],
        "twelve-bits": good[: at - 1] + b"\x0c" + good[at:],
        "no-pixels": good[: scan + 10] + b"\xff\xd9",
        "half-and-end": good[: (scan + len(good)) // 2] + b"\xff\xd9",
        "most-and-end": good[: len(good) * 19 // 20] + b"\xff\xd9",
        "progressive-half-and-end": progressive[: len(progressive) // 3] + b"\xff\xd9",
        "only-markers": b"\xff\xd8" + b"\xff" * 500_000 + b"\xd9",
        "five-components": good[: at + 4] + b"\x05" + good[at + 5 :],
    }
    for name, data in damaged.items():
        note = "its first scans are whole and give a coarse picture"
        expected: Expected = "either" if name.startswith("progressive-half") else "failed"
        yield Case("JPEG damaged", f"jpeg-{name}.jpg", data, expected, note)
    comments = b"\xff\xfe\xff\xff" + b"A" * 65533
    yield Case(
        "JPEG with long comments",
        "comments-60-mb.jpg",
        good[:2] + comments * 900 + good[2:],
        "readable",
        "comments are stepped over",
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 3)
    exif += struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    exif += struct.pack("<HHLL", 0x8769, 4, 1, 8) + struct.pack("<HHLL", 0x8825, 4, 0xFFFFFFFF, 8)
    exif += struct.pack("<L", 8)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    note = "a side note that loops must not cost the picture"
    yield Case("EXIF loop", "exif-loop.jpg", good[:2] + segment + good[2:], "readable", note)


Entry = tuple[int, int, int, int | bytes]


def write_tiff(
    entries: list[Entry], pixels: bytes, *, following: int = 0, order: str = "<"
) -> bytes:
    """A TIFF of one directory right after the header, then the pixels.

    ``PIXELS`` as a value stands for where they begin.
    """
    at = 8 + 2 + 12 * len(entries) + 4
    mark = b"II*\0" if order == "<" else b"MM\0*"
    out = [mark + struct.pack(order + "LH", 8, len(entries))]
    for tag, kind, count, value in entries:
        number = at if value == PIXELS else value
        if isinstance(number, bytes):
            raw = number.ljust(4, b"\0")
        elif kind == 3 and count == 1:
            raw = struct.pack(order + "HH", number & 0xFFFF, 0)
        else:
            raw = struct.pack(order + "L", number & 0xFFFFFFFF)
        out.append(struct.pack(order + "HHL", tag, kind, count) + raw)
    return b"".join(out) + struct.pack(order + "L", following) + pixels


PIXELS = -1


def list_tiff_entries(
    width: int = 80, height: int = 96, *, changes: dict[int, Entry] | None = None
) -> list[Entry]:
    """The directory of a plain grey TIFF; ``changes`` replaces or adds entries."""
    entries: dict[int, Entry] = {
        256: (256, 4, 1, width),
        257: (257, 4, 1, height),
        258: (258, 3, 1, 8),
        259: (259, 3, 1, 1),
        262: (262, 3, 1, 1),
        273: (273, 4, 1, PIXELS),
        277: (277, 3, 1, 1),
        278: (278, 4, 1, height),
        279: (279, 4, 1, width * height),
    }
    return [entry for _, entry in sorted((entries | (changes or {})).items())]


def _tiff_cases(good: bytes) -> Iterator[Case]:
    picture = make_picture().tobytes()
    plain: dict[str, list[Entry]] = {
        "50000x50000": list_tiff_entries(50_000, 50_000),
        "4g-x-4g": list_tiff_entries(0xFFFFFFFF, 0xFFFFFFFF),
        "0x0": list_tiff_entries(0, 0),
        "9999x9999": list_tiff_entries(9999, 9999),
        "strips-4g": list_tiff_entries(changes={273: (273, 4, 0xFFFFFFFF, 0)}),
        "strips-1000000": list_tiff_entries(
            changes={273: (273, 4, 1_000_000, 0), 278: (278, 4, 1, 1)}
        ),
        "rows-per-strip-0": list_tiff_entries(changes={278: (278, 4, 1, 0)}),
        "strip-outside": list_tiff_entries(changes={273: (273, 4, 1, 0xFFFFFF00)}),
        "strip-length-4g": list_tiff_entries(changes={279: (279, 4, 1, 0xFFFFFFFF)}),
        "strip-length-0": list_tiff_entries(changes={279: (279, 4, 1, 0)}),
        "samples-65535": list_tiff_entries(changes={277: (277, 3, 1, 65535)}),
        "samples-0": list_tiff_entries(changes={277: (277, 3, 1, 0)}),
        "bits-0": list_tiff_entries(changes={258: (258, 3, 1, 0)}),
        "bits-64": list_tiff_entries(changes={258: (258, 3, 1, 64)}),
        "float": list_tiff_entries(changes={258: (258, 3, 1, 32), 339: (339, 3, 1, 3)}),
        "no-size": [entry for entry in list_tiff_entries() if entry[0] not in (256, 257)],
        "no-strips": [entry for entry in list_tiff_entries() if entry[0] not in (273, 279)],
        "compression-jbig": list_tiff_entries(changes={259: (259, 3, 1, 34661)}),
        "compression-old-jpeg": list_tiff_entries(changes={259: (259, 3, 1, 6)}),
        "photometric-cfa": list_tiff_entries(changes={262: (262, 3, 1, 32803)}),
        "empty-directory": [],
    }
    for name, entries in plain.items():
        yield Case("TIFF contradiction", f"tiff-{name}.tif", write_tiff(entries, picture))
    loop = write_tiff(list_tiff_entries(), picture, following=8)
    yield Case("TIFF directory loop", "ifd-loop.tif", loop)
    for name, target in {"ifd-at-4g": 0xFFFFFFF0, "ifd-at-0": 0, "ifd-at-4": 4}.items():
        data = good[:4] + struct.pack("<L", target) + good[8:]
        yield Case("TIFF directory loop", f"{name}.tif", data)
    for kind, width in ((1, 1), (4, 4)):
        count = 900_000
        extra: dict[int, Entry] = {
            tag: (tag, kind, count, 8) for tag in range(40_000, 40_000 + 20_000)
        }
        data = write_tiff(
            list_tiff_entries(changes=extra), picture.ljust(count * width + 64, b"\x01")
        )
        note = "entries that are not needed are not unpacked, or are too many"
        yield Case("TIFF entry bomb", f"entries-20000-of-{width}-bytes.tif", data, "either", note)
    for compression, name in ((8, "deflate"), (5, "lzw"), (32773, "packbits"), (7, "jpeg")):
        for side in (9990, 60_000):
            pixels = {8: deflate_zeros(side * min(side, 9990)), 32773: b"\x81\0" * 800_000}.get(
                compression, b"\x80\0" * 500_000
            )
            changes: dict[int, Entry] = {
                259: (259, 3, 1, compression),
                279: (279, 4, 1, len(pixels)),
            }
            data = write_tiff(list_tiff_entries(side, side, changes=changes), pixels)
            expected: Expected = "either" if side == 9990 else "failed"
            yield Case("TIFF bomb", f"tiff-{name}-{side}.tif", data, expected, WITHIN)
    for bits, samples in ((8, 1), (8, 3), (16, 1), (16, 3)):
        for tile in (65520, 30_000, 0x7FFFFFF0):
            pixels = deflate_zeros(1 << 20)
            tiled = [entry for entry in list_tiff_entries() if entry[0] not in (273, 278, 279)]
            tiled = [entry for entry in tiled if entry[0] not in (258, 259, 262, 277)]
            tiled += [
                (258, 3, 1, bits),
                (259, 3, 1, 8),
                (262, 3, 1, 2 if samples == 3 else 1),
                (277, 3, 1, samples),
                (322, 4, 1, tile),
                (323, 4, 1, tile),
                (324, 4, 1, PIXELS),
                (325, 4, 1, len(pixels)),
            ]
            data = write_tiff(sorted(tiled, key=lambda entry: entry[0]), pixels)
            name = f"tile-{tile}-{bits}-bits-{samples}.tif"
            yield Case("TIFF bomb", name, data, "either", WITHIN)
    for bits, samples in ((8, 1), (16, 3)):
        base: dict[int, Entry] = {
            258: (258, 3, 1, bits),
            277: (277, 3, 1, samples),
            262: (262, 3, 1, 2 if samples == 3 else 1),
            279: (279, 4, 1, 7680 * samples * bits // 8),
        }
        for is_giant_first in (True, False):
            entries = list_tiff_entries(changes=base)
            giant: list[Entry] = [(256, 4, 1, 30_000), (257, 4, 1, 30_000)]
            usual = [entry for entry in entries if entry[0] in (256, 257)]
            rest = [entry for entry in entries if entry[0] not in (256, 257)]
            doubled = [*giant, *usual, *rest] if is_giant_first else [*usual, *giant, *rest]
            data = write_tiff(doubled, picture * samples * (bits // 8))
            place = "first" if is_giant_first else "last"
            name = f"size-twice-giant-{place}-{bits}-{samples}.tif"
            yield Case("TIFF entry twice", name, data, "either", "which of two holds is not agreed")


def _bmp_cases(good: bytes) -> Iterator[Case]:
    for name, (width, height) in {
        "50000": (50_000, 50_000),
        "2g": (0x7FFFFFFF, 0x7FFFFFFF),
        "minus-2g": (80, -0x80000000),
        "negative-width": (-80, 96),
        "zero": (0, 0),
        "9999": (9999, 9999),
    }.items():
        data = good[:18] + struct.pack("<2i", width, height) + good[26:]
        yield Case("BMP bomb", f"bmp-{name}.bmp", data)
    changes = {
        "offset-4g": (10, 0xFFFFFFF0),
        "offset-0": (10, 0),
        "header-size-4g": (14, 0xFFFFFFFF),
        "header-size-0": (14, 0),
        "planes-bits": (26, 0xFFFF),
        "bits-7": (26, 1 | 7 << 16),
        "bits-32": (26, 1 | 32 << 16),
        "rle": (30, 1),
        "compression-99": (30, 99),
        "palette-4g": (46, 0xFFFFFFFF),
    }
    for name, (at, value) in changes.items():
        data = good[:at] + struct.pack("<L", value) + good[at + 4 :]
        yield Case("BMP damaged", f"bmp-{name}.bmp", data)


def _foreign(good: dict[str, bytes]) -> Iterator[Case]:
    """Files of other kinds, under names that promise a radiograph."""
    zeros = b"\0" * 600
    kinds = {
        "text": b"Dear colleague, please find enclosed nothing.\n",
        "html": b"<!DOCTYPE html><script>alert(1)</script>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "xml-entities": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'a'>]><x>&a;</x>",
        "json": b'{"a": [[[[[[[[1]]]]]]]]}',
        "csv": b"path\nx.dcm\n",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</JS(app.alert(1))>>endobj",
        "zip": b"PK\x03\x04" + zeros,
        "gzip": b"\x1f\x8b\x08" + zeros,
        "7z": b"7z\xbc\xaf\x27\x1c" + zeros,
        "tar": zeros[:257] + b"ustar\x0000" + zeros,
        "gif": b"GIF89a\x50\0\x60\0\x80\0\0" + zeros,
        "webp": b"RIFF\x24\0\0\0WEBPVP8 " + zeros,
        "avif": b"\0\0\0\x1cftypavif" + zeros,
        "heic": b"\0\0\0\x18ftypheic" + zeros,
        "mp4": b"\0\0\0\x18ftypmp42" + zeros,
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + zeros,
        "jpeg-xl": b"\xff\x0a" + zeros,
        "bigtiff": b"II+\0\x08\0\0\0" + zeros,
        "photoshop": b"8BPS\0\1" + zeros,
        "icon": b"\0\0\1\0\1\0" + zeros,
        "elf": b"\x7fELF\2\1\1" + zeros,
        "windows-program": b"MZ\x90\0" + zeros,
        "sqlite": b"SQLite format 3\0" + zeros,
        "pickle": b"\x80\x04\x95\x1c\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "numpy": b"\x93NUMPY\1\0" + zeros,
        "hdf5": b"\x89HDF\r\n\x1a\n" + zeros,
        "nifti": zeros[:344] + b"n+1\0" + zeros,
        "word": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + zeros,
        "mp3": b"ID3\x04\0\0" + zeros,
        "wasm": b"\0asm\1\0\0\0" + zeros,
        "class": b"\xca\xfe\xba\xbe\0\0\0\x34" + zeros,
        "dicm-only": b"\0" * 128 + b"DICM",
        "dicm-twice": b"\0" * 128 + b"DICM" * 100,
        "dicm-early": b"DICM" + zeros,
    }
    for name, data in kinds.items():
        yield Case("another format", f"really-{name}.dcm", data)
    yield Case("empty file", "empty.dcm", b"", must_name="empty")
    yield Case("empty file", "empty.png", b"", must_name="empty")
    for value in (0x00, 0x42, 0x89, 0xFF):
        yield Case("one byte", f"byte-{value:02x}.dcm", bytes([value]))
    for name, byte in {"zeros": b"\0", "ones": b"\xff", "spaces": b" "}.items():
        yield Case("one byte repeated", f"{name}.dcm", byte * 100_000)
    for name, suffix in {"grey.png": "jpg", "baseline.jpg": "dcm", "plain.tif": "png"}.items():
        note = "the content decides, not the name"
        yield Case(
            "wrong suffix", f"{name.replace('.', '-')}.{suffix}", good[name], "readable", note
        )


def _noise(rng: random.Random) -> Iterator[Case]:
    """Random bytes after each signature that is read."""
    marks = {
        "dicm": b"\0" * 128 + b"DICM",
        "meta": b"\0" * 128 + b"DICM\x02\0\0\0UL\x04\0\0\0\0\0",
        "no-preamble": b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
        "implicit": b"\x08\0\x16\0\x08\0\0\0",
        "png": b"\x89PNG\r\n\x1a\n",
        "jpeg": b"\xff\xd8\xff\xe0",
        "tiff-le": b"II*\0\x08\0\0\0",
        "tiff-be": b"MM\0*\0\0\0\x08",
        "bmp": b"BM",
        "nothing": b"",
    }
    for name, mark in marks.items():
        for turn in range(3):
            data = mark + rng.randbytes(20_000)
            yield Case("noise after a signature", f"noise-{name}-{turn}.dcm", data)
