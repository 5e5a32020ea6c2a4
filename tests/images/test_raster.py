"""PNG, JPEG, TIFF and BMP become what a reader sees, or are refused with the reason."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from chestx.domain import Limits, Radiograph, UnreadableImageError
from chestx.images import raster, structure
from chestx.images.raster import decode_raster

LIMITS = Limits()


def decode(data: bytes, limits: Limits = LIMITS) -> Radiograph:
    return decode_raster(data, limits=limits)


def refusal(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_raster(data, limits=limits)
    return str(caught.value)


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """A smooth picture with some grain, 8 bits, 60 x 80, every level used."""
    down, across = np.mgrid[0:60, 0:80]
    grain = np.random.default_rng(1).integers(-9, 10, (60, 80))
    picture = np.clip(down * 2.2 + across * 1.6 + grain, 0, 255).astype(np.uint8)
    picture[0, 0], picture[-1, -1] = 0, 255
    return np.asarray(picture)


@pytest.fixture(scope="module")
def colour(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey, grey[::-1], grey[:, ::-1]])


def luma(rgb: np.ndarray) -> np.ndarray:
    """BT.601 by hand."""
    weighed = rgb[..., :3].astype(np.float64) @ [0.299, 0.587, 0.114]
    return np.asarray(np.rint(weighed))


def assert_near(got: np.ndarray, expected: np.ndarray, by: float = 1) -> None:
    assert got.shape == expected.shape
    assert np.abs(got.astype(float) - expected.astype(float)).max() <= by


# --- a PNG made by hand, so that every kind of it exists ---


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def make_png(
    rows: list[bytes], *, width: int, bits: int, kind: int, before: bytes = b"", interlace: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, interlace)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND", b"")
    )


def pack_bits(row: np.ndarray, bits: int) -> bytes:
    as_bits = (row[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(as_bits.astype(np.uint8).ravel()).tobytes()


# --- a TIFF made by hand ---


def make_tiff(
    samples: np.ndarray,
    *,
    order: Literal["<", ">"] = "<",
    photometric: int = 1,
    extra: dict[int, tuple[int, ...]] | None = None,
    strips: int = 1,
    directory_last: bool = False,
    deflate: bool = False,
) -> bytes:
    """One page, uncompressed or deflated, 8 or 16 bits, in strips."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    stored = samples.astype(samples.dtype.newbyteorder(order))
    pieces = [piece.tobytes() for piece in np.array_split(stored, strips)]
    rows = -(-height // strips)
    if deflate:
        pieces = [zlib.compress(piece) for piece in pieces]
    tags: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (samples.dtype.itemsize * 8,) * channels,
        259: (8 if deflate else 1,),
        262: (photometric,),
        277: (channels,),
        278: (rows,),
        **(extra or {}),
    }
    body_size = sum(map(len, pieces))
    directory_size = 2 + 12 * (len(tags) + 2) + 4
    arrays_size = 8 * len(pieces) + sum(2 * len(v) for v in tags.values() if len(v) > 2)
    body_at = 8 if directory_last else 8 + directory_size + arrays_size
    directory_at = 8 + body_size if directory_last else 8
    starts = [body_at + sum(map(len, pieces[:i])) for i in range(len(pieces))]
    entries, arrays = b"", b""
    arrays_at = directory_at + directory_size
    for tag, values in sorted({**tags, 273: starts, 279: list(map(len, pieces))}.items()):
        letter, number = ("I", 4) if tag in (273, 279) else ("H", 3)
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            arrays += packed
            packed = struct.pack(order + "I", arrays_at + len(arrays) - len(packed))
        entries += struct.pack(order + "HHI", tag, number, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack(order + "H", len(tags) + 2) + entries + bytes(4)
    directory += arrays.ljust(arrays_size, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(pieces)
    whole = body + directory if directory_last else directory + body
    return mark + struct.pack(order + "I", directory_at) + whole


# --- pixels: PNG ---


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_png_of_few_bits_is_spread_over_the_range(grey: np.ndarray, bits: int) -> None:
    levels = grey >> (8 - bits)
    rows = [pack_bits(row, bits) for row in levels]
    shown = decode(make_png(rows, width=80, bits=bits, kind=0))
    assert_near(shown.pixels, levels * (255 / (2**bits - 1)), by=0.5)
    assert (shown.header.format, shown.header.bits_stored) == ("PNG", bits)
    assert (shown.header.photometric, shown.header.colourfulness) == ("GREY", 0)


@pytest.mark.parametrize("interlace", [False, True])
def test_colour_png_becomes_grey_by_bt601(colour: np.ndarray, interlace: bool) -> None:
    shown = decode(interlaced_png(colour) if interlace else save(Image.fromarray(colour), "PNG"))
    assert_near(shown.pixels, luma(colour))
    spread = colour.max(axis=2).astype(float) - colour.min(axis=2)
    assert shown.header.colourfulness == pytest.approx(spread.mean(), abs=0.01)
    assert shown.header.photometric == "RGB"


def interlaced_png(rgb: np.ndarray) -> bytes:
    """Adam7, rows of the seven passes one after the other."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    rows = [row.tobytes() for r, c, dr, dc in passes for row in rgb[r::dr, c::dc]]
    height, width = rgb.shape[:2]
    data = make_png(rows, width=width, bits=8, kind=2, interlace=1)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return data[:8] + header + data[8 + 25 :]


def test_grey_stored_as_rgb_keeps_its_values_exactly() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    shown = decode(save(Image.fromarray(np.dstack([ramp] * 3)), "PNG"))
    np.testing.assert_array_equal(shown.pixels, ramp)
    assert shown.header.colourfulness == 0


def test_palette_png_shows_its_colours(colour: np.ndarray) -> None:
    image = Image.fromarray(colour).quantize(64)
    shown = decode(save(image, "PNG"))
    assert_near(shown.pixels, luma(np.asarray(image.convert("RGB"))))
    assert shown.header.photometric == "PALETTE"


def test_transparent_palette_entries_are_black(grey: np.ndarray) -> None:
    image = Image.fromarray(grey).quantize(8)
    shown = decode(save(image, "PNG", transparency=3))
    indices = np.asarray(image)
    expected = np.where(indices == 3, 0, luma(np.asarray(image.convert("RGB"))))
    assert_near(shown.pixels, expected)
    assert shown.header.notes == ("Transparent parts are shown black.",)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_laid_over_black(grey: np.ndarray, mode: str) -> None:
    image = Image.fromarray(grey).convert(mode)
    alpha = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))
    image.putalpha(Image.fromarray(alpha))
    shown = decode(save(image, "PNG"))
    assert_near(shown.pixels, grey * (alpha / 255.0))
    assert shown.header.notes == ("Transparent parts are shown black.",)


def test_full_alpha_changes_nothing(grey: np.ndarray) -> None:
    shown = decode(save(Image.fromarray(grey).convert("RGBA"), "PNG"))
    np.testing.assert_array_equal(shown.pixels, grey)
    assert shown.header.notes == ()


def test_16_bit_values_that_fill_the_range_are_scaled(grey: np.ndarray) -> None:
    shown = decode(save(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    np.testing.assert_array_equal(shown.pixels, grey)
    assert (shown.header.bits_stored, shown.header.display) == (16, "16 bits scaled by 1/257")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_12_bit_values_in_16_are_shown_through_a_percentile_window(
    grey: np.ndarray, kind: str
) -> None:
    stored = grey.astype(np.uint16) * 12 + 600
    shown = decode(save(Image.fromarray(stored), kind))
    low, high = np.percentile(stored, [0.5, 99.5])
    expected = np.clip((stored - low) / (high - low) * 255, 0, 255)
    assert_near(shown.pixels, expected)
    assert shown.header.display.startswith("percentile window ")


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_16_bit_colour_and_alpha_keep_their_low_byte(grey: np.ndarray, kind: int) -> None:
    value = grey.astype(">u2") * 8  # 11 bits: the high byte alone would show seven levels
    full = np.full_like(value, 65535)
    layers = {2: [value] * 3, 4: [value, full], 6: [value, value, value, full]}[kind]
    rows = [row.tobytes() for row in np.dstack(layers).astype(">u2")]
    shown = decode(make_png(rows, width=80, bits=16, kind=kind))
    low, high = np.percentile(value, [0.5, 99.5])
    assert_near(shown.pixels, np.clip((value - low) / (high - low) * 255, 0, 255))


def test_a_constant_16_bit_picture_is_black() -> None:
    shown = decode(save(Image.fromarray(np.full((32, 32), 700, np.uint16)), "PNG"))
    assert shown.pixels.max() == 0


# --- pixels: JPEG ---


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_shows_its_luminance(grey: np.ndarray, mode: str, progressive: bool) -> None:
    image = Image.fromarray(cv2.GaussianBlur(grey, (0, 0), 3)).convert(mode)
    shown = decode(save(image, "JPEG", quality=98, progressive=progressive))
    assert_near(shown.pixels, np.asarray(image.convert("L")), by=4)
    assert shown.header.photometric == {"L": "GREY", "RGB": "RGB"}[mode]


def test_adobe_cmyk_jpeg_is_not_inverted(grey: np.ndarray) -> None:
    smooth = cv2.GaussianBlur(grey, (0, 0), 3)
    shown = decode(save(Image.fromarray(smooth).convert("RGB").convert("CMYK"), "JPEG", quality=98))
    assert_near(shown.pixels, smooth, by=5)
    assert shown.header.photometric == "CMYK"


def test_cmyk_jpeg_that_does_not_say_how_it_is_stored_is_refused(grey: np.ndarray) -> None:
    data = save(Image.fromarray(grey).convert("RGB").convert("CMYK"), "JPEG")
    at = data.index(b"\xff\xee")
    assert "CMYK without the Adobe marker" in refusal(data[:at] + data[at + 16 :])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(grey: np.ndarray, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = save(Image.fromarray(grey), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    shown = decode(data)
    assert_near(shown.pixels, np.asarray(upright), by=0)
    assert bool(shown.header.notes) == (orientation != 1)


def test_unreadable_exif_does_not_cost_the_picture(grey: np.ndarray) -> None:
    data = save(Image.fromarray(grey), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).pixels.shape == (60, 80)


def test_bytes_after_the_end_of_a_jpeg_are_ignored(grey: np.ndarray) -> None:
    assert decode(save(Image.fromarray(grey), "JPEG") + b"appended").pixels.shape == (60, 80)


# --- pixels: TIFF ---


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("deflate", [False, True])
def test_min_is_white_is_inverted_exactly_once(
    grey: np.ndarray, order: Literal["<", ">"], dtype: type, photometric: int, deflate: bool
) -> None:
    stored: np.ndarray = grey.astype(dtype) * (257 if dtype is np.uint16 else 1)
    if photometric == 0:
        stored = np.iinfo(dtype).max - stored
    data = make_tiff(stored, order=order, photometric=photometric, strips=3, deflate=deflate)
    shown = decode(data)
    np.testing.assert_array_equal(shown.pixels, grey)
    assert ("min-is-white inverted" in shown.header.display) == (photometric == 0)


def test_min_is_white_of_12_bits_in_16_is_windowed_then_inverted(grey: np.ndarray) -> None:
    stored = 4095 - grey.astype(np.uint16) * 16
    shown = decode(make_tiff(stored, photometric=0))
    low, high = np.percentile(stored, [0.5, 99.5])
    assert_near(shown.pixels, 255 - np.clip((stored - low) / (high - low) * 255, 0, 255))


def test_bilevel_min_is_white_tiff_is_inverted(grey: np.ndarray) -> None:
    image = Image.fromarray(grey).convert("1")
    plain = decode(save(image, "TIFF"))
    faxed = save(image, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(plain.pixels, np.asarray(image.convert("L")))
    assert plain.header.bits_stored == 1
    assert set(np.unique(decode(faxed).pixels)) == {0, 255}


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_packed_tiff_equals_the_plain_one(grey: np.ndarray, mode: str, packing: str) -> None:
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else None
    image = image or Image.fromarray(grey).convert(mode)
    shown = decode(save(image, "TIFF", compression=packing))
    assert_near(shown.pixels, grey)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_in_tiff_is_read(grey: np.ndarray, mode: str) -> None:
    smooth = cv2.GaussianBlur(grey, (0, 0), 3)
    data = save(Image.fromarray(smooth).convert(mode), "TIFF", compression="jpeg", quality=98)
    assert_near(decode(data).pixels, smooth, by=6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_tiff_keeps_its_low_byte(
    grey: np.ndarray, order: Literal["<", ">"], channels: int
) -> None:
    layers = [grey.astype(np.uint16) * 8] * 3 + [np.full(grey.shape, 65535, np.uint16)]
    extra: dict[int, tuple[int, ...]] = {338: (2,)} if channels == 4 else {}
    data = make_tiff(np.dstack(layers[:channels]), order=order, photometric=2, extra=extra)
    low, high = np.percentile(layers[0], [0.5, 99.5])
    expected = np.clip((layers[0] - low) / (high - low) * 255, 0, 255)
    assert_near(decode(data).pixels, expected)


def test_alpha_in_tiff_is_laid_over_black_once(grey: np.ndarray) -> None:
    alpha = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))
    expected = grey * (alpha / 255.0)
    straight = make_tiff(np.dstack([grey, grey, grey, alpha]), photometric=2, extra={338: (2,)})
    assert_near(decode(straight).pixels, expected)
    multiplied = np.rint(expected).astype(np.uint8)
    layers = np.dstack([multiplied, multiplied, multiplied, alpha])
    assert_near(decode(make_tiff(layers, photometric=2, extra={338: (1,)})).pixels, expected, by=2)


def test_tiled_tiff_is_read() -> None:
    tile = np.arange(64 * 64, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    picture = np.block([[tile, tile.T], [tile[::-1], tile[:, ::-1]]])
    assert_near(decode(make_tiled_tiff(picture)).pixels, picture, by=0)


def make_tiled_tiff(picture: np.ndarray, side: int = 64) -> bytes:
    tiles = [
        picture[r : r + side, c : c + side].tobytes()
        for r in range(0, picture.shape[0], side)
        for c in range(0, picture.shape[1], side)
    ]
    count = len(tiles)
    tags = {256: picture.shape[1], 257: picture.shape[0], 258: 8, 259: 1, 262: 1, 277: 1}
    tags |= {322: side, 323: side}
    directory_size = 2 + 12 * (len(tags) + 2) + 4
    lists_at = 8 + directory_size
    body_at = lists_at + 8 * count
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    entries += struct.pack("<HHII", 324, 4, count, lists_at)
    entries += struct.pack("<HHII", 325, 4, count, lists_at + 4 * count)
    starts = [body_at + side * side * i for i in range(count)]
    lists = struct.pack(f"<{count}I", *starts) + struct.pack(f"<{count}I", *[side * side] * count)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags) + 2)
    return head + entries + bytes(4) + lists + b"".join(tiles)


# --- pixels: BMP ---


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp_is_read(grey: np.ndarray, mode: str) -> None:
    image = Image.fromarray(grey).convert(mode)
    shown = decode(save(image, "BMP"))
    assert_near(shown.pixels, np.asarray(image.convert("L")))
    assert shown.header.format == "BMP"


@pytest.mark.parametrize("is_top_down", [False, True])
def test_the_unused_fourth_byte_of_a_bmp_is_not_transparency(
    grey: np.ndarray, is_top_down: bool
) -> None:
    rows = grey if is_top_down else grey[::-1]
    body = np.dstack([rows, rows, rows, np.zeros_like(rows)]).tobytes()
    height = -60 if is_top_down else 60
    header = struct.pack("<IiiHHIIiiII", 40, 80, height, 1, 32, 0, 0, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body
    np.testing.assert_array_equal(decode(data).pixels, grey)


# --- damage ---

MAKERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "PNG": lambda grey: save(Image.fromarray(grey), "PNG"),
    "PNG of 16 bits": lambda grey: save(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
    "JPEG": lambda grey: save(Image.fromarray(grey), "JPEG"),
    "progressive JPEG": lambda grey: save(Image.fromarray(grey), "JPEG", progressive=True),
    "JPEG with restarts": lambda grey: save(
        Image.fromarray(grey), "JPEG", restart_marker_blocks=2, comment=b"\xff\xd9 not the end"
    ),
    "TIFF": lambda grey: make_tiff(grey, strips=4),
    "TIFF, directory last": lambda grey: make_tiff(grey, strips=4, directory_last=True),
    "deflated TIFF": lambda grey: make_tiff(grey, strips=4, deflate=True),
    "LZW TIFF": lambda grey: save(Image.fromarray(grey), "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": lambda grey: save(Image.fromarray(grey), "TIFF", compression="jpeg"),
    "BMP": lambda grey: save(Image.fromarray(grey), "BMP"),
    "colour BMP": lambda grey: save(Image.fromarray(grey).convert("RGB"), "BMP"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_file_cut_anywhere_is_refused(grey: np.ndarray, name: str) -> None:
    data = MAKERS[name](grey)
    decode(data)
    for sixteenth in range(1, 16):
        assert refusal(data[: len(data) * sixteenth // 16])
    assert refusal(data[:-1])


def test_a_flipped_bit_anywhere_in_a_png_is_refused(grey: np.ndarray) -> None:
    data = MAKERS["PNG"](grey)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        assert refusal(bytes(broken))


def test_a_png_with_sound_checksums_but_too_few_rows_is_refused(grey: np.ndarray) -> None:
    data = make_png([row.tobytes() for row in grey[:30]], width=80, bits=8, kind=0)
    taller = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 60, 8, 0, 0, 0, 0))
    assert "pixels cannot be decoded" in refusal(data[:8] + taller + data[8 + 25 :])


def test_a_jpeg_whose_pixels_end_early_is_refused(grey: np.ndarray) -> None:
    data = MAKERS["JPEG"](grey)
    scan = data.index(b"\xff\xda")
    short = data[: scan + (len(data) - scan) // 2].rstrip(b"\xff") + b"\xff\xd9"
    assert "pixels cannot be decoded" in refusal(short)


def test_a_jpeg_with_hardly_any_pixels_for_its_size_is_refused(grey: np.ndarray) -> None:
    data = bytearray(MAKERS["JPEG"](grey))
    frame = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, frame + 5, 6000, 6000)
    assert "fewer bits than blocks" in refusal(bytes(data))


def test_a_tiff_whose_strips_are_too_few_is_refused(grey: np.ndarray) -> None:
    assert "of 1 strips" in refusal(make_tiff(grey, strips=3, extra={278: (60,)}))


# --- limits ---


def test_a_png_bomb_is_refused_from_its_header(grey: np.ndarray) -> None:
    rows = zlib.compress(bytes(50_001) * 1000, 9) * 50
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    assert "got 50000 x 50000 pixels" in refusal(data)


def test_a_tiff_bomb_is_refused_from_its_header(grey: np.ndarray) -> None:
    data = make_tiff(grey, deflate=True, extra={256: (65_000,), 257: (65_000,), 278: (65_000,)})
    assert "got 65000 x 65000 pixels" in refusal(data)


def test_too_small_a_picture_is_refused(grey: np.ndarray) -> None:
    message = refusal(save(Image.fromarray(grey), "PNG"), Limits(min_side=61))
    assert message.startswith("expected a shorter side of at least 61 pixels, got 80 x 60 pixels")


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_side_notes_are_never_unpacked(
    grey: np.ndarray, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    body = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name] + bomb
    data = make_png(
        [row.tobytes() for row in grey], width=80, bits=8, kind=0, before=png_chunk(name, body)
    )
    seen: list[int] = []
    real = cv2.imdecode

    def watch(raw: np.ndarray, flags: int) -> np.ndarray | None:
        seen.append(raw.size)
        return real(raw, flags)

    monkeypatch.setattr(cv2, "imdecode", watch)
    np.testing.assert_array_equal(decode(data).pixels, grey)
    assert seen[0] < len(data) - len(bomb)


def test_a_repeated_scan_is_refused(grey: np.ndarray) -> None:
    data = save(Image.fromarray(grey), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert "comes twice" in refusal(data[:-2] + data[last:-2] + b"\xff\xd9")


def test_more_scans_than_any_encoder_writes_are_refused(grey: np.ndarray) -> None:
    data = save(Image.fromarray(grey), "JPEG", progressive=True)
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    band_by_band = b"".join(
        b"\xff\xda\x00\x08\x01\x01\x00" + bytes([k, k, bits]) + b"\x15"
        for bits in (0x01, 0x10)
        for k in range(1, 64)
    )
    assert "more than 100 scans" in refusal(data[:second] + band_by_band + b"\xff\xd9")


def test_more_chunks_than_any_encoder_writes_are_refused(
    grey: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_png(
        [row.tobytes() for row in grey],
        width=80,
        bits=8,
        kind=0,
        before=png_chunk(b"tEXt", b"") * 50,
    )
    decode(data)
    monkeypatch.setattr(structure, "MAX_PNG_CHUNKS", 50)
    assert "more than 50 chunks" in refusal(data)


@pytest.mark.parametrize("opaque", [False, True])
def test_a_large_16_bit_picture_with_alpha_needs_little_beside_its_samples(opaque: bool) -> None:
    samples = np.full((1500, 1500, 4), 9000, np.uint16)
    samples[..., 3] = 65535 if opaque else 30000
    encoded, buffer = cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert encoded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raster, "BLOCK", 100_000)
        tracemalloc.start()
        decode(buffer.tobytes())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1.5 * samples.nbytes


def add_entries(data: bytes, entries: list[tuple[int, int, int, int]]) -> bytes:
    """A little-endian TIFF with more entries, in a directory moved to its end."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    listed = data[directory + 2 : directory + 2 + 12 * count]
    listed += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    new = struct.pack("<H", count + len(entries)) + listed + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + new


def test_a_tiff_directory_of_too_many_entries_is_refused(grey: np.ndarray) -> None:
    data = add_entries(make_tiff(grey), [(40_000 + i, 1, 1, 0) for i in range(200)])
    assert "has 209 entries, 200 at most" in refusal(data)


def test_tiff_values_that_are_larger_than_the_file_together_are_refused(grey: np.ndarray) -> None:
    # Each lies inside of the file, and all at the same place.
    data = add_entries(make_tiff(grey), [(40_000 + i, 1, 4000, 8) for i in range(2)])
    assert "larger than it is" in refusal(data)


def test_tiff_entries_that_are_not_needed_are_kept_from_the_decoder(grey: np.ndarray) -> None:
    data = add_entries(make_tiff(grey), [(34675, 7, 3000, 8), (34665, 4, 1, 8), (330, 4, 1, 8)])
    image = Image.open(io.BytesIO(raster.examine_raster(data).data))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    assert not {34675, 34665, 330} & set(image.tag_v2)
    np.testing.assert_array_equal(decode(data).pixels, grey)


def test_a_tiff_that_states_something_twice_is_refused(grey: np.ndarray) -> None:
    assert "two entries for tag 256" in refusal(add_entries(make_tiff(grey), [(256, 4, 1, 30_000)]))


def test_tiff_strips_that_lie_across_each_other_are_refused(grey: np.ndarray) -> None:
    sizes = struct.pack("<3I", 1600, 1600, 1600)
    wrong = struct.pack("<3I", 4800, 4799, 4798)
    data = make_tiff(grey, strips=3)
    starts = struct.unpack_from("<3I", data, data.index(sizes) - 12)
    places = struct.pack("<3I", *starts)
    across = data.replace(places, struct.pack("<3I", *[starts[0]] * 3)).replace(sizes, wrong)
    assert "lie across each other" in refusal(across)


def test_a_tiff_of_too_many_values_a_pixel_is_refused(grey: np.ndarray) -> None:
    assert "at most 6 values a pixel, got 7" in refusal(make_tiff(np.dstack([grey] * 7)))


@pytest.mark.parametrize("side", [2048, 0x7FFFFFF0])
def test_tiff_tiles_far_larger_than_the_picture_are_refused(grey: np.ndarray, side: int) -> None:
    data = make_tiled_tiff(np.zeros((1024, 2048), np.uint8), side=1024)
    larger = data.replace(
        struct.pack("<HHII", 323, 3, 1, 1024), struct.pack("<HHII", 323, 4, 1, side)
    )
    assert decode(data).pixels.shape == (1024, 2048)
    assert f"tiles of 1024 x {side} pixels are larger than 2048 x 1024" in refusal(larger)


def test_a_tile_of_a_usual_size_may_be_larger_than_the_picture() -> None:
    tiles = np.arange(256 * 512, dtype=np.uint32).reshape(256, 512).astype(np.uint8)
    data = make_tiled_tiff(tiles, side=256)
    for tag, stored, size in ((256, 512, 300), (257, 256, 60)):
        data = data.replace(
            struct.pack("<HHII", tag, 3, 1, stored), struct.pack("<HHII", tag, 3, 1, size)
        )
    np.testing.assert_array_equal(decode(data).pixels, tiles[:60, :300])


def jpeg_in_tiff(grey: np.ndarray) -> tuple[bytes, int]:
    """A TIFF of one JPEG strip, and where the entry of its length is."""
    data = save(Image.fromarray(grey), "TIFF", compression="jpeg")
    return data, data.index(struct.pack("<HHI", 279, 4, 1))


def test_a_jpeg_strip_of_a_tiff_that_lacks_blocks_is_refused(grey: np.ndarray) -> None:
    data, entry = jpeg_in_tiff(grey)
    start = struct.unpack_from("<I", data, data.index(struct.pack("<HHI", 273, 4, 1)) + 8)[0]
    end = start + struct.unpack_from("<I", data, entry + 8)[0]
    assert data[end - 2 : end] == b"\xff\xd9"
    cut = bytearray(data)
    cut[end - 100 : end - 98] = b"\xff\xd9"
    assert "pixels of a strip or tile are missing" in refusal(bytes(cut))


def test_a_jpeg_strip_of_a_tiff_that_is_larger_than_its_place_is_refused(grey: np.ndarray) -> None:
    data, _ = jpeg_in_tiff(grey)
    frame = data.index(b"\xff\xc0")
    larger = data[: frame + 5] + struct.pack(">HH", 60_000, 60_000) + data[frame + 9 :]
    assert "another size or depth" in refusal(larger)


def test_giant_jpeg_tables_of_a_tiff_are_refused(grey: np.ndarray) -> None:
    data, _ = jpeg_in_tiff(grey)
    at = data.index(struct.pack("<HH", 347, 7)) + 4
    longer = data[:at] + struct.pack("<I", 4097) + data[at + 4 :] + bytes(10_000)
    assert "its JPEG tables have 4097 bytes" in refusal(longer)


# --- other formats ---

OTHERS: dict[str, bytes] = {
    "GIF": save(Image.new("L", (32, 32)), "GIF"),
    "WebP": save(Image.new("L", (32, 32)), "WEBP"),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "ZIP": b"PK\x03\x04" + bytes(60),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(60),
    "AVIF": b"\0\0\0\x18ftypavif" + bytes(60),
    "NIfTI volume": bytes(344) + b"n+1\0" + bytes(60),
    "gzip": b"\x1f\x8b\x08" + bytes(60),
    "HTML": b"  <!DOCTYPE html><html>not found</html>",
    "XML": b"<?xml version='1.0'?><svg/>",
    "AVI": b"RIFF\0\0\0\0AVI LIST" + bytes(60),
    "MP4": b"\0\0\0\x18ftypisom" + bytes(60),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "BigTIFF": b"II+\0" + bytes(60),
    "text file": "Größe;Befund\n1;keiner\n".encode(),
    "a text file": b"BMI;age\n22;40\n" * 20,
    "unknown kind": bytes(range(256)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_refused_by_name(name: str) -> None:
    message = refusal(OTHERS[name])
    assert name in message
    assert message.startswith("expected a radiograph as PNG, JPEG, TIFF, BMP or DICOM, got ")


def test_an_animated_png_is_refused(grey: np.ndarray) -> None:
    frames = [Image.fromarray(grey), Image.fromarray(255 - grey)]
    data = save(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert "animated PNG" in refusal(data)


def test_a_tiff_of_several_pages_is_refused(grey: np.ndarray) -> None:
    pages = [Image.fromarray(grey), Image.fromarray(grey)]
    assert "several pages" in refusal(
        save(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    )


def test_a_tiff_of_fractions_is_refused(grey: np.ndarray) -> None:
    assert "32 bits" in refusal(save(Image.fromarray(grey.astype(np.float32)), "TIFF"))


def test_a_tiff_of_a_kind_that_is_not_read_is_refused(grey: np.ndarray) -> None:
    assert "photometric 8" in refusal(make_tiff(np.dstack([grey] * 3), photometric=8))


@pytest.mark.parametrize(("marker", "kind"), [(0xC3, "lossless"), (0xC9, "arithmetic")])
def test_kinds_of_jpeg_that_only_dicom_carries_are_refused(
    grey: np.ndarray, marker: int, kind: str
) -> None:
    data = MAKERS["JPEG"](grey).replace(b"\xff\xc0", bytes([0xFF, marker]), 1)
    assert kind in refusal(data)


def test_a_12_bit_jpeg_is_refused(grey: np.ndarray) -> None:
    data = bytearray(MAKERS["JPEG"](grey))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert "12 bits" in refusal(bytes(data))


def test_a_run_length_coded_bmp_is_refused(grey: np.ndarray) -> None:
    data = bytearray(MAKERS["BMP"](grey))
    struct.pack_into("<I", data, 30, 1)
    assert "uncompressed BMP" in refusal(bytes(data))


# --- the real thing ---


def test_real_originals_equal_an_independent_decoder(cxr: Path) -> None:
    suffixes = {".png", ".jpg", ".jpeg"}
    files = [x for x in (cxr / "originals").rglob("*") if x.suffix.lower() in suffixes]
    assert len(files) > 20
    for path in files[::3]:
        data = path.read_bytes()
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.mode in ("RGBA", "LA", "P"):
            rgba = np.asarray(image.convert("RGBA")).astype(float)
            rgb = rgba[..., :3] * (rgba[..., 3:] / 255)
        else:
            rgb = np.asarray(image.convert("RGB"))
        assert_near(decode(data).pixels, luma(rgb), by=2)
