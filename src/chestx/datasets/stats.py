"""What a data set holds, in plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from chestx.datasets.example import Example, Manifest, Target
from chestx.datasets.groups import group_examples
from chestx.datasets.split_record import FOLD, order_parts
from chestx.domain import AGE_BANDS, name_age_band

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
        counts: attribute -> value -> images, splits, folds and ages in their order, others with the
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
        targets=count_labels(manifest),
        ages={"min": ages[0], "median": median(ages), "max": ages[-1]} if ages else {},
        images_with_boxes=sum(bool(e.boxes) for e in examples),
        counts={name: of for name, of in counts.items() if set(of) - {""}},
    )


def _count_values(name: str, values: Iterable[str]) -> dict[str, int]:
    counted = Counter(values)
    if name == "age":
        names = [band for band in _BANDS if band in counted]
    elif name in ("split", FOLD):
        names = order_parts(filter(None, counted))
    else:
        names = sorted(filter(None, counted), key=lambda value: (-counted[value], value))
    return {value: counted[value] for value in (*names, *([""] if "" in counted else []))}


_BANDS = tuple(name_age_band(float(low)) for low, _ in AGE_BANDS)


def count_labels(manifest: Manifest) -> tuple[LabelCount, ...]:
    """Answers by label, split and source, splits in their order and sources in the alphabet's."""
    counted: Counter[tuple[str, str, str, Target]] = Counter()
    for example in manifest.examples:
        for label, target in zip(manifest.labels, example.targets, strict=True):
            counted[label, example.split, example.source, target] += 1
    splits = order_parts({split for _, split, _, _ in counted})
    places = sorted(
        {(label, split, source) for label, split, source, _ in counted},
        key=lambda place: (manifest.labels.index(place[0]), splits.index(place[1]), place[2]),
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
