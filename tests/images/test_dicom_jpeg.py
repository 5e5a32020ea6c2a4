"""A JPEG stream that lacks pixels or scans is refused, whole ones of every kind are read."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1

from chestx.domain import Limits, UnreadableImageError
from chestx.images.dicom import decode_dicom

Make = Callable[..., bytes]

LIMITS = Limits()
END = b"\xff\xd9"
SCAN = b"\xff\xda"
ROWS, COLUMNS = 96, 80


def make_picture(bits: int = 8) -> np.ndarray:
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    noise = np.random.default_rng(1).normal(0, 0.03, (ROWS, COLUMNS))
    picture = np.clip((np.sin(x / 9) + np.cos(y / 7) + 2) / 4 + noise, 0, 1)
    return np.asarray(picture * ((1 << bits) - 1), dtype=np.int64)


def encode_8(*options: int, is_colour: bool = False) -> bytes:
    picture = make_picture().astype(np.uint8)
    if is_colour:
        picture = np.stack([picture, picture[::-1], picture[:, ::-1]], axis=2)
    done, stream = cv2.imencode(".jpg", picture, list(options))
    assert done
    return stream.tobytes()


def code(difference: int) -> str:
    """Its number of bits as a code of five, then the bits (ISO/IEC 10918-1 F.1.2.1)."""
    size = abs(difference).bit_length()
    low = difference if difference >= 0 else difference + (1 << size) - 1
    return f"{size:05b}" + (f"{low:0{size}b}" if size else "")


def encode_lossless() -> bytes:
    """Process 14 with the first predictor, 12 bits."""
    values = make_picture(12)
    predicted = np.empty_like(values)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = values[:, :-1], values[:-1, 0], 2048
    return frame(0xC3, "".join(code(d) for d in (values - predicted).ravel().tolist()), 1, 0)


def encode_12() -> bytes:
    """Process 4, 12 bits, one flat value a block of 8 x 8."""
    blocks = make_picture(12).reshape(ROWS // 8, 8, COLUMNS // 8, 8).mean((1, 3))
    levels = (blocks.ravel().astype(np.int64) - 2048).tolist()
    pairs = zip([0, *levels], levels, strict=False)
    return frame(0xC1, "".join(code(now - before) + "0" for before, now in pairs), 0, 63)


def frame(process: int, bits: str, first: int, last: int) -> bytes:
    length = -(-len(bits) // 8)
    coded = int(bits.ljust(8 * length, "1"), 2).to_bytes(length, "big").replace(b"\xff", b"\xff\0")
    head = b"\xff\xd8\xff\xdb\x00\x43\x00" + b"\x08" * 64
    head += struct.pack(">BBHBHHBBBB", 0xFF, process, 11, 12, ROWS, COLUMNS, 1, 1, 0x11, 0)
    head += b"\xff\xc4\x00\x24\x00" + bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    head += b"\xff\xc4\x00\x14\x10" + bytes([1, *[0] * 15, 0])
    return head + SCAN + bytes([0, 8, 1, 1, 0, first, last, 0]) + coded + END


PROGRESSIVE = encode_8(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
STREAMS = {
    "baseline": (encode_8(), JPEGBaseline8Bit, 8),
    "restarts": (encode_8(cv2.IMWRITE_JPEG_RST_INTERVAL, 3), JPEGBaseline8Bit, 8),
    "progressive": (PROGRESSIVE, JPEGBaseline8Bit, 8),
    "extended": (encode_12(), JPEGExtended12Bit, 12),
    "lossless": (encode_lossless(), JPEGLosslessSV1, 12),
}


@pytest.fixture
def put(make_dicom: Make) -> Make:
    """A file around a stream."""

    def put_stream(
        stream: bytes, name: str = "baseline", shape: tuple[int, ...] = (ROWS, COLUMNS)
    ) -> bytes:
        _, syntax, bits = STREAMS[name]
        return make_dicom(
            np.zeros(shape, dtype=np.uint8),
            syntax=syntax,
            bits=bits,
            allocated=8 if bits == 8 else 16,
            photometric="MONOCHROME2" if len(shape) == 2 else "YBR_FULL",
            codestream=stream,
        )

    return put_stream


def refuse(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_dicom(data, limits=LIMITS)
    return str(caught.value)


@pytest.mark.parametrize("name", STREAMS)
def test_a_whole_stream_is_read_without_a_word(
    name: str, put: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = decode_dicom(put(STREAMS[name][0], name), limits=LIMITS).pixels
    assert np.corrcoef(pixels.ravel(), make_picture().ravel())[0, 1] > 0.95
    said = capfd.readouterr().err.replace("Unsupported JPEG data precision 12\n", "")
    assert not said


@pytest.mark.parametrize("percent", [40, 70, 90, 97])
@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_whose_end_was_put_back_is_refused(name: str, percent: int, put: Make) -> None:
    stream = STREAMS[name][0]
    start = stream.index(SCAN) + 14
    end = start + (len(stream) - 2 - start) * percent // 100
    reason = refuse(put(stream[:end].rstrip(b"\xff") + END, name))
    assert "damaged" in reason


@pytest.mark.parametrize("name", ["baseline", "extended", "lossless"])
def test_a_small_stream_of_a_giant_picture_is_refused(name: str, put: Make) -> None:
    stream, marker = STREAMS[name][0], {"baseline": 0xC0, "extended": 0xC1, "lossless": 0xC3}[name]
    place = stream.index(bytes([0xFF, marker])) + 5
    grown = stream[:place] + struct.pack(">2H", 2000, 2000) + stream[place + 4 :]
    assert "damaged" in refuse(put(grown, name, (2000, 2000)))


def test_a_progressive_stream_cut_between_two_scans_is_refused(put: Make) -> None:
    places = [i for i in range(len(PROGRESSIVE)) if PROGRESSIVE.startswith(SCAN, i)]
    assert len(places) > 3
    for place in places[1:]:
        # The tables before a scan may stay.
        assert "scans of it are missing" in refuse(put(PROGRESSIVE[:place] + END, "progressive"))


@pytest.mark.parametrize("times", [1, 200])
def test_a_repeated_scan_is_refused(times: int, put: Make) -> None:
    last = PROGRESSIVE.rindex(SCAN)
    bomb = PROGRESSIVE[:-2] + PROGRESSIVE[last:-2] * times + END
    assert "comes twice" in refuse(put(bomb, "progressive"))


def test_colour_that_is_not_interleaved_needs_all_its_scans(put: Make) -> None:
    stream = encode_8(is_colour=True)
    shape = (ROWS, COLUMNS, 3)
    assert decode_dicom(put(stream, shape=shape), limits=LIMITS)
    place = stream.index(SCAN)
    only_first = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    stream = stream[:place] + only_first + stream[place + 14 :]
    assert "scans of it are missing" in refuse(put(stream, shape=shape))


def test_a_scan_header_that_selects_nothing_is_read_as_it_must_be(put: Make) -> None:
    stream = STREAMS["baseline"][0]
    place = stream.index(SCAN) + 7
    assert stream[place : place + 3] == b"\x00\x3f\x00"
    odd = stream[:place] + bytes(3) + stream[place + 3 :]
    got, want = (decode_dicom(put(x), limits=LIMITS).pixels for x in (odd, stream))
    assert np.array_equal(got, want)


def test_a_little_padding_after_the_pixels_is_let_pass_and_more_is_not(put: Make) -> None:
    stream = STREAMS["baseline"][0]
    want = decode_dicom(put(stream), limits=LIMITS).pixels
    padded = decode_dicom(put(stream[:-2] + bytes(40) + END), limits=LIMITS).pixels
    assert np.array_equal(padded, want)
    assert "damaged" in refuse(put(stream[:-2] + bytes(400) + END))


def test_several_scans_of_a_lossless_stream_are_refused(put: Make) -> None:
    stream = STREAMS["lossless"][0]
    place = stream.index(b"\xff\xc3")
    body = struct.pack(">BHHB", 12, ROWS, COLUMNS, 3) + b"".join(
        bytes([n, 0x11, 0]) for n in (1, 2, 3)
    )
    head = stream[:place] + b"\xff\xc3" + struct.pack(">H", len(body) + 2) + body
    head += stream[place + 13 : stream.index(SCAN)]
    coded = stream[stream.index(SCAN) + 10 : -2]
    scans = b"".join(
        SCAN + bytes([0, 8, 1, component, 0, 1, 0, 0]) + coded for component in (1, 2, 3)
    )
    reason = refuse(put(head + scans + END, "lossless", (ROWS, COLUMNS, 3)))
    assert reason == "expected one scan in a JPEG stream that is lossless or of 12 bits, got 3"
