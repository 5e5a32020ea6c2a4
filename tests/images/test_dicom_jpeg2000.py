"""A JPEG 2000 codestream must have all its tiles, and no absurd division of its pixels."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from chestx.domain import Limits, UnreadableImageError
from chestx.images.dicom import decode_dicom
from chestx.images.dicom_decode import decode_pixels
from chestx.images.dicom_elements import read_dicom_file
from chestx.images.dicom_header import read_layout

Make = Callable[..., bytes]

LIMITS = Limits()
TILE_PART = b"\xff\x90\x00\x0a"
SIDE = 512
VALUES = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def encode(**options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(VALUES).save(buffer, "JPEG2000", no_jp2=True, **options)
    return buffer.getvalue()


@pytest.fixture
def put(make_dicom: Make) -> Make:
    """A file around a codestream."""

    def put_stream(stream: bytes) -> bytes:
        return make_dicom(VALUES, bits=8, allocated=8, syntax=JPEG2000Lossless, codestream=stream)

    return put_stream


def refuse(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_dicom(data, limits=LIMITS)
    return str(caught.value)


def read_stored(data: bytes) -> np.ndarray:
    file = read_dicom_file(data, limits=LIMITS)
    return np.asarray(decode_pixels(file, read_layout(file.data_set, limits=LIMITS)).values)


def list_tile_parts(stream: bytes) -> list[bytes]:
    places = [i for i in range(len(stream)) if stream.startswith(TILE_PART, i)]
    return [stream[a:b] for a, b in zip(places, [*places[1:], len(stream) - 2], strict=True)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile_size": (100, 90)},
        {"codeblock_size": (16, 16)},
        {"precinct_size": (64, 64), "codeblock_size": (32, 32)},
        {"quality_mode": "rates", "quality_layers": [20, 10, 5, 1]},
        {"num_resolutions": 1, "progression": "RPCL"},
    ],
    ids=str,
)
def test_every_usual_division_is_read(options: dict[str, Any], put: Make) -> None:
    assert np.array_equal(read_stored(put(encode(**options))), VALUES)


def test_a_missing_tile_is_refused(put: Make) -> None:
    stream = encode(tile_size=(256, 256))
    parts = list_tile_parts(stream)
    assert len(parts) == 4
    head = stream[: stream.index(TILE_PART)]
    for missing in range(4):
        kept = b"".join(part for i, part in enumerate(parts) if i != missing)
        reason = refuse(put(head + kept + b"\xff\xd9"))
        assert "expected 4 tiles, got 3" in reason


def test_a_last_tile_that_states_no_length_goes_to_the_end(put: Make) -> None:
    stream = bytearray(encode(tile_size=(256, 256)))
    struct.pack_into(">L", stream, stream.rindex(TILE_PART) + 6, 0)
    assert np.array_equal(read_stored(put(bytes(stream))), VALUES)


@pytest.mark.parametrize(
    ("place", "value"), [(4, b"\0\x09"), (6, b"\0\x99\0\0"), (6, b"\0\0\0\x05")]
)
def test_a_tile_part_that_cannot_be_is_refused(place: int, value: bytes, put: Make) -> None:
    stream = encode()
    place += stream.index(TILE_PART)
    damaged = stream[:place] + value + stream[place + len(value) :]
    assert "cut short or damaged in tile" in refuse(put(damaged))


def test_tiles_of_a_few_pixels_are_refused(put: Make) -> None:
    stream = bytearray(encode())
    struct.pack_into(">2L", stream, 24, 4, 4)
    assert "expected 16384 tiles, got 1" in refuse(put(bytes(stream)))


@pytest.mark.parametrize(
    "change",
    [
        {"codeblock": b"\x00\x00"},  # blocks of 4 x 4
        {"precincts": b"\x00" + b"\x11" * 5},  # of 1 and 2 pixels
        {"layers": b"\xff\xff"},
    ],
    ids=str,
)
def test_an_absurd_division_is_refused(change: dict[str, bytes], put: Make) -> None:
    stream = encode(precinct_size=(128, 128), num_resolutions=6)
    cod = stream.index(b"\xff\x52\x00")
    for name, value in change.items():
        place = cod + {"layers": 6, "codeblock": 10, "precincts": 14}[name]
        stream = stream[:place] + value + stream[place + len(value) :]
    assert "divides its pixels into absurdly small or many parts" in refuse(put(stream))


def test_a_component_cannot_be_divided_absurdly_by_itself(put: Make) -> None:
    stream = encode()
    style = b"\xff\x53\x00\x09\x00\x00\x00\x00\x00\x00\x01"  # COC: blocks of 4 x 4
    place = stream.index(b"\xff\x5c")
    assert "absurdly" in refuse(put(stream[:place] + style + stream[place:]))
    place = stream.index(b"\xff\x93")  # in the header of a tile
    part = stream.index(TILE_PART) + 6
    length = struct.unpack_from(">L", stream, part)[0] + len(style)
    longer = stream[:part] + struct.pack(">L", length) + stream[part + 4 : place]
    assert "absurdly" in refuse(put(longer + style + stream[place:]))


def test_the_codestream_of_a_jp2_file_is_the_one_that_is_decoded(put: Make) -> None:
    stream = encode()
    giant = bytearray(stream)
    for offset in (8, 12, 24, 28):
        struct.pack_into(">L", giant, offset, 60_000)
    decoy = struct.pack(">L4s", 8 + 16 + len(stream), b"uuid") + bytes(16) + stream
    start = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    for kind in (b"jp2c", b"uuid"):
        box = struct.pack(">L4s", 8 + len(giant), kind) + bytes(giant)
        reason = refuse(put(start + decoy + box))
        assert ("got 60000 x 60000" in reason) == (kind == b"jp2c")
        assert ("holds no codestream" in reason) == (kind == b"uuid")
