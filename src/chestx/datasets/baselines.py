"""Figures of models that see no lungs: what a real one must be better than."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from chestx.datasets.example import Example, Manifest, Target
from chestx.datasets.fingerprints import Fingerprint, shrink_thumbnail
from chestx.datasets.shortcuts import assign_folds, score_folds
from chestx.domain import Figure
from chestx.metrics import bootstrap_interval, compute_auroc
from chestx.shapes import Bool, Float, Int

MIN_CLASS = 20
"""Images that a class needs for a figure."""

MAX_IMAGES = 20_000
"""Images that one figure is made of; of more, whole groups are drawn."""

MIN_SHORTCUT = 0.55
"""Lower end of an interval from which a shortcut is spoken of."""

REPEATS = 300
"""Draws of an interval."""

MAX_WORDS = 20
"""Different words of a column that count; rarer ones count as one."""

POOLED = "all sources"

SHORTCUTS: Mapping[str, str] = {
    "size": "width, height and their ratio",
    "file": "kind and size of the file, colour",
    "thumbnail_4": "a 4 x 4 thumbnail (16 grey values)",
    "thumbnail_16": "a 16 x 16 thumbnail (256 grey values)",
    "border": "the border (8 grey values)",
    "source": "the source alone",
    "view": "the view alone",
    "age": "the age alone",
    "sex": "the sex alone",
    "stated": "whether view, age and sex are stated",
}
"""Code -> what a linear model was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """How far one label can be guessed from one thing in one source.

    Attributes:
        label: what is guessed.
        source: where, or :data:`POOLED`.
        shortcut: a code of :data:`SHORTCUTS`.
        figure: AUROC with its interval, by groups.
        positives: images with the label among the figure's.
    """

    label: str
    source: str
    shortcut: str
    figure: Figure
    positives: int


def measure_shortcuts(
    manifest: Manifest,
    prints: Mapping[int, Fingerprint],
    groups: Int[np.ndarray, " examples"],
    *,
    seed: int,
) -> tuple[Shortcut, ...]:
    """Guesses every label from every shortcut, in all sources together and in each.

    Args:
        manifest: the table.
        prints: position -> fingerprint of what could be read; the others take no part.
        groups: images that stay in one fold and are resampled together.
        seed: of folds and draws.
    """
    positions = np.array(sorted(prints), dtype=np.int64)
    if not len(positions):
        return ()
    examples = [manifest.examples[i] for i in positions]
    features = make_features(examples, [prints[int(i)] for i in positions])
    sources = np.array([example.source for example in examples])
    targets, grouped = manifest.targets[positions], groups[positions]
    several = len(np.unique(sources)) > 1
    found: list[Shortcut] = []
    for index, label in enumerate(manifest.labels):
        known = targets[:, index] >= 0
        present = targets[:, index] == Target.PRESENT
        for name, inside in _list_subsets(sources):
            # A fresh generator: a figure must not depend on which others were asked for.
            generator = np.random.default_rng([seed, index])
            chosen = _draw_groups(np.flatnonzero(known & inside), grouped, generator)
            y_true = present[chosen]
            if min(y_true.sum(), (~y_true).sum()) < MIN_CLASS:
                continue
            folds = assign_folds(y_true, grouped[chosen], seed=seed)
            for code, values in features.items():
                if code == "source" and not (several and name == POOLED):
                    continue
                figure = _measure_one(
                    values[chosen], y_true, folds, grouped[chosen], generator=generator
                )
                if figure is not None:
                    value, n, positives, low, high = figure
                    found.append(
                        Shortcut(
                            label=label,
                            source=name,
                            shortcut=code,
                            positives=positives,
                            figure=Figure(
                                name="AUROC",
                                subject=f"{label} from {SHORTCUTS[code]}",
                                # Names out of a table may hold what a figure's words may not.
                                data=POOLED if name == POOLED else "one source",
                                value=value,
                                n=n,
                                low=low,
                                high=high,
                            ),
                        )
                    )
    return tuple(found)


def _list_subsets(sources: np.ndarray) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
    names = np.unique(sources)
    yield POOLED, np.ones(len(sources), dtype=bool)
    if len(names) > 1:
        for name in names:
            yield str(name) or "no source stated", sources == name


def _draw_groups(
    positions: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " images"],
    generator: np.random.Generator,
) -> Int[np.ndarray, " m"]:
    """Whole groups, in order, until there are enough images."""
    if len(positions) <= MAX_IMAGES:
        return positions
    names, place = np.unique(groups[positions], return_inverse=True)
    rank = generator.permutation(len(names))[place]
    order = np.argsort(rank, kind="stable")
    return np.asarray(np.sort(positions[order[:MAX_IMAGES]]))


