"""A folder of files becomes a folder of results that can be trusted."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import pytest

from chestx.batch.inputs import collect_inputs
from chestx.batch.journal import RowWriter, lock_output, prepare_output
from chestx.batch.options import BatchOptions, BatchSummary, name_image_file
from chestx.batch.run import predict_files, prepare_folders
from chestx.domain import CAVEAT, ChestxError, Decision, UsageError
from chestx.models.classifier import Classifier


def read_table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(
    paths: list[str], output: Path, classifier: Classifier, options: BatchOptions | None = None
) -> BatchSummary:
    prepare_output(output, overwrite=False)
    return predict_files(paths, output, classifier=classifier, options=options or BatchOptions())


@pytest.fixture(scope="module")
def sample_run(
    samples: Path, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, BatchSummary]:
    output = tmp_path_factory.mktemp("run") / "out"
    paths = collect_inputs([str(samples)], standard_input=b"").paths
    return output, run(paths, output, classifier)


def test_every_input_is_a_row_in_input_order(
    sample_run: tuple[Path, BatchSummary], samples: Path
) -> None:
    output, summary = sample_run
    rows = read_table(output / "results.csv")
    assert [Path(row["path"]).name for row in rows] == sorted(p.name for p in samples.iterdir())
    assert summary.images == len(rows) == 12
    assert sum(summary.decisions.values()) == 12
    assert all(row["caveat"] == CAVEAT for row in rows)
    assert all(len(row["sha256"]) == 64 for row in rows)


def test_the_samples_are_answered_as_they_should(sample_run: tuple[Path, BatchSummary]) -> None:
    rows = {Path(row["path"]).name: row for row in read_table(sample_run[0] / "results.csv")}
    assert rows["other-2-damaged.jpg"]["status"] == "failed"
    assert rows["other-2-damaged.jpg"]["error"]
    assert rows["other-1-inverted.png"]["decision"] == "out_of_scope"
    assert "inverted" in rows["other-1-inverted.png"]["scope_reasons"]
    assert rows["other-3-photo.png"]["decision"] == "out_of_scope"
    chests = [row for name, row in rows.items() if name.startswith(("adult", "child"))]
    assert all(row["decision"] in ("positive", "uncertain", "negative") for row in chests)


def test_the_same_picture_as_png_and_monochrome1_dicom_gets_the_same_answer(
    sample_run: tuple[Path, BatchSummary], cxr: Path, classifier: Classifier
) -> None:
    from chestx.analysis import analyze
    from chestx.domain import Report

    rows = {Path(row["path"]).name: row for row in read_table(sample_run[0] / "results.csv")}
    row = rows["adult-2-no-finding-monochrome1.dcm"]
    report = analyze(cxr / "images" / "nih" / "nih_00002237_000.jpg", model=classifier)
    assert isinstance(report, Report)
    for key, probability in report.probabilities.items():
        assert float(row[f"probability_{key}"]) == pytest.approx(probability, abs=1e-3)


def test_each_readable_image_has_one_picture_and_each_picture_one_row(
    sample_run: tuple[Path, BatchSummary],
) -> None:
    output, _ = sample_run
    rows = read_table(output / "results.csv")
    named = [row["heatmap"] for row in rows if row["heatmap"]]
    assert len(set(named)) == len(named) == 11
    assert {f"heatmaps/{path.name}" for path in (output / "heatmaps").iterdir()} == set(named)
    for name in named:
        picture = cv2.imread(str(output / name))
        assert picture is not None
        assert picture.shape[1] >= 512


def test_studies_come_most_urgent_first(sample_run: tuple[Path, BatchSummary]) -> None:
    rows = read_table(sample_run[0] / "studies.csv")
    urgency = [Decision(row["decision"]).urgency for row in rows]
    assert urgency == sorted(urgency)
    assert len(rows) == sample_run[1].studies == 12


def test_the_run_is_written_down(
    sample_run: tuple[Path, BatchSummary], classifier: Classifier
) -> None:
    output, summary = sample_run
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert record["caveat"] == CAVEAT
    assert record["model"]["checksum"] == classifier.identity.checksum
    assert record["counts"]["images"] == 12
    assert record["counts"]["failed"] == summary.failed == 1
    assert record["status"] == "finished"
    assert {"read", "preprocess", "infer", "judge", "overlay", "pictures", "write"} <= set(
        record["stage_seconds"]
    )
    assert record["stage_cpu_seconds"]["rest"] > 0
    assert record["options"]["heatmap_format"] == "jpg"


def test_identical_input_gives_identical_tables_whatever_the_threads(
    sample_run: tuple[Path, BatchSummary], samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    paths = collect_inputs([str(samples)], standard_input=b"").paths
    options = (
        BatchOptions(threads=1, workers=1, batch_size=1, report=False),
        BatchOptions(threads=4, workers=0, batch_size=16, report=False),
    )
    for number, option in enumerate(options):
        output = tmp_path / str(number)
        run(paths, output, classifier, option)
        for name in ("results.csv", "studies.csv"):
            assert (output / name).read_bytes() == (sample_run[0] / name).read_bytes()


def test_names_that_collide_or_hurt_still_give_one_picture_each(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    names = ["a.png", "A.png", "sub/a.png", "=cmd.png", 'quote".png', "new\nline.png", "肺.png"]
    for name in names:
        target = tmp_path / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(samples / "child-2-normal.png", target)
    undecodable = os.fsencode(tmp_path / "in") + b"/caf\xe9.png"
    shutil.copyfile(os.fsencode(samples / "child-2-normal.png"), undecodable)
    paths = collect_inputs([str(tmp_path / "in")], standard_input=b"").paths
    run(paths, tmp_path / "out", classifier)
    rows = read_table(tmp_path / "out" / "results.csv")
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"ok"}
    pictures = [row["heatmap"] for row in rows]
    assert len(set(pictures)) == 8
    assert all((tmp_path / "out" / name).is_file() for name in pictures)


def test_no_part_of_a_path_reaches_a_file_name_unchecked() -> None:
    name = name_image_file(0, "../../etc/..%2f\x00=pa\u202ess\nwd", suffix="jpg")
    assert name.startswith("000001_")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert name_image_file(1, "...", suffix="png") == "000002_image.png"
    assert len(name_image_file(2, "x" * 300, suffix="png")) < 64


def test_without_heatmaps_none_is_written(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    run(
        [str(samples / "child-1-normal.jpg")],
        tmp_path / "out",
        classifier,
        BatchOptions(heatmaps=False, report=False, workers=0),
    )
    assert not (tmp_path / "out" / "heatmaps").exists()
    assert read_table(tmp_path / "out" / "results.csv")[0]["heatmap"] == ""


def test_pictures_are_png_and_larger_by_option(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    options = BatchOptions(heatmap_format="png", heatmap_size=1024, workers=0)
    run([str(samples / "child-1-normal.jpg")], tmp_path / "out", classifier, options)
    (picture,) = (tmp_path / "out" / "heatmaps").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_earlier_result_is_kept_unless_told_otherwise(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run([str(samples / "child-1-normal.jpg")], output, classifier)
    (output / "notes.txt").write_text("mine")
    (output / "heatmaps" / "20240101_patient.png").write_text("mine")
    with pytest.raises(UsageError, match=r"holds results\.csv already"):
        prepare_output(output, overwrite=False)
    prepare_output(output, overwrite=True)
    left = {str(path.relative_to(output)) for path in output.rglob("*")}
    assert left == {"notes.txt", "heatmaps", "heatmaps/20240101_patient.png"}


@pytest.mark.parametrize("name", ["studies.csv", "run.json", "results.csv", "heatmaps/1_a.png"])
@pytest.mark.parametrize("mode", ["", "overwrite", "resume"])
def test_what_chestx_did_not_write_is_never_touched(tmp_path: Path, name: str, mode: str) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    says = "did not write" if mode else "already"
    with pytest.raises(UsageError, match=says):
        prepare_output(tmp_path, overwrite=mode == "overwrite", resume=mode == "resume")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["results.csv", "heatmaps", "pictures/views", "run.json"])
def test_nothing_is_written_through_a_link(
    samples: Path, classifier: Classifier, tmp_path: Path, name: str
) -> None:
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (output / name).parent.mkdir(parents=True)
    (output / name).symlink_to(elsewhere)
    for mode in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="is a link"):
            prepare_output(output, **mode)
    assert not list(elsewhere.iterdir())


def test_a_link_that_appears_in_the_place_of_a_picture_is_not_followed(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    output, precious = tmp_path / "out", tmp_path / "precious"
    precious.write_text("mine")
    prepare_output(output)
    paths = [str(samples / "child-1-normal.jpg")]
    (output / "heatmaps").mkdir()
    (output / "heatmaps" / name_image_file(0, paths[0], suffix="jpg")).symlink_to(precious)
    options = BatchOptions(report=False, workers=0)
    with pytest.raises(ChestxError, match="cannot be written"):
        predict_files(paths, output, classifier=classifier, options=options)
    assert precious.read_text() == "mine"


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_answer(
    samples: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr("chestx.batch.run.draw_overlay", exhaust)
    paths = [str(samples / "child-2-normal.png")]
    run(paths, tmp_path / "out", classifier, BatchOptions(report=False, workers=0))
    (row,) = read_table(tmp_path / "out" / "results.csv")
    assert (row["status"], row["decision"], row["heatmap"]) == ("ok", "negative", "")


def test_a_second_run_in_the_same_folder_is_kept_out(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    with (
        lock_output(tmp_path),
        pytest.raises(UsageError, match="another run is at work there"),
    ):
        run([str(samples / "child-1-normal.jpg")], tmp_path, classifier)


def test_what_a_format_needs_is_asked_before_an_earlier_result_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results.csv").write_text("earlier")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="needs pyarrow"):
        prepare_folders(tmp_path, options=BatchOptions(parquet=True), overwrite=True)
    assert (tmp_path / "results.csv").read_text() == "earlier"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_rows_that_the_disk_lost_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def lose(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("chestx.batch.journal.os.fsync", lose)
    with open(tmp_path / "results.csv", "w") as file:
        writer = RowWriter(file, ["path"])
        writer.write_header()
        with pytest.raises(OSError, match=re.escape(os.strerror(code))):
            writer.sync()


def test_a_table_that_is_a_device_needs_no_disk() -> None:
    with open(os.devnull, "w") as file:
        with pytest.raises(OSError, match=re.escape(os.strerror(errno.EINVAL))):
            os.fsync(file.fileno())
        writer = RowWriter(file, ["path"])
        writer.write_header()
        writer.sync()


def test_an_output_that_cannot_be_made_or_written_is_said_in_one_line(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        prepare_output(tmp_path / "file", overwrite=False)
    with pytest.raises(ChestxError, match=r"the results cannot be written \(missing\)"):
        predict_files(
            [str(samples / "child-1-normal.jpg")],
            tmp_path / "missing",
            classifier=classifier,
            options=BatchOptions(heatmaps=False, report=False, workers=0),
        )


def test_a_full_disk_ends_the_run_with_the_reason(
    samples: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("chestx.batch.run.write_bytes", fill)
    with pytest.raises(ChestxError, match="No space left on device"):
        run(
            [str(samples / "child-1-normal.jpg")],
            tmp_path / "out",
            classifier,
            BatchOptions(report=False, workers=0),
        )


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="heatmap size: expected 128 to 4096, got 5"):
        BatchOptions(heatmap_size=5)
    with pytest.raises(UsageError, match="threads: expected 1 to 256, got 0"):
        BatchOptions(threads=0)
    with pytest.raises(UsageError, match="memory: expected 1024 to 1048576, got 5"):
        BatchOptions(memory_mb=5)
