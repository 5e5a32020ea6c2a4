"""``chestx withdraw``: results from disk, which may be anybody's files."""

from __future__ import annotations

import random
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)

from chestx.batch.withdraw import withdraw_results
from chestx.cli.app import run
from chestx.domain import ChestxError
from chestx.export.dicom_common import ObjectKind, encode_object
from chestx.export.key_object import WithdrawalReason

Captured = pytest.CaptureFixture[str]
_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_NAME = re.compile(r"withdrawal-2\.25\.[0-9]+\.dcm")


def make_uid(number: int) -> str:
    """One of the form that results have: a UUID of version 8."""
    return f"2.25.{number << 80 | 8 << 76 | 2 << 62}"


def make_result(number: int, *, study: str = "1.2.3", patient: str = "P-1") -> Dataset:
    """The elements of a result picture that name it."""
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    equipment = Dataset()
    equipment.Manufacturer = "chestx"
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    result = Dataset()
    result.SpecificCharacterSet = "ISO_IR 100"
    result.SOPClassUID = SecondaryCaptureImageStorage
    result.SOPInstanceUID = make_uid(number)
    result.StudyInstanceUID, result.SeriesInstanceUID = study, f"{study}.1"
    result.SeriesNumber = ObjectKind.SC.series_number
    result.PatientID, result.PatientName = patient, "Meier^J\u00f6rg"
    result.ContributingEquipmentSequence = [equipment]
    return result


def write_result(folder: Path, result: Dataset, name: str = "") -> Path:
    path = folder / (name or f"{result.SOPInstanceUID}.dcm")
    path.write_bytes(encode_object(result))
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    write_result(folder, make_result(1))
    write_result(folder, make_result(2))
    return folder


def withdraw(*arguments: object) -> int:
    return run(["withdraw", *map(str, arguments)])


def assert_refused(captured: Captured, output: Path, *, says: str) -> None:
    error = captured.readouterr().err
    assert len(error.strip().splitlines()) == 1, error
    assert says in error
    assert "Meier" not in error
    assert not output.exists()


