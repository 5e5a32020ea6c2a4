"""What a labelled data set hides: leaks, duplicates, broken files, and labels without lungs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from chestx.datasets.baselines import Shortcut, judge_shortcuts, measure_shortcuts
from chestx.datasets.duplicates import Likeness, Pair, find_duplicates
from chestx.datasets.example import Manifest
from chestx.datasets.findings import (
    Fault,
    LabelCount,
    count_labels,
    find_faults,
    find_lone_labels,
    judge_licences,
)
from chestx.datasets.fingerprints import Fingerprint, Unreadable, take_fingerprints
from chestx.datasets.groups import group_examples
from chestx.datasets.leaks import Leak, find_leaks
from chestx.models.runtime import count_usable_cores


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Audit:
    """What was found.

    Attributes:
        leaks: sentences; any makes figures on the table's splits worthless.
        warnings: sentences on what a user of the table must know.
        images, readable: numbers of rows, and of those whose file is a radiograph or looks it.
        seed: of folds and draws.
        ties: what ties splits together, the certain ones being the leaks.
        pairs: images that show the same, the surest first.
        faults: trouble with files and rows.
        counts: answers by source, split and label.
        shortcuts: how far labels can be guessed without lungs.
        licences: licence, number of images, restrictions.
    """

    leaks: tuple[str, ...]
    warnings: tuple[str, ...]
    images: int
    readable: int
    seed: int
    ties: tuple[Leak, ...]
    pairs: tuple[Pair, ...]
    faults: tuple[Fault, ...]
    counts: tuple[LabelCount, ...]
    shortcuts: tuple[Shortcut, ...]
    licences: tuple[tuple[str, int, str], ...]


def audit_manifest(
    manifest: Manifest,
    output: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    on_image: Callable[[], None] | None = None,
) -> Audit:
    """Examines a table and every file of it, and writes ``audit.html`` and ``audit.json``.

    Args:
        manifest: the table.
        output: folder for the two files; it is made where it is not there.
        seed: of folds and draws; the same seed gives the same figures.
        workers: child processes that read images; None for one a usable core.
        on_image: is called after each file of the first reading.

    Raises:
        UsageError: the number of workers is out of range.
        OSError: the folder cannot be written to.
    """
    from chestx.datasets.audit_page import make_page

    output.mkdir(parents=True, exist_ok=True)
    workers = count_usable_cores() if workers is None else workers
    paths = [manifest.resolve(example) for example in manifest.examples]
    taken = take_fingerprints(paths, workers=workers, on_image=on_image)
    audit = examine(manifest, taken, seed=seed, workers=workers)
    text = json.dumps(to_record(audit, manifest), indent=1, ensure_ascii=False, allow_nan=False)
    _write(output / "audit.json", text + "\n")
    _write(output / "audit.html", make_page(audit, manifest, taken, workers=workers))
    return audit


def examine(
    manifest: Manifest,
    taken: Sequence[Fingerprint | Unreadable],
    *,
    seed: int,
    workers: int | None = None,
) -> Audit:
    """The findings for a table whose files were read.

    Args:
        manifest: the table.
        taken: one a row.
        seed: of folds and draws.
        workers: child processes that read the candidates for duplicates again.
    """
    prints = {i: print_ for i, print_ in enumerate(taken) if isinstance(print_, Fingerprint)}
    paths = [manifest.resolve(example) for example in manifest.examples]
    pairs = tuple(find_duplicates(prints, paths, workers=workers))
    ties = find_leaks(manifest, prints, pairs)
    faults = find_faults(manifest, taken, pairs)
    counts = count_labels(manifest)
    groups = _join_groups(group_examples(manifest), pairs)
    shortcuts = measure_shortcuts(manifest, prints, groups, seed=seed)
    licences = judge_licences(manifest)
    warnings = [
        *(tie.sentence for tie in ties if not tie.is_certain),
        *_warn_of_pairs(pairs),
        *(f"{len(fault.paths)} {fault.sentence}." for fault in faults),
        *find_lone_labels(counts),
        *judge_shortcuts(shortcuts),
        *_warn_of_splits(counts),
        *_warn_of_licences(licences),
    ]
    return Audit(
        leaks=tuple(tie.sentence for tie in ties if tie.is_certain),
        warnings=tuple(warnings),
        images=len(taken),
        readable=len(prints),
        seed=seed,
        ties=ties,
        pairs=pairs,
        faults=faults,
        counts=counts,
        shortcuts=shortcuts,
        licences=licences,
    )


def _join_groups(
    groups: Int[np.ndarray, " examples"], pairs: Iterable[Pair]
) -> Int[np.ndarray, " examples"]:
    """The table's groups, joined where a duplicate lies in two."""
    parents = {int(group): int(group) for group in groups}

    def find(group: int) -> int:
        while parents[group] != group:
            parents[group] = parents[parents[group]]
            group = parents[group]
        return group

    for pair in pairs:
        parents[find(int(groups[pair.second]))] = find(int(groups[pair.first]))
    return np.array([find(int(group)) for group in groups], dtype=np.int64)


