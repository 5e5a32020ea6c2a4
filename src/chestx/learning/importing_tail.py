"""The last layers of a stranger's graph: where its logits, features and maps are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from chestx.domain import Activation, UsageError
from chestx.learning.importing_description import Gives
from chestx.shapes import Float, Float32

_LEAST_PROBABILITY = 1e-7
_FLAT = frozenset({"Flatten", "Reshape", "Squeeze", "Identity", "Dropout"})
_LAST_OPERATORS = {"Softmax": Activation.SOFTMAX, "Sigmoid": Activation.SIGMOID}
_MAX_STEPS = 32


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Tail:
    """What was found at the end of a graph.

    Attributes:
        source: tensor that the logits are made of.
        gives: what the graph's own output holds.
        is_cut: whether ``source`` is logits that stand before the graph's last operator.
        activation: from logits to probabilities.
        embedding: tensor of pooled features; empty where none was found.
        features: tensor of the map that is pooled; empty where none was found.
        is_channels_last: order of that map.
        weight, bias: of the linear layer between embedding and logits.
    """

    source: str
    gives: Gives
    is_cut: bool
    activation: Activation
    embedding: str = ""
    features: str = ""
    is_channels_last: bool = False
    weight: Float32[np.ndarray, "features labels"] | None = None
    bias: Float32[np.ndarray, " labels"] | float = 0.0

    @property
    def can_map(self) -> bool:
        """Whether class activation maps can be made."""
        return self.features != ""

    def weaken(self) -> Iterator[Tail]:
        """This one, then those that need less of the graph."""
        if self.can_map:
            yield self
        if self.embedding:
            yield replace(self, features="")
        yield replace(self, features="", embedding="")

    def restore(
        self, logits: Float32[np.ndarray, "images labels"]
    ) -> Float[np.ndarray, "images labels"]:
        """Logits as the graph's own output would state them."""
        values = logits.astype(np.float64)
        if self.gives is Gives.LOGITS:
            return values
        if self.activation is Activation.SIGMOID:
            return cast(np.ndarray, 1 / (1 + np.exp(-np.clip(values, -500, 500))))
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return cast(np.ndarray, powers / powers.sum(axis=1, keepdims=True))


def find_tail(
    model: onnx.ModelProto, output: str, gives: Gives | None, activation: Activation | None
) -> Tail:
    """Looks at the graph from its end.

    A last softmax or sigmoid is left out: logits say more than probabilities that were
    rounded to 0 and 1.

    Args:
        model: the graph.
        output: its tensor.
        gives, activation: what a person says of it; None to be told by the last operator.

    Raises:
        UsageError: what a person says contradicts the graph, or neither says it.
    """
    nodes = {name: node for node in model.graph.node for name in node.output}
    last = _skip(nodes, output, frozenset({"Identity"}))
    node = nodes.get(last)
    ends = _LAST_OPERATORS.get(node.op_type) if node is not None else None
    if ends is not None and node is not None:
        if gives is Gives.LOGITS:
            raise UsageError(
                f"--gives: expected probabilities for a graph that ends in {node.op_type}, "
                "got logits"
            )
        if activation not in (None, ends):
            raise UsageError(
                f"--activation: expected {ends} for a graph that ends in {node.op_type}, "
                f"got {activation}"
            )
        tail = Tail(source=output, gives=Gives.PROBABILITIES, is_cut=False, activation=ends)
        if ends is Activation.SIGMOID or _read_axis(node) in (1, -1):
            tail = replace(tail, source=node.input[0], is_cut=True)
    elif gives is None or activation is None:
        raise UsageError(
            "--gives and --activation: expected both for a graph that does not end in a softmax "
            f"or sigmoid, got {gives or 'none'} and {activation or 'none'}"
        )
    else:
        tail = Tail(source=output, gives=gives, is_cut=False, activation=activation)
    if tail.is_cut or tail.gives is Gives.LOGITS:
        return _add_head(model.graph, nodes, tail)
    return tail


def _read_axis(node: onnx.NodeProto) -> int:
    return next((item.i for item in node.attribute if item.name == "axis"), -1)


def _skip(nodes: Mapping[str, onnx.NodeProto], name: str, passed: frozenset[str]) -> str:
    for _ in range(_MAX_STEPS):
        node = nodes.get(name)
        if node is None or node.op_type not in passed or name != node.output[0]:
            break
        name = node.input[0]
    return name


def _read_constant(
    graph: onnx.GraphProto, nodes: Mapping[str, onnx.NodeProto], name: str
) -> np.ndarray | None:
    for item in graph.initializer:
        if item.name == name:
            return numpy_helper.to_array(item)
    node = nodes.get(name)
    if node is not None and node.op_type == "Identity":
        return _read_constant(graph, {}, node.input[0])
    if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
        return numpy_helper.to_array(node.attribute[0].t)
    return None


