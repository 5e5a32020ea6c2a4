"""Which images belong together: of one patient, one study, one picture."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterator

import numpy as np
from jaxtyping import Int

from chestx.datasets.example import Example, Manifest


def group_examples(manifest: Manifest) -> Int[np.ndarray, " examples"]:
    """Numbers the groups that no split and no resampling may part.

    Images belong together when they share a patient or a study of one source (an id that
    begins with the name of a source and a colon is a patient of that source), a group or a
    duplicate group of the table, or the file; and so do images that such images join. An image
    that shares nothing is a group of its own.

    Args:
        manifest: of any size.

    Returns:
        Number of the group of each image, from 0 in the order of the table.
    """
    parents = list(range(len(manifest.examples)))

    def find(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[Hashable, int] = {}
    sources = {example.source for example in manifest.examples} - {""}
    for number, example in enumerate(manifest.examples):
        for tie in _list_ties(manifest, example, sources):
            other = find(first.setdefault(tie, number))
            # The smaller number stays the root, so numbers follow the order of the table.
            low, high = sorted((other, find(number)))
            parents[high] = low
    roots = [find(number) for number in range(len(parents))]
    numbers = {root: place for place, root in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[root] for root in roots], dtype=np.int64)


def names_source(patient_id: str, sources: Collection[str]) -> bool:
    """Whether an id such as ``hospital:17`` means the same patient in whatever source it stands."""
    name, colon, rest = patient_id.partition(":")
    return bool(colon and rest) and name in sources


def _list_ties(
    manifest: Manifest, example: Example, sources: Collection[str]
) -> Iterator[Hashable]:
    yield "file", os.path.abspath(manifest.resolve(example))
    if example.patient_id:
        is_global = names_source(example.patient_id, sources)
        yield "patient", "" if is_global else example.source, example.patient_id
    if example.study_id:
        yield "study", example.source, example.study_id
    if example.group:
        yield "group", example.group
    if example.dup_group:
        yield "duplicate", example.dup_group
