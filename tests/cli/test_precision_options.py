"""What a run computed in stands in its results, and cannot change half way."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from chestx import Classifier
from chestx.cli.app import run
from chestx.domain import (
    Precision,
    PrecisionFigure,
    PrecisionMeasure,
    PrecisionVariant,
)
from chestx.models.derive import derive_model_folder
from chestx.models.folder import INT8_MODEL


@pytest.fixture(scope="module")
def faster(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model as if its int8 variant, here the plain graph, had been kept."""
    figure = PrecisionFigure(
        measure=PrecisionMeasure.DECISIONS_ALIKE,
        slice_key="all",
        subject="PNEUMONIA",
        value=1.0,
        limit=0.995,
        n=200,
    )
    variant = PrecisionVariant(
        precision=Precision.INT8,
        kept=True,
        data="made up",
        images=200,
        figures=(figure,),
        known_gap=0.0,
        speed=1.0,
        made_by="a test",
    )
    folder = classifier.folder
    return derive_model_folder(
        folder,
        tmp_path_factory.mktemp("models") / "faster",
        card=replace(folder.card, precisions=(variant,)),
        contents={INT8_MODEL: folder.graph},
    ).path


def test_a_run_says_its_precision_and_goes_on_in_no_other(
    faster: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["predict", str(samples / "child-1-normal.jpg"), "-o", str(out), "-m", str(faster)]
    arguments += ["--no-heatmaps", "--no-report", "--workers", "0", "--threads", "1"]
    assert run([*arguments, "--precision", "int8"]) == 0
    assert " at int8; " in capsys.readouterr().out
    with (out / "results.csv").open(newline="", encoding="utf-8-sig") as file:
        assert [row["model_precision"] for row in csv.DictReader(file)] == ["int8"]
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["model"]["precision"] == "int8"
    assert record["plan"]["model"]["precision"] == "int8"
    assert record["options"]["device"] == "cpu"
    assert run([*arguments, "--resume"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "f64"], "precision: expected f32, bf16, int8, got 'f64'"),
        (["--precision", "bf16"], "precision bf16 was not tried for this model"),
        (["--device", "cuda"], "device cuda: expected the runtime onnxruntime, got openvino"),
        (["--device", "gpu"], "'gpu' is not one of 'cpu', 'cuda', 'tensorrt'"),
    ],
)
def test_what_cannot_run_is_one_line_and_writes_nothing(
    samples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    out = tmp_path / "out"
    assert run(["predict", str(samples), "-o", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_the_figures_of_a_card_are_of_f32(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "default", "labels.csv", "-o", str(tmp_path / "out")]
    arguments += ["--card", str(tmp_path / "card"), "--precision", "int8"]
    assert run(arguments) == 2
    assert "--card: expected --precision f32, got int8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
