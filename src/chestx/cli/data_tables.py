"""Tables on the terminal of what a data set holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from chestx.cli.console import make_console, make_printable, say
from chestx.domain import format_count

if TYPE_CHECKING:
    from chestx.datasets.example import Manifest
    from chestx.datasets.stats import LabelCount, ManifestStatistics

MOST_VALUES = 12
"""Rows of a table of values; the rarer ones share the last."""
_UNSTATED = "(not stated)"
_WIDEST = 60


def summarise(manifest: Manifest) -> str:
    """Images, labels and groups in a line."""
    from chestx.datasets.stats import describe_manifest

    return _summarise(describe_manifest(manifest))


def print_statistics(statistics: ManifestStatistics) -> None:
    """Everything that :class:`ManifestStatistics` counts."""
    say(_summarise(statistics))
    say(
        f"{format_count(statistics.patients, 'patient')} stated, "
        f"{format_count(statistics.images_without_patient, 'image')} without one; "
        f"{format_count(statistics.groups, 'group')} of patients and duplicates"
    )
    _print_present(statistics.targets)
    _print_answers(statistics)
    for name, counts in statistics.counts.items():
        _print_counts(name, counts, statistics.images)
    if statistics.ages:
        say(
            "ages stated: {min:.3g} to {max:.3g} years, median {median:.3g}".format(
                **statistics.ages
            )
        )
    if statistics.images_with_boxes:
        say(f"{format_count(statistics.images_with_boxes, 'image')} with boxes")


def print_split(manifest: Manifest) -> None:
    """What each part or fold holds, and how large it is."""
    from chestx.datasets.groups import group_examples
    from chestx.datasets.split_record import FOLD, order_parts
    from chestx.datasets.stats import describe_manifest

    statistics = describe_manifest(manifest)
    say(_summarise(statistics))
    _print_present(statistics.targets)
    groups = group_examples(manifest).tolist()
    for name, parts in (
        ("split", [example.split for example in manifest.examples]),
        ("fold", [example.other.get(FOLD, "") for example in manifest.examples]),
    ):
        if not any(parts):
            continue
        images = Counter(parts)
        held = Counter(part for part, _ in set(zip(parts, groups, strict=True)))
        rows = [
            (
                part or "(none)",
                f"{images[part]:,}",
                _share(images[part], len(parts)),
                f"{held[part]:,}",
            )
            for part in order_parts(images)
        ]
        _print_table((name, "images", "share", "groups"), rows)
        if name == "fold":
            _print_by_fold(manifest)


def _print_by_fold(manifest: Manifest) -> None:
    from chestx.datasets.example import Target
    from chestx.datasets.split_record import FOLD, order_parts

    counted = Counter(
        (label, example.other.get(FOLD, ""))
        for example in manifest.examples
        for label, target in zip(manifest.labels, example.targets, strict=True)
        if target is Target.PRESENT
    )
    folds = order_parts({fold for _, fold in counted if fold})
    rows = [(label, *(f"{counted[label, fold]:,}" for fold in folds)) for label in manifest.labels]
    _print_table(("label by fold", *folds), rows)


def _summarise(statistics: ManifestStatistics) -> str:
    task = statistics.task.replace("_", " ").replace("single label", "one label each")
    task = task.replace("multi label", "several labels each")
    return f"{format_count(statistics.images, 'image')}, {task}: {', '.join(statistics.labels)}"


def _print_present(targets: Sequence[LabelCount]) -> None:
    """Images that have a label, by source and split."""
    from chestx.datasets.split_record import order_parts

    splits = order_parts({count.split for count in targets})
    present: Counter[tuple[str, str, str]] = Counter()
    for count in targets:
        present[count.label, count.source, count.split] += count.present
    rows = []
    for label, source in dict.fromkeys((label, source) for label, source, _ in present):
        cells = [present[label, source, split] for split in splits]
        if any(cells):
            name = source or _UNSTATED
            rows.append((label, name, *(f"{cell:,}" for cell in (*cells, sum(cells)))))
    _print_table(("label", "source", *(split or "(none)" for split in splits), "all"), rows)


def _print_answers(statistics: ManifestStatistics) -> None:
    """What is known of each label, with unknown and not asked apart."""
    rows = []
    for label in statistics.labels:
        of = [count for count in statistics.targets if count.label == label]
        sums = (
            sum(count.present for count in of),
            sum(count.absent for count in of),
            sum(count.unknown for count in of),
            sum(count.not_asked for count in of),
        )
        rows.append((label, *(f"{number:,}" for number in sums)))
    _print_table(("label", "present", "absent", "unknown", "not asked"), rows)


def _print_counts(name: str, counts: Mapping[str, int], images: int) -> None:
    shown = list(counts.items())
    if len(shown) > MOST_VALUES:
        rest = shown[MOST_VALUES - 1 :]
        shown = shown[: MOST_VALUES - 1]
        shown.append((f"({len(rest):,} others)", sum(count for _, count in rest)))
    rows = [(value or _UNSTATED, f"{count:,}", _share(count, images)) for value, count in shown]
    _print_table((name, "images", "share"), rows)


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Text columns to the left, numbers to the right."""
    from rich.table import Table
    from rich.text import Text

    every = list(rows)
    if not every:
        return
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(header):
        is_text = any(not row[place][:1].isdigit() for row in every)
        table.add_column(Text(_shorten(name)), justify="left" if place == 0 or is_text else "right")
    for row in every:
        table.add_row(*(Text(_shorten(cell)) for cell in row))
    console = make_console()
    console.print()
    console.print(table)


def _shorten(text: str) -> str:
    line = make_printable(" ".join(text.split()))
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 3]}..."
