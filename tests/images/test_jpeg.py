"""A JPEG is read when every scan and every block of it is there, and only then."""

from __future__ import annotations

import io
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from chestx.domain import Limits, UnreadableImageError
from chestx.images import jpeg
from chestx.images.jpeg import check_scans, lacks_pixels
from chestx.images.raster import decode_raster

END = b"\xff\xd9"


def decode(data: bytes) -> np.ndarray:
    return decode_raster(data, limits=Limits()).pixels


def refusal(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_raster(data, limits=Limits())
    return str(caught.value)


def save(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def colour() -> Image.Image:
    """A smooth picture whose sides are no multiple of a block."""
    noise = np.random.default_rng(3).integers(0, 256, (97, 83, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2).astype(np.float64)
    stretched = (smooth - smooth.min()) * (255 / np.ptp(smooth))
    return Image.fromarray(stretched.astype(np.uint8))


def list_scans(data: bytes) -> list[int]:
    """Where the scan headers begin."""
    return [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]


def set_sampling(data: bytes, factors: int) -> bytes:
    """Another sampling of the first component; the blocks then make another picture."""
    at = data.index(b"\xff\xc0") + 11
    return data[:at] + bytes([factors]) + data[at + 1 :]


def set_scan_end(data: bytes, end: int) -> bytes:
    """Another last coefficient in the header of the only scan, which decoders pass over."""
    at = list_scans(data)[0]
    at += 6 + 2 * data[at + 4]
    return data[:at] + bytes([end]) + data[at + 1 :]


# --- missing blocks ---


@pytest.mark.parametrize("restart", [0, 4])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_cut_anywhere_with_its_end_put_back_is_refused(
    colour: Image.Image, mode: str, progressive: bool, restart: int
) -> None:
    data = save(colour.convert(mode), progressive=progressive, restart_marker_blocks=restart)
    decode(data)
    first = list_scans(data)[0]
    for missing in [*range(1, 25), *range(25, len(data) - first - 20, 97)]:
        assert refusal(data[: -2 - missing] + END)


def test_a_jpeg_that_lost_a_part_between_two_restarts_is_refused(colour: Image.Image) -> None:
    data = save(colour, restart_marker_blocks=2)
    second, fourth = data.index(b"\xff\xd1"), data.index(b"\xff\xd3")
    assert "pixels cannot be decoded" in refusal(data[:second] + data[fourth:])


def test_a_middle_grey_jpeg_is_no_missing_one() -> None:
    assert (decode(save(Image.new("L", (64, 64), 128))) == 128).all()


def test_bytes_between_the_last_block_and_the_end_do_no_harm(colour: Image.Image) -> None:
    data = save(colour)
    np.testing.assert_array_equal(decode(data[:-2] + bytes(100) + END), decode(data))
    np.testing.assert_array_equal(decode(data[:-2] + b"\xff" * 100 + END), decode(data))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_remark_upon_the_header_costs_no_picture_and_hides_no_cut(
    colour: Image.Image, mode: str
) -> None:
    data = save(colour.convert(mode))
    odd = set_scan_end(data, 0)
    np.testing.assert_allclose(decode(odd).astype(int), decode(data).astype(int), atol=1)
    assert "pixels cannot be decoded" in refusal(odd[:-60] + END)


def test_an_unusual_sampling_of_colour_is_read_whole_or_not_at_all() -> None:
    picture = Image.new("RGB", (96, 96), (90, 120, 150))
    data = set_sampling(save(picture, subsampling=0), 0x31)
    # The blocks of 4:4:4 are too few for three luminance blocks each.
    assert "pixels cannot be decoded" in refusal(data)
    header, scan = data[: list_scans(data)[0]], data[list_scans(data)[0] : -2]
    enough = header + scan[:14] + scan[14:] * 4 + END
    assert not lacks_pixels(enough)
    assert decode(enough).shape == (96, 96)


@pytest.mark.parametrize("progressive", [False, True])
def test_whether_blocks_are_missing_is_told_by_what_more_bytes_change(
    colour: Image.Image, progressive: bool
) -> None:
    data = save(colour, progressive=progressive)
    assert not lacks_pixels(data)
    assert lacks_pixels(data[:-40] + END)


# --- missing and repeated scans ---


def test_a_progressive_jpeg_cut_between_its_scans_is_refused(colour: Image.Image) -> None:
    data = save(colour, progressive=True)
    scans = list_scans(data)
    assert len(scans) == 10
    check_scans(data)
    for start in scans[1:]:
        assert "scans of it are missing" in refusal(data[:start] + END)
        with pytest.raises(UnreadableImageError, match="scans of it are missing"):
            check_scans(data[:start] + END)


def test_scans_in_another_order_are_refused(colour: Image.Image) -> None:
    data = save(colour.convert("L"), progressive=True)
    # The last scan refines what the scans before it brought.
    first, last = list_scans(data)[0], list_scans(data)[-1]
    swapped = data[:first] + data[last:-2] + data[first:last] + END
    assert "comes twice or too early" in refusal(swapped)


def test_a_scan_header_of_another_length_is_refused(colour: Image.Image) -> None:
    data = save(colour)
    at = list_scans(data)[0] + 4
    assert "another length than it says" in refusal(data[:at] + b"\x02" + data[at + 1 :])


# --- what the decoder sees, and what walking costs ---


def test_a_jpeg_that_begins_with_a_long_comment_is_no_text(colour: Image.Image) -> None:
    data = save(colour)
    noted = data[:2] + b"\xff\xfe\xff\xff" + b"A" * 65533 + data[2:]
    np.testing.assert_array_equal(decode(noted), decode(data))


def test_comments_and_profiles_are_kept_from_the_decoder(colour: Image.Image) -> None:
    data = save(colour, comment=b"x" * 5000, icc_profile=bytes(9000))
    assert len(jpeg.examine_jpeg(data).data) < len(data) - 14_000
    np.testing.assert_array_equal(decode(data), decode(save(colour)))


def test_an_unknown_version_of_jfif_does_no_harm(colour: Image.Image) -> None:
    data = bytearray(save(colour))
    data[data.index(b"JFIF") + 5] = 9
    np.testing.assert_array_equal(decode(bytes(data)), decode(save(colour)))


def test_too_many_segments_are_refused(colour: Image.Image) -> None:
    data = save(colour)
    assert "more than 10000 segments" in refusal(data[:2] + b"\xff\xfe\0\2" * 10_001 + data[2:])


def test_a_long_run_of_fill_bytes_is_walked_quickly(colour: Image.Image) -> None:
    data = save(colour)
    start = time.perf_counter()
    np.testing.assert_array_equal(decode(data[:2] + b"\xff" * 20_000_000 + data[2:]), decode(data))
    assert time.perf_counter() - start < 1
