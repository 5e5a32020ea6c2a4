"""One file made ready for the model: read, decoded, judged, made small."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np

from chestx.domain import ImageHeader, InputSpec, Limits, Quality, UnreadableImageError
from chestx.shapes import UInt8


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What is made of a file.

    Attributes:
        input: preprocessing of the model.
        preview_size: long side of the preview in pixels, 0 for none.
        limits: what the file may cost.
        pixel_digest: whether a checksum of the shown pixels is made.
        reduced_jpeg2000: whether JPEG 2000 is decoded only as fine as input and preview need.
    """

    input: InputSpec
    preview_size: int
    limits: Limits
    pixel_digest: bool = False
    reduced_jpeg2000: bool = False

    @property
    def least_side(self) -> int:
        """Shorter side of the decoded picture that will do; 0 for all that there is.

        Twice the input, so that it is still a mean of what was decoded.
        """
        return max(2 * self.input.size, self.preview_size) if self.reduced_jpeg2000 else 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PreparedImage:
    """One file, ready for the model.

    Attributes:
        sha256: of the file's bytes.
        header: what the file says of itself.
        quality: what its pixels tell.
        pixels: model input.
        preview: the radiograph as shown, small; None where not asked for.
        seconds, cpu_seconds: stage -> wall and processor time in the child.
        pixel_sha256: of the shown pixels at full size; empty where not asked for.
    """

    sha256: str
    header: ImageHeader
    quality: Quality
    pixels: UInt8[np.ndarray, "size size"]
    preview: UInt8[np.ndarray, "preview_height preview_width"] | None
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    pixel_sha256: str = ""


class PreparationError(UnreadableImageError):
    """A file that could not be prepared, with the checksum of its bytes where they were read."""

    def __init__(self, reason: str, *, header: ImageHeader | None = None, sha256: str = "") -> None:
        super().__init__(reason, header=header)
        self.sha256 = sha256


def prepare_image(source: str | bytes, preparation: Preparation) -> PreparedImage:
    """Reads, judges and preprocesses one image in this process.

    Args:
        source: a path, or the bytes of a file.
        preparation: what is made of it.

    Raises:
        PreparationError: the file cannot become a radiograph.
    """
    start = read_clocks()
    data, sha256 = read_source(source, preparation.limits)
    return prepare_bytes(data, sha256, preparation, start=start)


def read_clocks() -> tuple[float, float]:
    """Wall and processor time; the thread's own, since images may be prepared in several."""
    return time.perf_counter(), time.thread_time()


def read_source(source: str | bytes, limits: Limits) -> tuple[bytes, str]:
    """The bytes of a file and their SHA-256.

    Raises:
        PreparationError: it cannot be read, or is larger than the limits allow.
    """
    from chestx.images.reading import load_bytes

    try:
        data = source if isinstance(source, bytes) else load_bytes(source, limits=limits)
    except UnreadableImageError as error:
        raise PreparationError(str(error)) from error
    return data, hashlib.sha256(data).hexdigest()


def prepare_bytes(
    data: bytes, sha256: str, preparation: Preparation, *, start: tuple[float, float]
) -> PreparedImage:
    """Judges and preprocesses what :func:`read_source` read.

    Args:
        data, sha256: the bytes of a file and their checksum.
        preparation: what is made of it.
        start: :func:`read_clocks` before it was read.

    Raises:
        PreparationError: the file cannot become a radiograph.
    """
    from chestx.images.preprocessing import preprocess, resize_to_fit
    from chestx.images.quality import assess_quality
    from chestx.images.reading import decode_radiograph

    try:
        radiograph = decode_radiograph(
            data, limits=preparation.limits, least_side=preparation.least_side
        )
    except UnreadableImageError as error:
        raise PreparationError(str(error), header=error.header, sha256=sha256) from error
    decoded = read_clocks()
    pixels = preprocess(radiograph.pixels, preparation.input)
    quality = assess_quality(radiograph)
    size = preparation.preview_size
    preview = resize_to_fit(radiograph.pixels, size) if size else None
    digest = ""
    if preparation.pixel_digest:
        digest = hashlib.sha256(np.ascontiguousarray(radiograph.pixels).data).hexdigest()
    done = read_clocks()
    return PreparedImage(
        sha256=sha256,
        header=radiograph.header,
        quality=quality,
        pixels=pixels,
        preview=preview,
        seconds={"read": decoded[0] - start[0], "preprocess": done[0] - decoded[0]},
        cpu_seconds={"read": decoded[1] - start[1], "preprocess": done[1] - decoded[1]},
        pixel_sha256=digest,
    )
