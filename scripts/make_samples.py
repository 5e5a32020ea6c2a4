"""Makes ``examples/samples`` and its attribution from radiographs that may be passed on.

``python scripts/make_samples.py CXR`` where CXR holds ``manifest.csv`` and ``images``.
Only rows of the test split whose licence permits redistribution are used; they were
picked by their metadata, before any model saw them. The pictures are copied byte for
byte or wrapped as DICOM without changing what is shown.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
)

SAMPLES = Path(__file__).parents[1] / "examples" / "samples"

KERMANY = (
    "Kermany, Zhang, Goldbaum: Labeled Optical Coherence Tomography and Chest X-Ray Images, "
    "Mendeley Data, doi:10.17632/rscbjbr9sj, CC BY 4.0"
)
NIH = (
    "NIH Clinical Center, ChestX-ray14 (Wang et al., CVPR 2017), "
    "https://nihcc.app.box.com/v/ChestXray-NIHCC, free use with attribution"
)
COVID = (
    "Annals of Clinical Microbiology and Antimicrobials 2020;19:18, figure 1, "
    "doi:10.1186/s12941-020-00358-y, CC BY 4.0, through covid-chestxray-dataset"
)
NASA = "NASA, portrait of Eileen Collins, public domain, through scikit-image"

# Name in the samples, file in the manifest, what was done to it, attribution.
ROWS = (
    ("adult-1-no-finding.png", "images/nih/nih_00001471_001.jpg", "png", NIH),
    ("adult-2-no-finding-monochrome1.dcm", "images/nih/nih_00002237_000.jpg", "monochrome1", NIH),
    ("adult-3-pneumonia.jpg", "images/nih/nih_00001637_001.jpg", "copy", NIH),
    ("adult-4-pneumonia-jpegls.dcm", "images/nih/nih_00000398_002.jpg", "jpegls", NIH),
    ("adult-5-covid19.jpg", "images/ieee8023/ieee_12941_2020_358_Fig1_HTML.jpg", "copy", COVID),
    ("child-1-normal.jpg", "images/kermany/kermany_IM-0001-0001.jpg", "copy", KERMANY),
    ("child-2-normal.png", "images/kermany/kermany_IM-0003-0001.jpg", "png", KERMANY),
    ("child-3-pneumonia.jpg", "images/kermany/kermany_person10_virus_35.jpg", "copy", KERMANY),
    ("child-4-pneumonia.png", "images/kermany/kermany_person101_bacteria_483.jpg", "png", KERMANY),
    ("other-1-inverted.png", "images/nih/nih_00001471_001.jpg", "inverted", NIH),
    ("other-2-damaged.jpg", "images/kermany/kermany_IM-0006-0001.jpg", "cut", KERMANY),
    ("other-3-photo.png", "", "photo", NASA),
)


def make_dicom(pixels: np.ndarray, row: dict[str, str], *, inverted: bool) -> FileDataset:
    """A 12-bit CR of the picture, of an invented patient, that shows the same grey values.

    Args:
        pixels: uint8 [height, width] as shown.
        row: of the manifest; age, sex and view are taken from it.
        inverted: MONOCHROME1, else MONOCHROME2.
    """

    def make_uid(part: str) -> UID:
        digest = hashlib.sha256(f"chestx sample {part} {row['file']}".encode()).digest()
        return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")

    # Value x 16 + 8 lies in the middle of a step of the window 2048/4096.
    stored = pixels.astype(np.uint16) * 16 + 8
    if inverted:
        stored = 4095 - stored
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = make_uid("instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.30071969")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": make_uid("study"),
        "SeriesInstanceUID": make_uid("series"),
        "PatientName": "Sample^Invented",
        "PatientID": f"SAMPLE-{make_uid('patient')[-6:]}",
        "PatientBirthDate": "",
        "PatientSex": row["sex"],
        "PatientAge": f"{int(float(row['age'])):03d}Y",
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "AccessionNumber": make_uid("accession")[-8:],
        "StudyID": "1",
        "ReferringPhysicianName": "",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "Manufacturer": "chestx sample",
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "ViewPosition": row["view"],
        "PatientOrientation": ["L", "F"],
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME1" if inverted else "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": 2048,
        "WindowWidth": 4096,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 10,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.add(_pixel_data(stored))
    return dataset


def _pixel_data(stored: np.ndarray) -> Any:
    holder = Dataset()
    holder.PixelData = stored.tobytes()
    holder["PixelData"].VR = "OW"
    return holder["PixelData"]


def make_sample(name: str, kind: str, source: Path, row: dict[str, str]) -> None:
    """Writes one sample."""
    target = SAMPLES / name
    if kind == "copy":
        shutil.copyfile(source, target)
        return
    if kind == "cut":
        data = source.read_bytes()
        target.write_bytes(data[: len(data) * 6 // 10])
        return
    if kind == "photo":
        from skimage import data as photos

        colour = photos.astronaut()  # type: ignore[no-untyped-call]
        picture = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        cv2.imwrite(str(target), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        return
    pixels = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None, source
    if kind in ("png", "inverted"):
        shown = 255 - pixels if kind == "inverted" else pixels
        cv2.imwrite(str(target), shown, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        return
    dataset = make_dicom(pixels, row, inverted=kind == "monochrome1")
    if kind == "jpegls":
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    dataset.save_as(target, enforce_file_format=True)


def main(cxr: Path) -> None:
    """Writes every sample and prints the table of attributions."""
    with open(cxr / "manifest.csv", encoding="utf-8", newline="") as file:
        manifest = {row["file"]: row for row in csv.DictReader(file)}
    SAMPLES.mkdir(parents=True, exist_ok=True)
    lines = [
        "| sample | label given by its source | made from | attribution |",
        "|---|---|---|---|",
    ]
    for name, file_name, kind, attribution in ROWS:
        row = manifest.get(file_name, {})
        if row and row["dev_split"] != "test":
            raise SystemExit(f"{file_name}: expected a row of the test split")
        make_sample(name, kind, cxr / file_name, row)
        done = {"copy": "copied", "cut": "cut at six tenths", "photo": "turned grey"}.get(
            kind, kind
        )
        label = row.get("label", "none") + (
            f", {float(row['age']):.0f} y" if row.get("age") else ""
        )
        lines.append(f"| `{name}` | {label} | {file_name or 'photo'} ({done}) | {attribution} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
