"""Any image classifier in ONNX, brought into the form that chestx runs.

Nodes are put before the graph (our grey pixels to the values and the layout that it
expects) and behind it (its outputs to logits, embedding and maps).
The result is run against the graph itself before it is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.compose
from onnx import TensorProto

from chestx.domain import Activation, ChestxError, InvalidModelError, UsageError
from chestx.learning.importing_description import (
    Gives,
    Heatmap,
    Layout,
    OnnxDescription,
    Values,
)
from chestx.learning.importing_read import DOMAINS, check_sizes
from chestx.learning.importing_tail import Tail, add_tail, find_tail
from chestx.models.runtime import import_openvino, load_runtime
from chestx.shapes import Float, Float32, UInt8

_PREFIX = "imported/"
_TOLERANCE = 1e-4

_Values = tuple[Float[np.ndarray, " channels"], Float[np.ndarray, " channels"]]


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # Blue, green, red.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WrappedGraph:
    """A graph in our form.

    Attributes:
        graph: its bytes.
        activation: of its logits.
        size: of its input in pixels.
        heatmap: ``cam``, ``occlusion`` or ``none``.
        has_features: whether the embedding is pooled features.
        record: how the network was described, plain values.
    """

    graph: bytes
    activation: Activation
    size: int
    heatmap: str
    has_features: bool
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Input:
    """The one input of a graph."""

    name: str
    elem_type: int
    layout: Layout
    channels: int
    size: int


def wrap_onnx(model: onnx.ModelProto, description: OnnxDescription) -> WrappedGraph:
    """The graph with our input and our outputs.

    Class activation maps are made where the graph ends in a global average and a linear
    layer, and the maps add up to the logits; else there are none, and the heatmap is made by
    occlusion.

    Args:
        model: from :func:`read_onnx`; it is changed.
        description: what the graph does not say.

    Raises:
        UsageError: the description does not fit the graph.
        ChestxError: the wrapped graph gives other numbers than the graph.
    """
    found = _find_input(model, description)
    output = _find_output(model, description)
    scale, offset = _choose_values(description, found.channels)
    _fix_shape(model, found)
    check_sizes(model)
    pixels = _make_pixels(found.size)
    wanted = _run_original(
        model, found, output, pixels * scale[:, None, None] + offset[:, None, None]
    )
    if description.activation is Activation.SOFTMAX and len(description.labels) < 2:
        raise UsageError("--activation: a softmax needs two labels or more, got one")
    if wanted.shape[1:] != (len(description.labels),):
        raise UsageError(
            f"--labels: expected one for each output, got {len(description.labels)} for an "
            f"output of shape {[*wanted.shape]}"
        )
    own = onnx.compose.add_prefix(model, _PREFIX)
    tail = find_tail(own, _PREFIX + output, description.gives, description.activation)
    _check_claim(wanted, tail)
    graph, kept = _choose_graph(own, found, (scale, offset), tail, wanted, pixels)
    heatmap = "cam" if kept.can_map else "occlusion"
    if description.heatmap is not Heatmap.AUTO:
        heatmap = description.heatmap.value
    return WrappedGraph(
        graph=graph,
        activation=tail.activation,
        size=found.size,
        heatmap=heatmap,
        has_features=kept.embedding != "",
        record=_record(model, description, found, tail),
    )


def _find_input(model: onnx.ModelProto, description: OnnxDescription) -> _Input:
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1 or not inputs[0].type.HasField("tensor_type"):
        raise UsageError(f"ONNX graph: expected one input, an image, got {len(inputs)}")
    tensor = inputs[0].type.tensor_type
    dims = [item.dim_value for item in tensor.shape.dim]
    shown = [value or "?" for value in dims]
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise UsageError(f"ONNX graph: expected an input of float or uint8, got {kind.lower()}")
    if len(dims) != 4 or dims[0] > 1:
        raise UsageError(
            f"ONNX graph: expected an input of 4 dimensions for one image or any number, got "
            f"{shown}; export it with a batch of 1 or of any size"
        )
    layout = description.layout or _guess_layout(dims)
    channels, sides = (
        (dims[1], dims[2:]) if layout is Layout.NCHW else (dims[3], [dims[1], dims[2]])
    )
    if channels not in (1, 3):
        raise UsageError(
            f"ONNX graph: expected 1 or 3 channels in an input of {layout}, got {shown}; "
            "give --layout"
        )
    sizes = {side for side in (*sides, description.size or 0) if side}
    if len(sizes) != 1 or not 16 <= min(sizes) <= 4096:
        raise UsageError(
            f"--size: expected one side of 16 to 4096 pixels for a square input, got "
            f"{description.size or 'none'} for the shape {shown}"
        )
    return _Input(inputs[0].name, tensor.elem_type, layout, channels, sizes.pop())


def _guess_layout(dims: list[int]) -> Layout:
    first, last = dims[1] in (1, 3), dims[3] in (1, 3)
    if first == last:
        raise UsageError(
            f"--layout: expected nchw or nhwc, the shape {[d or '?' for d in dims]} does not tell"
        )
    return Layout.NCHW if first else Layout.NHWC


def _find_output(model: onnx.ModelProto, description: OnnxDescription) -> str:
    names: list[str] = [item.name for item in model.graph.output]
    shown = f"{', '.join(names[:20])!r:.400}"
    if description.tensor:
        if description.tensor not in names:
            raise UsageError(f"--tensor: expected one of {shown}, got {description.tensor!r:.80}")
        return description.tensor
    if len(names) != 1:
        raise UsageError(f"--tensor: expected the name of one output of {shown}, got none")
    return names[0]


def _choose_values(description: OnnxDescription, channels: int) -> _Values:
    """Factor and term that make the network's values of ours, 0 to 255."""
    values = description.values
    if values in (Values.IMAGENET, Values.CAFFE) and (channels != 3 or description.mean):
        raise UsageError(
            f"--range: {values} is for three channels and brings its own mean; give unit or "
            "byte with --mean and --std"
        )
    scale, offset = {
        Values.UNIT: (np.full(channels, 1 / 255), np.zeros(channels)),
        Values.BYTE: (np.ones(channels), np.zeros(channels)),
        Values.SIGNED: (np.full(channels, 1 / 127.5), np.full(channels, -1.0)),
        Values.IMAGENET: (np.full(channels, 1 / 255), np.zeros(channels)),
        Values.CAFFE: (np.ones(channels), -np.array(_CAFFE_MEAN)),
    }[values]
    mean, std = description.mean, description.std
    if values is Values.IMAGENET:
        mean, std = _IMAGENET_MEAN, _IMAGENET_STD
    steps = (_spread("--mean", mean, channels, 0.0), _spread("--std", std, channels, 1.0))
    if not (steps[1] > 0).all():
        raise UsageError(f"--std: expected positive numbers, got {std}")
    return scale / steps[1], (offset - steps[0]) / steps[1]


