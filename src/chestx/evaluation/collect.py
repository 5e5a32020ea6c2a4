"""What a model says of every labelled image of a manifest.

What is measured is what ``chestx predict`` says of the same files. An age or a view that only the
manifest knows is therefore not shown to the model's scope: at work nobody would tell it
either. Such columns serve for tables by age and view.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from chestx.analysis import Analyzer
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.groups import group_examples
from chestx.domain import (
    Activation,
    Decision,
    ImageHeader,
    Limits,
    Report,
    Result,
    UsageError,
    name_age_band,
)
from chestx.evaluation.outcome_files import load_outcomes, save_outcomes
from chestx.evaluation.outcomes import THUMBNAIL_SIDE, Outcomes
from chestx.models.classifier import Classifier
from chestx.shapes import Int8, UInt8

__all__ = ["ATTRIBUTES", "LabelledTable", "collect_outcomes", "load_outcomes", "save_outcomes"]

log = logging.getLogger(__name__)

ATTRIBUTES = (
    "source",
    "view",
    "age_band",
    "sex",
    "population",
    "device",
    "split",
    "patient_stated",
)
"""Columns that every collection has."""

MAX_VALUE = 120
"""Characters of a text of an attribute that are kept."""

_PREVIEW_SIZE = 4 * THUMBNAIL_SIDE


@runtime_checkable
class LabelledTable(Protocol):
    """What was read of a manifest's file."""

    @property
    def manifest(self) -> Manifest:
        """The labelled images."""
        ...


def collect_outcomes(
    classifier: Classifier,
    table: LabelledTable,
    *,
    attributes: Sequence[str] = (),
    workers: int | None = None,
    threads: int | None = None,
    limits: Limits | None = None,
    keep_embeddings: bool = True,
    on_image: Callable[[int, int], None] | None = None,
    on_report: Callable[[int, Report], None] | None = None,
) -> Outcomes:
    """Puts every image of a manifest to a model and keeps every answer, refusals too.

    An image takes about 1 kB and, with 1,280 features, 5 kB for its embedding: 100,000 images
    take 0.1 GB without and 0.6 GB with embeddings.

    Args:
        classifier: the model.
        table: of the images; its labels are taken for the card's by their keys.
        attributes: further columns of the manifest to keep, e.g. ``licence``.
        workers, threads, limits: of :class:`~chestx.analysis.Analyzer`.
        keep_embeddings: False leaves them without features, and probes without material.
        on_image: is called with how many are done and how many there are.
        on_report: is called with the row and the whole answer of each image that was read.

    Raises:
        UsageError: no label of the manifest is one of the model's, no image is left, or a
            column is asked for that the manifest does not have.
    """
    manifest = table.manifest
    _check_attributes(manifest, attributes)
    aligned = align_targets(manifest, classifier)
    examples = [manifest.examples[row] for row in aligned.rows]
    kept = _Kept.allocate(len(examples), classifier, keep_embeddings=keep_embeddings)
    with Analyzer(
        classifier,
        workers=workers,
        threads=threads,
        preview_size=_PREVIEW_SIZE,
        occlusion_maps=False,
        limits=limits,
    ) as analyzer:
        answers = analyzer.stream(
            (manifest.resolve(example) for example in examples), finish=_shrink_result
        )
        for row, answer in enumerate(answers):
            kept.store(row, answer)
            if on_report is not None and answer.report is not None:
                on_report(row, answer.report)
            if on_image is not None:
                on_image(row + 1, len(examples))
    return Outcomes(
        card=classifier.card,
        identity=classifier.identity,
        task=manifest.task,
        paths=tuple(example.path for example in examples),
        decisions=tuple(kept.decisions),
        reasons=tuple(kept.reasons),
        targets=aligned.targets,
        logits=kept.logits,
        probabilities=kept.probabilities,
        embeddings=kept.embeddings,
        groups=group_examples(manifest)[aligned.rows],
        attributes=_tabulate_attributes(examples, kept.headers, attributes),
        boxes=tuple(example.boxes for example in examples),
        image_sizes=kept.image_sizes,
        formats=tuple(header.format for header in kept.headers),
        thumbnails=kept.thumbnails,
        left_out=aligned.left_out,
        notes=aligned.notes,
    )


