"""From model input to the numbers of one forward pass, on OpenVINO or onnxruntime.

Images are computed one by one on a graph of batch 1: on the processors measured this
is as fast as batches of 8, and an image's numbers never depend on its neighbours.
One call computes on one thread; several threads may call at once.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from chestx.domain import ChestxError, InvalidModelError, Precision, UsageError
from chestx.models.devices import Device, check_started, choose_providers
from chestx.models.onnx_file import check_onnx_bytes
from chestx.models.precision import check_native_bf16
from chestx.shapes import Float32, UInt8

RuntimeKind = Literal["openvino", "onnxruntime"]

_INPUT = "pixels"
_OUTPUTS = ("logits", "embedding")
_MAPS = "cams"


@dataclass(frozen=True, slots=True)
class GraphShape:
    """Sizes of a graph's input and outputs.

    Attributes:
        size: side of the square input in pixels.
        labels: number of logits and of maps.
        features: length of the embedding.
        map_size: height and width of a map; zeros where the graph makes none.
    """

    size: int
    labels: int
    features: int
    map_size: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What one forward pass gives for each image of a batch.

    Attributes:
        logits: one a label.
        embedding: pooled features.
        maps: class activation maps in units of the logit, of no height and width where
            the graph makes none.
    """

    logits: Float32[np.ndarray, "batch labels"]
    embedding: Float32[np.ndarray, "batch features"]
    maps: Float32[np.ndarray, "batch labels map_height map_width"]


@runtime_checkable
class Runtime(Protocol):
    """A compiled graph. ``run`` may be called from several threads at once."""

    @property
    def shape(self) -> GraphShape:
        """Sizes of the input and the outputs."""
        ...

    def run(self, pixels: UInt8[np.ndarray, "batch 1 size size"]) -> Outputs:
        """Computes every image of the batch; bit-identical whatever the batch size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """How a graph is to be computed; see :func:`load_runtime`."""

    threads: int
    precision: Precision
    device: Device


def load_runtime(
    data: bytes,
    *,
    kind: RuntimeKind = "openvino",
    threads: int = 1,
    precision: Precision = Precision.F32,
    device: Device = Device.CPU,
) -> Runtime:
    """Compiles a graph.

    Args:
        data: ONNX graph with the input ``pixels`` (uint8) and the outputs ``logits``,
            ``embedding`` and, if it makes maps, ``cams``; bytes, not a path, so that what
            was verified runs.
        kind: library that computes.
        threads: how many calls of ``run`` may compute at once; others wait. On
            onnxruntime every call computes on the thread that makes it.
        precision: f32 and bf16 compute the same graph; int8 is in the graph's own nodes, so
            ``data`` is that graph.
        device: cpu; cuda and tensorrt where onnxruntime has them.

    Raises:
        InvalidModelError: the bytes are damaged, or another kind of graph.
        UsageError: unknown kind, threads below 1, onnxruntime not installed, or a device or
            precision that the library does not have.
        ChestxError: this processor does not compute in bfloat16.
    """
    if threads < 1:
        raise UsageError(f"threads: expected 1 or more, got {threads}")
    loaders: dict[str, Callable[[bytes, _Request], Runtime]] = {
        "openvino": _OpenVinoRuntime.load,
        "onnxruntime": _OnnxRuntime.load,
    }
    if kind not in loaders:
        raise UsageError(f"runtime: expected {' or '.join(loaders)}, got {kind!r}")
    check_onnx_bytes(data)
    return loaders[kind](data, _Request(threads=threads, precision=precision, device=device))


def import_openvino() -> Any:
    """OpenVINO with its telemetry shut off.

    At import OpenVINO starts a child process that calls an analytics host and writes
    into the home folder. None in ``sys.modules`` makes every import of the telemetry
    package fail, which OpenVINO takes as "not installed". The entry stays: some of
    its modules import the package later, on first use.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def describe_openvino() -> str:
    """Version of OpenVINO and name of the processor, in words."""
    openvino = import_openvino()
    processor = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    return f"OpenVINO {openvino.__version__.partition('-')[0]} on {processor}"


