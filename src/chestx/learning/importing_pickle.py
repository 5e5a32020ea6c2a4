"""Tensors out of a pickled network, without its code.

Some checkpoints hold a whole pickled network instead of tensors. Here the names of its
classes, and of nothing else, are let through torch's ``weights_only`` reader, and each
becomes an empty shell that keeps what was stored in it. No constructor, no function of
the file's choice and no code of the network's own package runs.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chestx.domain import UsageError

MAX_CHECKPOINT_BYTES = 512 * 1024 * 1024
"""Largest checkpoint that is opened."""

_MAX_MODULES, _MAX_DEPTH = 10_000, 32


class _Shell:
    """Takes the place of a class: keeps what was stored, does nothing."""


class _Void:
    """Takes the place of what is not needed: keeps nothing."""

    def __new__(cls, *stored: object) -> _Void:
        return super().__new__(cls)

    def __init__(self, *stored: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_SHELLS = (
    *(f"torchxrayvision.models.{x}" for x in ("DenseNet", "_DenseBlock", "_DenseLayer")),
    "torchxrayvision.models._Transition",
    *(f"torchvision.models.densenet.{x}" for x in ("DenseNet", "_DenseBlock", "_DenseLayer")),
    "torchvision.models.densenet._Transition",
    *(f"torchvision.models.resnet.{x}" for x in ("ResNet", "BasicBlock", "Bottleneck")),
    *(f"torch.nn.modules.activation.{x}" for x in ("ReLU", "Sigmoid")),
    "torch.nn.modules.batchnorm.BatchNorm2d",
    *(f"torch.nn.modules.container.{x}" for x in ("Sequential", "ModuleList")),
    "torch.nn.modules.conv.Conv2d",
    *(f"torch.nn.modules.dropout.{x}" for x in ("Dropout", "Dropout2d")),
    "torch.nn.modules.linear.Linear",
    *(f"torch.nn.modules.pooling.{x}" for x in ("AvgPool2d", "AdaptiveAvgPool2d", "MaxPool2d")),
    "torch.nn.parallel.data_parallel.DataParallel",
)
"""Every class that may stand in a checkpoint besides those of tensors."""

_VOIDS = (
    "torch.nn.backends.thnn._get_thnn_function_backend",  # In layers of torch 1.2 and before.
    *(f"numpy.{core}.multiarray.{x}" for core in ("core", "_core") for x in ("_reconstruct",)),
    *(f"numpy.{core}.multiarray.{x}" for core in ("core", "_core") for x in ("scalar",)),
    "numpy.ndarray",
    "numpy.dtype",
)
"""What may be noted beside the tensors, and is thrown away."""


def read_pickled_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name: of a pickled network, or of a state dict.

    Raises:
        UsageError: it cannot be read, is too large, or holds anything else.
    """
    data = _read_limited(path)
    names: list[Any] = [(_Shell, name) for name in _SHELLS] + [(_Void, name) for name in _VOIDS]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(names):
            warnings.simplefilter("ignore")
            loaded = torch.load(
                io.BytesIO(_drop_sources(data)), map_location="cpu", weights_only=True
            )
        state = _collect(loaded)
    except UsageError:
        raise
    except Exception as error:  # torch, zipfile and pickle raise a dozen unrelated types.
        raise UsageError(
            f"weights {path.name!r}: expected a pickled network of known layers or a state dict "
            f"of tensors, got a file that is not ({_shorten(error)})"
        ) from error
    if not state:
        raise UsageError(f"weights {path.name!r}: expected tensors, got none")
    return state


