"""Which images belong together: of one patient, one study, one picture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np

from chestx.datasets.example import Example, Manifest
from chestx.datasets.split_record import SPLIT_ID
from chestx.shapes import Int


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
    first: dict[Hashable, int] = {}
    sources = {example.source for example in manifest.examples} - {""}
    ties = (
        (first.setdefault(tie, number), number)
        for number, example in enumerate(manifest.examples)
        for tie in _list_ties(manifest, example, sources)
    )
    return join_groups(np.arange(len(manifest.examples)), ties)


def join_groups(
    groups: Int[np.ndarray, " examples"], pairs: Iterable[tuple[int, int]]
) -> Int[np.ndarray, " examples"]:
    """Makes one group of those that a pair of images lies in.

    Args:
        groups: number of the group of each image.
        pairs: numbers of images that belong together.

    Returns:
        Number of the group of each image, from 0 in the order of the images.
    """
    named = groups.tolist()
    parents = {group: group for group in named}

    def find(group: int) -> int:
        while parents[group] != group:
            parents[group] = parents[parents[group]]
            group = parents[group]
        return group

    for one, other in pairs:
        # The smaller number stays the root: chains stay short where groups are in order.
        low, high = sorted((find(named[one]), find(named[other])))
        parents[high] = low
    roots = [find(group) for group in named]
    numbers = {root: place for place, root in enumerate(dict.fromkeys(roots))}
    return np.array([numbers[root] for root in roots], dtype=np.int64)


def name_duplicates(manifest: Manifest, pairs: Iterable[tuple[int, int]]) -> Manifest:
    """The manifest with images that show the same picture in one ``dup_group``.

    Args:
        manifest: whose ``dup_group`` may know some of them already; its names are kept.
        pairs: numbers of images that show the same.

    Returns:
        The manifest without the checksum of a split, which would not stand for it any more.
    """
    first: dict[str, int] = {}
    known = [
        (first.setdefault(example.dup_group, number), number)
        for number, example in enumerate(manifest.examples)
        if example.dup_group
    ]
    groups = join_groups(np.arange(len(manifest.examples)), (*known, *pairs)).tolist()
    sizes = Counter(groups)
    names: dict[int, str] = {}
    for example, group in zip(manifest.examples, groups, strict=True):
        if example.dup_group:
            names.setdefault(group, example.dup_group)
    fresh = (name for name in map("same-{}".format, count(1)) if name not in first)
    examples = []
    for example, group in zip(manifest.examples, groups, strict=True):
        if sizes[group] > 1 and group not in names:
            names[group] = next(fresh)
        other = {name: text for name, text in example.other.items() if name != SPLIT_ID}
        examples.append(replace(example, dup_group=names.get(group, ""), other=other))
    return replace(manifest, examples=tuple(examples))


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
