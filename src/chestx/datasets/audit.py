"""What a labelled data set hides: leaks, duplicates, broken files, and labels without lungs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chestx.datasets.baselines import Shortcut, judge_shortcuts, measure_shortcuts
from chestx.datasets.duplicates import Likeness, Pair, find_duplicates
from chestx.datasets.example import Manifest
from chestx.datasets.findings import (
    Fault,
    find_faults,
    find_lone_labels,
    judge_licences,
)
from chestx.datasets.fingerprints import Fingerprint, Unreadable, take_fingerprints
from chestx.datasets.groups import group_examples, join_groups
from chestx.datasets.leaks import Leak, find_leaks
from chestx.datasets.split_record import name_part
from chestx.datasets.stats import LabelCount, count_labels
from chestx.domain import UsageError
from chestx.files import write_text
from chestx.images.cores import count_usable_cores

MAX_SEED = 2**32 - 1


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
        UsageError: the seed or the number of workers is out of range, or a file stands where
            the folder should be.
        OSError: the folder cannot be written to.
    """
    from chestx.datasets.audit_page import make_page

    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"seed: expected 0 to {MAX_SEED}, got {seed}")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{str(output)!r}: expected a folder for the results, there is a file")
    output.mkdir(parents=True, exist_ok=True)
    workers = count_usable_cores() if workers is None else workers
    paths = [manifest.resolve(example) for example in manifest.examples]
    taken = take_fingerprints(paths, workers=workers, on_image=on_image)
    audit = examine(manifest, taken, seed=seed, workers=workers)
    page = make_page(audit, manifest, taken, workers=workers)
    text = json.dumps(to_record(audit, manifest), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(output / "audit.html", page)
    write_text(output / "audit.json", text + "\n")
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
    tied = ((pair.first, pair.second) for pair in pairs)
    groups = join_groups(group_examples(manifest), tied)
    shortcuts = measure_shortcuts(manifest, prints, groups, seed=seed)
    licences = judge_licences(manifest)
    warnings = [
        *(tie.sentence for tie in ties if not tie.is_certain),
        *_warn_of_pairs(pairs),
        *(f"{len(fault.paths)} {fault.sentence}." for fault in faults),
        *find_lone_labels(counts),
        *judge_shortcuts(shortcuts),
        *_warn_of_splits(manifest, counts),
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


def _warn_of_pairs(pairs: Sequence[Pair]) -> list[str]:
    tally = Counter(pair.likeness for pair in pairs if pair.likeness.is_duplicate)
    kinds = ", ".join(f"{tally[kind]} {kind.value}" for kind in Likeness if tally[kind])
    return [f"{tally.total()} pair(s) of duplicates: {kinds}."] if tally else []


def _warn_of_splits(manifest: Manifest, counts: Sequence[LabelCount]) -> list[str]:
    if not any(map(name_part, manifest.examples)):
        return ["No image has a split or a fold: leaks between them could not be looked for."]
    present: Counter[tuple[str, str]] = Counter()
    for count in counts:
        present[count.split, count.label] += count.present
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
                "first_split": name_part(examples[pair.first]),
                "second_split": name_part(examples[pair.second]),
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
