"""What an audit keeps of each image: a few kilobytes, so that 100,000 images fit in memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import cv2
import numpy as np

from chestx.domain import ImageHeader, InputSpec, Limits
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparedImage
from chestx.shapes import Float32, UInt8

THUMBNAIL = 64
"""Side of the square thumbnail that likeness is judged on first."""

PREVIEW = 256
"""Long side of the copy that details are compared on."""

RING = 0.06
"""Width of the border ring, as a share of each side."""

PREPARATION = Preparation(input=InputSpec(size=THUMBNAIL), preview_size=PREVIEW, limits=Limits())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fingerprint:
    """One image that could be read.

    Attributes:
        sha256: of the file's bytes.
        pixel_digest: equal for files that show the same pixels at the same size.
        file_bytes: size of the file.
        header: what the file says of itself, with the patient's and the study's
            identifiers replaced by digests and everything else that names a person left out.
        reasons, flags: of its :class:`~chestx.domain.Quality`, as codes.
        thumbnail: stretched to a square.
        ring: mean and spread of the grey values in the four bands along the border.
    """

    sha256: str
    pixel_digest: bytes
    file_bytes: int
    header: ImageHeader
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    thumbnail: UInt8[np.ndarray, "64 64"]
    ring: Float32[np.ndarray, " 8"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that gave no image.

    Attributes:
        reason: for a person.
        is_missing: there is no file.
    """

    reason: str
    is_missing: bool


def take_fingerprints(
    paths: Sequence[str],
    *,
    workers: int | None = None,
    on_image: Callable[[], None] | None = None,
) -> list[Fingerprint | Unreadable]:
    """Reads every file once, in child processes.

    Args:
        paths: of the files.
        workers: child processes; None for one a usable core, 0 for this process.
        on_image: is called after each file.

    Returns:
        One a path, in order.
    """
    # Identifiers are compared and never shown; the key is not kept.
    key = os.urandom(16)
    taken: list[Fingerprint | Unreadable] = []
    with closing(prepare_images(paths, PREPARATION, workers=workers)) as images:
        for path, image in zip(paths, images, strict=True):
            if isinstance(image, PreparedImage):
                taken.append(_take_fingerprint(image, path, key))
            else:
                taken.append(Unreadable(str(image), not os.path.lexists(path)))
            if on_image is not None:
                on_image()
    return taken


def _take_fingerprint(image: PreparedImage, path: str, key: bytes) -> Fingerprint:
    assert image.preview is not None
    header = image.header
    shape = f"{header.rows} {header.columns} ".encode()
    pixels = hashlib.blake2b(shape + image.preview.tobytes(), digest_size=16)
    size = 0
    with suppress(OSError):
        size = os.stat(path).st_size
    return Fingerprint(
        sha256=image.sha256,
        pixel_digest=pixels.digest(),
        file_bytes=size,
        header=_strip_header(header, key),
        reasons=tuple(reason.code for reason in image.quality.reasons),
        flags=image.quality.flags,
        thumbnail=image.pixels.copy(),
        ring=measure_ring(image.preview),
    )


def _strip_header(header: ImageHeader, key: bytes) -> ImageHeader:
    def digest(text: str) -> str:
        return hashlib.blake2b(text.encode(), key=key, digest_size=12).hexdigest() if text else ""

    return ImageHeader(
        format=header.format,
        rows=header.rows,
        columns=header.columns,
        bits_stored=header.bits_stored,
        photometric=header.photometric,
        colourfulness=header.colourfulness,
        modality=header.modality,
        body_part_examined=header.body_part_examined,
        view_position=header.view_position,
        manufacturer=header.manufacturer,
        age_years=header.age_years,
        sex=header.sex,
        patient_id=digest(header.patient_id),
        study_instance_uid=digest(header.study_instance_uid),
    )


def measure_ring(preview: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, " 8"]:
    """Mean and standard deviation of the bands above, below, left and right, in grey values."""
    high, wide = (max(1, round(side * RING)) for side in preview.shape)
    bands = (preview[:high], preview[-high:], preview[:, :wide], preview[:, -wide:])
    return np.array([f(band) for band in bands for f in (np.mean, np.std)], dtype=np.float32)


def shrink_thumbnail(
    thumbnail: UInt8[np.ndarray, "64 64"], side: int
) -> UInt8[np.ndarray, "side side"]:
    """A smaller thumbnail of means."""
    return np.asarray(cv2.resize(thumbnail, (side, side), interpolation=cv2.INTER_AREA))
