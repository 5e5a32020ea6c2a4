"""What must hold of an ONNX file before a runtime opens it, read from its bytes alone.

A graph may name other files as the place of its weights ("external data"). A runtime
would follow such a name out of the model folder, past every checksum. The file is a
protocol buffer, so a walk over its fields finds such a name without the onnx package.
"""

from __future__ import annotations

from collections.abc import Iterator

from chestx.domain import InvalidModelError

MAX_ONNX_BYTES = 1024 * 1024 * 1024
"""Largest graph that is opened."""

_MAX_NESTING = 64

# Message -> field number -> message inside it: every road to a tensor.
# Source: onnx.proto3 of ONNX 1.23.
_CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse_tensor",
        23: "sparse_tensor",
    },
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def check_onnx_bytes(data: bytes) -> None:
    """Checks that a graph holds its own weights.

    Raises:
        InvalidModelError: no ONNX file, too large, or weights outside the file.
    """
    if len(data) > MAX_ONNX_BYTES:
        raise InvalidModelError(
            f"model.onnx: expected at most {MAX_ONNX_BYTES} bytes, got {len(data)}"
        )
    try:
        found_graph = _walk(memoryview(data), "model", 0)
    except (ValueError, IndexError) as error:
        raise InvalidModelError(
            f"model.onnx: expected an ONNX graph, got damaged bytes ({error})"
        ) from error
    if not found_graph:
        raise InvalidModelError("model.onnx: expected an ONNX graph, got a file without one")


def _walk(message: memoryview, kind: str, depth: int) -> bool:
    """Visits every tensor under a message; whether it has a child that leads to one."""
    if depth > _MAX_NESTING:
        raise ValueError("nested too deeply")
    found = False
    for number, value in _fields(message):
        if kind == "tensor" and (
            number == _EXTERNAL_DATA or (number, value) == (_DATA_LOCATION, 1)
        ):
            raise InvalidModelError(
                "model.onnx: expected weights inside the file, got a reference to another file; "
                "save the graph without external data"
            )
        child = _CHILDREN[kind].get(number)
        if child is not None:
            if not isinstance(value, memoryview):
                raise ValueError(f"field {number} of {kind} is no message")
            _walk(value, child, depth + 1)
            found = True
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field; fixed-width ones are skipped."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
        elif wire_type == 2:
            length, position = _varint(message, position)
            if length > len(message) - position:
                raise ValueError("a field runs past the end")
            yield tag >> 3, message[position : position + length]
            position += length
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
    if position > len(message):
        raise ValueError("a field runs past the end")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
