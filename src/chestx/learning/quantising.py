"""A network in whole numbers of 8 bits: onnxruntime's static quantisation, as QDQ nodes.

Weights have a scale for each channel; the range of every activation is taken from training
images. The first convolution, whose input is the image, and what gives logits, embedding and
maps stay in single precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chestx.domain import ChestxError, UsageError
from chestx.models.onnx_file import check_onnx_bytes
from chestx.shapes import UInt8

INSTALL = 'pip install "chestx[train,onnxruntime]"'

CALIBRATION_IMAGES = 128
"""Training images from which the ranges are taken; more make the extremes wider, not better."""

_QUANTISED = ("Conv", "Add", "Clip", "Relu", "MaxPool", "MatMul")


class _Images:
    """Images one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, pixels: UInt8[np.ndarray, "images size size"]) -> None:
        self._images: Iterator[UInt8[np.ndarray, "size size"]] = iter(pixels)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {"pixels": image[None, None]}


def quantise_graph(graph: bytes, pixels: UInt8[np.ndarray, "images size size"]) -> bytes:
    """An int8 graph with the same input and outputs.

    Args:
        graph: ONNX, as it runs.
        pixels: model inputs from training images.

    Raises:
        UsageError: no image, or onnx or onnxruntime is not installed.
        ChestxError: onnxruntime cannot quantise this graph.
    """
    if not len(pixels):
        raise UsageError("int8: expected training images to take the ranges from, got none")
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UsageError(
            f"int8: expected onnx and onnxruntime to be installed, {error.name} is not; {INSTALL}"
        ) from error
    with tempfile.TemporaryDirectory(prefix="chestx-int8.") as name:
        given, ready, made = (Path(name) / part for part in ("f32.onnx", "ready.onnx", "int8.onnx"))
        given.write_bytes(graph)
        try:
            quant_pre_process(str(given), str(ready), skip_symbolic_shape=True)
            quantize_static(
                str(ready),
                str(made),
                _Images(pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(_QUANTISED),
                nodes_to_exclude=list_exact_nodes(onnx.load(str(ready))),
            )
        except Exception as error:  # Its errors share no base class of their own.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ChestxError(
                f"int8: onnxruntime cannot quantise this graph: {reason:.300}"
            ) from error
        data = made.read_bytes()
    check_onnx_bytes(data)
    return data


def list_exact_nodes(model: Any) -> list[str]:
    """Names of the nodes that stay in single precision: the first convolution, and the head."""
    nodes = list(model.graph.node)
    first = [node.name for node in nodes if node.op_type == "Conv"][:1]
    outputs = {output.name for output in model.graph.output}
    return first + [node.name for node in nodes if outputs.intersection(node.output)]
