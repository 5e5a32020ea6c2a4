"""The decoders of compressed pixel data, one a family of transfer syntaxes.

Each is called directly, with sizes that were checked against the codestream's own header
first: the decoders themselves allocate what a codestream asks for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8, UInt16

from chestx.domain import UnreadableImageError
from chestx.images.dicom_codestream import (
    Codestream,
    read_jpeg2000_header,
    read_jpeg_header,
    strip_jpeg_header,
)
from chestx.images.dicom_header import PixelLayout

Stored = UInt8[np.ndarray, "height width *samples"] | UInt16[np.ndarray, "height width *samples"]
Flat = UInt8[np.ndarray, " count"] | UInt16[np.ndarray, " count"]
Decoder = Callable[[bytes, PixelLayout], tuple[Stored, PixelLayout]]

_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3


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
    segments = struct.unpack_from("<L", stream)[0] if len(stream) >= 64 else 0
    if segments != expected:
        raise UnreadableImageError(
            f"RLE pixel data: expected {expected} segments for {layout.samples} samples of "
            f"{layout.bits_allocated} bits, got {segments}"
        )
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
    """JPEG of 8 bits by libjpeg-turbo (in OpenCV), of 12 bits by GDCM."""
    found = _read_header(stream, layout, "JPEG", _BASELINE, _EXTENDED, _PROGRESSIVE)
    if found.precision == 8:
        return _decode_jpeg_8(stream, layout, found)
    if layout.is_colour:
        raise UnreadableImageError("expected colour JPEG of 8 bits, got 12")
    return _decode_gdcm(stream, layout, found, "1.2.840.10008.1.2.4.51")


def _decode_jpeg_8(
    stream: bytes, layout: PixelLayout, found: Codestream
) -> tuple[Stored, PixelLayout]:
    import cv2

    if layout.is_colour and not found.is_jfif and found.adobe_transform is None:
        # The decoder would guess the colour space; the DICOM header knows it.
        stream = stream[:2] + _adobe_marker(layout.photometric != "RGB") + stream[2:]
    flags = cv2.IMREAD_COLOR if layout.is_colour else cv2.IMREAD_GRAYSCALE
    decoded = cv2.imdecode(np.frombuffer(stream, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None:
        raise _damaged("JPEG")
    values = np.asarray(decoded, dtype=np.uint8)
    if layout.is_colour:
        values = values[..., ::-1]  # OpenCV's order is BGR
    photometric = "RGB" if layout.is_colour else layout.photometric
    return values, replace(_fit(layout, 8, 8), photometric=photometric)


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
    stream = strip_jpeg_header(stream)

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

    found = _read_header(stream, layout, "JPEG 2000")
    try:
        decoded = decode_pixel_data(stream, version=2)
    except (RuntimeError, ValueError) as error:
        raise _damaged("JPEG 2000") from error
    allocated = 8 if found.precision <= 8 else 16
    values = shape_samples(_view(decoded, layout, allocated, "JPEG 2000"), layout, is_planar=False)
    # Where header and codestream disagree, the codestream tells the depth of what was
    # compressed, and the header whether it is signed.
    bits = found.precision
    if layout.is_signed and not found.is_signed:
        bits = min(bits, layout.bits_stored)
    photometric = "RGB" if layout.photometric in ("YBR_RCT", "YBR_ICT") else layout.photometric
    fitted = replace(_fit(layout, found.precision, allocated), photometric=photometric)
    return values, replace(fitted, bits_stored=bits, high_bit=bits - 1)


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
    "1.2.840.10008.1.2.4.90": _decode_jpeg2000,
    "1.2.840.10008.1.2.4.91": _decode_jpeg2000,
    "1.2.840.10008.1.2.4.201": _decode_jpeg2000,
    "1.2.840.10008.1.2.4.202": _decode_jpeg2000,
    "1.2.840.10008.1.2.4.203": _decode_jpeg2000,
}
"""By transfer syntax. A decoder returns the samples, and the layout that they have."""
