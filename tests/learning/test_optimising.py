"""From a model and labelled images to a folder with the variants that answer alike."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chestx import Classifier
from chestx.cli.app import run
from chestx.datasets.example import Example, Target
from chestx.datasets.manifest import ManifestTable, read_manifest
from chestx.domain import (
    CAVEAT,
    ChestxError,
    InputSpec,
    OperatingPoint,
    Precision,
    ScopeSpec,
    UsageError,
)
from chestx.learning.optimising import draw_evenly, optimise_model
from chestx.learning.quantising import list_exact_nodes, quantise_graph
from chestx.models.derive import derive_model_folder
from chestx.models.folder import INT8_MODEL, MODEL, REFERENCE, ModelFolder
from chestx.models.runtime import import_openvino, load_runtime

SIZE, CHANNELS = 32, 8
HAS_BF16 = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def make_graph(*, contrast: float = 1.0) -> bytes:
    """Two convolutions and a head that finds bright images; ``contrast`` scales the logits."""
    generator = np.random.default_rng(5)
    head = np.stack([-np.ones(CHANNELS), np.ones(CHANNELS)]) * contrast
    constants = {
        "half": np.array(127.5, np.float32),
        "first": generator.uniform(0.0, 0.3, (CHANNELS, 1, 3, 3)),
        "second": generator.uniform(0.0, 0.2, (CHANNELS, CHANNELS, 3, 3)),
        "head": head,
        "bias": np.array([3.0, -3.0]) * contrast,
        "map_head": head[:, :, None, None],
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["cast"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["cast", "half"], ["x"], name="div"),
        helper.make_node("Conv", ["x", "first"], ["a"], name="conv1", strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"], name="relu1"),
        helper.make_node("Conv", ["b", "second"], ["c"], name="conv2", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["features"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["embedding"], name="flatten"),
        helper.make_node("Gemm", ["embedding", "head", "bias"], ["logits"], name="gemm", transB=1),
        helper.make_node("Conv", ["features", "map_head"], ["cams"], name="maps"),
    ]
    sizes: dict[str, list[str | int | None]] = {
        "logits": ["batch", 2],
        "embedding": ["batch", CHANNELS],
        "cams": ["batch", 2, 7, 7],
    }
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 1, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in sizes.items()
        ],
        [
            numpy_helper.from_array(np.asarray(array, np.float32), name)
            for name, array in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def folder(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    graph = make_graph()
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(
        stream, known_pixels=pixels, known_logits=load_runtime(graph).run(pixels[:, None]).logits
    )
    point = OperatingPoint(0.5, 0.5, 0.5)
    labels = tuple(
        replace(label, operating_point=label.operating_point and point, map_scale=1.0)
        for label in classifier.card.labels[:2]
    )
    card = replace(
        classifier.card,
        name="bright",
        labels=labels,
        temperature=1.0,
        any_finding=point,
        input=InputSpec(size=SIZE),
        scope=ScopeSpec(),
        embedding_size=CHANNELS,
    )
    return derive_model_folder(
        classifier.folder,
        tmp_path_factory.mktemp("models") / "bright",
        card=card,
        contents={MODEL: graph, REFERENCE: stream.getvalue()},
    )


@pytest.fixture(scope="module")
def manifest(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs made dark and bright; the rows of the test name files that are not there."""
    place = tmp_path_factory.mktemp("images")
    radiograph = cv2.imread(str(samples / "child-1-normal.jpg"), cv2.IMREAD_GRAYSCALE)
    assert radiograph is not None
    small = cv2.resize(radiograph, (128, 128), interpolation=cv2.INTER_AREA)
    generator = np.random.default_rng(1)
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "source"])
        for number in range(60):
            is_bright = number % 2 == 1
            gain = generator.uniform(0.5, 0.6) if is_bright else generator.uniform(0.25, 0.35)
            image = np.clip(small * gain + 100 * is_bright, 0, 255).astype(np.uint8)
            cv2.imwrite(str(place / f"{number}.png"), image)
            split = "train" if number < 16 else "validation"
            label = "PNEUMONIA" if is_bright else "NORMAL"
            writer.writerow([f"{number}.png", label, split, f"site{number // 2 % 2}"])
        writer.writerow(["hidden.png", "NORMAL", "test", "site0"])
    return place / "labels.csv"


@pytest.fixture(scope="module")
def table(manifest: Path) -> ManifestTable:
    return read_manifest(manifest)


