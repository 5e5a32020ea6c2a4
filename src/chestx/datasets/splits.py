"""Cuts a data set into parts that share no patient and no picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from chestx.datasets.cells import SPLITS
from chestx.datasets.deal import deal_examples
from chestx.datasets.example import Manifest
from chestx.datasets.groups import group_examples
from chestx.datasets.split_record import (
    FOLD,
    SPLIT_ID,
    compute_split_id,
    describe_change,
)
from chestx.domain import ChestxError, UsageError, format_count
from chestx.shapes import Int

DEFAULT_SHARES: Mapping[str, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
MAX_FOLDS = 100
_GROUP = "patient or duplicate group"


class LeakageError(ChestxError):
    """A split that puts a patient or a picture on both sides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How a data set is cut.

    Attributes:
        shares: of ``train``, ``validation`` and ``test``, summing to 1. Those of parts that
            ``keep`` or ``hold_out`` fill are passed over, the others stand to each other as said.
        folds: cut into so many folds for cross-validation instead.
        fold_by_source: every source is a fold instead.
        hold_out: sources that become the test part.
        keep: parts of an existing split that stay as they are; None: there is no split yet.
        leave_out_leaks: images that a kept part, a source held out or a fold shares patients or
            pictures with go into no part, where this would otherwise be an error.
        seed: of the order in which groups are dealt.
    """

    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    folds: int | None = None
    fold_by_source: bool = False
    hold_out: Sequence[str] = ()
    keep: Collection[str] | None = None
    leave_out_leaks: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for part in (*self.shares, *(self.keep or ())):
            if part not in SPLITS:
                raise UsageError(f"part: expected one of {', '.join(SPLITS)}, got {part!r:.40}")
        given = list(self.shares.values())
        if not all(0 <= share <= 1 for share in given) or not math.isclose(
            math.fsum(given), 1, abs_tol=1e-6
        ):
            listed = ", ".join(f"{part} {share:g}" for part, share in self.shares.items())
            raise UsageError(
                "shares: expected numbers from 0 to 1 that sum to 1 (or percentages that sum "
                f"to 100), got {listed}"
            )
        if self.folds is not None and not 2 <= self.folds <= MAX_FOLDS:
            raise UsageError(f"folds: expected 2 to {MAX_FOLDS}, got {self.folds}")
        if (self.folds is not None) + self.fold_by_source + bool(self.hold_out) > 1:
            raise UsageError("folds, fold by source and hold out exclude each other")
        if self.hold_out and self.keep:
            raise UsageError(
                "hold out and keep exclude each other: the sources held out are the test part"
            )


def split_manifest(manifest: Manifest, options: SplitOptions | None = None) -> Manifest:
    """Puts every image into a part, whole groups at a time, and records a checksum.

    Groups are those of :func:`group_examples`. Parts are alike in labels and sources. The same
    images and seed give the same parts whatever the order of the rows.

    Args:
        manifest: to cut.
        options: how; by default 70/15/15.

    Returns:
        The manifest with ``split`` or, for folds, the column ``fold`` filled anew, and
        the column ``split_id``.

    Raises:
        UsageError: the request cannot be met; it says why.
        LeakageError: what is to be kept is not free of leakage.
    """
    options = options or SplitOptions()
    groups = group_examples(manifest)
    kept = _keep_parts(manifest, options)
    fixed = _settle_groups(manifest, groups, kept, options)
    if options.fold_by_source:
        folds = _fold_by_source(manifest, groups, fixed, options)
        return _record(manifest, fixed, folds)
    free = np.array([part is None for part in fixed])
    if options.folds is not None:
        shares = {str(number): 1 / options.folds for number in range(options.folds)}
    else:
        shares = _list_free_shares(options, any_free=bool(free.any()))
    if not free.any():
        if options.folds is not None:
            raise UsageError("folds: expected images outside the kept parts, there are none")
        return _record(manifest, fixed, [""] * len(fixed))
    dealt = deal_examples(manifest, groups, np.flatnonzero(free), shares, options.seed)
    if options.folds is None:
        parts = [dealt.get(number, part or "") for number, part in enumerate(fixed)]
        return _record(manifest, parts, [""] * len(parts))
    return _record(manifest, fixed, [dealt.get(number, "") for number in range(len(fixed))])


def verify_split(manifest: Manifest) -> tuple[str, ...]:
    """What is wrong with the split of a whole manifest, a sentence each; nothing if all is well.

    Args:
        manifest: as split; rows in no part are passed over.
    """
    groups = group_examples(manifest)
    problems = []
    for what, parts in (
        ("parts", [example.split for example in manifest.examples]),
        ("folds", [example.other.get(FOLD, "") for example in manifest.examples]),
    ):
        crossing, images = _count_crossing(groups, parts)
        if crossing:
            problems.append(
                f"{format_count(crossing, _GROUP)} with {format_count(images, 'image')} "
                f"{'lies' if crossing == 1 else 'lie'} in several {what}"
            )
    recorded = [example.other.get(SPLIT_ID, "") for example in manifest.examples]
    change = describe_change(recorded, compute_split_id(manifest))
    return (*problems, *([change] if change else []))


def _keep_parts(manifest: Manifest, options: SplitOptions) -> list[str | None]:
    """The part of each image that has one by what is kept or held out."""
    stated = sum(bool(example.split) for example in manifest.examples)
    if options.keep is None and stated:
        raise UsageError(
            f"{stated:,} of {len(manifest.examples):,} images have a split already; keep parts "
            "of it (--keep test), or say that it is to be replaced (--keep none)"
        )
    if options.hold_out:
        sources = {example.source for example in manifest.examples}
        _check_sources(options.hold_out, sources)
        return [
            "test" if example.source in options.hold_out else None for example in manifest.examples
        ]
    keep = options.keep or ()
    return [example.split if example.split in keep else None for example in manifest.examples]


def _check_sources(wanted: Collection[str], sources: Collection[str]) -> None:
    named = sorted(source for source in sources if source)
    for source in wanted:
        if not source or source not in sources:
            raise UsageError(
                f"hold out: expected one of the sources {', '.join(named) or '(none is stated)'}, "
                f"got {source!r:.80}"
            )
    if not set(sources) - set(wanted):
        raise UsageError(
            "hold out: expected another source to train on, but the sources held out are all "
            "there are"
        )


def _settle_groups(
    manifest: Manifest,
    groups: Int[np.ndarray, " examples"],
    kept: Sequence[str | None],
    options: SplitOptions,
) -> list[str | None]:
    """Extends kept parts to their groups: ``""`` is in no part, None is still to be dealt."""
    parts_of: dict[int, set[str]] = {}
    for group, part in zip(groups.tolist(), kept, strict=True):
        if part is not None:
            parts_of.setdefault(group, set()).add(part)
    split = {group for group, parts in parts_of.items() if len(parts) > 1}
    if split:
        held = " and ".join(sorted({part for group in split for part in parts_of[group]}))
        raise LeakageError(
            f"the split to keep leaks: {format_count(len(split), _GROUP)} with "
            f"{format_count(int(np.isin(groups, list(split)).sum()), 'image')} lie in {held}; "
            "keep only one of these parts"
        )
    settled: list[str | None] = []
    leaking: Counter[int] = Counter()
    for example, group, part in zip(manifest.examples, groups.tolist(), kept, strict=True):
        own = next(iter(parts_of.get(group, ())), None)
        # What has a place of its own, outside, is not taken into a kept part unasked.
        if own is not None and part is None and (options.hold_out or example.split):
            leaking[group] += 1
            own = ""
        settled.append(own)
    if leaking and not options.leave_out_leaks:
        what = "the sources held out share" if options.hold_out else "the parts to keep share"
        raise LeakageError(
            f"{what} {format_count(len(leaking), _GROUP)} with "
            f"{format_count(leaking.total(), 'image')} elsewhere; put these images in no part with "
            "--leave-out-leaks"
        )
    return settled


def _list_free_shares(options: SplitOptions, *, any_free: bool) -> dict[str, float]:
    taken = {"test"} if options.hold_out else set(options.keep or ())
    shares = {part: share for part, share in options.shares.items() if share and part not in taken}
    if any_free and not shares:
        raise UsageError(
            "shares: expected a share for a part that is not kept, so that images outside "
            f"{', '.join(sorted(taken))} have a place"
        )
    total = math.fsum(shares.values())
    return {part: share / total for part, share in shares.items()}


def _fold_by_source(
    manifest: Manifest,
    groups: Int[np.ndarray, " examples"],
    fixed: Sequence[str | None],
    options: SplitOptions,
) -> list[str]:
    free = [number for number, part in enumerate(fixed) if part is None]
    sources = {manifest.examples[number].source for number in free}
    if "" in sources:
        raise UsageError("fold by source: expected a source for every image, some have none")
    if len(sources) < 2:
        raise UsageError(
            f"fold by source: expected several sources, got {len(sources)}; nothing would be left "
            "to train on"
        )
    folds = [""] * len(fixed)
    for number in free:
        folds[number] = manifest.examples[number].source
    crossing, images = _count_crossing(groups, folds)
    if crossing and not options.leave_out_leaks:
        raise LeakageError(
            f"{format_count(crossing, _GROUP)} with {format_count(images, 'image')} "
            "lie in several sources; put these images in no fold with --leave-out-leaks"
        )
    shared = _find_crossing(groups, folds)
    return [
        "" if group in shared else fold for group, fold in zip(groups.tolist(), folds, strict=True)
    ]


def _count_crossing(groups: Int[np.ndarray, " examples"], parts: Sequence[str]) -> tuple[int, int]:
    shared = _find_crossing(groups, parts)
    images = sum(
        bool(part) and group in shared for group, part in zip(groups.tolist(), parts, strict=True)
    )
    return len(shared), images


def _find_crossing(groups: Int[np.ndarray, " examples"], parts: Sequence[str]) -> set[int]:
    held: dict[int, str] = {}
    shared = set()
    for group, part in zip(groups.tolist(), parts, strict=True):
        if part and held.setdefault(group, part) != part:
            shared.add(group)
    return shared


def _record(manifest: Manifest, parts: Sequence[str | None], folds: Sequence[str]) -> Manifest:
    """The manifest with its new parts and their checksum."""
    has_folds = any(folds)
    examples = []
    for example, part, fold in zip(manifest.examples, parts, folds, strict=True):
        other = {name: text for name, text in example.other.items() if name not in (FOLD, SPLIT_ID)}
        if has_folds:
            other[FOLD] = fold
        examples.append(replace(example, split=part or "", other=other))
    split_id = compute_split_id(replace(manifest, examples=tuple(examples)))
    return replace(
        manifest,
        examples=tuple(
            replace(example, other=MappingProxyType({**example.other, SPLIT_ID: split_id}))
            for example in examples
        ),
    )
