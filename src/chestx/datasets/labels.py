"""Which cells of a table hold the labels, and what they say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from chestx.datasets.cells import parse_target
from chestx.datasets.example import Target, Task
from chestx.datasets.rows import RawTable, quote_names
from chestx.datasets.vocabulary import TERMS
from chestx.domain import LABEL_KEY, UsageError

LABEL = "label"
"""Column of a manifest with one label an image."""

_CAPITALS = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_TARGETS = frozenset({"1", "0", "1.0", "0.0", "", "-"})
_MAX_LABELS = 500


@dataclass(frozen=True, slots=True)
class LabelReader:
    """How the labels of a table are read.

    Attributes:
        labels: keys, in order.
        task: one label an image, or several.
        columns: names of the columns that hold them.
        read: number of a row -> its targets, or why the row is left out.
    """

    labels: tuple[str, ...]
    task: Task
    columns: frozenset[str]
    read: Callable[[int], tuple[Target, ...] | str]


def choose_labels(
    table: RawTable,
    columns: Mapping[str, int],
    reserved: Collection[str],
    *,
    labels: Sequence[str] | None,
    rename: Mapping[str, str],
) -> LabelReader:
    """Finds the labels by one rule.

    A column ``label`` holds one label an image. Without it every label has a column of its
    own: those that ``labels`` names, or else those that are called as a term of the
    vocabulary. What could be read in two ways is an error that says how to choose.

    Args:
        table: as read.
        columns: name in the manifest -> number of the cell.
        reserved: names of columns that are never labels.
        labels: that are asked for, in this order; None: all.
        rename: word of the file -> label; several words may become one label.

    Raises:
        UsageError: no label, a word that cannot be one, one that is not there, or two readings.
    """
    for word, label in rename.items():
        if label:
            _check_key(label, f"rename {word!r:.80}")
    if labels is not None and (not labels or len(set(labels)) != len(labels)):
        raise UsageError("labels: expected at least one and none twice")
    if LABEL in columns:
        _refuse_both(table, columns, reserved, labels or tuple(TERMS), rename)
        return _read_words(table, columns[LABEL], labels, rename)
    return _read_columns(table, columns, reserved, labels, rename)


def suggest_key(word: str) -> str:
    """A label for a word of a file: the vocabulary's term if it is one but for its spelling."""
    squeezed = re.sub(r"[^a-z0-9]", "", word.lower())
    for term in TERMS:
        if term.replace("_", "").lower() == squeezed:
            return term
    key = re.sub(r"[^A-Z0-9]+", "_", word.upper()).strip("_")
    return (key if key[:1].isalpha() else f"LABEL_{key}")[:64]


def _check_key(word: str, what: str) -> None:
    if not LABEL_KEY.fullmatch(word):
        raise UsageError(
            f"{what}: expected a label of a letter, then letters, digits and underscores, "
            f"at most 64, got {word!r:.80}; name it anew with {_suggest_names([word])}"
        )


def _suggest_names(words: Sequence[str]) -> str:
    return " ".join(f'--rename "{word:.80}={suggest_key(word)}"' for word in words)


def _refuse_both(
    table: RawTable,
    columns: Mapping[str, int],
    reserved: Collection[str],
    labels: Sequence[str],
    rename: Mapping[str, str],
) -> None:
    own = [
        name for name in columns if name not in reserved and rename.get(name, name) in set(labels)
    ]
    if own:
        raise UsageError(
            f"{table.name}: expected labels in a column 'label' or in columns of their own, got "
            f"both: {quote_names(own)}; leave one out with --column label= "
            f"or --column {own[0]:.80}="
        )


def _read_words(
    table: RawTable, cell: int, labels: Sequence[str] | None, rename: Mapping[str, str]
) -> LabelReader:
    first: dict[str, int] = {}
    for number, row in enumerate(table.rows):
        first.setdefault(row[cell].strip(), number)
    _check_renamed(rename, first, table)
    words = {word: rename.get(word, word) for word in first if word not in ("", "-")}
    found = {label for label in words.values() if label}
    if labels is None:
        odd = [word for word, label in words.items() if label and not LABEL_KEY.fullmatch(label)]
        if odd:
            raise UsageError(
                f"{table.name}, line {table.lines[first[odd[0]]]}: expected labels of a letter, "
                "then letters, digits and underscores, at most 64, "
                f"got {quote_names(odd, most=8)}; name them anew with {_suggest_names(odd[:8])}"
            )
        chosen = tuple(sorted(found, key=_order_key))
    else:
        for label in labels:
            _check_present(label, found, table)
        chosen = tuple(labels)
    if not chosen or len(chosen) > _MAX_LABELS:
        raise UsageError(
            f"{table.name}: expected 1 to {_MAX_LABELS} labels in its column 'label', "
            f"got {len(chosen):,}"
        )
    answers: dict[str, tuple[Target, ...] | str] = {}
    for word in first:
        label = words.get(word, "")
        if word == "-":
            answers[word] = (Target.NOT_ASKED,) * len(chosen)
        elif not label:
            answers[word] = (Target.UNKNOWN,) * len(chosen)
        elif label in chosen:
            answers[word] = tuple(
                Target.PRESENT if key == label else Target.ABSENT for key in chosen
            )
        else:
            answers[word] = f"label {word:.80} not asked for"
    return LabelReader(
        chosen,
        Task.SINGLE_LABEL,
        frozenset({LABEL}),
        lambda number: answers[table.rows[number][cell].strip()],
    )


