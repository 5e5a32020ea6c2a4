"""Which images the probes look at, and in which parts their figures are given."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from chestx.domain import LabelRole
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import ALL
from chestx.metrics import draw_table
from chestx.shapes import Float, Int

MIN_IMAGES = 10
"""Images of each class under which a part gets no AUROC, sensitivity or specificity."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images that figures are given on.

    Attributes:
        key: ``all`` or ``source=...``.
        rows: positions in the sample.
        draws: weights of each of its images in each draw of the interval.
    """

    key: str
    rows: Int[np.ndarray, " rows"]
    draws: Float[np.ndarray, "repeats rows"]


def choose_sample(outcomes: Outcomes, *, limit: int, seed: int) -> Int[np.ndarray, " sample"]:
    """Rows of assessed images with a known label, at most ``limit``, in the table's order.

    Every combination of labels and source keeps its share; none is left without an image
    while there is room.
    """
    rows = np.flatnonzero(outcomes.is_assessed & (outcomes.targets >= 0).any(axis=1))
    sources = list_sources(outcomes)
    strata = [(sources[row], *outcomes.targets[row].tolist()) for row in rows]
    return np.asarray(rows[choose_stratified(strata, limit=limit, seed=seed)], dtype=np.int64)


def choose_stratified(
    strata: Sequence[Hashable], *, limit: int, seed: int
) -> Int[np.ndarray, " chosen"]:
    """Positions of at most ``limit`` items, each stratum with its share, in ascending order."""
    count = len(strata)
    if count <= limit:
        return np.arange(count)
    generator = np.random.default_rng(seed)
    members: dict[Hashable, list[int]] = {}
    for position in generator.permutation(count):
        members.setdefault(strata[position], []).append(int(position))
    # The n-th of a stratum of m stands at (n - 1) / m of the way through all: taken in this
    # order, every stratum has its first before any has its second, and then its share.
    places = [
        (place / len(positions), position)
        for positions in members.values()
        for place, position in enumerate(positions)
    ]
    return np.sort(np.array([position for _, position in sorted(places)[:limit]], dtype=np.int64))


def list_sources(outcomes: Outcomes) -> tuple[str, ...]:
    """Source of each image, empty where not stated."""
    return outcomes.attributes.get("source", ("",) * len(outcomes))


def list_parts(
    outcomes: Outcomes, rows: Int[np.ndarray, " sample"], *, generator: np.random.Generator
) -> tuple[Part, ...]:
    """All images of the sample, then those of each source where there are several."""
    groups = outcomes.groups[rows]
    sources = np.array([list_sources(outcomes)[row] for row in rows], dtype=object)
    everything = np.arange(len(rows))
    found = [(ALL, everything)]
    names = sorted(set(sources.tolist()) - {""})
    if len(names) > 1:
        found += [(f"source={name}", np.flatnonzero(sources == name)) for name in names]
    return tuple(
        Part(key, positions, draw_table(groups[positions], generator=generator))
        for key, positions in found
    )


def list_finding_questions(outcomes: Outcomes) -> list[Question]:
    """Any finding and every finding; a no_finding label only mirrors the first."""
    roles = {label.key: label.role for label in outcomes.card.labels}
    return [
        question
        for question in list_questions(outcomes)
        if roles.get(question.key) is not LabelRole.NO_FINDING
    ]
