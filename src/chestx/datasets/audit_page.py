"""The audit as a page: the answer first, then tables, pairs as pictures and charts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from importlib.metadata import version

import cv2
import numpy as np

from chestx.datasets.audit import Audit
from chestx.datasets.audit_charts import draw_ages, draw_shortcuts
from chestx.datasets.baselines import SHORTCUTS, Shortcut, format_interval
from chestx.datasets.duplicates import Likeness, Pair
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.fingerprints import PREPARATION, Fingerprint, Unreadable
from chestx.datasets.split_record import cross_parts, name_part
from chestx.images.pool import prepare_images
from chestx.images.preparation import PreparedImage
from chestx.rendering.document import (
    Block,
    Document,
    Gallery,
    Paragraph,
    PictureBlock,
    Section,
    Table,
    Tone,
    render_document,
)

MAX_PICTURES = 36
"""Pairs that are shown as pictures."""

MAX_PATHS = 20
"""Paths that are listed of one kind of trouble; ``audit.json`` has all."""

MAX_WARNINGS = 40

_HEIGHT, _GAP = 200, 6


def make_page(
    audit: Audit,
    manifest: Manifest,
    taken: Sequence[Fingerprint | Unreadable],
    *,
    workers: int | None = None,
) -> str:
    """The page as HTML.

    Args:
        audit: the findings.
        manifest: the table that they are of.
        taken: fingerprints, one a row.
        workers: child processes that read the images that are shown.
    """
    sections = [
        Section("Leaks between splits", _show_leaks(audit)),
        Section("Duplicates", _show_pairs(audit, manifest, workers)),
        Section("Guessing labels without lungs", _show_shortcuts(audit)),
        Section("Labels by source and split", [_tabulate_counts(audit, manifest)]),
        Section("Age, sex and view", _show_balance(manifest, taken)),
        Section("Files", _show_faults(audit)),
        Section("Licences", [_tabulate_licences(audit)]),
    ]
    return render_document(
        Document(
            title="Audit of a data set",
            summary=_summarise(audit, manifest),
            speaker=f"chestx {version('chestx')}",
            sections=sections,
        )
    )


def _summarise(audit: Audit, manifest: Manifest) -> list[Paragraph]:
    blocks = [Paragraph(f"{audit.images} images in the table, {audit.readable} could be read.")]
    if audit.leaks:
        blocks.append(
            Paragraph(
                "The splits leak: figures measured on them are too good. " + " ".join(audit.leaks),
                "bad",
            )
        )
    elif any(map(name_part, manifest.examples)):
        blocks.append(
            Paragraph("No patient, study, group or duplicate was found in two splits.", "good")
        )
    shown = audit.warnings[:MAX_WARNINGS]
    blocks += [Paragraph(sentence, "warning") for sentence in shown]
    if len(audit.warnings) > len(shown):
        more = len(audit.warnings) - len(shown)
        blocks.append(Paragraph(f"{more} more warnings are in audit.json."))
    return blocks


def _show_leaks(audit: Audit) -> list[Block]:
    if not audit.ties:
        return [Paragraph("None was found.")]
    blocks: list[Block] = []
    for tie in audit.ties:
        rows = [[" | ".join(paths)] for paths in tie.examples[:MAX_PATHS]]
        left = tie.count - len(rows)
        blocks.append(
            Table(
                caption=tie.sentence,
                columns=["One image of each split"],
                rows=rows,
                note=f"{left} more are not listed here." if left else "",
                tones=["bad" if tie.is_certain else "warning"] * len(rows),
            )
        )
    return blocks


def _show_pairs(audit: Audit, manifest: Manifest, workers: int | None) -> list[Block]:
    explanation = Paragraph(
        "Thumbnails find candidates; common details in one affine arrangement confirm them. "
        "A copy that was cropped by more than a fifth, or whose lungs were covered, may be missed; "
        "most other images of the same patient are."
    )
    if not audit.pairs:
        return [Paragraph("No pair was found."), explanation]
    examples = manifest.examples

    def is_within(pair: Pair) -> bool:
        return not cross_parts((examples[pair.first], examples[pair.second]))

    tally = Counter((pair.likeness, is_within(pair)) for pair in audit.pairs)
    table = Table(
        caption="Pairs of images that show the same",
        columns=["How", "In different splits", "In the same split"],
        rows=[
            [kind.value, str(tally[kind, False]), str(tally[kind, True])]
            for kind in Likeness
            if tally[kind, False] + tally[kind, True]
        ],
    )
    # The worst first: duplicates in different splits, then what may be one patient in two.
    ranked = sorted(audit.pairs, key=lambda pair: (not pair.likeness.is_duplicate, is_within(pair)))
    shown = ranked[:MAX_PICTURES]
    pictures = _draw_pairs(shown, manifest, workers)
    note = f"The worst {len(shown)} of {len(audit.pairs)} pairs, those across splits first."
    return [explanation, table, Paragraph(note), Gallery(pictures)]


def _draw_pairs(
    pairs: Sequence[Pair], manifest: Manifest, workers: int | None
) -> list[PictureBlock]:
    positions = sorted({position for pair in pairs for position in (pair.first, pair.second)})
    paths = [manifest.resolve(manifest.examples[position]) for position in positions]
    previews = {}
    with closing(prepare_images(paths, PREPARATION, workers=workers)) as images:
        for position, image in zip(positions, images, strict=True):
            if isinstance(image, PreparedImage) and image.preview is not None:
                previews[position] = _fit_height(image.preview)
    return [
        _draw_pair(pair, manifest, previews[pair.first], previews[pair.second])
        for pair in pairs
        if pair.first in previews and pair.second in previews
    ]


def _fit_height(preview: np.ndarray) -> np.ndarray:
    height, width = preview.shape
    # A file of odd shape must not take the whole page.
    fitted = min(2 * _HEIGHT, max(16, round(width * _HEIGHT / height)))
    return cv2.resize(preview, (fitted, _HEIGHT), interpolation=cv2.INTER_AREA)


def _draw_pair(
    pair: Pair, manifest: Manifest, first: np.ndarray, second: np.ndarray
) -> PictureBlock:
    gap = np.full((_HEIGHT, _GAP), 255, np.uint8)
    data = cv2.imencode(".jpg", np.hstack([first, gap, second]), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    how = [pair.likeness.value]
    if pair.change:
        how.append(pair.change)
    if pair.details:
        how.append(f"{pair.details} common details")
    one, other = (
        _name_image(manifest, manifest.examples[position]) for position in (pair.first, pair.second)
    )
    return PictureBlock(
        data=data.tobytes(),
        media_type="image/jpeg",
        alt=f"Two radiographs side by side: {pair.likeness.value}",
        caption=f"{', '.join(how)}: {one} and {other}",
        width=480,
    )


def _name_image(manifest: Manifest, example: Example) -> str:
    """Path, part and labels: of a pair that differs in them, one is wrong."""
    told = (name_part(example) or "no split", *manifest.list_present(example))
    return f"{example.path} ({', '.join(told)})"


def _show_shortcuts(audit: Audit) -> list[Block]:
    if not audit.shortcuts:
        return [Paragraph("No label has enough images with it and without it.")]
    cells: dict[tuple[str, str], dict[str, Shortcut]] = defaultdict(dict)
    for found in audit.shortcuts:
        cells[found.label, found.source][found.shortcut] = found
    codes = [code for code in SHORTCUTS if any(code in inside for inside in cells.values())]
    table = Table(
        caption="AUROC of a linear model that sees no lungs (95 % interval)",
        columns=["Label", "Source", "With / images", *(SHORTCUTS[code] for code in codes)],
        rows=[
            [
                label,
                source,
                _count_images(inside.values()),
                *(format_interval(inside[c].figure) if c in inside else "" for c in codes),
            ]
            for (label, source), inside in cells.items()
        ],
        tones=[_judge_tone(inside.values()) for inside in cells.values()],
        note=(
            "Logistic regression in grouped folds: no patient or duplicate is in the fit and in "
            "the score. Intervals resample whole groups. Thumbnails are smaller than any finding "
            "but show body size, exposure and collimation; widespread disease shows in them too. "
            "Empty: the same for all, or stated for too few."
        ),
    )
    return [draw_shortcuts(audit.shortcuts), table]


def _count_images(found: Iterable[Shortcut]) -> str:
    """Of the shortcut that could be measured on most images."""
    most = max(found, key=lambda shortcut: shortcut.figure.n)
    return f"{most.positives} / {most.figure.n}"


def _judge_tone(found: Iterable[Shortcut]) -> Tone:
    low = max(shortcut.figure.low or 0.0 for shortcut in found)
    return "bad" if low >= 0.8 else "warning" if low >= 0.6 else "plain"


def _tabulate_counts(audit: Audit, manifest: Manifest) -> Table:
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for count in audit.counts:
        told = [str(count.present)]
        if manifest.task is Task.MULTI_LABEL:
            told.append(f"of {count.present + count.absent}")
        if count.unknown:
            told.append(f"({count.unknown} unknown)")
        if count.not_asked:
            told.append(f"({count.not_asked} not asked)")
        rows[count.source, count.split].append(" ".join(told))
    return Table(
        caption="Images with the label, by source and split",
        columns=["Source", "Split", *manifest.labels],
        rows=[
            [source or "none stated", split or "none", *cells]
            for (source, split), cells in sorted(rows.items(), key=lambda row: row[0][0])
        ],
        note="Of: those whose answer is known." if manifest.task is Task.MULTI_LABEL else "",
    )


def _show_balance(manifest: Manifest, taken: Sequence[Fingerprint | Unreadable]) -> list[Block]:
    ages: dict[str, list[float]] = defaultdict(list)
    rows = []
    for index, label in enumerate(manifest.labels):
        inside = [
            (example, print_)
            for example, print_ in zip(manifest.examples, taken, strict=True)
            if example.targets[index] == Target.PRESENT
        ]
        for example, print_ in inside:
            header = print_.header.age_years if isinstance(print_, Fingerprint) else None
            age = header if example.age_years is None else example.age_years
            if age is not None:
                ages[label].append(age)
        quarters = np.percentile(ages[label], (25, 50, 75)) if ages[label] else None
        rows.append(
            [
                label,
                str(len(inside)),
                "none stated"
                if quarters is None
                else f"{quarters[1]:.0f} ({quarters[0]:.0f} to {quarters[2]:.0f})",
                str(len(ages[label])),
                _share([example.sex for example, _ in inside]),
                _share([example.view for example, _ in inside]),
            ]
        )
    table = Table(
        caption="Images with the label",
        columns=["Label", "Images", "Age: median (quartiles)", "With age", "Sex", "View"],
        rows=rows,
        note="A label whose patients differ in these can be guessed from them.",
    )
    drawable = {label: years for label, years in ages.items() if len(years) >= 5}
    return [draw_ages(drawable), table] if drawable else [table]


def _share(words: Sequence[str]) -> str:
    tally = Counter(word or "not stated" for word in words)
    return ", ".join(f"{word} {n / len(words):.0%}" for word, n in tally.most_common(5))


def _show_faults(audit: Audit) -> list[Block]:
    if not audit.faults:
        return [Paragraph("Every file is there, can be read and looks as it should.", "good")]
    blocks: list[Block] = []
    for fault in audit.faults:
        count = len(fault.paths)
        left = count - MAX_PATHS
        blocks.append(
            Table(
                caption=f"{count} {fault.sentence}",
                columns=["Image"],
                rows=[[path] for path in fault.paths[:MAX_PATHS]],
                note=f"{left} more are in audit.json." if left > 0 else "",
            )
        )
    return blocks


def _tabulate_licences(audit: Audit) -> Table:
    return Table(
        caption="Images by licence",
        columns=["Licence", "Images", "As far as its words tell"],
        rows=[
            [licence or "none stated", str(count), told] for licence, count, told in audit.licences
        ],
        tones=["warning" if told else "plain" for _, _, told in audit.licences],
    )
