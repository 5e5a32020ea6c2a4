"""``chestx model import``, and ``chestx predict`` with what it made."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

from chestx.cli.app import run
from chestx.cli.console import EXIT_OK, EXIT_USAGE

DESCRIBED = ["--labels", "NORMAL,PNEUMONIA", "--no-finding", "NORMAL", "--range", "unit"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Says pneumonia of every bright image, by a graph that no activation map comes from."""
    weight = np.zeros((32 * 32 * 3, 2), np.float32)
    weight[:, 1] = 12 / len(weight)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input_1"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["dense"]),
            helper.make_node("Softmax", ["dense"], ["predictions"]),
        ],
        "keras",
        [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, ["n", 32, 32, 3])],
        [helper.make_tensor_value_info("predictions", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path / "network.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Runs the command and expects a usage error with a text."""

    def refuse(text: str, *arguments: str) -> None:
        assert run(["model", "import", *arguments, "-o", str(tmp_path / "model")]) == EXIT_USAGE
        assert text in capsys.readouterr().err
        assert not (tmp_path / "model").exists()

    return refuse


def test_predict_answers_with_an_imported_network(
    network: Path, tmp_path: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    texts = tmp_path / "texts.toml"
    texts.write_text(
        'name = "bright"\nversion = "3"\nsummary = "Bright or not."\n', encoding="utf-8"
    )
    arguments = ["model", "import", str(network), "-o", str(model), *DESCRIBED]
    assert run([*arguments, "--texts", str(texts)]) == EXIT_OK
    said = capsys.readouterr().out
    assert "bright 3: NORMAL, PNEUMONIA" in said
    assert "heatmap: occlusion" in said
    assert "is not checked" in said
    image = samples / "child-3-pneumonia.jpg"
    options = ["--model", str(model), "-o", str(out), "--report", "--workers", "1", "--quiet"]
    assert run(["predict", str(image), *options]) == EXIT_OK
    with (out / "results.csv").open(encoding="utf-8") as file:
        row = next(iter(csv.DictReader(file)))
    assert row["decision"] == "positive"
    assert row["heatmap_label"] == "PNEUMONIA"
    assert row["distance"] == ""
    picture = cv2.imread(str(out / row["heatmap"]))
    assert picture is not None
    assert (out / "report.html").is_file()
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert "occlude" in record["stage_seconds"]
    assert run(["model", "verify", str(model)]) == EXIT_OK


def test_what_a_graph_does_not_say_must_be_said(network: Path, refuse: Callable[..., None]) -> None:
    refuse("expected --labels and --range", str(network))
    refuse("expected --labels and --range", str(network), *DESCRIBED, "--weights", "nih")
    refuse("--mean: expected numbers with commas", str(network), *DESCRIBED, "--mean", "grey")


def test_a_checkpoint_takes_no_options_of_graphs(
    tmp_path: Path, refuse: Callable[..., None]
) -> None:
    path = tmp_path / "nih.pt"
    path.write_bytes(b"not a checkpoint")
    refuse("expected none of the options of ONNX graphs", str(path), "--labels", "A")
    refuse("expected --weights densenet121-res224-all", str(path))
    refuse("expected a pickled network", str(path), "--weights", "densenet121-res224-nih")


def test_without_the_training_stack_the_command_says_what_to_install(
    network: Path, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuse('pip install "chestx[train]"', str(network), *DESCRIBED)
