"""What a person says of a model, for its card."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chestx.domain import ScopeSpec, UsageError


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
        UsageError: it cannot be read, or has an unknown key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        scope: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in table.pop("scope", {}).items()
        }
        table["limitations"] = tuple(table.get("limitations", ()))
        return CardTexts(**table, scope=ScopeSpec(**scope))
    except OSError as error:
        raise UsageError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{str(path)!r}: expected the texts of a card: {error}") from error
