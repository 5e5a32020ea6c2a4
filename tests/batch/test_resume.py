"""An interrupted run is finished to the byte, or refused with the reason."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chestx.batch.journal import describe_plan, prepare_output
from chestx.batch.options import BatchOptions
from chestx.batch.run import predict_files
from chestx.domain import ChestxError, UsageError
from chestx.models.classifier import Classifier

OPTIONS = BatchOptions(workers=0, json_lines=True, heatmap_size=128)


@pytest.fixture(scope="module")
def inbox(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inbox")
    for sample in samples.iterdir():
        shutil.copyfile(sample, folder / sample.name)
    (folder / "missing.png").symlink_to("nowhere")
    return folder


@pytest.fixture(scope="module")
def whole(inbox: Path, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out"
    run(inbox, output, classifier)
    return output


def list_inputs(inbox: Path) -> list[str]:
    return sorted(map(str, inbox.iterdir()))


def run(inbox: Path, output: Path, classifier: Classifier, **changes: Any) -> int:
    resume = changes.pop("resume", False)
    options = changes.pop("options", OPTIONS)
    prepare_output(output, resume=resume)
    paths = changes.pop("paths", list_inputs(inbox))
    summary = predict_files(
        paths, output, classifier=classifier, options=options, resume=resume, **changes
    )
    return summary.resumed


@pytest.fixture
def cut(whole: Path, tmp_path: Path) -> Path:
    """What a power cut leaves of the run: some whole rows, and half of one."""
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    for name in ("studies.csv", "report.html", "results.jsonl"):
        (output / name).unlink()
    record = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(record | {"status": "running"}))
    lines = (whole / "results.csv").read_bytes().split(b"\n")
    (output / "results.csv").write_bytes(b"\n".join(lines[:6]) + b"\n" + lines[6][:40])
    return output


def assert_same(output: Path, whole: Path) -> None:
    for name in ("results.csv", "studies.csv", "results.jsonl"):
        assert (output / name).read_bytes() == (whole / name).read_bytes(), name
    files = {path.relative_to(output) for path in output.rglob("*")}
    assert files == {path.relative_to(whole) for path in whole.rglob("*")}
    assert json.loads((output / "run.json").read_text())["status"] == "finished"


def test_a_cut_run_is_finished_to_the_byte(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier
) -> None:
    assert run(inbox, cut, classifier, resume=True) == 5
    assert_same(cut, whole)


def test_a_finished_run_is_only_checked(
    whole: Path, inbox: Path, classifier: Classifier, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "out")
    assert run(inbox, tmp_path / "out", classifier, resume=True) == 13
    assert_same(tmp_path / "out", whole)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 4096, b"\xff\xfe\xfd\n" * 3, b'"open\n', b"a,b,c\n", b"x," * 5],
)
def test_garbage_after_the_whole_rows_is_done_anew(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier, damage: bytes
) -> None:
    lines = (whole / "results.csv").read_bytes().split(b"\n")
    (cut / "results.csv").write_bytes(b"\n".join(lines[:4]) + b"\n" + damage)
    assert run(inbox, cut, classifier, resume=True) == 3
    assert_same(cut, whole)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_table_of_nothing_or_a_header_alone_begins_anew(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier, kept: int
) -> None:
    lines = (whole / "results.csv").read_bytes().split(b"\n")
    (cut / "results.csv").write_bytes(b"".join(line + b"\n" for line in lines[:kept]))
    assert run(inbox, cut, classifier, resume=True) == 0
    assert_same(cut, whole)


@pytest.mark.parametrize(
    "folder", ["heatmaps", "pictures/views", "pictures/thumbnails", "pictures/maps"]
)
def test_a_row_whose_picture_did_not_reach_the_disk_is_done_anew(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier, folder: str
) -> None:
    pictures = sorted((cut / folder).iterdir())
    pictures[2].write_bytes(pictures[2].read_bytes()[:-5])
    assert run(inbox, cut, classifier, resume=True) == 2
    assert_same(cut, whole)


def test_resume_without_an_earlier_run_is_a_run(
    whole: Path, inbox: Path, classifier: Classifier, tmp_path: Path
) -> None:
    assert run(inbox, tmp_path / "out", classifier, resume=True) == 0
    assert_same(tmp_path / "out", whole)


def test_options_that_change_only_the_speed_may_change(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier
) -> None:
    options = BatchOptions(workers=1, threads=1, batch_size=1, json_lines=True, heatmap_size=128)
    assert run(inbox, cut, classifier, resume=True, options=options) == 5
    assert_same(cut, whole)


def test_other_options_are_refused(cut: Path, inbox: Path, classifier: Classifier) -> None:
    options = BatchOptions(workers=0, json_lines=True, heatmap_size=256)
    with pytest.raises(
        UsageError, match=r"the options changed since .heatmap_size: 128 then, 256 now"
    ):
        run(inbox, cut, classifier, resume=True, options=options)


def test_another_list_of_inputs_is_refused(cut: Path, inbox: Path, classifier: Classifier) -> None:
    with pytest.raises(UsageError, match=r"the list of input files changed since .count: 13 then"):
        run(inbox, cut, classifier, resume=True, paths=list_inputs(inbox)[:-1])


def test_another_model_is_refused(cut: Path, inbox: Path, classifier: Classifier) -> None:
    record = json.loads((cut / "run.json").read_text())
    record["plan"]["model"]["checksum"] = "0" * 64
    (cut / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"the model changed since .checksum"):
        run(inbox, cut, classifier, resume=True)


def test_a_changed_file_is_refused_by_its_row(
    cut: Path, inbox: Path, classifier: Classifier, tmp_path: Path
) -> None:
    moved = tmp_path / "inbox"
    shutil.copytree(inbox, moved, symlinks=True)
    record = json.loads((cut / "run.json").read_text())
    paths = list_inputs(inbox)
    changed = [str(moved / Path(path).name) for path in paths]
    record["plan"]["inputs"] = describe_plan(changed, classifier=classifier, options=OPTIONS)[
        "inputs"
    ]
    (cut / "run.json").write_text(json.dumps(record))
    table = (cut / "results.csv").read_text().replace(str(inbox), str(moved))
    (cut / "results.csv").write_text(table)
    with open(changed[1], "ab") as file:
        file.write(b"x")
    with pytest.raises(UsageError, match="the file of row 2 changed since"):
        run(moved, cut, classifier, resume=True, paths=changed)


def test_a_folder_that_does_not_say_what_was_run_is_refused(
    cut: Path, inbox: Path, classifier: Classifier
) -> None:
    for text in ("", "[]", '{"plan": 3}'):
        (cut / "run.json").write_text(text)
        with pytest.raises(UsageError, match=r"holds results\.csv that chestx did not write"):
            run(inbox, cut, classifier, resume=True)


def test_an_edited_header_is_refused_and_the_table_is_kept(
    cut: Path, inbox: Path, classifier: Classifier
) -> None:
    edited = (cut / "results.csv").read_bytes().replace(b"\n", b"\r\n")
    (cut / "results.csv").write_bytes(edited)
    with pytest.raises(UsageError, match="was changed since it was written"):
        run(inbox, cut, classifier, resume=True)
    assert (cut / "results.csv").read_bytes() == edited


def test_a_row_that_no_run_writes_is_done_anew(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier
) -> None:
    lines = (whole / "results.csv").read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b",positive,", b",see note,").replace(b",ok,", b",maybe,")
    (cut / "results.csv").write_bytes(b"\n".join(lines[:6]) + b"\n")
    assert run(inbox, cut, classifier, resume=True) == 1
    assert_same(cut, whole)


def test_a_file_that_could_not_be_read_then_and_can_now_is_done_anew(
    cut: Path, whole: Path, inbox: Path, classifier: Classifier
) -> None:
    lines = (whole / "results.csv").read_text().split("\n")
    cells = next(csv.reader([lines[3]]))
    cells[1], cells[2], cells[4] = "", "failed", "failed"
    lines[3] = ",".join(f'"{cell}"' for cell in cells)
    (cut / "results.csv").write_text("\n".join(lines[:7]) + "\n")
    assert run(inbox, cut, classifier, resume=True) == 2
    assert_same(cut, whole)


def test_a_run_is_not_called_finished_before_its_page_is_there(
    inbox: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chestx.batch.run.write_report", fail)
    with pytest.raises(ChestxError, match="No space left"):
        run(inbox, tmp_path / "out", classifier)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "running"
