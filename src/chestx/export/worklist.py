"""Rows of ``results.csv`` -> images in the order in which they are read."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from chestx.domain import (
    ANY_FINDING,
    Decision,
    Finding,
    FindingDecision,
    ModelCard,
    OperatingPoint,
    Study,
    UsageError,
    group_studies,
)
from chestx.export.table import neutralise_cell
from chestx.terminology import ENGLISH, describe_basis

_LARGEST_MAP = 256

Chosen = TypeVar("Chosen", Decision, FindingDecision)


@dataclass(frozen=True, slots=True)
class ReportMap:
    """One small evidence map, on the fixed scale of the card.

    Attributes:
        key: of the label.
        width, height: in cells, 1 to 256; they divide the whole image evenly.
        values: base64 of the cells row by row, a byte each, 0 none to 255 full strength.
    """

    key: str
    width: int
    height: int
    values: str

    def __post_init__(self) -> None:
        if not (1 <= self.width <= _LARGEST_MAP and 1 <= self.height <= _LARGEST_MAP):
            raise ValueError(
                f"map of {self.key}: expected 1 to {_LARGEST_MAP} cells a side, "
                f"got {self.width} x {self.height}"
            )
        cells = len(base64.b64decode(self.values, validate=True))
        if cells != self.width * self.height:
            raise ValueError(
                f"map of {self.key}: expected {self.width * self.height} bytes "
                f"for {self.width} x {self.height} cells, got {cells}"
            )


@dataclass(frozen=True, slots=True)
class ReportImage:
    """One image of the worklist.

    Attributes:
        row: its row of ``results.csv``; a column that is left out is empty.
        view: relative path of a JPEG of the radiograph as shown, empty where there is none.
        thumbnail: relative path of a small one, empty where there is none.
        maps: evidence, one a label; not shown for an image that was not assessed.
    """

    row: Mapping[str, str]
    view: str
    thumbnail: str
    maps: tuple[ReportMap, ...]

    def __post_init__(self) -> None:
        for name in (self.view, self.thumbnail):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"picture: expected a path below the report, got {name!r}")


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something that decisions are taken on: a finding, or any of them.

    Attributes:
        key: of its columns ``probability_<key>`` and ``decision_<key>``.
        name: for a person.
        point: what decides.
        caveat: what a reader must know of it.
    """

    key: str
    name: str
    point: OperatingPoint
    caveat: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An image with its row read.

    Attributes:
        number: of its row, from 1.
        image: as it was given.
        row: its texts, made visible and harmless.
        decision: of the image.
        probabilities, decisions: in the order of ``list_spoken``; empty where the image
            was not assessed.
    """

    number: int
    image: ReportImage
    row: Mapping[str, str]
    decision: Decision
    probabilities: tuple[float, ...]
    decisions: tuple[FindingDecision, ...]

    @property
    def source(self) -> str:
        """Path as it was given."""
        return self.row.get("path", "")

    @property
    def study_instance_uid(self) -> str:
        """Empty where the file states none."""
        return self.row.get("StudyInstanceUID", "")

    @property
    def patient_id(self) -> str:
        """Empty where the file states none."""
        return self.row.get("PatientID", "")

    @property
    def score(self) -> float:
        """The highest probability; 0 where the image was not assessed."""
        return max(self.probabilities, default=0.0)


def list_spoken(card: ModelCard) -> list[Spoken]:
    """The card's findings in its order, then the composite score where it has one."""
    spoken = [
        Spoken(label.key, label.display, label.operating_point, label.caveat)
        for label in card.findings
        if label.operating_point is not None
    ]
    if card.any_finding is not None:
        spoken.append(Spoken(ANY_FINDING, ENGLISH.any_of_these, card.any_finding, ""))
    return spoken


def read_entry(number: int, image: ReportImage, spoken: Sequence[Spoken]) -> Entry:
    """Reads a row; the numbers of an image that was not assessed stay in the table.

    Raises:
        UsageError: a decision or a probability that no run writes.
    """
    row = {column: neutralise_cell(text) for column, text in image.row.items()}
    decision = _read_decision(row.get("decision", ""), Decision, "decision", number)
    if not decision.is_assessed:
        return Entry(number, image, row, decision, (), ())
    names = [(f"probability_{x.key}", f"decision_{x.key}") for x in spoken]
    return Entry(
        number,
        image,
        row,
        decision,
        tuple(_read_probability(row.get(p, ""), p, number) for p, _ in names),
        tuple(_read_decision(row.get(d, ""), FindingDecision, d, number) for _, d in names),
    )


def _read_decision(text: str, kind: type[Chosen], column: str, number: int) -> Chosen:
    try:
        return kind(text)
    except ValueError:
        raise _make_complaint(column, f"one of {', '.join(kind)}", text, number) from None


def _read_probability(text: str, column: str, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= 1:
        return value
    raise _make_complaint(column, "a number from 0 to 1", text, number)


def _make_complaint(column: str, expected: str, text: str, number: int) -> UsageError:
    return UsageError(
        f"{column}: expected {expected}, got {text[:40]!r}, in row {number} of the results; "
        "was the table edited, or made with another model?"
    )


def sort_studies(entries: Iterable[Entry]) -> list[Study[Entry]]:
    """Studies in the order of ``studies.csv``: most urgent first, then the higher probability."""
    studies = group_studies(entries)
    studies.sort(key=lambda study: (study.decision.urgency, -study.answering.score))
    return studies


def sort_images(study: Study[Entry]) -> list[Entry]:
    """The image that answers for the study, then the others by urgency."""
    rest = [entry for entry in study.answers if entry is not study.answering]
    rest.sort(key=lambda entry: (entry.decision.urgency, -entry.score))
    return [study.answering, *rest]


def describe_entry_basis(entry: Entry, spoken: Sequence[Spoken]) -> str:
    """What the decision rests on, as over the picture; empty where nothing was assessed."""
    found = {
        x.key: Finding(x.key, x.name, probability, decision, x.point, x.caveat)
        for x, probability, decision in zip(
            spoken, entry.probabilities, entry.decisions, strict=False
        )
    }
    any_finding = found.pop(ANY_FINDING, None)
    return describe_basis(entry.decision, list(found.values()), any_finding)


def choose_layer(entry: Entry, spoken: Sequence[Spoken]) -> int:
    """Place of the map to show first: of the most urgent finding, then the most probable."""
    urgency = list(FindingDecision)
    scored = zip(spoken, entry.decisions, entry.probabilities, strict=True)
    ranks = {x.key: (urgency.index(decision), -p) for x, decision, p in scored}
    last = (len(urgency), 0.0)
    maps = entry.image.maps
    return min(range(len(maps)), key=lambda place: ranks.get(maps[place].key, last), default=0)
