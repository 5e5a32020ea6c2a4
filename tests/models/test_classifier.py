"""From logits to answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from chestx.domain import (
    ANY_FINDING,
    Activation,
    ChestxError,
    FindingDecision,
    InvalidModelError,
    ModelCard,
    UsageError,
)
from chestx.models.classifier import Classifier, apply_temperature, load_model, to_findings
from chestx.models.folder import ModelFolder, load_model_folder
from chestx.models.runtime import GraphShape, Outputs
from chestx.models.scope import Reference


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_model()


def _independent(card: ModelCard) -> ModelCard:
    """The same card with findings that do not exclude each other."""
    return replace(card, labels=card.labels[1:], any_finding=None, activation=Activation.SIGMOID)


def test_probabilities_equal_those_of_scipy(card: ModelCard) -> None:
    logits = np.random.default_rng(0).normal(scale=5, size=(50, 3)).astype(np.float32)
    found = apply_temperature(logits, card)
    np.testing.assert_allclose(found, softmax(logits.astype(float) / 0.8, axis=1), rtol=1e-6)
    found = apply_temperature(logits[:, :2], _independent(card))
    np.testing.assert_allclose(found, expit(logits[:, :2].astype(float) / 0.8), rtol=1e-6)


def test_the_largest_logits_overflow_nothing(card: ModelCard) -> None:
    top = np.finfo(np.float32).max
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = apply_temperature(np.array([[top, -top, 0], [-top] * 3], np.float32), card)
        np.testing.assert_array_equal(found[0], [1, 0, 0])
        np.testing.assert_allclose(found[1], 1 / 3)
        found = apply_temperature(np.array([[top, -top]], np.float32), _independent(card))
        np.testing.assert_array_equal(found, [[1, 0]])


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_no_answer(card: ModelCard, fault: float) -> None:
    logits = np.zeros((2, 3), np.float32)
    logits[1, 2] = fault
    with pytest.raises(
        ChestxError, match=r"the model gave infinite or undefined ones.*model verify"
    ):
        apply_temperature(logits, card)


def test_findings_follow_the_operating_points(card: ModelCard) -> None:
    findings, any_finding = to_findings(card, np.array([0.1, 0.65, 0.25], np.float32))
    assert [finding.key for finding in findings] == ["PNEUMONIA", "COVID19"]
    assert findings[0].decision is FindingDecision.POSITIVE
    assert findings[0].probability == pytest.approx(0.65)
    assert findings[0].operating_point == card.labels[1].operating_point
    assert findings[1].decision is FindingDecision.NEGATIVE
    assert findings[1].caveat == "experimental | see limits"
    assert any_finding is not None
    assert any_finding.key == ANY_FINDING
    assert any_finding.display == "any finding (pneumonia or COVID-19 features)"
    assert any_finding.probability == pytest.approx(0.9)
    assert any_finding.decision is FindingDecision.POSITIVE


def test_the_composite_can_be_uncertain_where_no_finding_is_positive(card: ModelCard) -> None:
    findings, any_finding = to_findings(card, np.array([0.6, 0.19, 0.21], np.float32))
    assert {finding.decision for finding in findings} == {FindingDecision.NEGATIVE}
    assert any_finding is not None
    assert any_finding.decision is FindingDecision.UNCERTAIN


def test_a_certain_image_keeps_its_probabilities_between_zero_and_one(card: ModelCard) -> None:
    for row in np.eye(3, dtype=np.float32):
        findings, any_finding = to_findings(card, row)
        assert any_finding is not None
        assert {f.probability for f in (*findings, any_finding)} <= {0.0, 1.0}


def test_a_card_without_a_no_finding_label_has_no_composite(card: ModelCard) -> None:
    findings, any_finding = to_findings(_independent(card), np.array([0.5, 0.5], np.float32))
    assert len(findings) == 2
    assert any_finding is None


def test_the_model_of_the_package_answers(classifier: Classifier) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224), dtype=np.uint8)
    predictions = classifier.predict(pixels)
    assert len(predictions) == 3
    for prediction in predictions:
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-6)
        assert prediction.maps.shape == (3, 7, 7)
        assert prediction.embedding.shape == (classifier.card.embedding_size,)
    alone = classifier.predict(pixels[2:])[0]
    assert alone.maps.tobytes() == predictions[2].maps.tobytes()
    assert alone.probabilities.tobytes() == predictions[2].probabilities.tobytes()
    assert (
        classifier.identity.checksum == load_model_folder(classifier.folder.path).identity.checksum
    )


def test_the_distance_is_that_of_the_reference_in_the_folder(classifier: Classifier) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224), dtype=np.uint8)
    embedding = classifier.predict(pixels)[0].embedding
    reference = Reference.from_arrays(classifier.folder.reference)
    assert classifier.measure_distance(embedding) == reference.distance(embedding)


def test_the_model_of_the_package_gives_its_known_answers(classifier: Classifier) -> None:
    classifier.check()
    Classifier.load(runtime="onnxruntime").check()


def _with_reference(classifier: Classifier, **arrays: np.ndarray) -> ModelFolder:
    return replace(classifier.folder, reference=classifier.folder.reference | arrays)


def test_another_answer_than_the_known_one_is_noticed(classifier: Classifier) -> None:
    known = classifier.folder.reference["known_logits"]
    for wrong in (known + np.float32(0.01), known * np.float32(np.nan)):
        changed = Classifier(_with_reference(classifier, known_logits=wrong), classifier._runtime)
        with pytest.raises(InvalidModelError, match="do not use it on this machine"):
            changed.check()


@pytest.mark.parametrize(
    ("pixels", "logits"),
    [
        (np.zeros((0, 224, 224), np.uint8), np.zeros((0, 3), np.float32)),
        (np.zeros((1, 64, 64), np.uint8), np.zeros((1, 3), np.float32)),
        (np.zeros(3, np.uint8), np.zeros((3, 3), np.float32)),
        (np.zeros((), np.uint8), np.zeros((), np.float32)),
        (np.zeros((1, 224, 224), np.float32), np.zeros((1, 3), np.float32)),
        (np.zeros((2, 224, 224), np.uint8), np.zeros((1, 3), np.float32)),
        (np.zeros((2, 224, 224), np.uint8), np.zeros((2, 4), np.float32)),
        (np.zeros((2, 224, 224), np.uint8), np.zeros((2, 3), np.float64)),
        (np.zeros((65, 224, 224), np.uint8), np.zeros((65, 3), np.float32)),
    ],
)
def test_known_answers_of_another_form_are_refused(
    classifier: Classifier, pixels: np.ndarray, logits: np.ndarray
) -> None:
    changed = Classifier(
        _with_reference(classifier, known_pixels=pixels, known_logits=logits), classifier._runtime
    )
    with pytest.raises(
        InvalidModelError, match=r"expected known_pixels of uint8 \[images, 224, 224\] and"
    ):
        changed.check()


def test_the_graph_that_runs_is_the_one_that_was_verified(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[bytes] = []

    def load(data: bytes, **options: object) -> object:
        ran.append(data)
        return classifier._runtime

    monkeypatch.setattr("chestx.models.classifier.load_runtime", load)
    folder = Classifier.load().folder
    assert ran == [folder.graph]
    assert hashlib.sha256(ran[0]).hexdigest() == folder.card.files["model.onnx"]


def test_a_folder_without_known_answers_cannot_be_checked(classifier: Classifier) -> None:
    arrays = dict(classifier.folder.reference)
    del arrays["known_logits"]
    changed = Classifier(replace(classifier.folder, reference=arrays), classifier._runtime)
    with pytest.raises(InvalidModelError, match="expected known_logits to check the network with"):
        changed.check()


@dataclass
class _Graph:
    """A runtime of any shape."""

    shape: GraphShape = field(default_factory=lambda: GraphShape(224, 3, 1280, (7, 7)))

    def run(self, pixels: np.ndarray) -> Outputs:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (GraphShape(256, 3, 1280, (7, 7)), "expected input size 224 as the card says, got 256"),
        (GraphShape(224, 4, 1280, (7, 7)), "expected labels 3 as the card says, got 4"),
        (GraphShape(224, 3, 512, (7, 7)), "expected embedding size 1280 as the card says, got 512"),
    ],
)
def test_a_graph_that_the_card_does_not_describe_is_refused(
    classifier: Classifier, shape: GraphShape, message: str
) -> None:
    with pytest.raises(InvalidModelError, match=message):
        Classifier(classifier.folder, _Graph(shape))


def test_a_reference_of_another_network_is_refused(classifier: Classifier) -> None:
    arrays = {"mean": np.zeros(8, np.float32), "directions": np.ones((2, 8), np.float32)}
    arrays["scales"] = np.ones(2, np.float32)
    with pytest.raises(InvalidModelError, match="expected embeddings of 1280 features"):
        Classifier(_with_reference(classifier, **arrays), _Graph())


def test_a_folder_that_cannot_be_trusted_is_not_run(write_folder: Callable[..., Path]) -> None:
    path = write_folder()
    (path / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(InvalidModelError, match=r"model\.onnx: expected the sha256"):
        Classifier.load(path)
    with pytest.raises(UsageError, match="expected the name of a model or a model folder"):
        load_model("nothing-of-this-name")
