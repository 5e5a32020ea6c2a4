"""A checksum that shows whether a split is still the one that was made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from chestx.datasets.cells import SPLITS, normalise_split
from chestx.datasets.example import Example, Manifest

FOLD, SPLIT_ID = "fold", "split_id"
"""Columns beside those of an example: the fold of cross-validation, and the checksum."""

RECORDED = ("source", "patient_id", "study_id", "group", "dup_group", "split", FOLD)
"""Columns that the checksum covers, beside the path."""


def name_part(example: Example) -> str:
    """``train``, ``fold 2``, or both where a table has both; empty for an image in no part."""
    fold = example.other.get(FOLD, "")
    return ", ".join(filter(None, (example.split, fold and f"fold {fold}")))


def order_parts(parts: Iterable[str]) -> list[str]:
    """Train, validation, test; then folds and others, 2 before 10; the empty one last."""

    def rank(part: str) -> tuple[bool, int, bool, int, str]:
        split = SPLITS.index(part) if part in SPLITS else len(SPLITS)
        number = part.removeprefix("fold ")
        is_number = number.isdecimal() and len(number) <= 9
        return not part, split, not is_number, int(number) if is_number else 0, part

    return sorted(parts, key=rank)


def cross_parts(examples: Iterable[Example]) -> bool:
    """Whether images lie on several sides of a split: in two parts of it, or in two folds.

    An image in no part is on no side. A part that was kept stands outside the folds of the
    others.
    """
    places = {(example.split, example.other.get(FOLD, "")) for example in examples} - {("", "")}
    splits, folds = ({place[side] for place in places} - {""} for side in (0, 1))
    several = len(splits) > 1 or len(folds) > 1
    return several or (len(places) > 1 and not any(split and fold for split, fold in places))


def name_paths(folder: Path, paths: Sequence[str]) -> list[str]:
    """Names of images that stay the same when a manifest or a whole data set is moved.

    Args:
        folder: that relative paths count from.
        paths: of all images of the manifest.

    Returns:
        Paths from the deepest folder that holds all of them.
    """
    base = os.path.abspath(folder)
    whole = [os.path.normpath(os.path.join(base, path)) for path in paths]
    root = os.path.commonpath({os.path.dirname(path) for path in whole}) if whole else ""
    return [os.path.relpath(path, root) for path in whole]


def checksum_split(folder: Path, rows: Iterable[tuple[str, ...]]) -> str:
    """Checksum of who belongs together and who is where, whatever the order of the rows.

    Args:
        folder: that relative paths count from.
        rows: path and the cells of RECORDED, of every image.

    Returns:
        The first 16 hexadecimal digits of a SHA-256.
    """
    cells = list(rows)
    names = name_paths(folder, [row[0] for row in cells])
    split = 1 + RECORDED.index("split")
    lines = sorted(
        "\x1f".join((name, *row[1:split], normalise_split(row[split]), *row[split + 1 :]))
        for name, row in zip(names, cells, strict=True)
    )
    text = "\x1e".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def compute_split_id(manifest: Manifest) -> str:
    """The checksum of a manifest's split."""
    return checksum_split(
        manifest.folder,
        (
            (
                example.path,
                example.source,
                example.patient_id,
                example.study_id,
                example.group,
                example.dup_group,
                example.split,
                example.other.get(FOLD, ""),
            )
            for example in manifest.examples
        ),
    )


def describe_change(recorded: Iterable[str], computed: str) -> str:
    """Why a recorded checksum does not stand for this split; empty where it does.

    Args:
        recorded: cells of the column ``split_id`` of all rows.
        computed: checksum of the rows as they are.
    """
    held = set(recorded)
    if held <= {""} or held == {computed}:
        return ""
    if len(held) > 1:
        return (
            f"rows of {len(held)} different splits were put together "
            "(their split_id differs); split again"
        )
    return (
        f"the split was changed after it was made: its rows give the checksum {computed}, "
        f"recorded is {next(iter(held)):.16}; split again, or undo the change"
    )
