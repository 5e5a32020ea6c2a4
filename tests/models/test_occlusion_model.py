"""A model whose graph makes no maps speaks, and its heatmap is made by hiding parts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chestx.analysis import Analyzer, analyze
from chestx.domain import (
    Activation,
    ChestxError,
    InputSpec,
    InvalidModelError,
    Label,
    LabelRole,
    ModelCard,
    OperatingPoint,
    Report,
    ScopeSpec,
)
from chestx.models.card import card_to_json, render_card
from chestx.models.classifier import Classifier
from chestx.models.occlusion import SERVED_GRID, compute_occlusion_maps, score_evidence
from chestx.models.runtime import RuntimeKind, load_runtime

SIZE = 64


def make_graph() -> bytes:
    """Logits: nothing, and ten times the mean grey of the lower half, over a threshold."""
    weight = np.zeros((SIZE * SIZE, 2), np.float32)
    weight[SIZE * SIZE // 2 :, 1] = 20 / 255 / (SIZE * SIZE)
    constants = {"weight": weight, "bias": np.array([0.0, -3.0], np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["grey"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["grey"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
            helper.make_node("Identity", ["logits"], ["embedding"]),
        ],
        "lower half",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 1, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2])
            for name in ("logits", "embedding")
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def occlusion_card(card: ModelCard) -> ModelCard:
    point = OperatingPoint(0.5, 0.5, 0.5)
    return replace(
        card,
        labels=(
            Label(key="NORMAL", display="no finding", role=LabelRole.NO_FINDING),
            Label(key="PNEUMONIA", display="pneumonia", operating_point=point),
        ),
        activation=Activation.SOFTMAX,
        temperature=1.0,
        input=InputSpec(size=SIZE),
        heatmap="occlusion",
        any_finding=point,
        scope=ScopeSpec(),
        embedding_size=2,
    )


@pytest.fixture
def write_model(tmp_path: Path, occlusion_card: ModelCard) -> Callable[..., Path]:
    """Writes the model folder; what is given changes the card."""

    def write(**changes: Any) -> Path:
        folder = tmp_path / "occlusion"
        folder.mkdir()
        stream = io.BytesIO()
        np.savez(stream, known_pixels=np.zeros((1, SIZE, SIZE), np.uint8))
        contents = {
            "model.onnx": make_graph(),
            "reference.npz": stream.getvalue(),
            "README.md": b"read me",
            "LICENSE": b"licence",
        }
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        files = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        text = card_to_json(replace(occlusion_card, files=files, **changes))
        (folder / "card.json").write_text(text, encoding="utf-8")
        return folder

    return write


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_a_graph_without_maps_gives_maps_of_no_size(kind: RuntimeKind) -> None:
    runtime = load_runtime(make_graph(), kind=kind)
    assert runtime.shape.map_size == (0, 0)
    outputs = runtime.run(np.full((2, 1, SIZE, SIZE), 255, np.uint8))
    np.testing.assert_allclose(outputs.logits, [[0, 7], [0, 7]], rtol=1e-5)
    assert outputs.maps.shape == (2, 2, 0, 0)


def test_a_card_that_promises_maps_needs_a_graph_that_makes_them(
    write_model: Callable[..., Path],
) -> None:
    with pytest.raises(InvalidModelError, match="expected class activation maps"):
        Classifier.load(write_model(heatmap="cam"), threads=1)


def test_a_card_that_checks_likeness_needs_a_reference(write_model: Callable[..., Path]) -> None:
    with pytest.raises(InvalidModelError, match="reference: expected the arrays mean"):
        Classifier.load(write_model(scope=ScopeSpec(max_distance=2.0)), threads=1)


def test_an_assessed_image_gets_a_map_of_what_was_hidden(
    write_model: Callable[..., Path], samples: Path
) -> None:
    classifier = Classifier.load(write_model(), threads=1)
    report = analyze(samples / "child-3-pneumonia.jpg", model=classifier)
    assert isinstance(report, Report)
    assert report.distance is None
    assert report.shown_label == "PNEUMONIA"
    assert report.maps is not None
    assert report.maps.shape == (2, SERVED_GRID, SERVED_GRID)
    half = SERVED_GRID // 2
    assert not report.maps[:, : half - 1].any()
    assert report.maps[1, half:].any()


def test_maps_are_the_same_whatever_the_batch_and_the_threads(
    write_model: Callable[..., Path], samples: Path
) -> None:
    classifier = Classifier.load(write_model(), threads=2)
    names = [samples / "child-3-pneumonia.jpg", samples / "adult-1-no-finding.png"]
    found = []
    for threads, batch_size in ((1, 1), (2, 64)):
        with Analyzer(classifier, workers=1, threads=threads, batch_size=batch_size) as analyzer:
            futures = [analyzer.submit(name) for name in names]
            reports = [future.result() for future in futures]
        assert all(isinstance(report, Report) for report in reports)
        found.append([report.maps for report in reports if isinstance(report, Report)])
    for first, second in zip(*found, strict=True):
        assert first is not None
        assert second is not None
        assert first.tobytes() == second.tobytes()


def test_no_map_is_made_where_none_is_looked_at(
    write_model: Callable[..., Path], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked again")

    monkeypatch.setattr("chestx.analysis.judgement.compute_occlusion_maps", refuse)
    classifier = Classifier.load(write_model(), threads=1)
    image, foreign = samples / "child-3-pneumonia.jpg", samples / "other-3-photo.png"
    options: list[dict[str, Any]] = [{"preview_size": 0}, {"occlusion_maps": False}]
    for given in options:
        with Analyzer(classifier, workers=0, threads=1, **given) as analyzer:
            report = analyzer.analyze(image)
        assert isinstance(report, Report)
        assert (report.maps, report.shown_label) == (None, "")
    report = analyze(foreign, model=classifier)
    assert isinstance(report, Report)
    assert report.maps is None


def test_the_network_can_be_asked_by_another_way(write_model: Callable[..., Path]) -> None:
    classifier = Classifier.load(write_model(), threads=1)
    asked = 0

    def predict(pixels: np.ndarray) -> Any:
        nonlocal asked
        asked += len(pixels)
        return classifier.predict(pixels)

    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    own = compute_occlusion_maps(score_evidence(classifier), pixels, grid=SERVED_GRID)
    other = compute_occlusion_maps(
        score_evidence(classifier, predict=predict), pixels, grid=SERVED_GRID
    )
    np.testing.assert_array_equal(own, other)
    assert asked == SERVED_GRID**2 + 1


def test_the_card_of_such_a_model_says_so(occlusion_card: ModelCard) -> None:
    text = render_card(occlusion_card)
    assert "Heatmap: occlusion; parts of the image are hidden in turn" in text
    assert "they were not calibrated" in text


def test_a_model_without_known_answers_cannot_be_checked(
    write_model: Callable[..., Path],
) -> None:
    with pytest.raises(ChestxError, match="to check the network with, it has none"):
        Classifier.load(write_model(), threads=1).check()
