"""Strict JSON to frozen records.

A key that is missing, unknown or twice is named and refused, because a setting that is
silently ignored changes what a model says of a patient.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from enum import StrEnum
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from chestx.domain import InvalidModelError

RecordT = TypeVar("RecordT")


def parse_json(text: str, *, where: str) -> object:
    """JSON without the freedoms that Python takes: no NaN, no infinity, no key twice.

    Args:
        text: of the file.
        where: name of the file in errors.

    Raises:
        InvalidModelError: it is not JSON.
    """
    try:
        document: object = json.loads(
            text,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_dict_without_repeats,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(
            f"{where}: expected JSON, got text that is not ({error})"
        ) from error
    return document


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is larger than a float can hold")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _dict_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key twice: {next(key for key in keys if keys.count(key) > 1)!r:.80}")
    return document


def build_record(cls: type[RecordT], value: object, *, where: str) -> RecordT:
    """A dataclass from a JSON object that has exactly its fields.

    Args:
        cls: its fields may be texts, numbers, enumerations, tuples, dictionaries and records.
        value: as JSON gave it.
        where: name of the value in errors.

    Raises:
        InvalidModelError: a key missing or unknown, or a value of another type or range.
    """
    if not isinstance(value, dict):
        raise _mismatch("an object", value, where)
    hints = get_type_hints(cls)
    if missing := sorted(hints.keys() - value.keys()):
        raise InvalidModelError(f"{where}: expected the key {missing[0]!r}, it is missing")
    if unknown := sorted(value.keys() - hints.keys()):
        raise InvalidModelError(f"{where}: expected no key {unknown[0]!r:.80}, it is unknown")
    arguments = {
        name: _convert(hints[name], value[name], f"{where}.{name}") for name in sorted(hints)
    }
    try:
        return cls(**arguments)
    except ValueError as error:
        raise InvalidModelError(f"{where}: {error}") from error


def _convert(kind: Any, value: object, where: str) -> Any:
    """A JSON value as the annotated type of a field."""
    origin = get_origin(kind)
    if origin is types.UnionType:
        inner = next(item for item in get_args(kind) if item is not type(None))
        return None if value is None else _convert(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _mismatch("a list", value, where)
        inner = get_args(kind)[0]
        return tuple(_convert(inner, item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        return _convert_dict(get_args(kind)[1], value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build_record(kind, value, where=where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _convert_enum(kind, value, where)
    return _convert_plain(kind, value, where)


def _convert_dict(kind: Any, value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch("an object", value, where)
    if kind is Any:
        return value
    return {key: _convert(kind, item, f"{where}.{key}") for key, item in value.items()}


def _convert_enum(kind: type[StrEnum], value: object, where: str) -> StrEnum:
    choices = [item.value for item in kind]
    if value not in choices:
        raise _mismatch(f"one of {', '.join(choices)}", value, where)
    return kind(value)


def _convert_plain(kind: Any, value: object, where: str) -> str | int | float | bool:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise _mismatch("a number that a float can hold", value, where) from error
    if kind is int and type(value) is int:
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    words = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    raise _mismatch(words[kind], value, where)


def _mismatch(expected: str, value: object, where: str) -> InvalidModelError:
    got = "nothing" if value is None else f"{value!r:.60} ({type(value).__name__})"
    return InvalidModelError(f"{where}: expected {expected}, got {got}")
