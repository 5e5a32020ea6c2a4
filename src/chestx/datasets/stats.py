"""What a data set holds, in plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from chestx.datasets.cells import SPLITS
from chestx.datasets.example import Example, Manifest, Target
from chestx.datasets.groups import group_examples
from chestx.datasets.split_record import FOLD

AGE_BANDS = ((0, 1), (1, 6), (6, 18), (18, 40), (40, 60), (60, 80), (80, 200))
"""Years: from, up to but not including; the bands of the batch report."""

_COUNTED: Mapping[str, Callable[[Example], str]] = {
    "split": lambda example: example.split,
    "fold": lambda example: example.other.get(FOLD, ""),
    "source": lambda example: example.source,
    "view": lambda example: example.view,
    "age": lambda example: name_age_band(example.age_years),
    "sex": lambda example: example.sex,
    "population": lambda example: example.population,
    "device": lambda example: example.device,
    "licence": lambda example: example.licence,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCount:
    """Answers for one label in one part of one source.

    Attributes:
        label, split, source: an empty split or source is not stated.
        present, absent, unknown, not_asked: images by :class:`Target`.
    """

    label: str
    split: str
    source: str
    present: int
    absent: int
    unknown: int
    not_asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestStatistics:
    """What a manifest holds.

    Attributes:
        task, labels: of the manifest.
        images: rows.
        patients: different ones that are stated.
        images_without_patient: that state none.
        groups: patients, studies and duplicates taken together: independent units.
        targets: for each label, split and source that occurs.
        ages: years: ``min``, ``median``, ``max`` of those stated; empty without one.
        images_with_boxes: in which a reader drew at least one.
        counts: attribute -> value -> images, splits and ages in their order, others with the
            most frequent first; the empty value is not stated and last. An attribute that no
            image states is left out.
    """

    task: str
    labels: tuple[str, ...]
    images: int
    patients: int
    images_without_patient: int
    groups: int
    targets: tuple[LabelCount, ...]
    ages: Mapping[str, float]
    images_with_boxes: int
    counts: Mapping[str, Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the attributes as keys."""
        return asdict(self)


def describe_manifest(manifest: Manifest) -> ManifestStatistics:
    """Counts what a manifest holds.

    Args:
        manifest: of any size.
    """
    examples = manifest.examples
    ages = sorted(e.age_years for e in examples if e.age_years is not None)
    patients = {(e.source, e.patient_id) for e in examples if e.patient_id}
    counts = {name: _count_values(name, map(get, examples)) for name, get in _COUNTED.items()}
    return ManifestStatistics(
        task=str(manifest.task),
        labels=manifest.labels,
        images=len(examples),
        patients=len(patients),
        images_without_patient=sum(not e.patient_id for e in examples),
        groups=len(set(group_examples(manifest).tolist())),
        targets=_count_targets(manifest),
        ages={"min": ages[0], "median": median(ages), "max": ages[-1]} if ages else {},
        images_with_boxes=sum(bool(e.boxes) for e in examples),
        counts={name: of for name, of in counts.items() if set(of) - {""}},
    )


def name_age_band(age: float | None) -> str:
    """``under 1``, ``18 to 39``, ``80 and over``; empty where the age is not stated."""
    if age is None:
        return ""
    low, high = next(band for band in AGE_BANDS if age < band[1])
    if low == 0:
        return f"under {high}"
    return f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"


def _count_values(name: str, values: Iterable[str]) -> dict[str, int]:
    ordered = _ORDERED.get(name, ())
    return dict(
        sorted(
            Counter(values).items(),
            key=lambda item: (
                not item[0],
                ordered.index(item[0]) if item[0] in ordered else -item[1],
                item[0],
            ),
        )
    )


_ORDERED: Mapping[str, tuple[str, ...]] = {
    "split": SPLITS,
    "age": tuple(name_age_band(float(low)) for low, _ in AGE_BANDS),
}
"""Values that have an order of their own; others go by how frequent they are."""


def _count_targets(manifest: Manifest) -> tuple[LabelCount, ...]:
    counted: Counter[tuple[str, str, str, Target]] = Counter()
    for example in manifest.examples:
        for label, target in zip(manifest.labels, example.targets, strict=True):
            counted[label, example.split, example.source, target] += 1
    places = sorted(
        {(label, split, source) for label, split, source, _ in counted},
        key=lambda place: (manifest.labels.index(place[0]), *place[1:]),
    )
    return tuple(
        LabelCount(
            label=label,
            split=split,
            source=source,
            present=counted[label, split, source, Target.PRESENT],
            absent=counted[label, split, source, Target.ABSENT],
            unknown=counted[label, split, source, Target.UNKNOWN],
            not_asked=counted[label, split, source, Target.NOT_ASKED],
        )
        for label, split, source in places
    )
