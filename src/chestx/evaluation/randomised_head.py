"""Whether a class activation map follows the weights that answer, or only the features.

A class activation map is the features of the last layer, added up with the weights of
a label. Where features light up together, any weights give the same picture,
and the map says nothing of the answer. So the weights are shuffled and the maps compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chestx.models.runtime import import_openvino
from chestx.shapes import Float, Float32, UInt8

SHUFFLES = 10
"""Shuffled heads a map is compared with."""

_TOLERANCE = 1e-3
"""How far maps made from the features may be from those of the graph, in their spread."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The last layer of a model, taken out of its graph.

    Attributes:
        weights: of each label for each feature.
        request: gives the features of an image.
    """

    weights: Float32[np.ndarray, "labels features"]
    request: Any

    def read_features(
        self, pixels: UInt8[np.ndarray, "size size"]
    ) -> Float32[np.ndarray, "features height width"]:
        """What the last layer is given for an image."""
        found = self.request.infer({0: pixels[None, None]})
        return np.array(next(iter(found.values()))[0], dtype=np.float32)


def load_head(graph: bytes) -> Head | None:
    """Finds the 1x1 convolution that makes the output ``cams``.

    Args:
        graph: of a model folder.

    Returns:
        None where the maps are made in another way, and cannot be made again
        with other weights.
    """
    openvino = import_openvino()
    core = openvino.Core()
    try:
        model = core.read_model(model=graph, weights=b"")
        node = model.output("cams").get_node()
        convolution = _find_convolution(node.input_value(0).get_node())
        weights = _read_constant(convolution.input_value(1).get_node()) if convolution else None
        if convolution is None or weights is None or weights.shape[2:] != (1, 1):
            return None
        features = openvino.Model([convolution.input_value(0)], model.get_parameters(), "features")
        shape = model.input(0).partial_shape
        shape[0] = 1
        features.reshape(shape)
        compiled = core.compile_model(
            features,
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1},
        )
    except RuntimeError:
        return None
    return Head(weights[:, :, 0, 0].astype(np.float32), compiled.create_infer_request())


def _find_convolution(node: Any) -> Any:
    """Back from the output over an added bias and changes of type."""
    while node.get_type_name() in ("Add", "Convert"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Convolution" else None


def _read_constant(node: Any) -> np.ndarray | None:
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.array(node.data) if node.get_type_name() == "Constant" else None


def compare_shuffled_heads(
    head: Head,
    pixels: UInt8[np.ndarray, "size size"],
    maps: Float32[np.ndarray, "labels height width"],
    label: int,
    *,
    generator: np.random.Generator,
) -> float | None:
    """How alike a label's map is to those of heads with shuffled weights.

    Args:
        head: of the model.
        pixels: model input.
        maps: of the model for this image.
        label: number of the one that is explained.
        generator: of the shuffles.

    Returns:
        Mean absolute rank correlation: 0 where the weights decide, 1 where any give the
        same picture. None where the head does not make these maps.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018 (the first step of the
    cascade: the last layer).
    """
    features = head.read_features(pixels)
    own = np.tensordot(head.weights[label], features, axes=1)
    if own.shape != maps[label].shape:
        return None
    # The bias of the head moves the whole map and no rank.
    gap = (own - own.mean()) - (maps[label] - maps[label].mean())
    if np.abs(gap).max() > _TOLERANCE * max(float(own.std()), 1e-6):
        return None
    found = []
    for _ in range(SHUFFLES):
        weights = generator.permutation(head.weights[label])
        found.append(abs(correlate_ranks(own, np.tensordot(weights, features, axes=1))))
    return float(np.mean(found))


def correlate_ranks(a: Float[np.ndarray, "*map"], b: Float[np.ndarray, "*map"]) -> float:
    """Spearman's correlation of two maps; 0 where one is flat."""
    ranks = []
    for values in (a.ravel(), b.ravel()):
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[places])
    x, y = (rank - rank.mean() for rank in ranks)
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else 0.0
