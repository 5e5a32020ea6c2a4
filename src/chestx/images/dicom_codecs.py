"""The decoders of compressed pixel data, one a family of transfer syntaxes.

Each is called directly, with sizes that were checked against the codestream's own header
first: the decoders themselves allocate what a codestream asks for.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from itertools import pairwise

import numpy as np

from chestx.domain import UnreadableImageError
from chestx.images.dicom_codestream import (
    Codestream,
    read_jpeg2000_header,
    read_jpeg_header,
)
from chestx.images.dicom_header import PixelLayout
from chestx.images.dicom_jpeg import clean_jpeg
from chestx.images.dicom_jpeg2000 import check_jpeg2000, extract_codestream
from chestx.shapes import UInt8, UInt16

Stored = UInt8[np.ndarray, "height width *samples"] | UInt16[np.ndarray, "height width *samples"]
Flat = UInt8[np.ndarray, " count"] | UInt16[np.ndarray, " count"]
Decoder = Callable[[bytes, PixelLayout], tuple[Stored, PixelLayout]]

JPEG2000 = frozenset(f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 201, 202, 203))
"""Transfer syntaxes of JPEG 2000, with and without high throughput."""

_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_JPEG_END = b"\xff\xd9"

# No code of a JPEG table is all ones (ISO/IEC 10918-1 C.2), so a decoder that reads on
# past the end of the data stumbles over these instead of finding zeros.
_NO_CODES = b"\xff\x00" * 8

_PADDING = re.compile(r"\b\d{1,2} extraneous bytes before marker 0xd9")


def shape_samples(values: Flat, layout: PixelLayout, *, is_planar: bool) -> Stored:
    """Samples in file order to rows and columns, colour as a third axis."""
    rows, columns = layout.rows, layout.columns
    if not layout.is_colour:
        return values.reshape(rows, columns)
    if is_planar:
        return np.moveaxis(values.reshape(3, rows, columns), 0, 2)
    return values.reshape(rows, columns, 3)


def _decode_rle(stream: bytes, layout: PixelLayout) -> tuple[Stored, PixelLayout]:
    from rle.utils import decode_pixel_data

    expected = layout.samples * layout.bits_allocated // 8
    segments, *offsets = struct.unpack_from("<16L", stream) if len(stream) >= 64 else [0]
    if segments != expected:
        raise UnreadableImageError(
            f"RLE pixel data: expected {expected} segments for {layout.samples} samples of "
            f"{layout.bits_allocated} bits, got {segments}"
        )
    edges = [*offsets[:segments], len(stream)]
    if edges[0] != 64 or any(end <= start for start, end in pairwise(edges)):
        raise _damaged("RLE")
    try:
        decoded = decode_pixel_data(
            stream,
            version=2,
            rows=layout.rows,
            columns=layout.columns,
            bits_allocated=layout.bits_allocated,
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of its Rust code is no Exception
        raise _damaged("RLE") from error
    values = _view(decoded, layout, layout.bits_allocated, "RLE")
    # Segments are whole planes, whatever PlanarConfiguration says (PS3.5 annex G).
    return shape_samples(values, layout, is_planar=True), layout


def _decode_jpeg(stream: bytes, layout: PixelLayout) -> tuple[Stored, PixelLayout]:
    """JPEG of 8 bits by libjpeg-turbo (in simplejpeg), of 12 bits by GDCM."""
    found = _read_header(stream, layout, "JPEG", _BASELINE, _EXTENDED, _PROGRESSIVE)
    if found.precision == 8:
        return _decode_jpeg_8(stream, layout, found)
    if layout.is_colour:
        raise UnreadableImageError("expected colour JPEG of 8 bits, got 12")
    return _decode_gdcm(stream, layout, found, "1.2.840.10008.1.2.4.51")


def _decode_jpeg_8(
    stream: bytes, layout: PixelLayout, found: Codestream
) -> tuple[Stored, PixelLayout]:
    marker = b""
    if layout.is_colour:
        # Without a word on the colour space the decoder would guess; the DICOM header knows it.
        is_ycc = layout.photometric != "RGB"
        if found.is_jfif or found.adobe_transform is not None:
            is_ycc = found.is_jfif or found.adobe_transform != 0
        marker = _adobe_marker(is_ycc)
    whole = clean_jpeg(stream, extra=marker).data + _JPEG_END
    values = _decode_strictly(whole, "RGB" if layout.is_colour else "GRAY")
    photometric = "RGB" if layout.is_colour else layout.photometric
    values = values if layout.is_colour else values[..., 0]
    return values, replace(_fit(layout, 8, 8), photometric=photometric)


def _decode_strictly(stream: bytes, space: str) -> UInt8[np.ndarray, "height width samples"]:
    """Decodes by a library that tells of what others let pass: missing and damaged data."""
    from simplejpeg import decode_jpeg

    try:
        values = decode_jpeg(stream, colorspace=space, strict=True)
    except ValueError as error:
        # The first fault is told, and a little padding after all pixels is none.
        if _PADDING.search(str(error)) is None:
            raise _damaged("JPEG") from error
        values = decode_jpeg(stream, colorspace=space, strict=False)
    return np.asarray(values, dtype=np.uint8)


def _adobe_marker(is_ycc: bool) -> bytes:
    return b"\xff\xee\x00\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, int(is_ycc))


def _decode_jpeg_lossless(stream: bytes, layout: PixelLayout) -> tuple[Stored, PixelLayout]:
    found = _read_header(stream, layout, "JPEG", _LOSSLESS)
    return _decode_gdcm(stream, layout, found, "1.2.840.10008.1.2.4.57")


def _decode_gdcm(
    stream: bytes, layout: PixelLayout, found: Codestream, syntax: str
) -> tuple[Stored, PixelLayout]:
    """JPEG lossless and of 12 bits. The container is told by the stream, not by the header."""
    import gdcm

    # GDCM ends the process where its libjpeg has something to say of the header.
    clean = clean_jpeg(stream)
    if clean.scans != 1:
        raise UnreadableImageError(
            f"expected one scan in a JPEG stream that is lossless or of 12 bits, got {clean.scans}"
        )
    # Without the end marker GDCM neither fills up what is missing nor minds what follows.
    stream = clean.data + _NO_CODES

    allocated = 8 if found.precision <= 8 else 16
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.RGB
    if not layout.is_colour:
        photometric = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    kind = gdcm.TransferSyntax.GetTSType(syntax)
    image.SetTransferSyntax(gdcm.TransferSyntax(kind))
    image.SetPixelFormat(
        gdcm.PixelFormat(layout.samples, allocated, found.precision, found.precision - 1, 0)
    )
    try:
        decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    except Exception as error:  # SWIG raises what the C++ side threw
        raise _damaged("JPEG") from error
    values = _view(decoded, layout, allocated, "JPEG")
    return shape_samples(values, layout, is_planar=False), _fit(layout, found.precision, allocated)


def _decode_jpeg_ls(stream: bytes, layout: PixelLayout) -> tuple[Stored, PixelLayout]:
    import jpeg_ls

    found = _read_header(stream, layout, "JPEG-LS")
    try:
        decoded, info = jpeg_ls.decode_pixel_data(stream)
    except Exception as error:  # CharLS errors have several types between versions
        raise _damaged("JPEG-LS") from error
    allocated = 8 if found.precision <= 8 else 16
    values = _view(decoded, layout, allocated, "JPEG-LS")
    values = shape_samples(values, layout, is_planar=info["interleave_mode"] == 0)
    return values, _fit(layout, found.precision, allocated)


def _decode_jpeg2000(stream: bytes, layout: PixelLayout) -> tuple[Stored, PixelLayout]:
    from openjpeg.utils import decode_pixel_data

    stream = extract_codestream(stream)
    found = _read_header(stream, layout, "JPEG 2000")
    check_jpeg2000(stream)
    try:
        decoded = decode_pixel_data(stream, version=2)
    except (RuntimeError, ValueError) as error:
        raise _damaged("JPEG 2000") from error
    allocated = 8 if found.precision <= 8 else 16
    values = shape_samples(_view(decoded, layout, allocated, "JPEG 2000"), layout, is_planar=False)
    return values, _fit_jpeg2000(layout, found, allocated)


def choose_reduction(layout: PixelLayout, least_side: int) -> int:
    """The largest power of two by which the shorter side may be divided; 1 for none."""
    reduction = 1
    while least_side and min(layout.rows, layout.columns) >= 2 * reduction * least_side:
        reduction *= 2
    return reduction


def decode_jpeg2000_reduced(
    stream: bytes, layout: PixelLayout, reduction: int
) -> tuple[Stored, PixelLayout] | None:
    """Decodes a JPEG 2000 stream without its finest levels; None where that cannot be done.

    What is left out is most of the work, and no fault in it is found. Signed samples, few bits,
    an image that does not begin at the origin of its grid, and whatever Pillow does not take
    are left to the whole decoder.

    Args:
        stream: the compressed pixel data.
        layout: as the header states it.
        reduction: of rows and columns at most, a power of two.

    Returns:
        Grey samples, whose shape tells by how much they were reduced, and their layout.

    Raises:
        UnreadableImageError: what the stream's own header states cannot be.
    """
    from PIL import Jpeg2KImagePlugin

    stream = extract_codestream(stream)
    found = _read_header(stream, layout, "JPEG 2000")
    reduction = min(reduction, 1 << check_jpeg2000(stream))
    # Means of bits that stand for signed or for other numbers would be no means of these numbers.
    is_plain = not (layout.is_colour or layout.is_signed or found.is_signed)
    bits_fit = 8 <= found.precision <= layout.high_bit + 1
    starts_at_origin = struct.unpack_from(">2L", stream, 16) == (0, 0)
    if reduction == 1 or not (is_plain and bits_fit and starts_at_origin):
        return None
    expected = (-(-layout.rows // reduction), -(-layout.columns // reduction))
    try:
        with Jpeg2KImagePlugin.Jpeg2KImageFile(BytesIO(stream)) as picture:
            picture.reduce = reduction.bit_length() - 1
            # Pillow rounds the reduced sides, OpenJPEG rounds them up: where they differ, it
            # would call the stream broken. Of a whole multiple both make the same.
            picture._size = (expected[1] * reduction, expected[0] * reduction)
            picture.load()
            mode, values = picture.mode, np.array(picture)
    except (OSError, ValueError, SyntaxError):
        return None
    allocated = 8 if found.precision <= 8 else 16
    wanted = ("L", "|u1") if allocated == 8 else ("I;16", "<u2")
    if (mode, values.dtype.str) != wanted or values.shape != expected:
        return None
    # Pillow stretches samples to the whole container.
    values >>= allocated - found.precision
    return values, _fit_jpeg2000(layout, found, allocated)


def _fit_jpeg2000(layout: PixelLayout, found: Codestream, allocated: int) -> PixelLayout:
    # Where header and codestream disagree, the codestream tells the depth of what was
    # compressed, and the header whether it is signed.
    bits = found.precision
    if layout.is_signed and not found.is_signed:
        bits = min(bits, layout.bits_stored)
    photometric = "RGB" if layout.photometric in ("YBR_RCT", "YBR_ICT") else layout.photometric
    fitted = replace(_fit(layout, found.precision, allocated), photometric=photometric)
    return replace(fitted, bits_stored=bits, high_bit=bits - 1)


def _read_header(stream: bytes, layout: PixelLayout, kind: str, *processes: int) -> Codestream:
    """The codestream's header, refused where it is not what the DICOM header states."""
    found = read_jpeg2000_header(stream) if kind == "JPEG 2000" else read_jpeg_header(stream)
    if found.kind != kind or (processes and found.process not in processes):
        raise UnreadableImageError(
            f"wrong transfer syntax: the {found.kind} stream in the pixel data is of another "
            f"process (0x{found.process:02X}) than the transfer syntax states"
        )
    size = (layout.rows, layout.columns, layout.samples)
    if (found.rows, found.columns, found.samples) != size:
        raise UnreadableImageError(
            f"expected {layout.rows} x {layout.columns} pixels of {layout.samples} samples as the "
            f"header states, got {found.rows} x {found.columns} of {found.samples} "
            f"in the {kind} stream"
        )
    if not 1 <= found.precision <= 16:
        raise UnreadableImageError(
            f"expected samples of at most 16 bits in the {kind} stream, got {found.precision}"
        )
    return found