@dataclass(frozen=True, slots=True, eq=False)
class AlignedTargets:
    """A manifest's answers in the order of a card's labels.

    Attributes:
        rows: of the manifest, those that can be put to the model.
        targets: of these rows; NOT_ASKED where the manifest has no such label.
        left_out: reason -> rows that cannot.
        notes: labels that one side has and the other has not, in words.
    """

    rows: list[int]
    targets: Int8[np.ndarray, "rows labels"]
    left_out: dict[str, int]
    notes: tuple[str, ...]


def align_targets(manifest: Manifest, classifier: Classifier) -> AlignedTargets:
    """Takes a manifest's labels for those of a card that have the same key.

    Where a model's labels exclude each other and so do the manifest's, an image with a label
    that the model does not know has no right answer; it is left out and counted. Otherwise
    such a label is left out and the image stays.

    Raises:
        UsageError: no label in common, or no image left.
    """
    card = classifier.card
    keys = [label.key for label in card.labels]
    shared = [key for key in keys if key in manifest.labels]
    if not shared:
        raise UsageError(
            f"manifest: expected at least one of the model's labels {', '.join(keys)}, got "
            f"{', '.join(manifest.labels[:20])}; rename the labels when the manifest is read"
        )
    foreign = [label for label in manifest.labels if label not in keys]
    targets = manifest.targets
    rows, left_out = list(range(len(manifest.examples))), Counter[str]()
    if manifest.task is Task.SINGLE_LABEL and card.activation is Activation.SOFTMAX:
        for label in foreign:
            has_it = targets[:, manifest.labels.index(label)] == Target.PRESENT
            if has_it.any():
                left_out[f"label {label}, which the model does not know"] = int(has_it.sum())
        is_foreign = (targets[:, [manifest.labels.index(x) for x in foreign]] == 1).any(axis=1)
        rows = [int(row) for row in np.flatnonzero(~is_foreign)]
    rows, repeated = _drop_repeats(manifest, rows)
    if repeated:
        left_out["an image that an earlier row names already"] = repeated
    if not rows:
        raise UsageError(
            f"manifest: expected images with the model's labels {', '.join(keys)}, got none; "
            "see how its labels are written"
        )
    aligned = np.full((len(rows), len(keys)), Target.NOT_ASKED, dtype=np.int8)
    for key in shared:
        aligned[:, keys.index(key)] = targets[rows, manifest.labels.index(key)]
    return AlignedTargets(rows, aligned, dict(left_out), _note_labels(keys, foreign, shared))


def _drop_repeats(manifest: Manifest, rows: Sequence[int]) -> tuple[list[int], int]:
    """The rows without those that name an image again, and how many those are.

    An image that is listed twice would count twice.

    Raises:
        UsageError: such rows tell different things of one image.
    """
    seen: dict[str, int] = {}
    conflicts = 0
    for row in rows:
        first = seen.setdefault(manifest.examples[row].path, row)
        conflicts += manifest.examples[first].targets != manifest.examples[row].targets
    if conflicts:
        raise UsageError(
            f"manifest: expected one answer for each image, got another one in {conflicts} rows "
            "that name an image again; keep one row an image (chestx data audit lists them)"
        )
    return list(seen.values()), len(rows) - len(seen)


