"""PNG, JPEG, TIFF and BMP, decided by content, to a radiograph as a reader sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from chestx.domain import ImageHeader, Limits, Radiograph, UnreadableImageError
from chestx.images.jpeg import decode_jpeg, examine_jpeg
from chestx.images.structure import PNG_SIGNATURE, Structure, examine_bmp, examine_png
from chestx.images.tables import apply_table
from chestx.images.tiff import decode_tiff, examine_tiff
from chestx.shapes import Shaped, UInt8, UInt16

BLOCK = 4 * 1024 * 1024
"""Pixels, about, that are converted at once: in wide types a large picture needs gigabytes."""

SUBSAMPLE = 65_536
"""Pixels, about, that percentiles and colourfulness are measured on."""

WINDOW_PERCENTILES = (0.5, 99.5)
"""Ends of the window for 16-bit values that do not fill their range."""

FULL_RANGE = 1 << 15
"""A 16-bit picture whose 99.5th percentile reaches this fills its range as displayed."""

_EXAMINERS: dict[bytes, Callable[[bytes], Structure]] = {
    PNG_SIGNATURE: examine_png,
    b"\xff\xd8\xff": examine_jpeg,
    b"II*\0": examine_tiff,
    b"MM\0*": examine_tiff,
}

_OTHER_FORMATS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (8, b"AVI ", "an AVI video"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftyp", "an MP4 or QuickTime video"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (0, b"\0\0\x01\xba", "an MPEG video"),
    (0, b"RIFF", "a RIFF file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture outside of DICOM"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture outside of DICOM"),
    (0, b"\xff\xd8\xff\xf7", "a JPEG-LS picture outside of DICOM"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"II\xbc", "a JPEG XR picture"),
    (0, b"II+\0", "a BigTIFF file"),
    (0, b"MM\0+", "a BigTIFF file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\x01\0", "an icon"),
    (0, b"%PDF", "a PDF document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"\xd0\xcf\x11\xe0", "an old Microsoft Office document"),
    (0, b"PK\x03\x04", "a ZIP archive (also Word, Excel and NumPy files)"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive (also NIfTI)"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (344, b"n+1\0", "a NIfTI volume"),
    (344, b"ni1\0", "a NIfTI volume"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"ObjectType", "a MetaImage volume"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)

_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda picture: np.rot90(picture, 2),
    4: np.flipud,
    5: lambda picture: picture.swapaxes(0, 1),
    6: lambda picture: np.rot90(picture, -1),
    7: lambda picture: np.rot90(picture.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""EXIF orientation -> what shows the picture upright. Source: EXIF 2.32, tag 0x0112."""


def decode_raster(data: bytes, *, limits: Limits) -> Radiograph:
    """Decodes a PNG, JPEG, TIFF or BMP file.

    Colour becomes grey by BT.601, transparent parts are black, EXIF orientation is
    applied. 16-bit values that fill their range are scaled by 1/257, others are shown
    through a window between two percentiles; ``header.display`` says which.

    Args:
        data: the whole file.
        limits: held against the size that the file states, before any decoding.

    Raises:
        UnreadableImageError: another format, a damaged file, or one past a limit.
    """
    structure = examine_raster(data)
    _check_limits(structure, limits)
    samples = _decode(structure)
    is_see_through = _has_transparency(samples, structure)
    colourfulness = _measure_colourfulness(_flatten(_subsample(samples)))
    pixels, display = _to_display(_to_grey(samples))
    del samples
    turn = _TURNS.get(structure.orientation)
    if turn is not None:
        pixels = np.ascontiguousarray(turn(pixels))
    if structure.is_min_white:
        pixels, display = cv2.bitwise_not(pixels), f"{display}, min-is-white inverted"
    notes = []
    if turn is not None:
        notes.append(f"EXIF orientation {structure.orientation} was applied.")
    if is_see_through:
        notes.append("Transparent parts are shown black.")
    header = ImageHeader(
        format=structure.format,
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        bits_stored=structure.bits,
        photometric=structure.photometric,
        display=display,
        colourfulness=colourfulness,
        notes=tuple(notes),
    )
    return Radiograph(pixels, header)


def examine_raster(data: bytes) -> Structure:
    """The structure of a whole PNG, JPEG, TIFF or BMP file, no pixel decoded.

    Raises:
        UnreadableImageError: another format, named where it is known, or a damaged file.
    """
    other = _name_other_format(data)
    if other:
        raise _refuse_kind(other)
    for signature, examine in _EXAMINERS.items():
        if data.startswith(signature):
            return examine(data)
    text = _name_text(data)
    if text:
        raise _refuse_kind(text)
    if data.startswith(b"BM"):  # two letters, with which a text may begin as well
        return examine_bmp(data)
    raise _refuse_kind("a file of an unknown kind")


def _refuse_kind(kind: str) -> UnreadableImageError:
    return UnreadableImageError(
        f"expected a radiograph as PNG, JPEG, TIFF, BMP or DICOM, got {kind}; "
        "export it in one of these"
    )


def _name_other_format(data: bytes) -> str:
    """What a file is, in words, where it is known not to be one of ours."""
    for offset, magic, name in _OTHER_FORMATS:
        if data.startswith(magic, offset):
            return name
    return ""


def _name_text(data: bytes) -> str:
    """What kind of text a file is; empty where it is none."""
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML or SVG file"
    if start and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "a text file"
    return ""


