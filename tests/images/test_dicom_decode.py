"""Every transfer syntax gives the stored values, by depth and sign; the rest is refused."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import dcmread
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from chestx.domain import Limits, UnreadableImageError
from chestx.images.dicom import decode_dicom
from chestx.images.dicom_decode import decode_pixels
from chestx.images.dicom_display import unpack_values
from chestx.images.dicom_elements import read_dicom_file
from chestx.images.dicom_header import read_layout

Make = Callable[..., bytes]

LIMITS = Limits()
NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
BY_PYDICOM: dict[str, dict[str, Any]] = {
    RLELossless: {},
    JPEGLSLossless: {},
    JPEGLSNearLossless: {"jls_error": 0},
    JPEG2000Lossless: {},
}
BY_DCMTK: dict[str, list[str]] = {
    JPEGLossless: ["dcmcjpeg", "+el"],
    JPEGLosslessSV1: ["dcmcjpeg", "+e1"],
    JPEGLSLossless: ["dcmcjpls", "+el"],
    RLELossless: ["dcmcrle"],
}


def make_noise(bits: int, *, is_signed: bool, shape: tuple[int, ...] = (48, 40)) -> np.ndarray:
    """Values over the whole range of a depth, both ends included."""
    low = -(1 << (bits - 1)) if is_signed else 0
    values = np.random.default_rng(bits).integers(low, low + (1 << bits), shape)
    values.flat[:2] = low, low + (1 << bits) - 1
    return values


def read_stored(data: bytes) -> np.ndarray:
    """Stored values as chestx sees them, before any transform."""
    file = read_dicom_file(data, limits=LIMITS)
    assert not file.fault
    image = decode_pixels(file, read_layout(file.data_set, limits=LIMITS))
    if image.values.ndim == 3:
        return np.asarray(image.values)
    return unpack_values(image.layout)[image.values]


def run_tool(tool: list[str], data: bytes, folder: Path) -> bytes:
    """What a command-line tool makes of a file; skips where it is not installed."""
    if not shutil.which(tool[0]):
        pytest.skip(f"{tool[0]} is not installed")
    source, target = folder / "in.dcm", folder / "out.dcm"
    source.write_bytes(data)
    subprocess.run([*tool, str(source), str(target)], check=True, capture_output=True)
    return target.read_bytes()


def extract_stream(data: bytes) -> bytes:
    """The one compressed frame of a file."""
    return get_frame(dcmread(DicomBytesIO(data)).PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("syntax", [*NATIVE, *BY_PYDICOM])
def test_stored_values_survive_what_pydicom_writes(
    syntax: str, bits: int, is_signed: bool, make_dicom: Make
) -> None:
    values = make_noise(bits, is_signed=is_signed)
    data = make_dicom(
        values,
        syntax=syntax,
        bits=bits,
        allocated=8 if bits == 8 else 16,
        is_signed=is_signed,
        compress=BY_PYDICOM.get(syntax),
    )
    assert np.array_equal(read_stored(data), values)


@pytest.mark.parametrize("is_signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("syntax", BY_DCMTK)
def test_stored_values_survive_what_dcmtk_writes(
    syntax: str, bits: int, is_signed: bool, make_dicom: Make, tmp_path: Path
) -> None:
    values = make_noise(bits, is_signed=is_signed)
    data = make_dicom(values, bits=bits, allocated=8 if bits == 8 else 16, is_signed=is_signed)
    compressed = run_tool(BY_DCMTK[syntax], data, tmp_path)
    assert dcmread(DicomBytesIO(compressed)).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_stored(compressed), values)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("option", ["--j2k", "--jpeg", "--jpegls", "--rle"])
def test_stored_values_survive_what_gdcm_writes(
    option: str, bits: int, make_dicom: Make, tmp_path: Path
) -> None:
    values = make_noise(bits, is_signed=False)
    data = make_dicom(values, bits=bits, allocated=8 if bits == 8 else 16)
    assert np.array_equal(read_stored(run_tool(["gdcmconv", option], data, tmp_path)), values)


@pytest.mark.parametrize(("tool", "bits"), [("+eb", 8), ("+ee", 8), ("+ee", 12)])
def test_lossy_jpeg_decodes_as_dcmtk_does(
    tool: str, bits: int, make_dicom: Make, tmp_path: Path
) -> None:
    y, x = np.mgrid[0:64, 0:56]
    values = ((np.sin(x / 9) + np.cos(y / 7) + 2) / 4 * ((1 << bits) - 1)).astype(int)
    data = make_dicom(values, bits=bits, allocated=8 if bits == 8 else 16)
    compressed = run_tool(["dcmcjpeg", tool, "+q", "90"], data, tmp_path)
    syntax = dcmread(DicomBytesIO(compressed)).file_meta.TransferSyntaxUID
    assert syntax == {"+eb": JPEGBaseline8Bit, "+ee": JPEGExtended12Bit}[tool]
    plain = run_tool(["dcmdjpeg"], compressed, tmp_path)
    assert np.array_equal(read_stored(compressed), dcmread(DicomBytesIO(plain)).pixel_array)


def test_lossy_jpeg_2000_decodes_as_gdcm_does(make_dicom: Make, tmp_path: Path) -> None:
    y, x = np.mgrid[0:64, 0:56]
    values = ((np.sin(x / 9) + np.cos(y / 7) + 2) / 4 * 4095).astype(int)
    data = make_dicom(values, syntax=JPEG2000, compress={"j2k_cr": [8]})
    plain = dcmread(DicomBytesIO(run_tool(["gdcmconv", "--raw"], data, tmp_path))).pixel_array
    stored = read_stored(data)
    assert np.abs(stored - plain.astype(int)).max() <= 1
    assert 0 < np.abs(stored - values).max() < 40


def test_near_lossless_jpeg_ls_is_within_its_bound(make_dicom: Make) -> None:
    values = make_noise(12, is_signed=False)
    data = make_dicom(values, syntax=JPEGLSNearLossless, compress={"jls_error": 3})
    assert 0 < np.abs(read_stored(data) - values).max() <= 3


def test_near_lossless_jpeg_ls_decodes_as_dcmtk_does(make_dicom: Make, tmp_path: Path) -> None:
    data = make_dicom(make_noise(12, is_signed=False))
    compressed = run_tool(["dcmcjpls", "+en"], data, tmp_path)
    plain = run_tool(["dcmdjpls"], compressed, tmp_path)
    assert np.array_equal(read_stored(compressed), dcmread(DicomBytesIO(plain)).pixel_array)


@pytest.fixture(scope="module")
def htj2k(repository: Path) -> Path:
    """Streams written by OpenJPH 0.26 (no encoder that Python can install writes DICOM's)."""
    return repository / "tests" / "images" / "data"


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_lossless_htj2k_gives_the_stored_values(syntax: str, htj2k: Path, make_dicom: Make) -> None:
    y, x = np.mgrid[0:48, 0:40]
    values = (x * 1637 + y * 977 + ((x // 8 + y // 8) % 2) * 9000) % 65536
    stream = (htj2k / "htj2k_lossless_16.jph").read_bytes()
    data = make_dicom(values * 0, bits=16, syntax=syntax, codestream=stream)
    assert np.array_equal(read_stored(data), values)


def test_lossy_htj2k_is_close(htj2k: Path, make_dicom: Make) -> None:
    y, x = np.mgrid[0:48, 0:40]
    stream = (htj2k / "htj2k_lossy_16.jph").read_bytes()
    data = make_dicom(x * 0, bits=16, syntax=HTJ2K, codestream=stream)
    assert np.abs(read_stored(data) - (x * 1500 + y * 100)).max() <= 32


def test_colour_htj2k_gives_the_stored_values(htj2k: Path, make_dicom: Make) -> None:
    y, x = np.mgrid[0:48, 0:40]
    values = np.stack([x * 6, y * 5, (x + y) * 2], axis=2)
    stream = (htj2k / "htj2k_lossless_rgb.jph").read_bytes()
    data = make_dicom(
        values * 0, bits=8, allocated=8, photometric="YBR_RCT", syntax=HTJ2K, codestream=stream
    )
    assert np.array_equal(read_stored(data), values)


@pytest.mark.parametrize(
    ("stream_signed", "header_signed"),
    [(False, False), (True, True), (False, True), (True, False)],
)
def test_a_jpeg_2000_sign_other_than_the_headers_still_gives_the_right_numbers(
    stream_signed: bool, header_signed: bool, make_dicom: Make
) -> None:
    from openjpeg.utils import encode_array

    values = make_noise(12, is_signed=header_signed)
    bits = values & 0xFFF
    coded = np.where(bits >= 2048, bits - 4096, bits) if stream_signed else bits
    stream = encode_array(
        coded.astype(np.int16 if stream_signed else np.uint16),
        bits_stored=12,
        compression_ratios=[],
    )
    data = make_dicom(values, is_signed=header_signed, syntax=JPEG2000Lossless, codestream=stream)
    assert np.array_equal(read_stored(data), values)


@pytest.mark.parametrize("header_bits", [10, 16])
def test_jpeg_2000_bits_other_than_the_headers_still_give_the_right_numbers(
    header_bits: int, make_dicom: Make
) -> None:
    from openjpeg.utils import encode_array

    values = make_noise(12, is_signed=False)
    stream = encode_array(values.astype(np.uint16), bits_stored=12)
    data = make_dicom(values, bits=header_bits, syntax=JPEG2000Lossless, codestream=stream)
    assert np.array_equal(read_stored(data), values)
    notes = decode_dicom(data, limits=LIMITS).header.notes
    assert notes == (
        f"the header states {header_bits} bits stored, the compressed image has 12; "
        "the image's own were used",
    )


def test_a_jp2_file_in_the_pixel_data_is_read(make_dicom: Make) -> None:
    from openjpeg.utils import encode_array

    values = make_noise(12, is_signed=False)
    stream = encode_array(values.astype(np.uint16), bits_stored=12, codec_format=1)
    assert stream[4:8] == b"jP  "
    data = make_dicom(values, syntax=JPEG2000Lossless, codestream=stream)
    assert np.array_equal(read_stored(data), values)


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.94", "JPIP Referenced"),
        ("1.2.840.10008.1.2.4.53", "JPEG"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_another_transfer_syntax_is_refused_by_name(uid: str, name: str, make_dicom: Make) -> None:
    data = make_dicom(make_noise(8, is_signed=False), syntax=uid, codestream=b"\xff\xd8\xff\xd9")
    with pytest.raises(UnreadableImageError, match=name) as caught:
        decode_dicom(data, limits=LIMITS)
    assert uid in str(caught.value)
    assert caught.value.header is not None
    assert caught.value.header.transfer_syntax_uid == uid


def corrupt_size(stream: bytes, marker: bytes, offset: int) -> bytes:
    """Doubles a 16-bit size behind a marker."""
    place = stream.index(marker) + offset
    size = struct.unpack_from(">H", stream, place)[0]
    return stream[:place] + struct.pack(">H", size * 2) + stream[place + 2 :]


@pytest.mark.parametrize(
    ("syntax", "marker", "offset"),
    [(JPEG2000Lossless, b"\xff\x51", 8), (JPEGLSLossless, b"\xff\xf7", 5)],
)
def test_a_stream_of_another_size_than_the_header_is_refused(
    syntax: str, marker: bytes, offset: int, make_dicom: Make
) -> None:
    values = make_noise(12, is_signed=False)
    stream = extract_stream(make_dicom(values, syntax=syntax, compress={}))
    data = make_dicom(values, syntax=syntax, codestream=corrupt_size(stream, marker, offset))
    with pytest.raises(UnreadableImageError, match="expected 48 x 40 pixels of 1 samples"):
        decode_dicom(data, limits=LIMITS)


def test_a_header_of_another_size_than_the_stream_is_refused(make_dicom: Make) -> None:
    data = make_dicom(
        make_noise(12, is_signed=False), syntax=JPEG2000Lossless, compress={}, Rows=100, Columns=100
    )
    with pytest.raises(UnreadableImageError, match=r"expected 100 x 100 .* got 48 x 40"):
        decode_dicom(data, limits=LIMITS)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_cut_short_is_refused(syntax: str, make_dicom: Make) -> None:
    values = make_noise(12, is_signed=False)
    stream = extract_stream(make_dicom(values, syntax=syntax, compress={})).rstrip(b"\0")
    for length in (0, 1, 20, 60, len(stream) // 2, len(stream) - 2):
        data = make_dicom(values, syntax=syntax, codestream=stream[:length])
        with pytest.raises(UnreadableImageError, match=r"cut short|expected a JPEG|empty|no frame"):
            decode_dicom(data, limits=LIMITS)


@pytest.mark.parametrize("length", [0, 10, 64, 200])
def test_rle_cut_short_is_refused(length: int, make_dicom: Make) -> None:
    values = make_noise(12, is_signed=False)
    stream = extract_stream(make_dicom(values, syntax=RLELossless, compress={}))
    data = make_dicom(values, syntax=RLELossless, codestream=stream[:length])
    with pytest.raises(UnreadableImageError, match=r"RLE pixel data|empty"):
        decode_dicom(data, limits=LIMITS)


def test_rle_that_grows_past_the_image_is_refused(make_dicom: Make) -> None:
    segment = bytes([0x81, 0]) * 100_000  # 12.8 MB where 1.9 kB are expected
    header = struct.pack("<16L", 2, 64, 64 + len(segment), *([0] * 13))
    data = make_dicom(
        make_noise(12, is_signed=False), syntax=RLELossless, codestream=header + segment * 2
    )
    with pytest.raises(UnreadableImageError, match="RLE pixel data are damaged"):
        decode_dicom(data, limits=LIMITS)


@pytest.mark.parametrize(
    "offsets", [(64, 0xFFFFFFF0), (5000, 64), (0, 0), (64, 64), (65, 1000)], ids=str
)
def test_rle_segments_that_do_not_follow_each_other_are_refused(
    offsets: tuple[int, int], make_dicom: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    values = make_noise(12, is_signed=False)
    stream = extract_stream(make_dicom(values, syntax=RLELossless, compress={}))
    damaged = stream[:4] + struct.pack("<2L", *offsets) + stream[12:]
    data = make_dicom(values, syntax=RLELossless, codestream=damaged)
    with pytest.raises(UnreadableImageError, match="RLE pixel data are damaged"):
        decode_dicom(data, limits=LIMITS)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("option", ["+eb", "+e1"])
def test_jpeg_cut_short_or_of_another_process_is_refused(
    option: str, make_dicom: Make, tmp_path: Path
) -> None:
    values = make_noise(8, is_signed=False)
    plain = make_dicom(values, bits=8, allocated=8)
    stream = extract_stream(run_tool(["dcmcjpeg", option], plain, tmp_path)).rstrip(b"\0")
    syntax = {"+eb": JPEGBaseline8Bit, "+e1": JPEGLosslessSV1}[option]
    other = {"+eb": JPEGLosslessSV1, "+e1": JPEGBaseline8Bit}[option]

    def put(codestream: bytes, uid: str = syntax) -> bytes:
        return make_dicom(values, bits=8, allocated=8, syntax=uid, codestream=codestream)

    assert decode_dicom(put(stream), limits=LIMITS)
    with pytest.raises(UnreadableImageError, match="cut short: its end marker is missing"):
        decode_dicom(put(stream[:-2]), limits=LIMITS)
    with pytest.raises(UnreadableImageError, match="of another process"):
        decode_dicom(put(stream, other), limits=LIMITS)
    frame = b"\xff\xc0" if option == "+eb" else b"\xff\xc3"
    with pytest.raises(UnreadableImageError, match="expected 48 x 40 pixels"):
        decode_dicom(put(corrupt_size(stream, frame, 5)), limits=LIMITS)


@pytest.mark.parametrize(("option", "bits"), [("+e1", 12), ("+ee", 12)])
def test_a_jpeg_header_that_would_end_the_process_is_cleaned_or_refused(
    option: str, bits: int, make_dicom: Make, tmp_path: Path
) -> None:
    values = make_noise(bits, is_signed=False)
    compressed = run_tool(["dcmcjpeg", option], make_dicom(values, bits=bits), tmp_path)
    syntax = {"+e1": JPEGLosslessSV1, "+ee": JPEGExtended12Bit}[option]
    stream = extract_stream(compressed)
    want = read_stored(compressed)
    unknown_version = stream.replace(b"JFIF\0\x01", b"JFIF\0\x76", 1)
    assert unknown_version != stream
    data = make_dicom(values, bits=bits, syntax=syntax, codestream=unknown_version)
    assert np.array_equal(read_stored(data), want)
    no_tables = stream.replace(b"\xff\xc4", b"\x32\xc4", 1)
    data = make_dicom(values, bits=bits, syntax=syntax, codestream=no_tables)
    with pytest.raises(UnreadableImageError, match="JPEG pixel data: expected a whole JPEG"):
        decode_dicom(data, limits=LIMITS)


def test_a_damaged_stream_is_refused(make_dicom: Make) -> None:
    values = make_noise(12, is_signed=False)
    stream = extract_stream(make_dicom(values, syntax=JPEGLSLossless, compress={}))
    middle = len(stream) // 2
    damaged = stream[:middle] + b"\xff\xff\xff\xff" + stream[middle + 4 :]
    data = make_dicom(values, syntax=JPEGLSLossless, codestream=damaged)
    with pytest.raises(UnreadableImageError, match="JPEG-LS pixel data are damaged"):
        decode_dicom(data, limits=LIMITS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({8: b"\0\0\xff\xff\0\0\xff\xff"}, "impossible size or tiling"),
        ({12: b"\xff\xff\xff\xff"}, "impossible size or tiling"),  # 4 billion rows
        ({28: b"\0\0\0\0"}, "impossible size or tiling"),
        ({42: b"\x25"}, "at most 16 bits"),
        ({40: b"\0\0"}, "components of one depth"),
    ],
)
def test_an_absurd_jpeg_2000_header_is_refused(
    change: dict[int, bytes], message: str, make_dicom: Make
) -> None:
    values = make_noise(12, is_signed=False)
    stream = bytearray(extract_stream(make_dicom(values, syntax=JPEG2000Lossless, compress={})))
    for place, value in change.items():
        stream[place : place + len(value)] = value
    data = make_dicom(values, syntax=JPEG2000Lossless, codestream=bytes(stream))
    with pytest.raises(UnreadableImageError, match=message):
        decode_dicom(data, limits=LIMITS)


def test_native_pixels_cut_short_are_refused_with_both_numbers(make_dicom: Make) -> None:
    data = make_dicom(make_noise(12, is_signed=False), Rows=49)
    with pytest.raises(
        UnreadableImageError,
        match="expected 3920 bytes for 49 x 40 pixels, got 3840",
    ):
        decode_dicom(data, limits=LIMITS)


def test_a_wrong_transfer_syntax_is_refused(make_dicom: Make) -> None:
    values = make_noise(12, is_signed=False)
    native = make_dicom(values).replace(ExplicitVRLittleEndian.encode(), RLELossless.encode(), 1)
    with pytest.raises(UnreadableImageError, match=r"RLE .* the pixel data are not compressed"):
        decode_dicom(native, limits=LIMITS)
    compressed = make_dicom(values, syntax=RLELossless, compress={})
    compressed = compressed.replace(RLELossless.encode(), ExplicitVRLittleEndian.encode(), 1)
    with pytest.raises(UnreadableImageError, match="is stated but the pixel data are compressed"):
        decode_dicom(compressed, limits=LIMITS)
