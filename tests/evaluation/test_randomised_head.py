"""Maps are compared with those of other weights."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.evaluation.randomised_head import (
    Head,
    compare_shuffled_heads,
    correlate_ranks,
    load_head,
)
from chestx.models.classifier import Classifier


class Request:
    """Gives the same features for every image."""

    def __init__(self, features: np.ndarray) -> None:
        self.features = features

    def infer(self, _inputs: object) -> dict[int, np.ndarray]:
        return {0: self.features[None]}


def make_head(features: np.ndarray) -> tuple[Head, np.ndarray]:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(2, len(features))).astype(np.float32)
    maps = np.tensordot(weights, features, axes=1)
    return Head(weights, Request(features)), maps.astype(np.float32)


PIXELS = np.zeros((16, 16), dtype=np.uint8)


def test_the_head_of_the_shipped_model_makes_its_maps(classifier: Classifier) -> None:
    head = load_head(classifier.folder.graph)
    assert head is not None
    size = classifier.card.input.size
    pixels = np.random.default_rng(0).integers(0, 255, (size, size), dtype=np.uint8)
    maps = classifier.predict(pixels[None])[0].maps
    features = head.read_features(pixels)
    assert features.shape == (classifier.card.embedding_size, *maps.shape[1:])
    np.testing.assert_allclose(np.tensordot(head.weights, features, axes=1), maps, atol=1e-3)
    found = compare_shuffled_heads(head, pixels, maps, 1, generator=np.random.default_rng(0))
    assert found is not None
    assert 0 <= found <= 1


def test_features_that_light_up_apart_make_maps_that_hang_on_the_weights() -> None:
    features = np.random.default_rng(1).normal(size=(300, 7, 7)).astype(np.float32)
    head, maps = make_head(features)
    found = compare_shuffled_heads(head, PIXELS, maps, 0, generator=np.random.default_rng(0))
    assert found is not None
    assert found < 0.25


def test_features_that_light_up_together_make_the_same_map_with_any_weights() -> None:
    spot = np.outer(np.arange(7), np.arange(1, 8)).astype(np.float32)
    strengths = np.random.default_rng(1).random(50).astype(np.float32)
    head, maps = make_head(strengths[:, None, None] * spot)
    found = compare_shuffled_heads(head, PIXELS, maps, 0, generator=np.random.default_rng(0))
    assert found == pytest.approx(1, abs=1e-3)


def test_a_head_that_does_not_make_the_maps_is_not_compared() -> None:
    features = np.random.default_rng(1).normal(size=(30, 7, 7)).astype(np.float32)
    head, maps = make_head(features)
    for other in (maps[:, ::-1], maps[:, :5]):
        generator = np.random.default_rng(0)
        other = np.ascontiguousarray(other)
        assert compare_shuffled_heads(head, PIXELS, other, 0, generator=generator) is None


def test_a_graph_that_makes_maps_in_another_way_has_no_head() -> None:
    assert load_head(b"") is None


def test_rank_correlation_sees_order_alone() -> None:
    ramp = np.arange(49.0).reshape(7, 7)
    assert correlate_ranks(ramp, np.exp(ramp / 10)) == pytest.approx(1)
    assert correlate_ranks(ramp, -ramp) == pytest.approx(-1)
    assert correlate_ranks(ramp, np.zeros((7, 7))) == 0
