"""What a person says of a model, for its card."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from chestx.domain import ScopeSpec, UsageError
from chestx.learning.config import convert_value


@dataclass(frozen=True, slots=True, kw_only=True)
class CardTexts:
    """What only a person can say of a model.

    Attributes:
        name, version, summary: identity in words.
        displays, caveats: label key -> how it is written, and what a reader must know of it.
        intended_use, not_looked_for, limitations: sentences.
        licence, licence_file: of the weights: in a sentence, and the text of the file.
        scope: which images it may answer for.
        training: further provenance, plain values.
    """

    name: str
    version: str
    summary: str
    displays: dict[str, str] = field(default_factory=dict)
    caveats: dict[str, str] = field(default_factory=dict)
    intended_use: str = "Research and teaching. Not for diagnosis, triage or treatment of patients."
    not_looked_for: str = "Everything that is not among its labels."
    limitations: tuple[str, ...] = ()
    licence: str = "Not stated; see the licences of the training data and of the first weights."
    licence_file: str = "The licence of these weights was not stated.\n"
    scope: ScopeSpec = field(default_factory=ScopeSpec)
    training: dict[str, Any] = field(default_factory=dict)


def read_card_texts(path: Path) -> CardTexts:
    """Texts from a TOML file with the names of :class:`CardTexts`.

    Raises:
        UsageError: it cannot be read, or has an unknown key or a value of another type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return CardTexts(
            **{key: _convert(key, value, f"{str(path)!r}: {key}") for key, value in table.items()}
        )
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{str(path)!r}: expected the texts of a card: {error}") from error


def _convert(key: str, value: object, where: str) -> Any:
    """The value as CardTexts has it; that of an unknown key as it is."""
    if key in ("scope", "training"):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: expected a table, got {value!r:.60}")
        if key == "scope":
            return _read_scope(value, where)
        _check_plain(value, where)
        return value
    kind = get_type_hints(CardTexts).get(key)
    return value if kind is None else convert_value(kind, value, where)


def _read_scope(table: dict[str, Any], where: str) -> ScopeSpec:
    hints = get_type_hints(ScopeSpec)
    # TOML has no None: what is not limited is not there.
    kinds = {key: float if kind == float | None else kind for key, kind in hints.items()}
    values = {
        key: convert_value(kinds[key], value, f"{where}.{key}") if key in kinds else value
        for key, value in table.items()
    }
    return ScopeSpec(**values)


def _check_plain(value: object, where: str) -> None:
    """A card is JSON, which has no dates, no infinity and nothing that is not a number."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, where)
    elif not isinstance(value, str | int) and not (
        isinstance(value, float) and math.isfinite(value)
    ):
        raise UsageError(
            f"{where}: expected a text, a finite number, true or false, got {value!s:.60}; "
            "write a date in quotes"
        )
