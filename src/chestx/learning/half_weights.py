"""A graph whose weights take half the bytes: stored as float16, computed in float32.

Each large tensor is followed by a Cast, which the runtimes undo when they compile the graph: it
runs as fast as before and rounds weights and nothing else: to three decimal digits, those below
6e-5 more coarsely, those below 3e-8 to zero. A network of twice the weights so fits where a file
may not grow.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST_NUMBERS = 1024
"""Smaller tensors, biases among them, stay as they are: they weigh nothing."""

_SUFFIX = "/half"


def store_half(graph: bytes) -> bytes:
    """The graph with its large tensors in float16.

    A tensor with a number that float16 cannot hold stays as it is.

    Args:
        graph: ONNX, weights inside.
    """
    model = onnx.load_model_from_string(graph)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_NUMBERS:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + _SUFFIX))
        casts.append(
            helper.make_node("Cast", [name + _SUFFIX], [name], to=TensorProto.FLOAT, name=name)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def is_half(graph: bytes) -> bool:
    """Whether :func:`store_half` made the graph."""
    model = onnx.load_model_from_string(graph)
    return any(
        tensor.data_type == TensorProto.FLOAT16 and tensor.name.endswith(_SUFFIX)
        for tensor in model.graph.initializer
    )
