"""The files that speed is measured on, made from real radiographs.

``png`` and ``jpeg-small`` hold what there is; the larger kinds are the same radiographs enlarged
to the size of today's detectors. Enlarging alone gives pixels that compress too well, so noise
of a detector's strength is added, from a fixed seed. The DICOM files hold 12 bits in 16, and a
window.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

SUFFIXES = {".png", ".jpg", ".jpeg"}
JPEG_SIZE = (2048, 1536)
"""Width and height: 3.1 megapixels."""

DICOM_SIZE = (2500, 3000)
"""Width and height: 7.5 megapixels."""

_BITS = 12
_NOISE = 6.0
"""Standard deviation in grey values of 4,096."""

_SYNTAXES = {
    "dicom-raw": None,
    "dicom-rle": RLELossless,
    "dicom-jpegls": JPEGLSLossless,
    "dicom-j2k": JPEG2000Lossless,
}
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]


def list_images(sources: Sequence[Path]) -> list[Path]:
    """The pictures among files and in folders, sorted; ends the program where there are none."""
    found = [
        path for source in sources for path in ([source] if source.is_file() else walk(source))
    ]
    if not found:
        sys.exit(f"expected PNG or JPEG radiographs or folders of them, got none in {sources}")
    return found


def walk(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def enlarge(pixels: np.ndarray, size: tuple[int, int], seed: int) -> np.ndarray:
    """A radiograph of 12 bits at another size, with noise."""
    large = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.float32) * 16
    large += np.random.default_rng(seed).normal(0, _NOISE, large.shape).astype(np.float32)
    return large.clip(0, (1 << _BITS) - 1).astype(np.uint16)


def encode_png(pixels: np.ndarray, seed: int) -> bytes:
    """The radiograph as it is."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def encode_large_jpeg(pixels: np.ndarray, seed: int) -> bytes:
    """8 bits at 3 megapixels."""
    shown = (enlarge(pixels, JPEG_SIZE, seed) >> 4).astype(np.uint8)
    return cv2.imencode(".jpg", shown, _QUALITY)[1].tobytes()


def encode_small_jpeg(pixels: np.ndarray, seed: int) -> bytes:
    """As collections of small copies hold it: 224 pixels."""
    small = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, _QUALITY)[1].tobytes()


def encode_dicom(pixels: np.ndarray, seed: int, *, kind: str) -> bytes:
    """A CR image of 7.5 megapixels in a transfer syntax."""
    from io import BytesIO

    stored = enlarge(pixels, DICOM_SIZE, seed)
    data_set = Dataset()
    data_set.SOPClassUID = ComputedRadiographyImageStorage
    data_set.SOPInstanceUID = generate_uid(entropy_srcs=[f"chestx speed {seed}"])
    data_set.StudyInstanceUID = generate_uid(entropy_srcs=[f"chestx speed study {seed}"])
    data_set.SeriesInstanceUID = generate_uid(entropy_srcs=[f"chestx speed series {seed}"])
    data_set.Modality, data_set.BodyPartExamined, data_set.ViewPosition = "CR", "CHEST", "PA"
    data_set.PatientID, data_set.PatientName = f"SPEED{seed}", "Speed^Test"
    data_set.Rows, data_set.Columns = stored.shape
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, _BITS, _BITS - 1
    data_set.PixelRepresentation = 0
    data_set.WindowCenter, data_set.WindowWidth = 2048, 4096
    data_set.PixelData = stored.tobytes()
    data_set["PixelData"].VR = "OW"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    syntax = _SYNTAXES[kind]
    if syntax is not None:
        data_set.compress(syntax, generate_instance_uid=False)
    target = BytesIO()
    data_set.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _encode_as(kind: str) -> Callable[[np.ndarray, int], bytes]:
    return lambda pixels, seed: encode_dicom(pixels, seed, kind=kind)


KINDS: dict[str, tuple[str, Callable[[np.ndarray, int], bytes]]] = {
    "png": ("png", encode_png),
    "jpeg": ("jpg", encode_large_jpeg),
    "jpeg-small": ("jpg", encode_small_jpeg),
    **{kind: ("dcm", _encode_as(kind)) for kind in _SYNTAXES},
}
"""Kind -> suffix and encoder."""


def make_inputs(kind: str, images: Sequence[Path], folder: Path) -> list[Path]:
    """Writes one file of a kind for each radiograph; PNGs are taken byte for byte."""
    suffix, encode = KINDS[kind]
    folder.mkdir(parents=True)
    made = []
    for seed, image in enumerate(images):
        target = folder / f"{seed:03d}.{suffix}"
        if kind == "png" and image.suffix.lower() == ".png":
            target.write_bytes(image.read_bytes())
        else:
            pixels = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
            target.write_bytes(encode(pixels, seed))
        made.append(target)
    return made