def test_variants_that_answer_alike_are_kept_and_run(
    folder: ModelFolder,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chestx.evaluation.precision.MIN_IMAGES", 40)
    out = tmp_path / "fast"
    precisions = "bf16,int8" if HAS_BF16 else "int8"
    arguments = ["model", "optimize", str(folder.path), "--data", str(manifest), "-o", str(out)]
    assert run([*arguments, "--precisions", precisions, "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "putting the validation images to int8" in said
    assert "int8: kept; " in said
    assert "44 images, OpenVINO" in said
    assert CAVEAT in said
    for measure in ("AUROC change", "decisions alike", "probability change", "map correlation"):
        assert measure in said
    for precision in precisions.split(","):
        found = Classifier.load(out, precision=precision, threads=1)
        found.check()
        assert found.identity.precision == precision
    card = found.card
    assert [one.precision for one in card.precisions] == precisions.split(",")
    assert card.precisions[-1].data == "labels.csv, split validation"
    assert {one.slice_key for one in card.precisions[-1].figures} == {
        "all",
        "source=site0",
        "source=site1",
    }
    assert run(["model", "verify", str(out), "--precision", "int8"]) == 0
    assert "the network runs at int8" in capsys.readouterr().out
    # Before an image is read.
    assert run([*arguments, "--precisions", "int8"]) == 2
    assert "expected a name that is free" in capsys.readouterr().err


def test_a_variant_that_answers_otherwise_is_told_of_and_not_kept(
    folder: ModelFolder, table: ManifestTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.evaluation.precision.MIN_IMAGES", 40)
    monkeypatch.setattr(
        "chestx.learning.optimising.quantise_graph",
        lambda graph, pixels: make_graph(contrast=-1.0),
    )
    made = optimise_model(
        folder, table, tmp_path / "new", precisions=[Precision.INT8], name="labels.csv", workers=0
    )
    [variant] = made.card.precisions
    assert not variant.kept
    assert variant.failed
    assert INT8_MODEL not in made.card.files
    assert not made.int8_graph
    with pytest.raises(UsageError, match="int8 was tried on 44 images and refused"):
        Classifier.load(made.path, precision="int8")


def test_what_cannot_be_tried_is_refused(
    folder: ModelFolder, table: ManifestTable, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new"
    with pytest.raises(UsageError, match="expected some of bf16, int8, got none"):
        optimise_model(folder, table, out, precisions=[], name="x")
    with pytest.raises(UsageError, match="expected a single model for int8, got an ensemble"):
        optimise_model(
            replace(folder, ensemble="{}"), table, out, precisions=[Precision.INT8], name="x"
        )
    untaught = read_manifest(manifest, where=["split=validation"])
    with pytest.raises(UsageError, match=r"expected rows of the split train .* got validation"):
        optimise_model(folder, untaught, out, precisions=[Precision.INT8], name="x")
    tested = read_manifest(manifest, where=["split=test"])
    with pytest.raises(UsageError, match="expected rows of this split in x, got none; it has test"):
        optimise_model(folder, tested, out, precisions=[Precision.INT8], name="x")
    assert not out.exists()


def test_the_head_and_the_first_convolution_stay_exact(folder: ModelFolder) -> None:
    assert list_exact_nodes(onnx.load_from_string(folder.graph)) == [
        "conv1",
        "flatten",
        "gemm",
        "maps",
    ]
    pixels = np.random.default_rng(2).integers(0, 256, (4, SIZE, SIZE), dtype=np.uint8)
    nodes = onnx.load_from_string(quantise_graph(folder.graph, pixels)).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) >= 1
    by_name = {node.name: node for node in nodes}
    assert "DequantizeLinear" not in by_name["conv1"].input[1]
    assert by_name["conv1"].input[1] == "first"


def test_why_a_graph_cannot_be_quantised_is_said(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((1, SIZE, SIZE), np.uint8)
    with pytest.raises(UsageError, match=r"expected training images .* got none"):
        quantise_graph(folder.graph, pixels[:0])
    with pytest.raises(ChestxError, match="int8: onnxruntime cannot quantise this graph: "):
        quantise_graph(b"no graph", pixels)
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(UsageError, match=r'pip install "chestx\[train,onnxruntime\]"'):
        quantise_graph(folder.graph, pixels)


def test_a_sample_gives_every_source_and_label_its_turn() -> None:
    many = [Example(path=f"{i}", targets=(Target.PRESENT,), source="large") for i in range(50)]
    few = [Example(path=f"s{i}", targets=(Target.ABSENT,), source="small") for i in range(4)]
    drawn = draw_evenly([*many, *few], 10)
    assert Counter(example.source for example in drawn) == {"large": 6, "small": 4}
    assert drawn == draw_evenly([*many, *few], 10)
    assert len(draw_evenly(few, 10)) == 4