def test_a_document_a_study_takes_its_results_back(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    write_result(inbox, make_result(1), "a copy.dcm")
    write_result(inbox, make_result(1, study="1.2.4", patient="../../P-2"))
    output = tmp_path / "out"
    assert withdraw(inbox, "--reason", "superseded", "-o", output) == 0
    said = capsys.readouterr().out
    assert "takes back 2 objects" in said
    assert "takes back 1 object\n" in said
    documents = [dcmread(path) for path in sorted(output.iterdir())]
    assert all(_NAME.fullmatch(path.name) for path in output.iterdir())
    assert {str(x.StudyInstanceUID) for x in documents} == {"1.2.3", "1.2.4"}
    for document in documents:
        assert document.SOPClassUID == KeyObjectSelectionDocumentStorage
        assert document.PatientName == "Meier^J\u00f6rg"
        assert document.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "SUPERSEDED"


def test_one_uid_for_two_patients_gives_each_a_document(inbox: Path, tmp_path: Path) -> None:
    write_result(inbox, make_result(3, patient="P-2"))
    assert withdraw(inbox, "--reason", "quality", "-o", tmp_path / "out") == 0
    patients = [str(dcmread(path).PatientID) for path in (tmp_path / "out").iterdir()]
    assert sorted(patients) == ["P-1", "P-2"]


def test_the_results_of_one_study_may_go_to_a_named_file(inbox: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "back.dcm"
    assert withdraw(inbox, "--reason", "quality", "-o", target) == 0
    first = dcmread(target).SOPInstanceUID
    assert withdraw(inbox, "--reason", "quality", "-o", target, "--overwrite") == 0
    assert dcmread(target).SOPInstanceUID == first


def test_a_document_that_is_there_is_not_replaced_unasked(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    target = tmp_path / "back.dcm"
    target.write_text("somebody's")
    assert withdraw(inbox, "--reason", "quality", "-o", target) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert target.read_text() == "somebody's"


def test_a_name_of_a_file_is_refused_for_two_studies(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    write_result(inbox, make_result(1, study="1.2.4"))
    output = tmp_path / "back.dcm"
    assert withdraw(inbox, "--reason", "quality", "-o", output) == 2
    assert_refused(capsys, output, says="expected a folder for the withdrawals of 2 studies")


def test_a_folder_in_the_place_of_a_document_is_refused(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    output = tmp_path / "out"
    assert withdraw(inbox, "--reason", "quality", "-o", output) == 0
    (target,) = output.iterdir()
    target.unlink()
    target.mkdir()
    assert withdraw(inbox, "--reason", "quality", "-o", output, "--overwrite") == 2
    assert "is a folder; name another place" in capsys.readouterr().err


def test_what_chestx_did_not_make_is_refused_and_nothing_is_written(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    radiograph = make_result(7)
    radiograph.SOPClassUID, radiograph.SeriesNumber = ComputedRadiographyImageStorage, 1
    foreign = make_result(8)
    foreign.ContributingEquipmentSequence[0].Manufacturer = "Somebody"
    withdrawal = make_result(10)
    withdrawal.SeriesNumber = ObjectKind.WITHDRAWAL.series_number
    forged = make_result(11)
    forged.SOPInstanceUID = "1.2.840.113619.2.66.1"
    output = tmp_path / "out"
    for item in (radiograph, foreign, withdrawal, forged):
        path = write_result(inbox, item, "other.dcm")
        assert withdraw(inbox, "--reason", "quality", "-o", output) == 2
        assert_refused(capsys, output, says="expected a result that chestx made")
        path.unlink()


def test_an_unreadable_file_is_refused_with_its_reason(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    output = tmp_path / "out"
    whole = write_result(inbox, make_result(5)).read_bytes()
    cases = {
        b"no DICOM at all": "expected a DICOM file",
        b"": "got an empty file",
        whole[: len(whole) - 7]: "the header is cut short",
    }
    for content, says in cases.items():
        (inbox / "other.dcm").write_bytes(content)
        assert withdraw(inbox, "--reason", "quality", "-o", output) == 1
        assert_refused(capsys, output, says=says)


def test_too_many_results_are_refused(
    inbox: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.batch.withdraw.MAX_OBJECTS", 1)
    assert withdraw(inbox, "--reason", "quality", "-o", tmp_path / "out") == 2
    assert_refused(capsys, tmp_path / "out", says="expected at most 1 results at once, got 2")


def test_a_place_that_cannot_be_written_is_said(
    inbox: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("x")
    assert withdraw(inbox, "--reason", "quality", "-o", tmp_path / "file" / "out") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_uid_that_is_a_path_is_no_uid(inbox: Path, tmp_path: Path, capsys: Captured) -> None:
    whole = encode_object(make_result(5, study="1.2.3.4.5.6.7.8"))
    (inbox / "other.dcm").write_bytes(whole.replace(b"1.2.3.4.5.6.7.8", b"../../../../etc"))
    assert withdraw(inbox, "--reason", "quality", "-o", tmp_path / "out") == 2
    assert_refused(capsys, tmp_path / "out", says="expected a result that chestx made")


def test_no_damage_ends_in_anything_but_a_document_or_an_error_in_words(tmp_path: Path) -> None:
    dice = random.Random(6)
    whole = encode_object(make_result(1))
    path, output = tmp_path / "damaged.dcm", tmp_path / "back.dcm"
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(132, len(data))] = dice.randrange(256)
        path.write_bytes(data)
        with suppress(ChestxError):
            withdraw_results(
                [str(path)], output, reason=WithdrawalReason.QUALITY, at=_AT, overwrite=True
            )
            assert dcmread(output).SeriesNumber == ObjectKind.WITHDRAWAL.series_number
