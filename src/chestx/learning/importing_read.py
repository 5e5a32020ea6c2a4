"""A stranger's ONNX file is data: it is limited and checked before anything runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference

from chestx.domain import InvalidModelError, UsageError
from chestx.models.onnx_file import MAX_ONNX_BYTES, check_onnx_bytes

LEAST_OPSET = 9
"""Oldest version of the operators that is run."""

MAX_NODES, MAX_ELEMENTS = 50_000, 2**28
"""Of one graph, and of one tensor in it whose size can be known."""

DOMAINS = ("", "ai.onnx")
"""Names under which the plain operators of ONNX go."""

_REFUSED = frozenset({"Loop", "Scan", "RandomNormal", "RandomUniform", "Multinomial"}) | {
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
}
"""Operators that may never end, or give another answer every time."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Opens a graph of a stranger.

    Raises:
        UsageError: no file, too large, damaged, with weights elsewhere, or with parts that
            are not run here.
    """
    where = f"{path.name!r:.120}"
    try:
        # Before it is opened, because opening a pipe waits for a writer.
        if not path.is_file():
            raise UsageError(f"{str(path)!r}: expected an ONNX file, there is none")
        with path.open("rb") as file:
            data = file.read(MAX_ONNX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    try:
        check_onnx_bytes(data)
        model = onnx.load_model_from_string(data)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _check_operators(model, where)
        onnx.checker.check_model(model)
    except InvalidModelError as error:
        raise UsageError(str(error).replace("model.onnx", where, 1)) from error
    except UsageError:
        raise
    except Exception as error:  # protobuf, the checker and the inliner share no error.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(f"{where}: expected a valid ONNX graph: {reason:.200}") from error
    return model


def _check_operators(model: onnx.ModelProto, where: str) -> None:
    versions = {item.domain: item.version for item in model.opset_import}
    opset = max((versions[x] for x in DOMAINS if x in versions), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise UsageError(
            f"{where}: expected operators of version {LEAST_OPSET} to {newest}, got {opset}; "
            "export it with another opset"
        )
    for count, node in enumerate(_walk_nodes(model.graph)):
        if count >= MAX_NODES:
            raise UsageError(f"{where}: expected at most {MAX_NODES} operators, got more")
        if node.domain not in DOMAINS:
            raise UsageError(
                f"{where}: expected operators of ONNX only, got {node.op_type!r:.60} of "
                f"{node.domain!r:.60}"
            )
        if node.op_type in _REFUSED:
            raise UsageError(
                f"{where}: expected a plain image classifier, got the operator {node.op_type}"
            )


def _walk_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for child in (attribute.g, *attribute.graphs):
                yield from _walk_nodes(child)


def check_sizes(model: onnx.ModelProto) -> None:
    """A few bytes may ask for a tensor that no memory holds.

    Raises:
        UsageError: one does.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # Its errors share no base class of their own.
        raise UsageError(f"ONNX graph: its shapes contradict each other: {error!s:.200}") from error
    for item in (*inferred.graph.value_info, *inferred.graph.output):
        count = 1
        for dim in item.type.tensor_type.shape.dim:
            count *= max(dim.dim_value, 1)
        if count > MAX_ELEMENTS:
            raise UsageError(
                f"ONNX graph: expected tensors of at most {MAX_ELEMENTS} numbers, got {count}"
            )