class _OpenVinoRuntime:
    """A compiled model with one infer request, and so one stream, a thread."""

    def __init__(
        self, compiled: Any, shape: GraphShape, names: Sequence[str], threads: int
    ) -> None:
        self._shape = shape
        self._names = names
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(threads):
            self._requests.put(compiled.create_infer_request())

    @classmethod
    def load(cls, data: bytes, request: _Request) -> _OpenVinoRuntime:
        if request.device is not Device.CPU:
            raise UsageError(
                f"device {request.device}: expected the runtime onnxruntime, got openvino"
            )
        openvino = import_openvino()
        core = openvino.Core()
        is_bf16 = request.precision is Precision.BF16
        if is_bf16:
            capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            check_native_bf16(capabilities, core.get_property("CPU", "FULL_DEVICE_NAME"))
        try:
            model = core.read_model(model=data, weights=b"")
            names = _check_names(
                [name for item in model.inputs for name in item.names],
                [name for item in model.outputs for name in item.names],
            )
            wanted = model.input(_INPUT).partial_shape
            if request.precision is not Precision.INT8:
                # OpenVINO 2026.4 crashes on some quantised graphs of a fixed batch.
                wanted[0] = 1
                model.reshape(wanted)
            compiled = core.compile_model(model, "CPU", _openvino_options(request))
            shape = _check_shapes(
                str(model.input(_INPUT).element_type.to_dtype()),
                [
                    (1, *(item.get_length() if item.is_static else None for item in shape))
                    for _, *shape in (
                        model.input(_INPUT).partial_shape,
                        *(model.output(name).partial_shape for name in names),
                    )
                ],
            )
        except (RuntimeError, IndexError, ValueError) as error:
            raise _damaged(error) from error
        computes_in = str(compiled.get_property("INFERENCE_PRECISION_HINT"))
        if ("bfloat16" in computes_in) is not is_bf16:
            raise ChestxError(
                f"precision {request.precision}: OpenVINO computes in {computes_in} instead; use "
                "f32, or the runtime onnxruntime"
            )
        return cls(compiled, shape, names, request.threads)

    @property
    def shape(self) -> GraphShape:
        return self._shape

    def run(self, pixels: UInt8[np.ndarray, "batch 1 size size"]) -> Outputs:
        request = self._requests.get()
        try:
            return _run_each(pixels, self._shape, lambda image: self._run_one(request, image))
        finally:
            self._requests.put(request)

    def _run_one(
        self, request: Any, image: UInt8[np.ndarray, "1 1 size size"]
    ) -> Sequence[Float32[np.ndarray, ...]]:
        # The inputs are only read, and the outputs copied out before the next image.
        request.infer({_INPUT: image}, share_inputs=True)
        return [request.get_tensor(name).data for name in self._names]


def _openvino_options(request: _Request) -> dict[str, Any]:
    return {
        # Never the default, which goes by the processor. What a quantised graph does not say in
        # whole numbers is f32.
        "INFERENCE_PRECISION_HINT": "bf16" if request.precision is Precision.BF16 else "f32",
        "NUM_STREAMS": str(request.threads),
        "INFERENCE_NUM_THREADS": request.threads,
        # Pinned threads of several processes would share one core.
        "ENABLE_CPU_PINNING": False,
    }