def _read_columns(
    table: RawTable,
    columns: Mapping[str, int],
    reserved: Collection[str],
    labels: Sequence[str] | None,
    rename: Mapping[str, str],
) -> LabelReader:
    free = [name for name in columns if name not in reserved]
    _check_renamed(rename, free, table)
    sources: dict[str, list[str]] = {}
    for name in free:
        if rename.get(name, name):
            sources.setdefault(rename.get(name, name), []).append(name)
    if labels is None:
        chosen = tuple(key for key in sources if key in TERMS or key in rename.values())
        _refuse_doubtful(table, columns, [key for key in sources if key not in chosen], chosen)
    else:
        for label in labels:
            _check_key(label, "labels")
            _check_present(label, sources, table)
        chosen = tuple(labels)
    cells = [[columns[name] for name in sources[key]] for key in chosen]

    def read(number: int) -> tuple[Target, ...]:
        row = table.rows[number]
        try:
            return tuple(_merge([parse_target(row[cell].strip()) for cell in of]) for of in cells)
        except ValueError as error:
            raise table.fail(number, f"label: {error}") from None

    used = frozenset(name for key in chosen for name in sources[key])
    return LabelReader(chosen, Task.MULTI_LABEL, used, read)


def _merge(targets: Sequence[Target]) -> Target:
    """Of several findings that count as one: it is absent only if all of them are."""
    for decisive in (Target.PRESENT, Target.UNKNOWN, Target.NOT_ASKED):
        if decisive in targets:
            return decisive
    return Target.ABSENT


def _refuse_doubtful(
    table: RawTable, columns: Mapping[str, int], others: Sequence[str], chosen: Sequence[str]
) -> None:
    """Columns that look like labels without being known by name."""
    doubtful = []
    for name in others:
        values = (
            {row[columns[name]].strip() for row in table.rows}
            if _CAPITALS.fullmatch(name)
            else {"?"}
        )
        if values <= _TARGETS and values & {"1", "0", "1.0", "0.0"}:
            doubtful.append(name)
    if chosen and not doubtful:
        return
    known = [name for name in others if suggest_key(name) in TERMS]
    if doubtful:
        raise UsageError(
            f"{table.name}: the columns {quote_names(doubtful)} look like labels but are no terms "
            f"of the vocabulary; name all labels: --labels {','.join([*chosen, *doubtful])[:400]}"
        )
    hint = (
        f'for instance --rename "{known[0]:.80}={suggest_key(known[0])}"'
        if known
        else "name the columns with --labels A,B or map one with --column label=COLUMN"
    )
    raise UsageError(
        f"{table.name}: expected a column 'label', or columns that are called as terms of the "
        f"vocabulary, got {quote_names(columns)}; {hint}"
    )


def _check_renamed(rename: Mapping[str, str], words: Collection[str], table: RawTable) -> None:
    for word in rename:
        if word not in words:
            raise UsageError(
                f"rename {word!r:.80}: expected a label of {table.name}, "
                f"which has {quote_names(word for word in words if word)}"
            )


def _check_present(label: str, found: Collection[str], table: RawTable) -> None:
    if label in found:
        return
    close = [word for word in found if suggest_key(word) == suggest_key(label)]
    close = close or difflib.get_close_matches(label, found, n=1)
    hint = f'; perhaps --rename "{close[0]:.80}={label:.80}"' if close else ""
    raise UsageError(
        f"labels: expected labels of {table.name}, which has {quote_names(sorted(found))}, "
        f"got {label!r:.80}{hint}"
    )


def _order_key(label: str) -> tuple[int, str]:
    """The vocabulary's order, then the alphabet's."""
    terms = list(TERMS)
    return (terms.index(label) if label in TERMS else len(terms), label)
