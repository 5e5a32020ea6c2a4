"""``chestx train`` and ``chestx publish`` at the command line."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.cli.app import run
from chestx.cli.train import INSTALL, _Lines, _Live, describe_time
from chestx.domain import CAVEAT, ModelCard
from chestx.learning.progress import EpochRecord, Progress, StepReport
from chestx.learning.validation import ValidationFigures
from chestx.models.classifier import Classifier

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration beside 32 small images."""
    folder = tmp_path_factory.mktemp("train")
    generator = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for number in range(32):
            label = "PNEUMONIA" if number % 2 else "NORMAL"
            image = generator.normal(90 + 60 * (number % 2), 20, (64, 64))
            image[:16] = generator.normal(20, 5, (16, 64))
            name = f"{number}.png"
            cv2.imwrite(str(folder / name), np.clip(image, 0, 255).astype(np.uint8))
            writer.writerow([name, label, "train" if number < 20 else "val"])
    path = folder / "config.toml"
    path.write_text(
        'manifest = "manifest.csv"\nsize = 32\nbackbone = "test_resnet"\nweights = "none"\n'
        "epochs = 1\nbatch_size = 10\nloader_threads = 0\nthreads = 1\n"
        'no_finding = "NORMAL"\n'
    )
    return path


def test_a_run_says_what_it_does_line_by_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(["train", str(config), "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epoch 1: training loss ")
    assert lines[1] == "1 epochs on 20 images, validated on 12; best: epoch 1"
    assert lines[-2] == f"make a model of it: chestx publish {out} -o MODEL"
    assert lines[-1] == CAVEAT
    assert run(["train", str(config), "-o", str(out)]) == 2
    assert "give --resume to go on" in capsys.readouterr().err
    assert run(["train", str(config), "-o", str(out), "--resume", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_faults_are_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(tmp_path / "none.toml"), "-o", str(tmp_path / "r")]) == 2
    bad = config.with_name("bad.toml")
    bad.write_text('manifest = "manifest.csv"\nepochs = 0\n')
    assert run(["train", str(bad), "-o", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 2
    assert "epochs: expected 1 to 10000, got 0" in error
    assert not (tmp_path / "r").exists()


def test_without_torch_it_says_how_to_get_it(config: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['lightning_fabric'] = None\n"
        "from chestx.cli.app import run\n"
        f"sys.exit(run(['train', {str(config)!r}, '-o', {str(tmp_path / 'r')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(INSTALL)
    assert "Traceback" not in done.stderr


def test_help_does_not_need_torch() -> None:
    code = (
        "import sys\nfrom chestx.cli.app import run\nrun(['train', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_publishing_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", str(tmp_path), "-o", str(tmp_path / "m")]) == 2
    assert "expected the folder of a run of chestx train" in capsys.readouterr().err


def test_publishing_hands_on_what_it_is_told(
    tmp_path: Path,
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: dict[str, Any] = {}

    def publish_run(run: Path, out: Path, **options: Any) -> ModelCard:
        told.update(options, run=run, out=out)
        options["on_stage"]("exporting the network")
        return classifier.card

    monkeypatch.setattr("chestx.learning.publishing.publish_run", publish_run)
    card = tmp_path / "card.toml"
    card.write_text('name = "mine"\nversion = "2"\nsummary = "My own."\n')
    arguments = ["publish", str(tmp_path / "run"), "-o", str(tmp_path / "model")]
    options = ["--card", str(card), "--abstain", "none", "--threshold", "youden"]
    assert (
        run([*arguments, *options, "--manifest", "moved.csv", "--half-weights", "--workers", "1"])
        == 0
    )
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "exporting the network"
    assert "COVID19: threshold 0." in "\n".join(said)
    assert said[-1] == CAVEAT
    assert (told["run"], told["out"]) == (tmp_path / "run", tmp_path / "model")
    assert (told["texts"].name, told["texts"].version) == ("mine", "2")
    assert (told["manifest"], told["workers"]) == (Path("moved.csv"), 1)
    assert told["half_weights"] is True
    assert "youden" in str(told["rules"].threshold).lower()
    assert run([*arguments, "--threshold", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def make_progress() -> Progress:
    figures = ValidationFigures(
        loss=0.5, accuracy=0.8, macro_auroc=0.9, within_source_auroc=0.85, by_source={}
    )
    record = EpochRecord(
        epoch=3, train_loss=0.4, learning_rate=1e-3, seconds=61.0, figures=figures, is_best=True
    )
    return Progress(epoch=3, history=[record])


def make_step() -> StepReport:
    return StepReport(
        epoch=1,
        epochs=5,
        step=20,
        steps=1000,
        loss=0.69,
        images_per_second=31.4,
        seconds_left=3720.0,
    )


def test_a_log_gets_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = _Lines(lambda: now)
    for _ in range(7):
        now += 20
        lines.on_step(make_step())
    lines.on_epoch(make_progress())
    now += 20
    lines.on_step(make_step())
    for _ in range(3):
        now += 20
        lines.on_image()
    said = capsys.readouterr().out.splitlines()
    step = "epoch 1 of 5, step 20 of 1,000: loss 0.6900, 31.4 images/s, 1 h 02 min left"
    assert said[:2] == [step, step]
    assert said[2] == (
        "epoch 3: training loss 0.4000, validation loss 0.5000, accuracy 0.800, AUROC 0.900, "
        "within sources 0.850, 1 min 01 s, best so far"
    )
    assert said[3] == "2 images read"
    assert len(said) == 4


def test_a_terminal_gets_a_line_that_moves(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with _Live(Console(force_terminal=True, width=140, stderr=True)) as live:
        live.on_image()
        live.on_step(make_step())
        live._bar.refresh()
        live.on_epoch(make_progress())
    error = capsys.readouterr().err
    assert "31.4 images/s" in error
    assert "1 h 02 min left" in error
    assert "best so far" in error


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (61.0, "1 min 01 s"), (3600.0, "1 h 00 min")]
)
def test_times_are_said_in_words(seconds: float, text: str) -> None:
    assert describe_time(seconds) == text
