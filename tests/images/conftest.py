"""Writes DICOM files for the tests, by pydicom, which is not what chestx reads them with."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

DicomWriter = Callable[..., bytes]

ITEM = b"\xfe\xff\x00\xe0"
COMPUTED_RADIOGRAPHY = "1.2.840.10008.5.1.4.1.1.1"


def write_dicom(
    stored: np.ndarray | None,
    *,
    syntax: str = ExplicitVRLittleEndian,
    bits: int = 12,
    allocated: int = 16,
    is_signed: bool = False,
    photometric: str = "MONOCHROME2",
    codestream: bytes | None = None,
    compress: dict[str, Any] | None = None,
    sequences: dict[str, list[Dataset]] | None = None,
    **elements: Any,
) -> bytes:
    """A computed radiograph with the given stored values.

    ``codestream`` is put in as the one compressed frame; ``compress`` has pydicom
    compress ``stored`` to ``syntax`` with these options. Further elements are set by
    keyword; None takes one away.
    """
    data_set = Dataset()
    data_set.SOPClassUID = COMPUTED_RADIOGRAPHY
    data_set.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    data_set.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    data_set.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    data_set.Modality = "CR"
    data_set.PatientID = "P1"
    is_big_endian = syntax == ExplicitVRBigEndian
    if stored is not None:
        data_set.Rows, data_set.Columns = stored.shape[:2]
        data_set.SamplesPerPixel = 1 if stored.ndim == 2 else 3
        if stored.ndim == 3:
            data_set.PlanarConfiguration = 0
        data_set.PhotometricInterpretation = photometric
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = allocated, bits, bits - 1
        data_set.PixelRepresentation = int(is_signed)
        kind = f"{'>' if is_big_endian else '<'}{'i' if is_signed else 'u'}{allocated // 8}"
        raw = stored.astype(kind).tobytes()
        raw += b"\0" * (len(raw) % 2)
        if is_big_endian and allocated == 8:
            # Two samples of 8 bits share a word, which is swapped as a whole (PS3.5 8.1.1).
            raw = np.frombuffer(raw, dtype="<u2").astype(">u2").tobytes()
        data_set.add_new("PixelData", "OW", raw)
        if codestream is not None:
            padded = codestream + b"\0" * (len(codestream) % 2)
            data_set.PixelData = ITEM + struct.pack("<L", 0) + ITEM
            data_set.PixelData += struct.pack("<L", len(padded)) + padded
            data_set["PixelData"].VR = "OB"
            data_set["PixelData"].is_undefined_length = True
    data_set.file_meta = FileMetaDataset()
    written = ExplicitVRLittleEndian if compress is not None else UID(syntax)
    data_set.file_meta.TransferSyntaxUID = written
    with warnings.catch_warnings():
        # Some of these files are wrong on purpose.
        warnings.simplefilter("ignore")
        if compress is not None:
            data_set.compress(syntax, generate_instance_uid=False, **compress)
        for keyword, value in {**(sequences or {}), **elements}.items():
            if value is None:
                delattr(data_set, keyword)
            else:
                setattr(data_set, keyword, value)
        buffer = io.BytesIO()
        data_set.file_meta.MediaStorageSOPClassUID = data_set.get("SOPClassUID", "")
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.get("SOPInstanceUID", "")
        dcmwrite(
            buffer,
            data_set,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=not is_big_endian,
            enforce_file_format=True,
        )
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_dicom() -> DicomWriter:
    """Writes DICOM files; see ``write_dicom``."""
    return write_dicom
