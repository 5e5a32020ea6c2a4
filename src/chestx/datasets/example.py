"""A labelled image, and a table of them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np

from chestx.domain import LABEL_KEY
from chestx.shapes import Int8


class Task(StrEnum):
    """Whether an image has one label of several, or any number of them."""

    SINGLE_LABEL = "single_label"
    MULTI_LABEL = "multi_label"


class Target(IntEnum):
    """What the reference standard says of one label of one image.

    The last two are no answers: a metric and a loss leave such images out for that label,
    and they are counted apart, because a source that never asked says nothing about
    how often a disease is there.
    """

    PRESENT = 1
    ABSENT = 0
    UNKNOWN = -1
    """Asked and not settled: an empty cell, an uncertain reading."""
    NOT_ASKED = -2
    """The source does not look for this label."""

    @property
    def is_known(self) -> bool:
        """Whether it is an answer."""
        return self >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a reader saw a finding.

    Attributes:
        label: of the finding.
        x, y: upper left corner in pixels of the image as shown, from its upper left.
        width, height: in the same pixels, positive.
    """

    label: str
    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        sides = (self.x, self.y, self.width, self.height)
        if not (all(map(math.isfinite, sides)) and self.width > 0 and self.height > 0):
            raise ValueError(
                f"box of {self.label!r:.64}: expected finite corners and positive sides, "
                f"got {', '.join(f'{side:g}' for side in sides)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One image with what is known of it; an empty text means not stated.

    Attributes:
        path: as it stands in the manifest; a relative one counts from the manifest's folder.
        targets: one a label, in the order of the manifest's labels.
        patient_id, study_id: unique within their source only.
        split: ``train``, ``validation``, ``test`` or empty.
        source: data set or hospital.
        group: images that must not be parted by a split, where the table says so itself.
        dup_group: images that show the same picture.
        view: ``PA``, ``AP``, ``LATERAL`` ... as the source names it.
        age_years: None where not stated.
        sex: ``M``, ``F``, ``O`` or empty.
        population, device, licence: as the source names them.
        boxes: where readers saw findings.
        other: columns that mean nothing to us, kept.
    """

    path: str
    targets: tuple[Target, ...]
    patient_id: str = ""
    study_id: str = ""
    split: str = ""
    source: str = ""
    group: str = ""
    dup_group: str = ""
    view: str = ""
    age_years: float | None = None
    sex: str = ""
    population: str = ""
    device: str = ""
    licence: str = ""
    boxes: tuple[Box, ...] = ()
    other: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Manifest:
    """A table of labelled images.

    Attributes:
        labels: keys as a model's labels have them.
        task: one label an image, or several.
        examples: in the order of the table.
        folder: that relative paths count from.
    """

    labels: tuple[str, ...]
    task: Task
    examples: tuple[Example, ...]
    folder: Path

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels: expected at least one and none twice, got {self.labels}")
        for label in self.labels:
            if not LABEL_KEY.fullmatch(label):
                raise ValueError(
                    "label: expected a letter, then at most 63 letters, digits and underscores, "
                    f"got {label!r:.80}"
                )
        for example in self.examples:
            if len(example.targets) != len(self.labels):
                raise ValueError(
                    f"{example.path}: expected {len(self.labels)} targets, "
                    f"got {len(example.targets)}"
                )
            if self.task is Task.SINGLE_LABEL and example.targets.count(Target.PRESENT) > 1:
                raise ValueError(f"{example.path}: expected one label at most, got several")

    @property
    def targets(self) -> Int8[np.ndarray, "examples labels"]:
        """Values of :class:`Target`."""
        rows = [example.targets for example in self.examples]
        return np.array(rows, dtype=np.int8).reshape(len(rows), len(self.labels))

    def list_present(self, example: Example) -> list[str]:
        """The labels that an example has."""
        pairs = zip(self.labels, example.targets, strict=True)
        return [label for label, target in pairs if target is Target.PRESENT]

    def resolve(self, example: Example) -> str:
        """The path of an example's file from here."""
        return os.path.join(self.folder, example.path)
