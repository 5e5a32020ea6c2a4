"""``card.json`` to ModelCard and back, and the card as a page for a person.

Reading is strict: a key that is missing or unknown is named and refused, because a
setting that is silently ignored changes what a model says of a patient.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from enum import StrEnum
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from chestx.domain import (
    CAVEAT,
    Figure,
    InvalidModelError,
    Label,
    ModelCard,
    OperatingPoint,
    ScopeSpec,
)

FORMAT_VERSION = 1
"""Layout of the model folder that this version reads and writes."""


def card_from_json(text: str) -> ModelCard:
    """Reads a model card.

    Raises:
        InvalidModelError: not JSON, a key missing, unknown or twice, a value of the
            wrong type or out of range, or a format newer than FORMAT_VERSION.
    """
    try:
        document = json.loads(
            text,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
            object_pairs_hook=_dict_without_repeats,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidModelError(
            f"card.json: expected JSON, got text that is not ({error})"
        ) from error
    _check_format_version(document)
    card: ModelCard = _build(ModelCard, document, "card.json")
    _check_ranges(card)
    return card


def card_to_json(card: ModelCard) -> str:
    """Writes a model card; equal cards give equal text, so its checksum is stable."""
    document = dataclasses.asdict(card)
    return (
        json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    )


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


def _check_format_version(document: object) -> None:
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise InvalidModelError(
            f"this model folder was made by a newer chestx: it has format {version}, "
            f"this version reads up to {FORMAT_VERSION}; update chestx"
        )
    if type(version) is int and version < 1:
        raise InvalidModelError(f"card.json.format_version: expected 1 or more, got {version}")


def _build(cls: type, value: object, where: str) -> Any:
    """A dataclass from a JSON object that has exactly its fields."""
    if not isinstance(value, dict):
        raise _mismatch("an object", value, where)
    hints = get_type_hints(cls)
    names = {item.name for item in dataclasses.fields(cls)}
    if missing := sorted(names - value.keys()):
        raise InvalidModelError(f"{where}: expected the key {missing[0]!r}, it is missing")
    if unknown := sorted(value.keys() - names):
        raise InvalidModelError(f"{where}: expected no key {unknown[0]!r:.80}, it is unknown")
    arguments = {
        name: _convert(hints[name], value[name], f"{where}.{name}") for name in sorted(names)
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
        return _build(kind, value, where)
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


def _convert_plain(kind: Any, value: object, where: str) -> str | int | float:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise _mismatch("a number that a float can hold", value, where) from error
    if kind is int and type(value) is int:
        return value
    if kind is str and isinstance(value, str):
        return value
    words = {float: "a number", int: "a whole number", str: "a text"}
    raise _mismatch(words[kind], value, where)


def _mismatch(expected: str, value: object, where: str) -> InvalidModelError:
    got = "nothing" if value is None else f"{value!r:.60} ({type(value).__name__})"
    return InvalidModelError(f"{where}: expected {expected}, got {got}")


def _check_ranges(card: ModelCard) -> None:
    """What the types alone do not say."""
    if card.embedding_size < 1:
        raise InvalidModelError(
            f"card.json.embedding_size: expected 1 or more, got {card.embedding_size}"
        )
    low, high = card.scope.min_age_years or 0.0, card.scope.max_age_years
    if low < 0 or (high is not None and high < low):
        raise InvalidModelError(
            f"card.json.scope: expected 0 <= min_age_years <= max_age_years, got {low} and {high}"
        )
    if card.scope.max_distance is not None and card.scope.max_distance <= 0:
        raise InvalidModelError(
            "card.json.scope.max_distance: expected a positive number, "
            f"got {card.scope.max_distance}"
        )


def render_card(card: ModelCard, *, checksum: str = "") -> str:
    """The model card as Markdown.

    Args:
        card: what is rendered, nothing else.
        checksum: of the folder; empty for the README.md inside it, which cannot
            hold the checksum of the card that holds the README's.
    """
    identity = f"`{checksum}`" if checksum else "the sha256 of `card.json` beside this file"
    sections = [
        f"# {card.name} {card.version}",
        f"**{CAVEAT}**",
        card.summary,
        f"Checksum: {identity}.",
        f"## Intended use\n\n{card.intended_use}",
        f"## What it looks for\n\n{_label_table(card)}",
        f"## What it does not look for\n\n{card.not_looked_for}",
        f"## Which images it answers for\n\n{_scope_list(card.scope)}",
        f"## Input and heatmap\n\n{_input_sentence(card)}",
        f"## Measured performance\n\n{_figure_table(card.performance)}",
        f"## Limitations\n\n{_bullets(card.limitations)}",
        f"## Training\n\n{_nested(card.training)}",
        f"## Licence of the weights\n\n{card.licence}",
    ]
    return "\n\n".join(sections) + "\n"


def _label_table(card: ModelCard) -> str:
    rows = [
        "| label | meaning | positive from | uncertain | note |",
        "|---|---|---|---|---|",
        *(_label_row(label) for label in card.labels),
    ]
    if card.any_finding is not None:
        rows.append(f"| any finding | 1 - P(no finding) | {_point_cells(card.any_finding)} | |")
    return "\n".join(rows) + (
        f"\n\nProbabilities are calibrated: logits are divided by {card.temperature:.4g} "
        f"before the {card.activation.value}."
    )


def _label_row(label: Label) -> str:
    point = "never decided on | " if label.operating_point is None else ""
    cells = _point_cells(label.operating_point) if label.operating_point else point
    return f"| {_cell(label.key)} | {_cell(label.display)} | {cells} | {_cell(label.caveat)} |"


def _point_cells(point: OperatingPoint) -> str:
    if point.uncertain_low == point.uncertain_high:
        return f"{point.threshold:.3f} | no band"
    return f"{point.threshold:.3f} | {point.uncertain_low:.3f} to {point.uncertain_high:.3f}"


def _scope_list(scope: ScopeSpec) -> str:
    ages = "any"
    if scope.min_age_years is not None or scope.max_age_years is not None:
        low = f"from {scope.min_age_years or 0:g}"
        ages = low if scope.max_age_years is None else f"{low} to {scope.max_age_years:g}"
    distance = (
        "not checked"
        if scope.max_distance is None
        else f"refused when further than {scope.max_distance:.4g} from the training images"
    )
    return _bullets(
        (
            f"DICOM Modality: {', '.join(scope.modalities) or 'any'}",
            f"Body part: {', '.join(scope.body_parts) or 'any'}",
            f"View: {', '.join(scope.views) or 'any'}",
            f"Age in years: {ages}; an unknown age is flagged, not refused",
            f"Likeness: {distance}",
        )
    )


def _input_sentence(card: ModelCard) -> str:
    spec = card.input
    clahe = f"CLAHE with clip limit {spec.clahe_clip_limit:g}" if spec.clahe_clip_limit else "none"
    return (
        f"The radiograph as a reader sees it, grey, stretched to {spec.size} x {spec.size} pixels; "
        f"denoising: {spec.denoise.value}; contrast equalisation: {clahe}. Heatmap: {card.heatmap}."
    )


def _figure_table(figures: tuple[Figure, ...]) -> str:
    if not figures:
        return "Nothing was measured."
    rows = [
        "| figure | of | on | n | value | 95 % interval | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        interval = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        cells = (figure.name, figure.subject, figure.data, str(figure.n), f"{figure.value:.3f}")
        rows.append("| " + " | ".join(map(_cell, (*cells, interval, figure.note))) + " |")
    return "\n".join(rows)


def _nested(value: Any, *, indent: int = 0) -> str:
    """Plain JSON values as nested bullets, keys sorted as in the file."""
    items = sorted(value.items()) if isinstance(value, dict) else ((None, item) for item in value)
    lines = []
    for key, item in items:
        head = "  " * indent + "-" + (f" {key}:" if key is not None else "")
        if isinstance(item, dict | list):
            lines += [head, _nested(item, indent=indent + 1)]
        else:
            lines.append(f"{head} {item}")
    return "\n".join(lines)


def _bullets(sentences: tuple[str, ...]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