def _check_limits(structure: Structure, limits: Limits) -> None:
    size = f"{structure.width} x {structure.height} pixels"
    if structure.width * structure.height > limits.max_pixels:
        raise UnreadableImageError(
            f"expected at most {limits.max_pixels} pixels, got {size}; export a smaller picture"
        )
    if min(structure.width, structure.height) < limits.min_side:
        raise UnreadableImageError(
            f"expected a shorter side of at least {limits.min_side} pixels, got {size}; "
            "export a larger picture"
        )


def _decode(structure: Structure) -> Shaped[np.ndarray, "height width *channels"]:
    """Stored samples as uint8 or uint16: grey, BGR or BGRA; not turned, not inverted."""
    try:
        decoded = _decode_format(structure)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own ways to say that a file is broken
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise _undecodable(structure) from error
    if decoded is None or decoded.shape[:2] != (structure.height, structure.width):
        raise _undecodable(structure)
    if decoded.dtype not in (np.uint8, np.uint16):
        raise _undecodable(structure)
    return decoded


def _decode_format(
    structure: Structure,
) -> Shaped[np.ndarray, "height width *channels"] | None:
    if structure.format == "JPEG":
        return decode_jpeg(structure.data, samples=structure.samples)
    decoded = decode_tiff(structure) if structure.format == "TIFF" else None
    return _decode_with_opencv(structure) if decoded is None else decoded


def _decode_with_opencv(
    structure: Structure,
) -> Shaped[np.ndarray, "height width *channels"] | None:
    # The fourth byte of a 32-bit BMP is mostly unused and zero, no transparency.
    is_bmp = structure.format == "BMP"
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if is_bmp else cv2.IMREAD_UNCHANGED
    return cv2.imdecode(np.frombuffer(structure.data, np.uint8), flags)


def _undecodable(structure: Structure) -> UnreadableImageError:
    return UnreadableImageError(
        f"expected a whole {structure.format} file, got one whose pixels cannot be decoded; "
        "fetch it again from its source or export it as PNG"
    )


def _has_transparency(
    samples: Shaped[np.ndarray, "height width *channels"], structure: Structure
) -> bool:
    if samples.ndim == 2 or samples.shape[2] == 3 or structure.format == "JPEG":
        return False
    full = np.iinfo(samples.dtype).max
    return any(block[..., 3].min() < full for block in _split(samples))


def _split(
    picture: Shaped[np.ndarray, "height width *channels"],
) -> Iterator[Shaped[np.ndarray, "rows width *channels"]]:
    """The picture in blocks of whole rows."""
    rows = max(1, BLOCK // picture.shape[1])
    for top in range(0, picture.shape[0], rows):
        yield picture[top : top + rows]


def _flatten(
    samples: Shaped[np.ndarray, "height width *channels"],
) -> Shaped[np.ndarray, "height width *colours"]:
    """Grey or BGR; a fourth channel, alpha over black or black ink, is multiplied in."""
    if samples.ndim == 2 or samples.shape[2] == 3:
        return samples
    share = samples[..., 3:] / np.float32(np.iinfo(samples.dtype).max)
    return np.rint(samples[..., :3] * share).astype(samples.dtype)


def _to_grey(
    samples: Shaped[np.ndarray, "height width *channels"],
) -> Shaped[np.ndarray, "height width"]:
    """Luminance by BT.601; a fourth channel is multiplied in."""
    if samples.ndim == 2:
        return samples
    full = np.iinfo(samples.dtype).max
    code = cv2.COLOR_BGR2GRAY if samples.shape[2] == 3 else cv2.COLOR_BGRA2GRAY
    grey = np.empty(samples.shape[:2], samples.dtype)
    for target, block in zip(_split(grey), _split(samples), strict=True):
        target[:] = cv2.cvtColor(block, code)
        if code == cv2.COLOR_BGRA2GRAY and block[..., 3].min() < full:
            target[:] = np.rint(target * (block[..., 3] / np.float32(full)))
    return grey


def _measure_colourfulness(colour: Shaped[np.ndarray, "height width *colours"]) -> float:
    """Mean of max(R, G, B) - min(R, G, B) on a subsample, 0 to 255."""
    if colour.ndim == 2:
        return 0.0
    some = _subsample(colour).astype(np.float32) * (255 / np.iinfo(colour.dtype).max)
    return float((some.max(axis=2) - some.min(axis=2)).mean())


def _subsample(
    picture: Shaped[np.ndarray, "height width *channels"],
) -> Shaped[np.ndarray, "rows columns *channels"]:
    step = max(1, math.isqrt(picture.shape[0] * picture.shape[1] // SUBSAMPLE))
    return picture[::step, ::step]


def _to_display(
    grey: UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"],
) -> tuple[UInt8[np.ndarray, "height width"], str]:
    """Grey values for display and how they came about, in words."""
    if grey.dtype == np.uint8:
        return grey, "as stored"
    low, high = (float(end) for end in np.percentile(_subsample(grey), WINDOW_PERCENTILES))
    values = np.arange(65_536, dtype=np.float32)
    if high >= FULL_RANGE:
        table, display = np.rint(values / 257), "16 bits scaled by 1/257"
    else:
        table = np.clip(np.rint((values - low) * (255 / max(high - low, 1.0))), 0, 255)
        ends = f"{WINDOW_PERCENTILES[0]:g} to {WINDOW_PERCENTILES[1]:g} %"
        display = f"percentile window {low:g} to {high:g} ({ends})"
    return apply_table(table.astype(np.uint8), grey), display
