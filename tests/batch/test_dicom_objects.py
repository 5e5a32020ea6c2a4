"""DICOM objects of a run: each once, whole or not there, and nothing of others touched."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from chestx.analysis import analyze
from chestx.batch.dicom_folder import check_object_folder, remove_objects
from chestx.batch.dicom_objects import MadeObjects, ObjectWriter
from chestx.batch.dicom_parts import Part, read_part, write_part
from chestx.batch.journal import lock_output
from chestx.batch.options import (
    CAPTURE_SIZE,
    OBJECT_KINDS,
    OBJECT_NAME,
    BatchOptions,
    BatchSummary,
    parse_objects,
)
from chestx.batch.run import predict_files, prepare_folders
from chestx.domain import ChestxError, Failure, Report, UsageError
from chestx.export.dicom_common import ObjectKind
from chestx.models.classifier import Classifier
from chestx.rendering.capture import RADIOGRAPH_SIZE

WriteDicom = Callable[..., Path]


def run(paths: list[Path], output: Path, classifier: Classifier, **changes: Any) -> BatchSummary:
    modes = {name: changes.pop(name, False) for name in ("resume", "overwrite")}
    options = BatchOptions(
        **{
            "workers": 0,
            "heatmap_size": 128,
            "dicom": str(output / "dcm"),
            "objects": OBJECT_KINDS,
            **changes,
        }
    )
    prepare_folders(output, options=options, **modes)
    return predict_files(
        [str(path) for path in paths],
        output,
        classifier=classifier,
        options=options,
        resume=modes["resume"],
    )


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def inputs(
    samples: Path,
    write_dicom: WriteDicom,
    write_broken: WriteDicom,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """Two images of a study around others, one given twice, and each way to have no objects."""
    folder = tmp_path_factory.mktemp("inputs")
    frontal = write_dicom(folder / "frontal.dcm", study=1)
    return [
        frontal,
        samples / "child-1-normal.jpg",
        write_dicom(folder / "other patient.dcm", study=1, PatientID="P9", image=2),
        write_broken(folder / "broken.dcm", study=1, image=3),
        Path(shutil.copyfile(frontal, folder / "again.dcm")),
        write_dicom(folder / "no-study.dcm", study=4, StudyInstanceUID=None),
        write_dicom(folder / "lateral.dcm", study=1, image=4, ViewPosition="LL"),
    ]


@pytest.fixture(scope="module")
def whole(
    inputs: list[Path], classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out"
    run(inputs, output, classifier)
    return output


def test_every_image_and_study_has_its_objects_once(whole: Path) -> None:
    names = list_names(whole / "dcm")
    assert all(OBJECT_NAME.fullmatch(name) for name in names)
    positive = [name for name in names if name.endswith(".kos.dcm")]
    assert [name for name in names if name not in positive] == [
        "000001_frontal.dcm.gsps.dcm",
        "000001_frontal.dcm.sc.dcm",
        "000003_other_patient.dcm.gsps.dcm",
        "000003_other_patient.dcm.sc.dcm",
        "000007_lateral.dcm.gsps.dcm",
        "000007_lateral.dcm.sc.dcm",
        "study-000001.sr.dcm",
        "study-000003.sr.dcm",
    ]
    data_sets = [dcmread(path) for path in (whole / "dcm").iterdir()]
    assert len({data_set.SOPInstanceUID for data_set in data_sets}) == len(names)
    assert not (whole / ".dicom-parts").exists()


def test_a_damaged_copy_does_not_stand_in_the_way_of_a_whole_one(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    whole = samples / "adult-4-pneumonia-jpegls.dcm"
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(whole.read_bytes()[:40_000])
    summary = run([damaged, whole], tmp_path / "out", classifier)
    assert summary.objects is not None
    assert summary.objects.repeated == 1
    names = list_names(tmp_path / "out" / "dcm")
    assert "000002_adult-4-pneumonia-jpegls.dcm.sc.dcm" in names
    report = dcmread(tmp_path / "out" / "dcm" / "study-000002.sr.dcm")
    assert "Present" in str(report)
    assert "Failed" not in str(report)


def test_a_study_is_of_one_patient_and_names_all_its_images(whole: Path) -> None:
    named = {}
    for number in (1, 3):
        report = dcmread(whole / "dcm" / f"study-{number:06d}.sr.dcm")
        (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
        named[report.PatientID] = sorted(
            item.ReferencedSOPInstanceUID
            for series in evidence.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        )
    assert named == {
        "P1": ["2.25.31001", "2.25.31003", "2.25.31004"],
        "P9": ["2.25.31002"],
    }


def test_what_was_written_and_why_some_was_not_stands_in_the_record(whole: Path) -> None:
    objects = json.loads((whole / "run.json").read_text("utf-8"))["objects"]
    counts = {kind: 0 for kind in OBJECT_KINDS}
    for name in list_names(whole / "dcm"):
        counts[name.split(".")[-2]] += 1
    assert objects["written"] == counts
    assert sum(objects["without_source"].values()) == 2
    assert any("no DICOM image" in reason for reason in objects["without_source"])
    assert any("StudyInstanceUID" in reason for reason in objects["without_source"])
    assert objects["repeated"] == 1
    assert objects["not_made"] == {}


def test_tables_and_pictures_are_those_of_a_run_without_objects(
    whole: Path, inputs: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    run(inputs, tmp_path / "out", classifier, dicom="")
    for path in sorted((tmp_path / "out").rglob("*")):
        if path.is_file() and path.name not in ("run.json", "report.html"):
            other = whole / path.relative_to(tmp_path / "out")
            assert other.read_bytes() == path.read_bytes(), path.name


def interrupt(whole: Path, output: Path, inputs: list[Path], classifier: Classifier) -> None:
    """A run that ends while its studies' objects are made: nothing but them is missing."""

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chestx.batch.dicom_objects.group_studies", fail)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, output, classifier)


