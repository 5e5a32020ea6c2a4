"""A run folder: what is in it, and how a run goes on after it was killed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import chestx
from chestx.domain import CAVEAT, UsageError
from chestx.learning.checkpoints import CHECKPOINT, load_checkpoint, save_checkpoint
from chestx.learning.progress import StepReport
from chestx.learning.run import run_training
from chestx.learning.training import BEST

pytestmark = pytest.mark.torch

CHILD = """
import sys, time
from pathlib import Path
from chestx.learning.run import run_training
def on_step(report):
    print(report.epoch, report.step, flush=True)
    if report.epoch == 2 and report.step >= 3:
        time.sleep(60)
run_training(Path(sys.argv[1]), Path(sys.argv[2]), on_step=on_step)
"""

# Dropout and augmentation draw, the average, the optimizer and the plateau remember.
MOVING = {
    "epochs": 3,
    "dropout": 0.3,
    "ema_decay": 0.9,
    "augment_noise": 10.0,
    "augment_rotation_degrees": 10.0,
    "augment_mixup": 0.4,
    "schedule": "cosine",
    "clip_norm": 1.0,
    "checkpoint_minutes": 0.00001,
    "loader_threads": 1,
}


def start_child(config: Path, run: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(chestx.__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, str(config), str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    data: Path, tmp_path: Path, write_config: Callable[..., Path], train_tiny: Callable[..., Any]
) -> None:
    whole = train_tiny(data, **MOVING)
    config, killed = write_config(data, **MOVING), tmp_path / "killed"
    steps: list[StepReport] = []
    with start_child(config, killed) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == "2 3\n":
                break
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    saved = load_checkpoint(killed)
    assert saved is not None
    assert (saved["progress"]["epoch"], saved["progress"]["step"]) in {(1, 2), (1, 3)}
    resumed = run_training(config, killed, resume=True, on_step=steps.append)
    assert (steps[0].epoch, steps[0].step) in {(2, 3), (2, 4)}
    assert resumed.progress.epoch == 3
    for name in ("history.csv", BEST):
        assert (killed / name).read_bytes() == (whole.folder / name).read_bytes(), name
    record = json.loads((killed / "run.json").read_text())
    assert record["status"] == "finished"
    assert len(record["resumed"]) == 1
    assert record["started"] <= record["resumed"][0]["at"]


def test_the_record_says_all_of_a_run(data: Path, train_tiny: Callable[..., Any]) -> None:
    run = train_tiny(data)
    record = json.loads((run.folder / "run.json").read_text())
    manifest = data / "manifest.csv"
    assert record["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert len(record["split_sha256"]) == len(record["code_sha256"]) == 64
    assert record["caveat"] == CAVEAT
    assert record["status"] == "finished"
    assert record["config"]["learning_rate"] == 0.003
    assert record["config"]["augment_flip"] is False
    assert record["images"] == {"train": 48, "validation": 24}
    assert record["labels"] == ["NORMAL", "PNEUMONIA"]
    assert record["weights"] == "random"
    assert {"chestx", "python", "torch", "timm", "lightning-fabric", "numpy"} <= record[
        "versions"
    ].keys()
    assert {"system", "processor", "cores", "gpus"} == record["hardware"].keys()
    assert record["epochs"] == 2
    assert [epoch["epoch"] for epoch in record["history"]] == [1, 2]
    assert record["seconds"] >= 0
    assert record["resumed"] == []


def test_the_curve_is_a_table_and_a_page(data: Path, train_tiny: Callable[..., Any]) -> None:
    run = train_tiny(data)
    with (run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert "auroc_hospital_0" in rows[0]
    page = (run.folder / "training.html").read_text()
    assert CAVEAT in page
    assert "data:image/png;base64" in page
    assert "2 of 2 epochs of test_resnet on 48 images" in page


def test_tensorboard_reads_the_events(data: Path, train_tiny: Callable[..., Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train_tiny(data)
    events = EventAccumulator(str(run.folder / "events"))
    events.Reload()
    figures = run.progress.history
    for name, wanted in (
        ("train/loss", [epoch.train_loss for epoch in figures]),
        ("validation/macro_auroc", [epoch.figures.macro_auroc for epoch in figures]),
    ):
        scalars = events.Scalars(name)
        assert [item.step for item in scalars] == [1, 2]
        assert [item.value for item in scalars] == pytest.approx(wanted)


def test_a_finished_run_that_is_resumed_stays_as_it_is(
    data: Path, train_tiny: Callable[..., Any]
) -> None:
    run = train_tiny(data)
    before = (run.folder / BEST).read_bytes(), (run.folder / "history.csv").read_bytes()
    again = train_tiny(data, run=run.folder, resume=True)
    assert again.progress == run.progress
    assert before == ((run.folder / BEST).read_bytes(), (run.folder / "history.csv").read_bytes())


def test_a_resumed_run_that_is_killed_at_once_still_says_what_it_knew(
    data: Path, train_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_tiny(data, epochs=1)
    before = json.loads((run.folder / "run.json").read_text())

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chestx.learning.run._prepare_images", stop)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(data, run=run.folder, resume=True, epochs=1)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["status"] == "running"
    for key in ("weights", "epochs", "best_epoch", "history", "images", "unreadable"):
        assert record[key] == before[key], key


def test_a_second_run_in_the_folder_is_refused_while_the_first_is_at_work(
    data: Path, tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    config, refused = write_config(data, epochs=1), []

    def intrude(_: Any) -> None:
        for resume in (True, False):
            with pytest.raises(UsageError, match="run': another run is at work there"):
                run_training(config, tmp_path / "run", resume=resume)
            refused.append(resume)

    run_training(config, tmp_path / "run", on_epoch=intrude)
    assert refused == [True, False]
    again = run_training(config, tmp_path / "run", resume=True)
    assert again.progress.epoch == 1


def test_a_folder_in_use_is_refused(data: Path, train_tiny: Callable[..., Any]) -> None:
    run = train_tiny(data, epochs=1)
    with pytest.raises(UsageError, match="not empty; name another folder, or give --resume"):
        train_tiny(data, run=run.folder, epochs=1)
    file = run.folder / BEST
    with pytest.raises(UsageError, match="expected a folder, got a file"):
        train_tiny(data, run=file, epochs=1)


def test_resuming_in_a_folder_without_a_run_is_refused(
    data: Path, tmp_path: Path, train_tiny: Callable[..., Any]
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(UsageError, match="expected a run of chestx train, got a folder without"):
        train_tiny(data, run=tmp_path / "thesis", resume=True)


def test_a_changed_configuration_is_refused_by_its_key(
    data: Path, train_tiny: Callable[..., Any]
) -> None:
    run = train_tiny(data, epochs=1)
    with pytest.raises(UsageError, match="dropout of the configuration; change it back"):
        train_tiny(data, run=run.folder, resume=True, epochs=1, dropout=0.5)


def test_what_only_makes_a_run_faster_may_change(
    data: Path, train_tiny: Callable[..., Any]
) -> None:
    run = train_tiny(data, epochs=1)
    again = train_tiny(data, run=run.folder, resume=True, epochs=1, checkpoint_minutes=1.0)
    assert again.progress.history == run.progress.history


def test_a_run_of_another_manifest_is_refused(
    data: Path, write_data: Callable[..., Path], train_tiny: Callable[..., Any]
) -> None:
    run = train_tiny(data, epochs=1)

    def relabel(rows: list[dict[str, str]]) -> None:
        rows[0]["label"], rows[1]["label"] = rows[1]["label"], rows[0]["label"]

    other = write_data(change=relabel)
    with pytest.raises(UsageError, match="changed since the run began: the manifest, the split"):
        train_tiny(other, run=run.folder, resume=True, epochs=1)


def test_a_damaged_checkpoint_is_refused(data: Path, train_tiny: Callable[..., Any]) -> None:
    run = train_tiny(data, epochs=1)
    (run.folder / CHECKPOINT).write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(UsageError, match="expected a checkpoint of chestx, it cannot be read"):
        train_tiny(data, run=run.folder, resume=True, epochs=1)
    save_checkpoint(run.folder, {"something": 1})
    with pytest.raises(UsageError, match="got another object"):
        load_checkpoint(run.folder)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"progress": Evil(), "state": {}}, tmp_path / CHECKPOINT)
    with pytest.raises(UsageError, match="UnpicklingError"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "was here").exists()


def test_a_run_that_stops_says_so_in_its_record(
    data: Path, tmp_path: Path, train_tiny: Callable[..., Any]
) -> None:
    with pytest.raises(UsageError, match="two sources"):
        train_tiny(
            data,
            run=tmp_path / "stopped",
            alignment="coral",
            alignment_weight=1.0,
            where=["source=hospital_0"],
        )
    record = json.loads((tmp_path / "stopped" / "run.json").read_text())
    assert record["status"].startswith("stopped: alignment coral")


def test_features_are_brought_to_those_of_images_without_labels(
    data: Path, tmp_path: Path, train_tiny: Callable[..., Any]
) -> None:
    place = tmp_path / "another place"
    place.mkdir()
    generator = np.random.default_rng(3)
    for number in range(10):
        pixels = generator.integers(0, 60, (40, 40)).astype(np.uint8)
        cv2.imwrite(str(place / f"{number}.png"), pixels)
    (place / "broken.png").write_bytes(b"no picture")
    given: dict[str, Any] = {"alignment": "coral", "alignment_weight": 5.0, "epochs": 1}
    aligned = train_tiny(data, run=tmp_path / "run", unlabelled=[str(place)], **given)
    sources = train_tiny(data, **given)
    assert (aligned.folder / BEST).read_bytes() != (sources.folder / BEST).read_bytes()
    record = json.loads((aligned.folder / "run.json").read_text())
    assert [Path(path).name for path in record["unreadable"]] == ["broken.png"]
    assert record["images"]["train"] == sources.images
    (place / "5.png").unlink()
    again = {**given, "resume": True, "unlabelled": [str(place)]}
    with pytest.raises(UsageError, match="changed since the run began: the unlabelled images"):
        train_tiny(data, run=tmp_path / "run", **again)
    with pytest.raises(UsageError, match="a batch of 64 readable images"):
        train_tiny(data, batch_size=64, unlabelled=[str(place)], **given)


def test_paths_count_from_the_configuration(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_config: Callable[..., Path]
) -> None:
    relative = os.path.relpath(data, tmp_path)
    config = write_config(data, manifest=f"{relative}/manifest.csv", cache=f"{relative}/cache")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = run_training(config, tmp_path / "run")
    record = json.loads((run.folder / "run.json").read_text())
    assert record["manifest"] == str((data / "manifest.csv").resolve())
    assert record["cache"] == str((data / "cache").resolve())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_no_half_written_file_stays(data: Path, train_tiny: Callable[..., Any]) -> None:
    run = train_tiny(data)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "run.json",
        "history.csv",
        "training.html",
        "events",
        CHECKPOINT,
        BEST,
    }
    assert time.time() - (run.folder / CHECKPOINT).stat().st_mtime < 60