def _add_head(graph: onnx.GraphProto, nodes: Mapping[str, onnx.NodeProto], tail: Tail) -> Tail:
    """The linear layer that makes the logits, and the pooling before it, where they are plain."""
    node = nodes.get(_skip(nodes, tail.source, frozenset({"Identity"})))
    bias: np.ndarray | None = np.zeros(1, dtype=np.float32)
    if node is not None and node.op_type == "Add":
        sides = [(name, _read_constant(graph, nodes, name)) for name in node.input]
        bias = next((array for _, array in sides if array is not None), None)
        node = next((nodes.get(name) for name, array in sides if array is None), None)
        if node is None or node.op_type != "MatMul":
            return tail
    if node is None or node.op_type not in ("MatMul", "Gemm"):
        return tail
    weight = _read_constant(graph, nodes, node.input[1])
    if node.op_type == "Gemm":
        options = {item.name: item.i or item.f for item in node.attribute}
        if options.get("transA", 0) or {options.get(x, 1.0) for x in ("alpha", "beta")} != {1.0}:
            return tail
        weight = weight.T if weight is not None and options.get("transB", 0) else weight
        if len(node.input) > 2:
            bias = _read_constant(graph, nodes, node.input[2])
    if weight is None or bias is None or weight.ndim != 2 or bias.size not in (1, weight.shape[1]):
        return tail
    terms = np.broadcast_to(bias.astype(np.float32).ravel(), (weight.shape[1],))
    weight = weight.astype(np.float32)
    if tail.activation is Activation.SOFTMAX:
        # A softmax does not see what is added to every logit alike; a map of what is left is
        # evidence for its label against the others.
        weight, terms = weight - weight.mean(axis=1, keepdims=True), terms - terms.mean()
    features, is_last = _find_pooled(graph, nodes, node.input[0])
    return replace(
        tail,
        embedding=node.input[0],
        features=features,
        is_channels_last=is_last,
        weight=weight,
        bias=terms,
    )


def _find_pooled(
    graph: onnx.GraphProto, nodes: Mapping[str, onnx.NodeProto], name: str
) -> tuple[str, bool]:
    """The map whose mean over height and width is ``name``, and whether channels come last."""
    node = nodes.get(_skip(nodes, name, _FLAT))
    if node is None or node.op_type not in ("GlobalAveragePool", "ReduceMean"):
        return "", False
    if node.op_type == "GlobalAveragePool":
        return node.input[0], False
    axes = next((list(item.ints) for item in node.attribute if item.name == "axes"), None)
    if axes is None and len(node.input) > 1:
        found = _read_constant(graph, nodes, node.input[1])
        axes = None if found is None else found.ravel().tolist()
    places = {int(axis) % 4 for axis in axes or ()}
    if places not in ({1, 2}, {2, 3}):
        return "", False
    return node.input[0], places == {1, 2}


def add_tail(graph: onnx.GraphProto, tail: Tail, *, batch: int | str, labels: int) -> None:
    """Adds nodes and outputs: ``logits``, ``embedding`` and, if they can be made, ``cams``."""
    _Tailor(graph, tail, labels).add(batch)


class _Tailor:
    """Adds nodes to one graph."""

    def __init__(self, graph: onnx.GraphProto, tail: Tail, labels: int) -> None:
        self._graph = graph
        self._tail = tail
        self._labels = labels

    def add(self, batch: int | str) -> None:
        tail = self._tail
        logits = self._node("Cast", tail.source, to=TensorProto.FLOAT)
        if tail.gives is Gives.PROBABILITIES and not tail.is_cut:
            logits = self._invert(logits)
        if tail.activation is Activation.SOFTMAX:
            centre = np.eye(self._labels) - 1 / self._labels
            logits = self._node("MatMul", logits, self._constant(centre))
        self._output("logits", logits, [batch, self._labels])
        if tail.embedding and tail.weight is not None:
            embedding = self._node("Cast", tail.embedding, to=TensorProto.FLOAT)
            self._output("embedding", embedding, [batch, len(tail.weight)])
        else:
            self._output("embedding", logits, [batch, self._labels])
        if tail.can_map and tail.weight is not None:
            features = self._node("Cast", tail.features, to=TensorProto.FLOAT)
            if tail.is_channels_last:
                features = self._node("Transpose", features, perm=[0, 3, 1, 2])
            kernel = self._constant(tail.weight.T[:, :, None, None])
            maps = self._node("Conv", features, kernel)
            self._output("cams", maps, [batch, self._labels, "map_height", "map_width"])

    def _invert(self, probabilities: str) -> str:
        """Logits of probabilities that were rounded to 0 or 1 are as high as these tell."""
        least = self._constant(np.array(_LEAST_PROBABILITY))
        yes = self._node("Log", self._node("Max", probabilities, least))
        if self._tail.activation is Activation.SOFTMAX:
            return yes
        rest = self._node("Sub", self._constant(np.array(1.0)), probabilities)
        return self._node("Sub", yes, self._node("Log", self._node("Max", rest, least)))

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"output/{len(self._graph.node)}"
        self._graph.node.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _constant(self, array: np.ndarray) -> str:
        name = f"output/constant_{len(self._graph.initializer)}"
        values = np.ascontiguousarray(array, dtype=np.float32)
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _output(self, name: str, tensor: str, shape: list[int | str]) -> None:
        self._graph.node.append(onnx.helper.make_node("Identity", [tensor], [name]))
        self._graph.output.append(
            onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        )
