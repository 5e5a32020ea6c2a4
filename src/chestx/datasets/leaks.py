"""What ties images of different splits together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from chestx.datasets.duplicates import Likeness, Pair
from chestx.datasets.example import Example, Manifest
from chestx.datasets.fingerprints import Fingerprint
from chestx.datasets.groups import names_source
from chestx.datasets.split_record import cross_parts, name_part, order_parts

MAX_LISTED = 50
"""Ties of one kind that are listed; all are counted."""

MIN_ID_LENGTH = 5
"""A shorter id, such as ``17``, says nothing where two sources use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One kind of tie that crosses splits.

    Attributes:
        kind: short and stable code.
        sentence: what was found and how often.
        is_certain: whether it is a leak in any case, or one only if ids mean what they seem to.
        count: number of patients, studies, groups or pairs.
        images: number of images that are tied across splits.
        examples: some of the ties, each the paths and splits of its images.
    """

    kind: str
    sentence: str
    is_certain: bool
    count: int
    images: int
    examples: tuple[tuple[str, ...], ...]


def find_leaks(
    manifest: Manifest, prints: Mapping[int, Fingerprint], pairs: Sequence[Pair]
) -> tuple[Leak, ...]:
    """Ties across splits, the certain ones first.

    A fold counts as a split. Images without either take no part.

    Args:
        manifest: the table.
        prints: position -> fingerprint of what could be read.
        pairs: of images that show the same.
    """
    examples = manifest.examples
    sources = {example.source for example in examples if example.source}
    header = {position: print_.header for position, print_ in prints.items()}

    def patient(position: int) -> Hashable:
        example = examples[position]
        if not example.patient_id or names_source(example.patient_id, sources):
            return example.patient_id
        return (example.source, example.patient_id)

    def study(position: int) -> Hashable:
        example = examples[position]
        return (example.source, example.study_id) if example.study_id else ""

    def header_id(name: str) -> Callable[[int], Hashable]:
        def key(position: int) -> Hashable:
            return getattr(header[position], name) if position in header else ""

        return key

    ties: list[tuple[str, str, bool, Callable[[int], Hashable]]] = [
        ("patient", "patient(s) by patient_id", True, patient),
        ("study", "study/studies by study_id", True, study),
        ("group", "group(s) of the column group", True, lambda i: examples[i].group),
        ("dup_group", "group(s) of the column dup_group", True, lambda i: examples[i].dup_group),
        ("header_patient", "patient(s) by DICOM PatientID", True, header_id("patient_id")),
        (
            "header_study",
            "study/studies by DICOM StudyInstanceUID",
            True,
            header_id("study_instance_uid"),
        ),
        (
            "shared_patient_id",
            "patient_id(s) used by several sources (a leak if they are the same people)",
            False,
            lambda i: examples[i].patient_id if i in shared else "",
        ),
    ]
    shared = _find_shared(examples, patient)
    found = [_find_ties(examples, *tie) for tie in ties]
    crossing = [
        pair for pair in pairs if cross_parts((examples[pair.first], examples[pair.second]))
    ]
    found += [_count_pairs(examples, crossing, likeness) for likeness in Likeness]
    kept = [leak for leak in found if leak is not None]
    return tuple(sorted(kept, key=lambda leak: not leak.is_certain))


def _find_shared(examples: Sequence[Example], patient: Callable[[int], Hashable]) -> set[int]:
    """Images whose patient id stands in several sources and may be a person's in all of them."""
    keys: dict[str, set[Hashable]] = defaultdict(set)
    for position, example in enumerate(examples):
        keys[example.patient_id].add(patient(position))
    return {
        position
        for position, example in enumerate(examples)
        if len(example.patient_id) >= MIN_ID_LENGTH and len(keys[example.patient_id]) > 1
    }


def _find_ties(
    examples: Sequence[Example],
    kind: str,
    what: str,
    is_certain: bool,
    key: Callable[[int], Hashable],
) -> Leak | None:
    members: dict[Hashable, list[int]] = defaultdict(list)
    for position in range(len(examples)):
        name = key(position)
        if name:
            members[name].append(position)
    crossing = [tied for tied in members.values() if cross_parts(examples[i] for i in tied)]
    if not crossing:
        return None
    images = sum(map(len, crossing))
    return Leak(
        kind=kind,
        sentence=f"{len(crossing)} {what} in more than one split ({images} images).",
        is_certain=is_certain,
        count=len(crossing),
        images=images,
        examples=_list_examples(examples, crossing),
    )


def _count_pairs(
    examples: Sequence[Example], crossing: Sequence[Pair], likeness: Likeness
) -> Leak | None:
    pairs = [(pair.first, pair.second) for pair in crossing if pair.likeness is likeness]
    if not pairs:
        return None
    images = len({position for pair in pairs for position in pair})
    return Leak(
        kind=likeness.name.lower(),
        sentence=f"{len(pairs)} pair(s) of images in different splits: {likeness.value}.",
        is_certain=likeness.is_duplicate,
        count=len(pairs),
        images=images,
        examples=_list_examples(examples, pairs),
    )


def _list_examples(
    examples: Sequence[Example], ties: Iterable[Sequence[int]]
) -> tuple[tuple[str, ...], ...]:
    listed = []
    for tied in list(ties)[:MAX_LISTED]:
        # One image of each part shows the tie.
        by_part = {name_part(examples[i]): i for i in reversed(tied)}
        parts = order_parts(filter(None, by_part))
        listed.append(tuple(f"{examples[by_part[part]].path} ({part})" for part in parts))
    return tuple(listed)