def _fit(layout: PixelLayout, precision: int, allocated: int) -> PixelLayout:
    """The layout in the decoder's container.

    A stream of fewer bits than the header states has no more than its own. One of more
    bits holds whole containers, where the header tells which bits are the sample's.
    """
    if precision > layout.high_bit:
        return replace(layout, bits_allocated=allocated)
    bits = min(precision, layout.bits_stored)
    return replace(layout, bits_allocated=allocated, bits_stored=bits, high_bit=bits - 1)


def _view(
    decoded: bytes | bytearray | np.ndarray, layout: PixelLayout, allocated: int, kind: str
) -> Flat:
    expected = layout.rows * layout.columns * layout.samples * allocated // 8
    values = np.frombuffer(decoded, dtype=np.uint8)
    if len(values) != expected:
        raise UnreadableImageError(
            f"the {kind} pixel data are damaged: expected {expected} bytes after decoding, "
            f"got {len(values)}"
        )
    return values.view("<u2") if allocated == 16 else values


def _damaged(kind: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"the {kind} pixel data are damaged and cannot be decoded; get the file again"
    )


DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2.5": _decode_rle,
    "1.2.840.10008.1.2.4.50": _decode_jpeg,
    "1.2.840.10008.1.2.4.51": _decode_jpeg,
    "1.2.840.10008.1.2.4.57": _decode_jpeg_lossless,
    "1.2.840.10008.1.2.4.70": _decode_jpeg_lossless,
    "1.2.840.10008.1.2.4.80": _decode_jpeg_ls,
    "1.2.840.10008.1.2.4.81": _decode_jpeg_ls,
    **dict.fromkeys(sorted(JPEG2000), _decode_jpeg2000),
}
"""By transfer syntax. A decoder returns the samples, and the layout that they have."""