def _note_labels(
    keys: Sequence[str], foreign: Sequence[str], shared: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    if foreign:
        notes.append(
            f"The model does not know the label {' or '.join(foreign[:20])} of the manifest; "
            "nothing was measured of it."
        )
    if not_asked := [key for key in keys if key not in shared]:
        notes.append(
            f"The manifest has no label {' or '.join(not_asked)}: what the model says of it was "
            "not measured."
        )
    for note in notes:
        log.warning(note)
    return tuple(notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """What is kept of one result."""

    decision: Decision
    reasons: tuple[str, ...]
    header: ImageHeader
    report: Report | None
    thumbnail: UInt8[np.ndarray, "16 16"] | None


_NO_HEADER = ImageHeader(format="", rows=0, columns=0)


def _shrink_result(position: int, result: Result) -> _Answer:
    """In the image's thread."""
    if not isinstance(result, Report):
        return _Answer(result.decision, (result.reason,), result.header or _NO_HEADER, None, None)
    codes = tuple(reason.code for reason in result.scope_reasons)
    assert result.preview is not None  # Asked for above.
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = cv2.resize(result.preview, side, interpolation=cv2.INTER_AREA)
    return _Answer(result.decision, codes, result.header, result, thumbnail)


class _Kept:
    """Arrays that are filled while the answers come."""

    def __init__(self, images: int, labels: int, features: int) -> None:
        self.decisions: list[Decision] = []
        self.reasons: list[tuple[str, ...]] = []
        self.headers: list[ImageHeader] = []
        self.logits = np.full((images, labels), np.nan, dtype=np.float32)
        self.probabilities = np.full((images, labels), np.nan, dtype=np.float32)
        self.embeddings = np.full((images, features), np.nan, dtype=np.float32)
        self.image_sizes = np.zeros((images, 2), dtype=np.int64)
        self.thumbnails = np.zeros((images, THUMBNAIL_SIDE, THUMBNAIL_SIDE), dtype=np.uint8)

    @classmethod
    def allocate(cls, images: int, classifier: Classifier, *, keep_embeddings: bool) -> _Kept:
        card = classifier.card
        return cls(images, len(card.labels), card.embedding_size if keep_embeddings else 0)

    def store(self, row: int, answer: _Answer) -> None:
        self.decisions.append(answer.decision)
        self.reasons.append(answer.reasons)
        self.headers.append(answer.header)
        if answer.report is None or answer.thumbnail is None:
            return
        self.logits[row] = answer.report.logits
        self.probabilities[row] = list(answer.report.probabilities.values())
        if self.embeddings.shape[1]:
            self.embeddings[row] = answer.report.embedding
        self.image_sizes[row] = answer.header.rows, answer.header.columns
        self.thumbnails[row] = answer.thumbnail


def _check_attributes(manifest: Manifest, attributes: Sequence[str]) -> None:
    known = {*ATTRIBUTES, "licence"}.union(*(example.other for example in manifest.examples))
    for name in attributes:
        if name not in known:
            raise UsageError(
                f"manifest: expected a column {name!r:.80} to tabulate by, got "
                f"{', '.join(sorted(known)[:40])}"
            )


def _tabulate_attributes(
    examples: Sequence[Example], headers: Sequence[ImageHeader], asked: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The manifest's word on each image; where it has none, what the file itself states."""
    columns: dict[str, list[str]] = {name: [] for name in (*ATTRIBUTES, *asked)}
    for example, header in zip(examples, headers, strict=True):
        values = _describe_image(example, header)
        for name, column in columns.items():
            column.append(clean_value(values.get(name) or example.other.get(name, "")))
    return {name: tuple(column) for name, column in columns.items()}


def _describe_image(example: Example, header: ImageHeader) -> Mapping[str, Any]:
    age = header.age_years if example.age_years is None else example.age_years
    return {
        "source": example.source,
        "view": example.view or header.view_position,
        "age_band": name_age_band(age),
        "sex": example.sex or header.sex,
        "population": example.population,
        "device": example.device or f"{header.manufacturer} {header.manufacturer_model_name}",
        "split": example.split,
        "licence": example.licence,
        "patient_stated": "yes" if example.patient_id else "no",
    }


def clean_value(text: str) -> str:
    """One line that can stand in a title: printable, without spaces at the ends, not long."""
    visible = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_VALUE])
    return " ".join(visible.split())[:MAX_VALUE]
