"""Every object of one study before judges that are not of this project."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset

from chestx.domain import CAVEAT
from chestx.export.dicom_common import encode_object

Errors = Callable[[Path], list[str]]
Paths = Mapping[str, Path]

KINDS = ("sr", "sc1", "sc2", "sc3", "gsps1", "gsps2", "gsps3", "kos", "withdrawal")


def test_a_study_gives_every_kind_of_object(study_files: Paths) -> None:
    assert {name for name in study_files if not name.startswith("source")} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_an_object_keeps_to_its_iod(study_files: Paths, dciodvfy: Errors, name: str) -> None:
    assert dciodvfy(study_files[name]) == []


def test_the_objects_and_their_sources_agree_on_patient_study_and_series(
    study_files: Paths, dcentvfy: Callable[[Sequence[Path]], list[str]]
) -> None:
    assert dcentvfy(list(study_files.values())) == []


FAULTS: dict[str, tuple[str, Callable[[Dataset], Any]]] = {
    "no conversion type": ("sc1", lambda d: d.pop("ConversionType")),
    "pixels of the wrong kind": (
        "sc1",
        lambda d: setattr(d, "PhotometricInterpretation", "MONOCHROME2"),
    ),
    "no study": ("sc1", lambda d: d.pop("StudyInstanceUID")),
    "no evidence": ("sr", lambda d: d.pop("CurrentRequestedProcedureEvidenceSequence")),
    "no relationship": ("sr", lambda d: d.ContentSequence[0].pop("RelationshipType")),
    "no presentation": ("gsps1", lambda d: d.pop("PresentationLUTShape")),
    "no title": ("kos", lambda d: d.pop("ConceptNameCodeSequence")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_validator_sees_a_planted_fault(
    study_files: Paths, dciodvfy: Errors, tmp_path: Path, fault: str
) -> None:
    name, plant = FAULTS[fault]
    data_set = pydicom.dcmread(study_files[name])
    plant(data_set)
    (tmp_path / "faulty.dcm").write_bytes(encode_object(data_set))
    assert dciodvfy(tmp_path / "faulty.dcm") != []


def test_the_validator_sees_a_patient_of_another_name(
    study_files: Paths, dcentvfy: Callable[[Sequence[Path]], list[str]], tmp_path: Path
) -> None:
    data_set = pydicom.dcmread(study_files["sc1"])
    data_set.PatientName = "Somebody^Else"
    (tmp_path / "faulty.dcm").write_bytes(encode_object(data_set))
    assert dcentvfy([study_files["source1"], tmp_path / "faulty.dcm"]) != []


@pytest.mark.parametrize("name", ["sr", "kos", "withdrawal"])
def test_dcmtk_reads_a_document_and_renders_it(
    study_files: Paths, dcmtk: Callable[..., str], tmp_path: Path, name: str
) -> None:
    said = dcmtk("dsrdump", "--quiet", "--print-all-codes", study_files[name])
    assert not re.search(r"(?m)^[EWF]: ", said), said
    page = tmp_path / "page.html"
    said = dcmtk("dsr2html", "--expand-inline", study_files[name], page)
    assert not re.search(r"(?m)^[EF]: ", said), said
    assert "Patient9001" in page.read_text("latin-1")


def test_the_rendered_report_says_what_a_reader_must_know(
    study_files: Paths, dcmtk: Callable[..., str], tmp_path: Path
) -> None:
    dcmtk("dsr2html", "--expand-inline", study_files["sr"], tmp_path / "page.html")
    page = re.sub(r"<[^>]+>", " ", (tmp_path / "page.html").read_text("utf-8", "replace"))
    text = " ".join(page.replace("&nbsp;", " ").split())
    for part in ("neumonia", "Present", "Absent", "ot assessed", "Unverified", CAVEAT):
        assert part.lower() in text.lower(), part


@pytest.mark.parametrize("name", ["gsps1", "gsps2", "gsps3"])
def test_dcmtk_accepts_a_presentation_state(
    study_files: Paths, dcmtk: Callable[..., str], checks: Any, name: str
) -> None:
    assert checks.list_state_faults(study_files[name]) == []


def test_dcmtk_sees_a_fault_planted_in_a_presentation_state(
    study_files: Paths, dcmtk: Callable[..., str], checks: Any, tmp_path: Path
) -> None:
    data_set = pydicom.dcmread(study_files["gsps1"])
    del data_set.PresentationLUTShape
    (tmp_path / "faulty.dcm").write_bytes(encode_object(data_set))
    assert checks.list_state_faults(tmp_path / "faulty.dcm") != []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_dcmtk_draws_a_presentation_state_over_its_image(
    study_files: Paths, dcmtk: Callable[..., str], tmp_path: Path, number: int
) -> None:
    shown = tmp_path / "shown.pgm"
    state, source = study_files[f"gsps{number}"], study_files[f"source{number}"]
    said = dcmtk("dcmp2pgm", "--pstate", state, source, shown)
    assert not re.search(r"(?m)^[EF]: ", said), said
    assert shown.read_bytes().startswith(b"P5")


def test_dcmtk_draws_a_secondary_capture(
    study_files: Paths, dcmtk: Callable[..., str], tmp_path: Path
) -> None:
    from PIL import Image

    dcmtk("dcm2pnm", "--write-png", study_files["sc1"], tmp_path / "sc.png")
    data_set = pydicom.dcmread(study_files["sc1"])
    with Image.open(tmp_path / "sc.png") as picture:
        assert picture.mode == "RGB"
        assert picture.size == (data_set.Columns, data_set.Rows)
        assert picture.tobytes() == data_set.PixelData[: picture.width * picture.height * 3]


def test_highdicom_reads_the_report(study: Mapping[str, bytes]) -> None:
    import highdicom

    report = highdicom.sr.Comprehensive3DSR.from_dataset(pydicom.dcmread(io.BytesIO(study["sr"])))
    content: Any = report.content
    groups = [
        *content.get_image_measurement_groups(),
        *content.get_planar_roi_measurement_groups(),
    ]
    assert groups
    assert len({group.tracking_uid for group in groups}) == len(groups)
    assert all(group.tracking_identifier for group in groups)
    assert any(group.finding_type and group.finding_type.meaning == "Pneumonia" for group in groups)


def test_the_same_result_gives_the_same_bytes(sources: Any, answerer: Any, results: Any) -> None:
    data = sources.make_source(sources.CASES[0], study=9002)
    first, second = (
        results.encode_objects(results.make_objects([answerer.read(data)], with_withdrawal=True))
        for _ in range(2)
    )
    assert first == second