class _OnnxRuntime:
    """A session of onnxruntime; its ``run`` is safe to call from several threads."""

    def __init__(self, session: Any, shape: GraphShape, names: Sequence[str]) -> None:
        self._session = session
        self._shape = shape
        self._names = names

    @classmethod
    def load(cls, data: bytes, request: _Request) -> _OnnxRuntime:
        # Threads need no word: each call computes on the thread that makes it.
        if request.precision is Precision.BF16:
            raise UsageError(
                "precision bf16: expected the runtime openvino, got onnxruntime, which computes "
                "this graph in f32"
            )
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(
                "runtime onnxruntime: expected it to be installed, it is not; "
                'pip install "chestx[onnxruntime]"'
            ) from error
        providers = choose_providers(
            request.device, onnxruntime.get_available_providers(), precision=request.precision
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Its messages repeat what the error below says.
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no base class of their own.
            raise _damaged(error) from error
        check_started(request.device, session.get_providers())
        inputs = {item.name: item for item in session.get_inputs()}
        outputs = {item.name: item for item in session.get_outputs()}
        names = _check_names(list(inputs), list(outputs))
        shapes = [inputs[_INPUT].shape, *(outputs[name].shape for name in names)]
        dtype = "uint8" if inputs[_INPUT].type == "tensor(uint8)" else inputs[_INPUT].type
        return cls(session, _check_shapes(dtype, [(1, *shape[1:]) for shape in shapes]), names)

    @property
    def shape(self) -> GraphShape:
        return self._shape

    def run(self, pixels: UInt8[np.ndarray, "batch 1 size size"]) -> Outputs:
        return _run_each(
            pixels, self._shape, lambda image: self._session.run(self._names, {_INPUT: image})
        )


def _run_each(
    pixels: UInt8[np.ndarray, "batch 1 size size"],
    shape: GraphShape,
    run_one: Callable[[UInt8[np.ndarray, "1 1 size size"]], Sequence[Float32[np.ndarray, ...]]],
) -> Outputs:
    if pixels.shape[1:] != (1, shape.size, shape.size):
        raise ValueError(
            f"expected pixels of [batch, 1, {shape.size}, {shape.size}], got {pixels.shape}"
        )
    count = len(pixels)
    outputs = Outputs(
        logits=np.empty((count, shape.labels), np.float32),
        embedding=np.empty((count, shape.features), np.float32),
        maps=np.empty((count, shape.labels, *shape.map_size), np.float32),
    )
    rows = np.ascontiguousarray(pixels)
    for i in range(count):
        logits, embedding, *maps = run_one(rows[i : i + 1])
        outputs.logits[i], outputs.embedding[i] = logits[0], embedding[0]
        if maps:
            outputs.maps[i] = maps[0][0]
    return outputs


def _check_names(inputs: list[str], outputs: list[str]) -> list[str]:
    """The outputs that are computed, in their order."""
    if inputs != [_INPUT]:
        raise InvalidModelError(
            f"model.onnx: expected the one input {_INPUT}, got {', '.join(inputs) or 'none'}"
        )
    if missing := [name for name in _OUTPUTS if name not in outputs]:
        raise InvalidModelError(
            f"model.onnx: expected the outputs {', '.join(_OUTPUTS)}, "
            f"got {', '.join(outputs) or 'none'} without {missing[0]}"
        )
    return [*_OUTPUTS, *([_MAPS] if _MAPS in outputs else [])]


def _check_shapes(dtype: str, shapes: Sequence[tuple[Any, ...]]) -> GraphShape:
    """Sizes of a graph of batch 1 from those of its input and its outputs."""
    if dtype != "uint8":
        raise InvalidModelError(f"model.onnx: expected pixels of uint8, got {dtype}")
    match shapes:
        case [(1, 1, int(size), int(width)), (1, int(labels)), (1, int(features)), *maps] if (
            size == width
        ):
            match maps:
                case []:
                    return GraphShape(size, labels, features, (0, 0))
                case [(1, int(map_labels), int(height), int(wide))] if map_labels == labels:
                    return GraphShape(size, labels, features, (height, wide))
    raise InvalidModelError(
        "model.onnx: expected pixels [batch, 1, size, size], logits [batch, labels], embedding "
        "[batch, features] and cams, if any, [batch, labels, height, width], "
        f"got {[*map(list, shapes)]}"
    )


def _damaged(error: Exception) -> InvalidModelError:
    # The first lines are paths in the library's source.
    reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason")
    return InvalidModelError(
        f"model.onnx: expected a graph that can be compiled, got: {reason.strip()}"
    )
