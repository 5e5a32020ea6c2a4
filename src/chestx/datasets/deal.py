"""Deals the images of a data set to parts, or says why that cannot be done."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from chestx.datasets.example import Example, Manifest
from chestx.datasets.split_record import name_paths
from chestx.datasets.stratify import deal_groups
from chestx.domain import UsageError
from chestx.shapes import Int


def deal_examples(
    manifest: Manifest,
    groups: Int[np.ndarray, " examples"],
    free: Int[np.ndarray, " free"],
    shares: Mapping[str, float],
    seed: int,
) -> dict[int, str]:
    """Deals whole groups of images to parts, alike in labels and sources.

    Args:
        manifest: whose images they are.
        groups: number of the group of each of its images.
        free: numbers of the images that are dealt; of a group all of them or none.
        shares: part -> share of these images, summing to 1.
        seed: of the order of the groups.

    Returns:
        Number of an image -> its part.

    Raises:
        UsageError: too few groups, a label in too few of them, or one group too large.
    """
    examples = [manifest.examples[number] for number in free.tolist()]
    members = groups[free]
    order = _order_groups(name_paths(manifest.folder, [e.path for e in examples]), members, seed)
    place = {group: number for number, group in enumerate(order)}
    rows = np.array([place[group] for group in members.tolist()])
    _check_enough(manifest, examples, rows, list(shares))
    strata = [_list_strata(manifest, example) for example in examples]
    names = sorted({name for of in strata for name in of})
    counts = np.zeros((len(order), len(names)), dtype=np.int64)
    column = {name: number for number, name in enumerate(names)}
    for row, of in zip(rows.tolist(), strata, strict=True):
        for name in of:
            counts[row, column[name]] += 1
    images = np.bincount(rows, minlength=len(order)).astype(np.int64)
    _check_sizes(images, shares)
    parts = deal_groups(counts, images, np.array(list(shares.values()), dtype=np.float64))
    _check_parts(manifest, examples, parts[rows], list(shares))
    called = list(shares)
    return {
        number: called[part]
        for number, part in zip(free.tolist(), parts[rows].tolist(), strict=True)
    }


def _order_groups(names: Sequence[str], groups: Int[np.ndarray, " free"], seed: int) -> list[int]:
    """A random order of the groups that does not depend on that of the rows."""
    first: dict[int, str] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        first[group] = min(name, first.get(group, name))

    def draw(group: int) -> str:
        text = f"{seed}\0{first[group]}".encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()

    return sorted(first, key=draw)


def _list_strata(manifest: Manifest, example: Example) -> list[tuple[str, str]]:
    return [(label, example.source) for label in manifest.list_present(example) or [""]]


def _check_enough(
    manifest: Manifest,
    examples: Sequence[Example],
    rows: Int[np.ndarray, " free"],
    parts: Sequence[str],
) -> None:
    groups = len(set(rows.tolist()))
    if groups < len(parts):
        raise UsageError(
            f"expected at least one patient or duplicate group for each of {len(parts)} parts, "
            f"got {groups} in all"
        )
    having: dict[str, set[int]] = {}
    for row, example in zip(rows.tolist(), examples, strict=True):
        for label in manifest.list_present(example):
            having.setdefault(label, set()).add(row)
    for label in manifest.labels:
        if label in having and len(having[label]) < len(parts):
            raise UsageError(
                f"{label}: expected at least one patient or duplicate group for each of "
                f"{len(parts)} parts, got {len(having[label])} in all; ask for fewer parts, or "
                "for other labels with --labels"
            )


def _check_sizes(images: Int[np.ndarray, " groups"], shares: Mapping[str, float]) -> None:
    largest, total = int(images.max()), int(images.sum())
    if largest > math.ceil(max(shares.values()) * total):
        raise UsageError(
            f"expected groups that fit into a part, but one patient or duplicate group holds "
            f"{largest:,} of {total:,} images; is one id given to many patients? "
            "Leave such a column out with --column patient_id="
        )


def _check_parts(
    manifest: Manifest,
    examples: Sequence[Example],
    dealt: Int[np.ndarray, " free"],
    parts: Sequence[str],
) -> None:
    held = {
        (label, part)
        for example, part in zip(examples, dealt.tolist(), strict=True)
        for label in manifest.list_present(example)
    }
    for number, part in enumerate(parts):
        if not (dealt == number).any():
            raise UsageError(f"{part}: expected images, but its share is too small for one group")
        for label in manifest.labels:
            if (label, number) not in held and any(key == label for key, _ in held):
                raise UsageError(
                    f"{label}: there are too few patients or duplicate groups for the share of "
                    f"{part}; give it a larger share, or ask for other labels with --labels"
                )