def _spread(
    name: str, numbers: tuple[float, ...], channels: int, default: float
) -> Float[np.ndarray, " channels"]:
    if len(numbers) not in (0, 1, channels) or not np.isfinite(numbers).all():
        raise UsageError(f"{name}: expected 1 or {channels} finite numbers, got {numbers}")
    return np.broadcast_to(np.array(numbers or (default,), dtype=np.float64), (channels,)).copy()


def _fix_shape(model: onnx.ModelProto, found: _Input) -> None:
    """Writes what is known now into the input; the batch stays as it was.

    Constants that old files list as inputs are no longer.
    """
    constants = {item.name for item in model.graph.initializer}
    kept = [item for item in model.graph.input if item.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    dims = kept[0].type.tensor_type.shape.dim
    sides = (2, 3) if found.layout is Layout.NCHW else (1, 2)
    for axis in sides:
        dims[axis].dim_value = found.size
    model.ir_version = max(8, min(model.ir_version, 10))
    del model.metadata_props[:]


def _make_pixels(size: int) -> UInt8[np.ndarray, "images 1 size size"]:
    """Noise, coarse and fine, to compare graphs on."""
    generator = np.random.default_rng(0)
    fine = generator.integers(0, 256, size=(2, 1, size, size), dtype=np.uint8)
    coarse = generator.integers(0, 256, size=(2, 1, 4, 4), dtype=np.uint8)
    tile = np.ones((1, 1, -(-size // 4), -(-size // 4)), dtype=np.uint8)
    return np.concatenate([fine, np.kron(coarse, tile)[:, :, :size, :size]])


def _run_original(
    model: onnx.ModelProto,
    found: _Input,
    output: str,
    values: Float[np.ndarray, "images channels size size"],
) -> Float32[np.ndarray, "images ..."]:
    """What the graph itself gives, one image at a time."""
    if found.layout is Layout.NHWC:
        values = values.transpose(0, 2, 3, 1)
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(found.elem_type))
    if kind == np.uint8 and not np.array_equal(values, values.astype(np.uint8)):
        raise UsageError("--range: the input is of uint8; give byte, without --mean and --std")
    core = import_openvino().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    try:
        network = core.read_model(model=model.SerializeToString(), weights=b"")
        shape = network.input(0).partial_shape
        shape[0] = 1
        network.reshape(shape)
        compiled = core.compile_model(network, "CPU", options)
        rows = [
            np.array(compiled({0: np.ascontiguousarray(row[None]).astype(kind)})[output])
            for row in values
        ]
    except (RuntimeError, KeyError, IndexError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UsageError(
            f"ONNX graph: expected one that can be run, got: {(lines or ['no reason'])[-1]:.300}"
        ) from error
    if any(row.shape[:1] != (1,) or not np.isfinite(row).all() for row in rows):
        raise UsageError("ONNX graph: expected finite outputs for one image, got others")
    return np.concatenate(rows).astype(np.float32)


def _check_claim(wanted: Float32[np.ndarray, "images labels"], tail: Tail) -> None:
    """Whether the outputs can be what they are said to be.

    Raises:
        UsageError: probabilities outside 0 to 1, or logits that look like probabilities.
    """
    inside = bool((wanted >= 0).all() and (wanted <= 1).all())
    adds_up = bool(np.allclose(wanted.sum(axis=1), 1, atol=1e-3))
    if tail.gives is Gives.PROBABILITIES:
        if not inside or (tail.activation is Activation.SOFTMAX and not adds_up):
            raise UsageError(
                "--gives: expected probabilities"
                + (" that add up to 1" if tail.activation is Activation.SOFTMAX else "")
                + f", the graph gives {wanted[0][:4].tolist()}..."
            )
    elif inside and adds_up and wanted.shape[1] > 1:
        raise UsageError(
            "--gives: expected logits, the graph gives numbers of 0 to 1 that add up to 1; "
            "say --gives probabilities"
        )


def _choose_graph(
    own: onnx.ModelProto,
    found: _Input,
    values: _Values,
    tail: Tail,
    wanted: Float32[np.ndarray, "images labels"],
    pixels: UInt8[np.ndarray, "images 1 size size"],
) -> tuple[bytes, Tail]:
    """The graph with maps and embedding if that holds, else with less."""
    for candidate in tail.weaken():
        graph = _join(own, found, values, candidate, labels=wanted.shape[1])
        try:
            runtime = load_runtime(graph)
        except InvalidModelError as error:
            if candidate.embedding:
                continue
            raise UsageError(f"ONNX graph: {error}") from error
        outputs = runtime.run(pixels)
        gap = _measure_gap(candidate.restore(outputs.logits), wanted, candidate)
        if not gap <= _TOLERANCE:
            raise ChestxError(
                f"import: expected outputs within {_TOLERANCE:g} of those of the graph, got a "
                f"difference of {gap:.3g}"
            )
        if not candidate.can_map or _maps_add_up(outputs.maps, outputs.logits, candidate):
            return graph, candidate
    raise AssertionError("the last candidate needs nothing of the graph")


def _measure_gap(
    given: Float[np.ndarray, "images labels"],
    wanted: Float32[np.ndarray, "images labels"],
    tail: Tail,
) -> float:
    expected = wanted.astype(np.float64)
    if tail.gives is Gives.LOGITS and tail.activation is Activation.SOFTMAX:
        expected = expected - expected.mean(axis=1, keepdims=True)
    return float(np.abs(given - expected).max() / max(float(np.abs(expected).max()), 1.0))


def _maps_add_up(
    maps: Float32[np.ndarray, "images labels height width"],
    logits: Float32[np.ndarray, "images labels"],
    tail: Tail,
) -> bool:
    """The mean of a map and the bias are the logit, or it is no map of this logit."""
    total = maps.mean(axis=(2, 3)) + tail.bias
    return float(np.abs(total - logits).max()) <= _TOLERANCE * max(float(np.abs(logits).max()), 1.0)


def _join(
    own: onnx.ModelProto, found: _Input, values: _Values, tail: Tail, *, labels: int
) -> bytes:
    """Our input, nodes that make the graph's input of it, the graph, and our outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(own)
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value or "batch"
    front = _make_front(graph, found, values)
    nodes = [*front, *graph.node]
    del graph.input[:], graph.output[:], graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(
        onnx.helper.make_tensor_value_info(
            "pixels", TensorProto.UINT8, [batch, 1, found.size, found.size]
        )
    )
    add_tail(graph, tail, batch=batch, labels=labels)
    return bytes(model.SerializeToString(deterministic=True))


def _make_front(graph: onnx.GraphProto, found: _Input, values: _Values) -> list[onnx.NodeProto]:
    """The product with one factor a channel makes as many channels of the one there is."""
    constants: Mapping[str, np.ndarray] = {
        "scale": values[0].astype(np.float32)[None, :, None, None],
        "offset": values[1].astype(np.float32)[None, :, None, None],
    }
    for name, array in constants.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, f"input/{name}"))
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["pixels"], ["input/grey"], to=TensorProto.FLOAT),
        make("Mul", ["input/grey", "input/scale"], ["input/scaled"]),
        make("Add", ["input/scaled", "input/offset"], ["input/values"]),
    ]
    last = "input/values"
    if found.layout is Layout.NHWC:
        nodes.append(make("Transpose", [last], ["input/turned"], perm=[0, 2, 3, 1]))
        last = "input/turned"
    # Under the name that the graph reads.
    nodes.append(make("Cast", [last], [_PREFIX + found.name], to=found.elem_type))
    return nodes


def _record(
    model: onnx.ModelProto, description: OnnxDescription, found: _Input, tail: Tail
) -> dict[str, Any]:
    producer = f"{model.producer_name} {model.producer_version}".strip()
    return {
        "producer": "".join(x for x in producer if x.isprintable())[:80] or "not stated",
        "opset": max(x.version for x in model.opset_import if x.domain in DOMAINS),
        "described_as": {
            "layout": str(found.layout),
            "channels": found.channels,
            "range": str(description.values),
            "mean": list(description.mean),
            "std": list(description.std),
            "gives": str(tail.gives),
            "activation": str(tail.activation),
        },
    }
