"""Stored at half the bytes, a graph gives nearly the same numbers on both runtimes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from chestx.domain import Activation
from chestx.learning.backbones import build_network
from chestx.learning.export import HALF_PARITY, export_network
from chestx.learning.half_weights import LEAST_NUMBERS, is_half, store_half
from chestx.learning.quantising import quantise_graph
from chestx.models.onnx_file import check_onnx_bytes
from chestx.models.runtime import RuntimeKind, load_runtime

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def export(*, half_weights: bool) -> bytes:
    torch.manual_seed(0)
    network = build_network("test_resnet", labels=3)
    return export_network(
        network, size=64, activation=Activation.SOFTMAX, half_weights=half_weights
    )


@pytest.fixture(scope="module")
def whole() -> bytes:
    return export(half_weights=False)


@pytest.fixture(scope="module")
def half() -> bytes:
    return export(half_weights=True)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 1, 64, 64), dtype=np.uint8)


def test_the_file_is_half_as_large_and_sound(whole: bytes, half: bytes) -> None:
    assert len(half) < 0.6 * len(whole)
    check_onnx_bytes(half)
    onnx.checker.check_model(onnx.load_model_from_string(half))
    assert is_half(half)
    assert not is_half(whole)


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
def test_answers_are_those_of_the_rounded_weights(
    whole: bytes, half: bytes, pixels: np.ndarray, kind: RuntimeKind
) -> None:
    plain = load_runtime(whole, kind=kind).run(pixels)
    stored = load_runtime(half, kind=kind).run(pixels)
    for name in ("logits", "embedding", "maps"):
        one, other = getattr(plain, name), getattr(stored, name)
        gap = np.abs(one - other).max() / np.abs(one).max()
        assert 0 < gap < HALF_PARITY


def test_it_can_still_be_quantised(half: bytes, pixels: np.ndarray) -> None:
    made = quantise_graph(half, pixels[:, 0])
    kinds = [t.data_type for t in onnx.load_model_from_string(made).graph.initializer]
    assert TensorProto.INT8 in kinds
    assert TensorProto.FLOAT16 not in kinds
    assert len(made) < 0.7 * len(half)
    plain = load_runtime(half).run(pixels).logits
    quantised = load_runtime(made).run(pixels).logits
    assert np.abs(plain - quantised).max() < 0.2 * np.abs(plain).max()


def test_what_float16_cannot_hold_and_what_is_small_stays() -> None:
    values: dict[str, np.ndarray] = {
        "kept": np.full(LEAST_NUMBERS, 1e6, np.float32),
        "small": np.full(LEAST_NUMBERS - 1, 0.5, np.float32),
        "whole": np.arange(LEAST_NUMBERS, dtype=np.int64),
        "large": np.full(LEAST_NUMBERS, 0.1, np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"out/{name}"]) for name in values],
        "graph",
        [],
        [
            helper.make_tensor_value_info(f"out/{name}", kind, [len(values[name])])
            for name, kind in zip(
                values,
                (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT),
                strict=True,
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = onnx.load_model_from_string(store_half(helper.make_model(graph).SerializeToString()))
    onnx.checker.check_model(model)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {
        "kept": TensorProto.FLOAT,
        "small": TensorProto.FLOAT,
        "whole": TensorProto.INT64,
        "large/half": TensorProto.FLOAT16,
    }
    [cast] = [node for node in model.graph.node if node.op_type == "Cast"]
    assert (list(cast.input), list(cast.output)) == (["large/half"], ["large"])