def _warn_of_pairs(pairs: Sequence[Pair]) -> list[str]:
    tally = Counter(pair.likeness for pair in pairs if pair.likeness.is_duplicate)
    kinds = ", ".join(f"{tally[kind]} {kind.value}" for kind in Likeness if tally[kind])
    return [f"{tally.total()} pair(s) of duplicates: {kinds}."] if tally else []


def _warn_of_splits(counts: Sequence[LabelCount]) -> list[str]:
    present: Counter[tuple[str, str]] = Counter()
    for count in counts:
        present[count.split, count.label] += count.present
    splits = {count.split for count in counts} - {""}
    if not splits:
        return ["No image has a split: leaks between splits could not be looked for."]
    lacking: dict[str, list[str]] = {}
    for (split, label), n in sorted(present.items()):
        if split and not n:
            lacking.setdefault(label, []).append(split)
    return [
        f"{label} is present in no image of the split(s) {', '.join(splits_without)}."
        for label, splits_without in lacking.items()
    ]


def _warn_of_licences(licences: Sequence[tuple[str, int, str]]) -> list[str]:
    tally: Counter[str] = Counter()
    for _, count, told in licences:
        for restriction in filter(None, told.split("; ")):
            tally[restriction] += count
    kinds = "; ".join(f"{told} ({count} images)" for told, count in tally.most_common())
    return [f"Licences restrict the use or are not stated: {kinds}."] if kinds else []


def to_record(audit: Audit, manifest: Manifest) -> dict[str, Any]:
    """The audit as JSON values.

    Args:
        audit: the findings.
        manifest: the table that they are of, for the paths.
    """
    examples = manifest.examples
    return {
        "chestx_version": version("chestx"),
        "images": audit.images,
        "readable": audit.readable,
        "seed": audit.seed,
        "labels": list(manifest.labels),
        "leaks": list(audit.leaks),
        "warnings": list(audit.warnings),
        "ties": [asdict(tie) for tie in audit.ties],
        "duplicates": [
            {
                "first": examples[pair.first].path,
                "second": examples[pair.second].path,
                "first_split": examples[pair.first].split,
                "second_split": examples[pair.second].split,
                "likeness": pair.likeness.name.lower(),
                "common_details": pair.details,
                "correlation": round(pair.correlation, 4),
                "change": pair.change,
            }
            for pair in audit.pairs
        ],
        "faults": [
            {
                "kind": fault.kind,
                "sentence": fault.sentence,
                "count": len(fault.paths),
                "paths": list(fault.paths),
            }
            for fault in audit.faults
        ],
        "counts": [asdict(count) for count in audit.counts],
        "shortcuts": [
            {
                "label": found.label,
                "source": found.source,
                "shortcut": found.shortcut,
                "auroc": round(found.figure.value, 4),
                "low": None if found.figure.low is None else round(found.figure.low, 4),
                "high": None if found.figure.high is None else round(found.figure.high, 4),
                "images": found.figure.n,
                "positives": found.positives,
            }
            for found in audit.shortcuts
        ],
        "licences": [
            {"licence": licence, "images": count, "restrictions": told}
            for licence, count, told in audit.licences
        ],
    }


def _write(path: Path, text: str) -> None:
    """Whole or not at all; what a table's bytes could not say in UTF-8 becomes a mark."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(text.encode("utf-8", errors="replace"))
    os.replace(partial, path)