def _read_limited(path: Path) -> bytes:
    try:
        # Before it is opened, because opening a pipe waits for a writer.
        if not path.is_file():
            raise UsageError(f"weights {str(path)!r}: there is no such file")
        with path.open("rb") as file:
            data = file.read(MAX_CHECKPOINT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"weights {str(path)!r}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_CHECKPOINT_BYTES:
        raise UsageError(
            f"weights {str(path)!r}: expected at most {MAX_CHECKPOINT_BYTES} bytes, got more"
        )
    return data


def _shorten(error: Exception) -> str:
    """What torch says, without its advice to trust the file."""
    text = str(error)
    _, found, reason = text.partition("WeightsUnpickler error:")
    line = (reason if found else text).strip().partition("\n")[0]
    return (line.partition(" was not an allowed global")[0] or type(error).__name__)[:200]


def _collect(loaded: object) -> dict[str, Tensor]:
    """The state dict that ``loaded`` is, holds, or would have as a network."""
    if isinstance(loaded, dict):
        for key in ("state_dict", "model"):
            if isinstance(loaded.get(key), dict | _Shell):
                return _collect(loaded[key])
        if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items()):
            raise ValueError("a dict of other things than tensors")
        state = dict(loaded)
    elif isinstance(loaded, _Shell):
        state = {}
        for count, (name, module) in enumerate(_walk(loaded, "", 0)):
            if count >= _MAX_MODULES:
                raise ValueError(f"more than {_MAX_MODULES} layers")
            for place in ("_parameters", "_buffers"):
                tensors = vars(module).get(place) or {}
                state |= {
                    f"{name}{key}": value.detach()
                    for key, value in tensors.items()
                    if isinstance(value, Tensor)
                }
    else:
        raise ValueError(f"an object of type {type(loaded).__name__}")
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _walk(module: _Shell, name: str, depth: int) -> Iterator[tuple[str, _Shell]]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"layers nested deeper than {_MAX_DEPTH}")
    yield name, module
    children = vars(module).get("_modules") or {}
    for key, child in children.items():
        if isinstance(child, _Shell):
            yield from _walk(child, f"{name}{key}.", depth + 1)


# Torch before 1.6 wrote four pickles one after another and noted the source code of every
# class with it, as a reference that the weights_only reader refuses. The bytes are copied
# without those notes; nothing is unpickled here.
_Op = tuple[str, Any, int, int]
_STRINGS = {"BINUNICODE", "SHORT_BINSTRING", "UNICODE"}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT"}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_LEADING_PICKLES = 3


def _drop_sources(data: bytes) -> bytes:
    """A file of old torch without its notes on source code; any other as it is."""
    if data[:1] != pickle.PROTO:
        return data
    stream = io.BytesIO(data)
    for _ in range(_LEADING_PICKLES):
        for _ in pickletools.genops(stream):
            pass
    start = stream.tell()
    ops = _read_ops(data, start)
    return data[:start] + _copy_ops(data, ops) + data[ops[-1][3] :]


def _read_ops(data: bytes, start: int) -> list[_Op]:
    """Name, argument, begin and end of every instruction of one pickle."""
    stream = io.BytesIO(data)
    stream.seek(start)
    found = [(op.name, argument, position) for op, argument, position in pickletools.genops(stream)]
    ends = [position for _, _, position in found[1:]] + [stream.tell()]
    return [
        (name, argument, position or 0, end or 0)
        for (name, argument, position), end in zip(found, ends, strict=True)
    ]


def _copy_ops(data: bytes, ops: Sequence[_Op]) -> bytes:
    words: dict[int, str] = {}
    parts: list[bytes] = []
    begins: list[int] = []
    position = 0
    for number, (name, argument, begin, end) in enumerate(ops):
        if name == "MARK":
            begins.append(len(parts))
            position = number
        if name in _PUTS and number and ops[number - 1][0] in _STRINGS:
            words[argument] = str(ops[number - 1][1])
        parts.append(data[begin:end])
        if name == "BINPERSID" and begins:
            kept = _find_class(ops[position : number + 1], words)
            if kept is not None:
                del parts[begins[-1] :]
                parts += [data[b:e] for _, _, b, e in kept]
    return b"".join(parts)


def _find_class(group: Sequence[_Op], words: dict[int, str]) -> list[_Op] | None:
    """The class in ``("module", class, file, source)``; None for another reference."""
    values = [i for i, op in enumerate(group) if op[0] in _STRINGS | _GETS | {"GLOBAL", "NONE"}]
    if len(values) != 4 or group[0][0] != "MARK":
        return None
    name, argument = group[values[0]][:2]
    if (words.get(argument) if name in _GETS else argument) != "module":
        return None
    return list(group[values[1] : values[2]])