def _measure_one(
    values: Float[np.ndarray, "n k"],
    y_true: Bool[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    generator: np.random.Generator,
) -> tuple[float, int, int, float | None, float | None] | None:
    usable = np.isfinite(values).all(axis=1)
    varies = usable.any() and bool((values[usable] != values[usable][0]).any())
    if not varies or min((y_true & usable).sum(), (~y_true & usable).sum()) < MIN_CLASS:
        return None
    scores = score_folds(values, y_true, np.where(usable, folds, -1))
    scored = np.isfinite(scores)
    truth, ranks = y_true[scored], np.unique(scores[scored], return_inverse=True)[1]
    value = compute_auroc(truth, ranks.astype(np.float64))
    if math.isnan(value):
        return None
    low: float | None = None
    high: float | None = None
    try:
        low, high = bootstrap_interval(
            partial(_count_auroc, truth, ranks),
            groups[scored],
            generator=generator,
            repeats=REPEATS,
        )
        low, high = min(low, value), max(high, value)
    except ValueError:
        low = high = None
    return value, int(scored.sum()), int(truth.sum()), low, high


def _count_auroc(
    y_true: Bool[np.ndarray, " n"], ranks: Int[np.ndarray, " n"], drawn: Int[np.ndarray, " m"]
) -> float:
    """:func:`compute_auroc` of drawn images from ranks, by counting instead of sorting."""
    truth, places = y_true[drawn], ranks[drawn]
    size = int(ranks.max()) + 1
    with_, without = (np.bincount(places[side], minlength=size) for side in (truth, ~truth))
    pairs = int(with_.sum()) * int(without.sum())
    below = np.cumsum(without) - without / 2
    return float(with_ @ below / pairs) if pairs else math.nan


def make_features(
    examples: Sequence[Example], prints: Sequence[Fingerprint]
) -> dict[str, Float[np.ndarray, "n k"]]:
    """What each shortcut sees of each image; NaN where it is not stated.

    Args:
        examples: rows of the table.
        prints: of the same images.

    Returns:
        By the codes of :data:`SHORTCUTS`.
    """
    headers = [print_.header for print_ in prints]
    sides = np.log([(header.columns, header.rows) for header in headers])
    file_bytes = np.log([max(1, print_.file_bytes) for print_ in prints])
    kinds = [f"{h.format} {h.photometric} {h.bits_stored}" for h in headers]
    colours = np.array([header.colourfulness for header in headers])
    views = [e.view or h.view_position for e, h in zip(examples, headers, strict=True)]
    ages = [
        h.age_years if e.age_years is None else e.age_years
        for e, h in zip(examples, headers, strict=True)
    ]
    sexes = [e.sex or h.sex for e, h in zip(examples, headers, strict=True)]
    age = np.array([math.nan if years is None else years for years in ages], dtype=np.float64)
    stated = [[bool(v), a is not None, bool(s)] for v, a, s in zip(views, ages, sexes, strict=True)]
    return {
        "size": np.column_stack([sides, sides[:, 0] - sides[:, 1]]),
        "file": np.column_stack(
            [file_bytes, file_bytes - sides.sum(axis=1), colours, colours > 0.5, _spell_out(kinds)]
        ).astype(np.float64),
        "thumbnail_4": _make_thumbnails(prints, 4),
        "thumbnail_16": _make_thumbnails(prints, 16),
        "border": np.array([print_.ring for print_ in prints], dtype=np.float64),
        "source": _spell_out([example.source for example in examples]),
        "view": _spell_out(views, needs_word=True),
        "age": np.column_stack([age, age**2]),
        "sex": _spell_out(sexes, needs_word=True),
        "stated": np.array(stated, dtype=np.float64),
    }


def _make_thumbnails(prints: Sequence[Fingerprint], side: int) -> Float[np.ndarray, "n cells"]:
    cells = [shrink_thumbnail(print_.thumbnail, side).ravel() for print_ in prints]
    return np.array(cells, dtype=np.float64)


def _spell_out(words: Sequence[str], *, needs_word: bool = False) -> Float[np.ndarray, "n words"]:
    """One column a word; with ``needs_word``, NaN where there is none."""
    values = np.array(words)
    names, counts = np.unique(values, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")[:MAX_WORDS]]
    columns = (values[:, None] == common[None, :]).astype(np.float64)
    if needs_word:
        columns[values == ""] = math.nan
    return np.asarray(columns)


def judge_shortcuts(shortcuts: Sequence[Shortcut]) -> tuple[str, ...]:
    """A sentence for each label that some shortcut guesses better than chance."""
    best: dict[str, dict[str, Shortcut]] = {}
    for shortcut in shortcuts:
        low = shortcut.figure.low
        if low is None or low <= MIN_SHORTCUT:
            continue
        inside = best.setdefault(shortcut.label, {})
        if shortcut.figure.value > inside.get(shortcut.source, shortcut).figure.value or (
            shortcut.source not in inside
        ):
            inside[shortcut.source] = shortcut
    return tuple(
        f"{label} can be guessed without lungs: "
        + "; ".join(
            f"{source}: AUROC {format_interval(found.figure)} from {SHORTCUTS[found.shortcut]}"
            for source, found in inside.items()
        )
        + ". A model's figures at or below these are no evidence of reading lungs."
        for label, inside in best.items()
    )


def format_interval(figure: Figure) -> str:
    """``0.89 (0.87 to 0.91)``."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"
