"""DICOM radiographs for the tests of whole runs, made of a shipped sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID

PLAIN = "adult-2-no-finding-monochrome1.dcm"

WriteDicom = Callable[..., Path]


@pytest.fixture(scope="session")
def write_dicom(samples: Path) -> WriteDicom:
    """Writes a shipped radiograph with other elements; None takes one away."""

    def write(path: Path, *, study: int = 1, image: int = 1, **elements: Any) -> Path:
        data_set = dcmread(samples / PLAIN)
        data_set.StudyInstanceUID = f"2.25.1{study}"
        data_set.SeriesInstanceUID = f"2.25.2{study}"
        data_set.SOPInstanceUID = UID(f"2.25.3{study}{image:03d}")
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        data_set.PatientID = f"P{study}"
        for keyword, value in elements.items():
            if value is None:
                delattr(data_set, keyword)
            else:
                setattr(data_set, keyword, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        data_set.save_as(path)
        return path

    return write


@pytest.fixture(scope="session")
def write_broken(write_dicom: WriteDicom) -> WriteDicom:
    """The same, cut in its pixels, so that only the header can be read."""

    def write(path: Path, **elements: Any) -> Path:
        data = write_dicom(path, **elements).read_bytes()
        path.write_bytes(data[: len(data) // 2])
        return path

    return write
