"""Radiographs of every kind, each with all objects of it, before every judge.

``benchmarks/dicom_matrix.py`` asks the same of every case there is.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_charset_files

from chestx.export.dicom_source import NoDicomSourceError

CORE = {
    "pixels": (
        "plain", "mono1-15", "mono2-8", "mono2-10", "mono2-16", "rgb", "ybr-full", "palette",
        "small", "wide", "tall", "large",
    ),
    "names": (
        "name-japanese", "name-japanese-kana", "name-korean", "name-chinese-gb18030",
        "name-chinese-2022", "name-cyrillic", "name-greek", "name-arabic", "name-hebrew",
        "name-utf8", "name-long-groups", "charset-missing-latin1",
    ),
    "geometry": (
        "orientation-rh", "orientation-missing", "orientation-spelt", "spacing-zero",
        "imager-missing", "spacing-anisotropic", "laterality-word", "body-part-missing",
    ),
    "headers": (
        "missing-all", "bad-dates", "patient-id-spaces", "timezone", "lossy", "trial",
        "deidentified", "private-nested", "request-full", "sequences-spoilt",
    ),
    "classes": ("dx-inverse", "sc", "syntax-jpeg2000", "big-endian-request"),
}  # fmt: skip
"""What differs most, by group."""

WRITTEN_IN_UTF_8 = ("name-chinese-2022", "charset-missing-latin1")
"""Names whose bytes change, and their characters do not."""

SHOWN_ALIKE = ("plain", "mono1-12", "mono2-8", "dx-inverse", "window-many",
               "rescale")  # fmt: skip


@pytest.fixture(scope="module")
def matrix(repository: Path, sources: Any, results: Any) -> Any:
    """The sweep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "benchmarks"))
        return importlib.import_module("dicom_matrix")


@pytest.fixture
def judges(matrix: Any, tmp_path: Path, request: pytest.FixtureRequest, dciodvfy: Any) -> Any:
    """All judges; without Orthanc where that is not installed."""
    try:
        pacs = request.getfixturevalue("orthanc")
    except pytest.skip.Exception:
        pacs = None
    return matrix.Judges(tmp_path, pacs, checks_templates=False)


@pytest.mark.parametrize("group", CORE)
def test_the_objects_of_radiographs_of_every_kind_are_accepted_everywhere(
    sources: Any, matrix: Any, judges: Any, answerer: Any, group: str
) -> None:
    cases = {case.name: case for case in sources.CASES if case.group == group}
    for name in CORE[group]:
        matrix.prove_case(cases[name], judges, answerer)
    assert judges.faults == {}
    assert judges.objects["sr"] == len(CORE[group])


@pytest.mark.parametrize("answer", ["positive", "uncertain", "negative", "by scope"])
def test_the_objects_of_every_answer_are_accepted_everywhere(
    sources: Any, matrix: Any, judges: Any, answerer: Any, answer: str
) -> None:
    cases = {case.name: case for case in sources.CASES}
    judges.checks_templates = True
    for name in ("plain", "view-lateral"):
        matrix.prove_case(cases[name], judges, answerer, answer=answer)
    assert judges.faults == {}


@pytest.mark.parametrize("name", ["long-patient-id", "patient-id-backslash", "uid-leading-zero"])
def test_an_object_that_could_not_be_filed_with_its_source_is_not_made(
    sources: Any, answerer: Any, name: str
) -> None:
    case = next(case for case in sources.CASES if case.name == name)
    with pytest.raises(NoDicomSourceError):
        answerer.read(sources.make_source(case))


def test_the_objects_of_real_files_are_accepted_everywhere(
    matrix: Any, judges: Any, answerer: Any, results: Any
) -> None:
    data_store = pytest.importorskip("data_store")
    folder = Path(data_store.__file__).parent / "data"
    files = [folder / "RG1_UNCR.dcm", *map(Path, get_charset_files("chr*.dcm"))]
    for path in files:
        data = path.read_bytes()
        try:
            image = answerer.read(data, "by scope" if path.name.startswith("chr") else "positive")
        except NoDicomSourceError:
            continue  # Some of pydicom's files state no study.
        objects = results.encode_objects(results.make_objects([image]))
        judges.judge(path.stem, data, objects)
    assert judges.objects["sr"] > 5
    assert judges.faults == {}


@pytest.mark.parametrize("name", SHOWN_ALIKE)
def test_a_presentation_state_shows_an_image_as_it_was_shown_to_the_model(
    sources: Any, answerer: Any, results: Any, dcmtk: Callable[..., str], tmp_path: Path, name: str
) -> None:
    from PIL import Image

    case = next(case for case in sources.CASES if case.name == name)
    data = sources.make_source(case)
    image = answerer.read(data)
    state = results.encode_objects(results.make_objects([image]))["gsps1"]
    (tmp_path / "image.dcm").write_bytes(data)
    (tmp_path / "state.dcm").write_bytes(state)
    shown = tmp_path / "shown.pgm"
    dcmtk("dcmp2pgm", "--pstate", tmp_path / "state.dcm", tmp_path / "image.dcm", shown)
    with Image.open(shown) as picture:
        theirs = np.asarray(picture.convert("L")).astype(float)
    preview = image.report.preview
    assert theirs.shape == preview.shape
    assert np.abs(theirs - preview).mean() < 3


def test_the_words_of_a_name_are_those_of_the_source_in_every_script(
    sources: Any, answerer: Any, results: Any
) -> None:
    for case in sources.CASES:
        if case.name in CORE["names"] and case.name not in WRITTEN_IN_UTF_8:
            data = sources.make_source(case)
            before = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
            for made in results.make_objects([answerer.read(data)]).values():
                after = pydicom.dcmread(io.BytesIO(results.encode_object(made)))
                assert after.PatientName == before.PatientName, case.name
                assert _find_name(results.encode_object(made)) == _find_name(data), case.name


@pytest.mark.parametrize(
    ("name", "patient"),
    [("name-chinese-2022", "Zhang^XiaoDong=张^小东"), ("charset-missing-latin1", "Müller^Jörg")],
)
def test_a_name_that_is_written_anew_has_the_same_characters(
    sources: Any, answerer: Any, results: Any, name: str, patient: str
) -> None:
    case = next(case for case in sources.CASES if case.name == name)
    for made in results.make_objects([answerer.read(sources.make_source(case))]).values():
        assert pydicom.dcmread(io.BytesIO(results.encode_object(made))).PatientName == patient


def _find_name(data: bytes) -> bytes:
    """The bytes of PatientName as they stand in a file with explicit VR."""
    start = data.index(b"\x10\x00\x10\x00PN") + 8
    return data[start : start + int.from_bytes(data[start - 2 : start], "little")]