def cut(output: Path, rows: int) -> None:
    lines = (output / "results.csv").read_bytes().split(b"\n")
    (output / "results.csv").write_bytes(b"\n".join(lines[: rows + 1]) + b"\n" + lines[-2][:20])


def test_a_resumed_run_keeps_the_bytes_and_times_of_what_was_done(
    whole: Path, inputs: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    output, folder = tmp_path / "out", tmp_path / "out" / "dcm"
    interrupt(whole, output, inputs, classifier)
    before = read_all(folder)
    cut(output, rows=3)
    # Half a file of an image that was under way, and one that the table does not hold yet.
    (folder / ".000004_a.png.sc.dcm.chestx-part").write_bytes(b"half")
    assert run(inputs, output, classifier, resume=True).resumed == 3
    after = read_all(folder)
    assert sorted(after) == list_names(whole / "dcm")
    for name in before:
        if name < "000004":
            assert after[name] == before[name], name
    # With the first image's part, the study's report has its time too.
    first, report = (dcmread(folder / name) for name in ("000001_frontal.dcm.sc.dcm",
                     "study-000003.sr.dcm"))  # fmt: skip
    assert first.ContentDate == report.ContentDate
    assert run(inputs, output, classifier, resume=True).resumed == len(inputs)
    assert read_all(folder) == after


def test_a_run_that_only_lacks_its_studies_gets_them_with_the_stored_times(
    whole: Path, inputs: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    interrupt(whole, output, inputs, classifier)
    copy = tmp_path / "copy"
    shutil.copytree(output, copy)
    results = []
    for folder in (output, copy):
        # The folder of the objects stands in the plan as it was given.
        plan = json.loads((folder / "run.json").read_text("utf-8"))
        plan["plan"]["options"]["dicom"] = str(folder / "dcm")
        (folder / "run.json").write_text(json.dumps(plan), "utf-8")
        assert run(inputs, folder, classifier, resume=True).resumed == len(inputs)
        results.append(read_all(folder / "dcm"))
    assert results[0] == results[1]
    assert sorted(results[0]) == list_names(whole / "dcm")


@pytest.mark.parametrize("damage", ["object cut", "object gone", "part cut", "part gone"])
def test_a_row_whose_object_or_part_is_not_whole_is_done_anew(
    whole: Path, inputs: list[Path], classifier: Classifier, tmp_path: Path, damage: str
) -> None:
    output = tmp_path / "out"
    interrupt(whole, output, inputs[:4], classifier)
    what, how = damage.split()
    target = output / (
        "dcm/000003_other_patient.dcm.sc.dcm" if what == "object" else ".dicom-parts/000003.json"
    )
    if how == "gone":
        target.unlink()
    else:
        target.write_bytes(target.read_bytes()[:-9])
    summary = run(inputs[:4], output, classifier, resume=True)
    assert summary.resumed == 2
    assert summary.objects is not None
    assert summary.objects.written["sc"] == 2


def test_a_killed_run_is_finished_with_every_object_once(
    whole: Path, inputs: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [
        sys.executable, "-c", "from chestx.cli import main; main()", "predict",
        *map(str, inputs), "-o", str(output), "--dicom", str(output / "dcm"),
        "--objects", "sc,sr,gsps,kos", "--workers", "0", "--threads", "1", "--quiet", "--resume",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(output.glob("dcm/*.sc.dcm")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert list_names(output / "dcm") == list_names(whole / "dcm")
    assert not (output / ".dicom-parts").exists()


def test_objects_may_lie_among_the_tables_and_others_files(
    inputs: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    for name in ("mine.dcm", "study-1.sr.dcm", "000001_a.sc.dcm.bak"):
        (output / name).write_text("mine")
    summary = run(inputs[:1], output, classifier, dicom=str(output), objects=("sc", "sr"))
    assert summary.objects is not None
    assert summary.objects.written == {"sc": 1, "sr": 1}
    run(inputs[:1], output, classifier, dicom=str(output), objects=("sr",), overwrite=True)
    names = list_names(output)
    assert [name for name in names if OBJECT_NAME.fullmatch(name)] == ["study-000001.sr.dcm"]
    assert {"mine.dcm", "study-1.sr.dcm", "000001_a.sc.dcm.bak"} < set(names)


def test_objects_of_an_earlier_run_are_kept_unless_told_otherwise(
    inputs: list[Path], whole: Path, classifier: Classifier, tmp_path: Path
) -> None:
    folder = tmp_path / "dcm"
    shutil.copytree(whole / "dcm", folder)
    before = read_all(folder)
    for resume in (False, True):
        with pytest.raises(UsageError, match="of an earlier run already"):
            run(inputs, tmp_path / "out", classifier, dicom=str(folder), resume=resume)
    assert read_all(folder) == before
    remove_objects(folder)
    assert list_names(folder) == []


@pytest.mark.parametrize("kind", ["text", "other DICOM", "link", "folder"])
def test_a_file_under_the_name_of_an_object_that_is_not_ours_is_never_touched(
    tmp_path: Path, samples: Path, whole: Path, kind: str
) -> None:
    mine = tmp_path / "000001_mine.sc.dcm"
    if kind == "text":
        mine.write_text("mine")
    elif kind == "other DICOM":
        shutil.copyfile(samples / "adult-2-no-finding-monochrome1.dcm", mine)
    elif kind == "link":
        mine.symlink_to(whole / "dcm" / "000001_frontal.dcm.sc.dcm")
    else:
        mine.mkdir()
    for is_replaced in (False, True):
        with pytest.raises(UsageError, match=r"holds 000001_mine\.sc\.dcm that chestx did not"):
            check_object_folder(tmp_path, replace=is_replaced)
    remove_objects(tmp_path)
    assert os.path.lexists(mine)


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_taken_away(
    inputs: list[Path], whole: Path, classifier: Classifier, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        run(inputs, output, classifier, dicom=str(tmp_path / "file"), overwrite=True)
    assert (output / "results.csv").is_file()


def test_objects_of_a_run_at_work_are_not_taken_away(
    inputs: list[Path], whole: Path, classifier: Classifier, tmp_path: Path
) -> None:
    output, folder = tmp_path / "out", tmp_path / "dcm"
    shutil.copytree(whole, output)
    shutil.copytree(whole / "dcm", folder)
    before = read_all(folder)
    with lock_output(folder), pytest.raises(UsageError, match="another run is at work there"):
        run(inputs, output, classifier, dicom=str(folder), overwrite=True)
    assert read_all(folder) == before
    assert (output / "results.csv").is_file()


def test_objects_of_studies_are_made_though_others_empty_the_folder(
    inputs: list[Path],
    whole: Path,
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show = ObjectWriter.show

    def show_and_take_away(self: ObjectWriter, made: MadeObjects) -> None:
        show(self, made)
        for path in (tmp_path / "dcm").glob("*.dcm"):
            path.unlink()

    monkeypatch.setattr(ObjectWriter, "show", show_and_take_away)
    summary = run(inputs, tmp_path / "out", classifier, dicom=str(tmp_path / "dcm"))
    assert summary.objects is not None
    # One object is asked for that cannot be made, with and without the others.
    record = json.loads((whole / "run.json").read_text())["objects"]
    assert asdict(summary.objects) == record
    for path in sorted((tmp_path / "dcm").glob("study-*.kos.dcm")):
        named = dcmread(path).CurrentRequestedProcedureEvidenceSequence
        expected = dcmread(whole / "dcm" / path.name).CurrentRequestedProcedureEvidenceSequence
        assert named == expected


def test_a_full_disk_ends_the_run_with_the_reason(
    inputs: list[Path], classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / name))

    monkeypatch.setattr("chestx.batch.dicom_objects.stage_object", fill)
    with pytest.raises(ChestxError, match=r"sc\.dcm\): No space left on device"):
        run(inputs[:1], tmp_path / "out", classifier)


def test_an_object_that_cannot_be_made_costs_neither_the_answer_nor_the_others(
    inputs: list[Path],
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("Sample^Invented")

    monkeypatch.setitem(sys.modules["chestx.batch.dicom_objects"].__dict__["_OF_IMAGE"], "sc", fail)
    monkeypatch.setattr("chestx.batch.dicom_studies.make_structured_report", fail)
    summary = run(inputs[:1], tmp_path / "out", classifier)
    assert summary.objects is not None
    assert summary.objects.not_made == {
        "sc: internal error: ValueError": 1,
        "sr: internal error: ValueError": 1,
    }
    assert summary.objects.written["gsps"] == 1
    assert summary.is_incomplete
    assert "Invented" not in caplog.text


def test_a_repair_is_told_without_the_value_and_a_result_has_no_results(
    whole: Path,
    write_dicom: WriteDicom,
    classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repaired = write_dicom(tmp_path / "in" / "a.dcm", PatientOrientation=["L", "L"])
    result = tmp_path / "in" / "b.dcm"
    shutil.copyfile(next((whole / "dcm").glob("*.sc.dcm")), result)
    told: list[Any] = []
    monkeypatch.setattr(
        "chestx.batch.dicom_objects.log.info", lambda *_, extra: told.append(extra["fields"])
    )
    summary = run([repaired, result], tmp_path / "out", classifier, objects=("sr",))
    assert told == [{"row": 1, "repairs": ["PatientOrientation: not two directions; left out"]}]
    assert summary.objects is not None
    assert summary.objects.written == {"sr": 1}
    assert list(summary.objects.without_source) == [
        "the file is a result of chestx itself and no radiograph"
    ]


def test_a_study_of_too_many_images_is_none(
    inputs: list[Path], classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.batch.dicom_studies.MAX_STUDY_IMAGES", 1)
    monkeypatch.setattr("chestx.batch.dicom_studies.MAX_REASONS", 1)
    paths = [inputs[0], inputs[3]]
    summary = run(paths, tmp_path / "out", classifier, objects=("sr", "kos"))
    assert summary.objects is not None
    assert summary.objects.not_made == {
        "kos: other reasons": 1,
        "sr: a study of more than 1 images is none": 1,
    }


def test_a_part_comes_back_as_it_was(
    inputs: list[Path], classifier: Classifier, tmp_path: Path
) -> None:
    for position, path in enumerate((inputs[0], inputs[3])):
        result = analyze(path, model=classifier)
        part = Part(
            assessed_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            result=result,
            objects={"sc": 5},
            not_made={"gsps": "why"},
        )
        write_part(tmp_path, position, part)
        back = read_part(tmp_path, position, model=classifier.identity)
        assert back.result is not None
        assert back.result.header is not None
        assert result.header is not None
        assert replace(back, result=None) == replace(part, result=None)
        assert back.result.header == result.header
        assert back.result.header.dicom_attributes == result.header.dicom_attributes
        if isinstance(result, Failure):
            assert back.result == result
            continue
        assert isinstance(back.result, Report)
        for name in ("findings", "any_finding", "probabilities", "decision", "map_scales"):
            assert getattr(back.result, name) == getattr(result, name)
        assert result.maps is not None
        assert back.result.maps is not None
        assert np.array_equal(back.result.maps, result.maps)


def test_a_damaged_part_is_an_error_and_not_another_answer(
    classifier: Classifier, tmp_path: Path
) -> None:
    write_part(tmp_path, 0, Part(assessed_at=datetime.now(UTC), without_source="none"))
    path = tmp_path / "000001.json"
    path.write_bytes(path.read_bytes().replace(b"none", b"some"))
    with pytest.raises(ChestxError, match="row 1 for its DICOM objects is gone or damaged"):
        read_part(tmp_path, 0, model=classifier.identity)


def test_objects_are_named_by_words_that_are_there() -> None:
    assert parse_objects(None) == ("sc", "sr")
    assert parse_objects(" kos,SC,sc ") == ("sc", "kos")
    for text, got in (("sc,seg", "'seg'"), ("", "''"), ("sc,", "''")):
        with pytest.raises(UsageError, match=f"expected some of sc, sr, gsps, kos, got {got}"):
            parse_objects(text)
    assert set(OBJECT_KINDS) <= {str(kind) for kind in ObjectKind}
    assert CAPTURE_SIZE == RADIOGRAPH_SIZE


def test_rows_stay_in_order_and_hold_what_they_held(whole: Path, inputs: list[Path]) -> None:
    with open(whole / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(path) for path in inputs]
