"""The objects of one study in a real PACS."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

Study = Mapping[str, bytes]


@pytest.fixture(scope="module")
def stored(orthanc: Any, study: Study) -> Mapping[str, dict[str, Any]]:
    """What Orthanc said when each file of the study was stored by REST."""
    return {name: orthanc.store(data) for name, data in study.items()}


def test_the_pacs_under_test_listens_on_this_machine_alone(orthanc: Any, checks: Any) -> None:
    assert checks.list_listening_addresses(orthanc.process.pid) == {"127.0.0.1"}


def test_everything_is_stored_and_comes_back_byte_for_byte(
    orthanc: Any, checks: Any, study: Study, stored: Mapping[str, dict[str, Any]]
) -> None:
    for name, data in study.items():
        assert stored[name]["Status"] == "Success"
        back = orthanc.get(f"/instances/{stored[name]['ID']}/file")
        assert checks.skip_file_meta(back) == checks.skip_file_meta(data), name


def test_everything_lands_in_the_study_and_patient_of_its_source(
    orthanc: Any, stored: Mapping[str, dict[str, Any]]
) -> None:
    assert len({said["ParentStudy"] for said in stored.values()}) == 1
    assert len({said["ParentPatient"] for said in stored.values()}) == 1
    study = orthanc.get_json(f"/studies/{stored['source1']['ParentStudy']}")
    assert study["PatientMainDicomTags"]["PatientName"] == "Test^Patient9001"
    assert study["MainDicomTags"]["AccessionNumber"] == "A09001"


def test_each_kind_has_a_series_of_its_own_beside_the_source(
    orthanc: Any, stored: Mapping[str, dict[str, Any]]
) -> None:
    by_series: dict[str, set[str]] = {}
    for name, said in stored.items():
        by_series.setdefault(said["ParentSeries"], set()).add(name.rstrip("123"))
    # The lateral is in another series of the source.
    kinds = ["gsps", "kos", "sc", "source", "source", "sr", "withdrawal"]
    assert sorted(kind for series in by_series.values() for kind in series) == kinds
    tags = {
        name: orthanc.get_json(f"/series/{stored[name]['ParentSeries']}")["MainDicomTags"]
        for name in ("sc1", "sr", "gsps1", "kos")
    }
    numbers = [int(tag["SeriesNumber"]) for tag in tags.values()]
    assert len(set(numbers)) == 4
    assert min(numbers) > 9000
    modalities = {name: tag["Modality"] for name, tag in tags.items()}
    assert (modalities["sr"], modalities["gsps1"], modalities["kos"]) == ("SR", "PR", "KO")
    for tag in tags.values():
        assert tag["SeriesDescription"].startswith("AI ")
        assert "not for diagnosis" in tag["SeriesDescription"]


def test_an_object_that_is_sent_twice_is_there_once(orthanc: Any, study: Study) -> None:
    before = orthanc.get_json("/statistics")["CountInstances"]
    for name in ("sc1", "sr", "gsps1", "kos"):
        orthanc.store(study[name])
    assert orthanc.get_json("/statistics")["CountInstances"] == before


def test_a_capture_is_drawn_by_the_pacs_as_it_is(
    orthanc: Any, study: Study, stored: Mapping[str, dict[str, Any]]
) -> None:
    from PIL import Image

    data_set = pydicom.dcmread(io.BytesIO(study["sc1"]))
    shown = orthanc.get(f"/instances/{stored['sc1']['ID']}/preview")
    with Image.open(io.BytesIO(shown)) as picture:
        assert picture.size == (data_set.Columns, data_set.Rows)
        assert (
            picture.convert("RGB").tobytes()
            == data_set.PixelData[: 3 * picture.width * picture.height]
        )


def test_what_a_document_refers_to_is_found_in_the_pacs(
    orthanc: Any, study: Study, stored: Mapping[str, dict[str, Any]]
) -> None:
    there = {
        orthanc.get(f"/instances/{said['ID']}/content/SOPInstanceUID").decode().strip("\0 ")
        for said in stored.values()
    }
    for name in ("sr", "kos", "withdrawal", "gsps1", "sc1"):
        data_set = pydicom.dcmread(io.BytesIO(study[name]))
        named = {
            str(element.value)
            for element in data_set.iterall()
            if element.keyword == "ReferencedSOPInstanceUID"
        }
        assert named, name
        assert named <= there, name


def test_the_store_of_dcmtk_is_accepted_too(
    orthanc: Any, study_files: Mapping[str, Path], study: Study, checks: Any,
    dcmtk: Callable[..., str], stored: Mapping[str, dict[str, Any]],
) -> None:  # fmt: skip
    names = ("sc1", "sr", "gsps1", "kos")
    paths = [study_files[name] for name in names]
    orthanc_aet = checks.ORTHANC_AET
    for name in names:
        orthanc.delete(f"/instances/{stored[name]['ID']}")
    dcmtk(
        "storescu", "-R", "-aec", orthanc_aet, "127.0.0.1", str(orthanc.dicom_port), *paths
    )  # fmt: skip
    for name in names:
        back = orthanc.get(f"/instances/{stored[name]['ID']}/file")
        assert pydicom.dcmread(io.BytesIO(back)) == pydicom.dcmread(io.BytesIO(study[name]))
        assert checks.skip_file_meta(back) == checks.skip_file_meta(study[name]), name


def test_two_patients_under_one_study_uid_stay_apart(
    orthanc: Any, sources: Any, answerer: Any, results: Any
) -> None:
    said: dict[str, list[dict[str, Any]]] = {}
    for patient in ("P1", "P2"):
        case = sources.Case("study", "patient", {"PatientID": patient})
        data = sources.make_source(case, study=9003, image=int(patient[1]))
        objects = results.make_objects([answerer.read(data)])
        files = [data, *results.encode_objects(objects).values()]
        said[patient] = [orthanc.store(file) for file in files]
    for answers in said.values():
        assert len({answer["ParentPatient"] for answer in answers}) == 1
        assert len({answer["ParentStudy"] for answer in answers}) == 1
    first, second = ({answer["ParentSeries"] for answer in answers} for answers in said.values())
    assert not first & second


def test_another_model_gives_other_objects_beside_the_first(
    orthanc: Any, sources: Any, answerer: Any, results: Any, checks: Any
) -> None:
    data = sources.make_source(sources.CASES[0], study=9005)
    image = answerer.read(data)
    newer = replace(image, model=replace(image.model, version="9.9", checksum="ab" * 32))
    said = [
        {
            kind: orthanc.store(file)
            for kind, file in results.encode_objects(results.make_objects([each])).items()
        }
        for each in (image, newer)
    ]
    for kind, first in said[0].items():
        assert first["ID"] != said[1][kind]["ID"]
        assert first["ParentSeries"] != said[1][kind]["ParentSeries"]
        assert first["ParentStudy"] == said[1][kind]["ParentStudy"]


def test_two_patients_never_share_a_document(sources: Any, answerer: Any, results: Any) -> None:
    from chestx.domain import UsageError

    images = [
        answerer.read(
            sources.make_source(
                sources.Case("study", "patient", {"PatientID": f"P{i}"}), study=9004, image=i
            )
        )
        for i in (1, 2)
    ]
    with pytest.raises(UsageError, match="patient"):
        results.make_structured_report(images)
