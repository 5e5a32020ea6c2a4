"""How well the rules of scope work: on sound radiographs, on altered ones, on foreign pictures.

python benchmarks/quality.py [FOLDER] [--split val|test]

FOLDER (default: the environment variable CHESTX_CXR) holds ``manifest.csv`` and the images
that it lists. Prints Markdown tables; the same numbers on every run. An alteration with one
obvious rule is made of every image, the others of a sample of each source. The pixel rules
come first; the model is asked only where they pass an image, so ``unlike_training`` counts
what the pixel rules left.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from quality_pictures import PLAIN, SAMPLED, UNMARKED, Picture, gather_foreign, to_radiograph

from chestx.domain import ImageHeader, Quality, Radiograph
from chestx.images.preprocessing import preprocess
from chestx.images.quality import assess_quality
from chestx.images.reading import read_radiograph
from chestx.metrics import wilson_interval
from chestx.models.classifier import Classifier, load_model
from chestx.models.scope import assess_scope

SEED = 20_261_122
SAMPLE = {"val": 30, "test": 45}
"""Images of each source that the alterations without a rule of their own are made of."""

FRONTAL_LABELS = ("NORMAL", "PNEUMONIA", "COVID19")
OTHER_VIEWS = ("L", "Axial", "Coronal")
TARGET = 0.03
"""Share of sound radiographs that may be refused, in each source and age group."""

SOURCES = {
    "cxnet": "COVID-CXNet",
    "ieee8023": "covid-chestxray-dataset",
    "kermany": "Kermany",
    "nih": "NIH ChestX-ray14",
    "raddb": "COVID-19 Radiography Database",
}

Row = dict[str, str]


@dataclass(slots=True)
class Tally:
    """What became of the images of one kind.

    Attributes:
        n: images.
        refused: of them, by any rule.
        codes: rule -> images that it refused; an image may be refused by several.
        flags: flag -> images that have it; ``age_unknown`` is not counted, a picture states none.
    """

    n: int = 0
    refused: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)

    def add(self, codes: Iterable[str], flags: Iterable[str]) -> None:
        """Counts one image."""
        found = set(codes)
        self.n += 1
        self.refused += bool(found)
        self.codes.update(found)
        self.flags.update(set(flags) - {"age_unknown"})

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.n + other.n,
            self.refused + other.refused,
            self.codes + other.codes,
            self.flags + other.flags,
        )


class Judge:
    """All rules of scope, in batches where the model is needed."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._waiting: list[tuple[Tally, ImageHeader, Quality, Picture]] = []

    def add(self, tally: Tally, radiograph: Radiograph, *, always_ask: bool = False) -> None:
        """Judges an image into a tally, at once or with the next batch.

        Args:
            tally: of its kind.
            radiograph: as it was read.
            always_ask: the model also where a pixel rule refuses already.
        """
        quality = assess_quality(radiograph)
        card = self._classifier.card
        reasons, flags = assess_scope(card, radiograph.header, quality, distance=None)
        if reasons and not always_ask:
            tally.add([reason.code for reason in reasons], flags)
            return
        pixels = preprocess(radiograph.pixels, card.input)
        self._waiting.append((tally, radiograph.header, quality, pixels))
        if len(self._waiting) == 8:
            self.flush()

    def flush(self) -> None:
        """Asks the model for what is waiting."""
        if not self._waiting:
            return
        predictions = self._classifier.predict(np.stack([item[3] for item in self._waiting]))
        for (tally, header, quality, _), prediction in zip(self._waiting, predictions, strict=True):
            distance = self._classifier.measure_distance(prediction.embedding)
            reasons, flags = assess_scope(self._classifier.card, header, quality, distance=distance)
            tally.add([reason.code for reason in reasons], flags)
        self._waiting.clear()


def read_rows(folder: Path) -> list[Row]:
    """The manifest."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_frontal_chest(row: Row) -> bool:
    """Whether the rules ought to pass it."""
    return row["label"] in FRONTAL_LABELS and row["view"] not in OTHER_VIEWS


def is_child(row: Row) -> bool:
    """By the source's word; most images state no age of their own."""
    return "paediatric" in row["population"]


def name_group(row: Row) -> str:
    """Source and age group."""
    age = "children" if is_child(row) else "adults"
    return f"{SOURCES[row['data_set'].removesuffix('_dcn')]}, {age}"


def choose_sample(rows: list[Row], most: int, rng: np.random.Generator) -> set[str]:
    """Files, as many of each source and age group, or all where it has fewer."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["data_set"].removesuffix("_dcn"), is_child(row)].append(row["file"])
    return {str(file) for name in sorted(groups) for file in rng.permutation(groups[name])[:most]}


def score_chests(folder: Path, rows: list[Row], judge: Judge, *, split: str) -> dict[str, Tally]:
    """Sound images by group, and altered ones by kind."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    ours = [row for row in rows if row["dev_split"] == split and is_frontal_chest(row)]
    sample = choose_sample(ours, SAMPLE[split], np.random.default_rng(SEED))
    for number, row in enumerate(ours):
        rng = np.random.default_rng((SEED, number))
        radiograph = read_radiograph(folder / row["file"])
        judge.add(tallies[f"sound: {name_group(row)}"], radiograph, always_ask=True)
        alterations = PLAIN | (SAMPLED if row["file"] in sample else {})
        for name, (alter, _) in alterations.items():
            judge.add(tallies[name], to_radiograph(alter(radiograph.pixels, rng)))
    judge.flush()
    return tallies


def score_laterals(folder: Path, rows: list[Row], judge: Judge, *, split: str) -> dict[str, Tally]:
    """Real lateral views; they are few, so those of train count as validation."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    splits = ("train", "val") if split == "val" else ("test",)
    for row in rows:
        if row["view"] == "L" and row["dev_split"] in splits:
            radiograph = read_radiograph(folder / row["file"])
            judge.add(tallies["lateral, no header"], radiograph)
            stated = replace(radiograph.header, view_position="LL")
            judge.add(tallies["lateral, header says so"], Radiograph(radiograph.pixels, stated))
    judge.flush()
    return tallies


def score_foreign(folder: Path, rows: list[Row], judge: Judge, *, split: str) -> dict[str, Tally]:
    """Made or bundled pictures for validation, the ``ood`` rows for the test."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    if split == "val":
        for kind, radiograph in gather_foreign(np.random.default_rng(SEED)):
            judge.add(tallies[kind], radiograph)
    for row in rows:
        if row["data_set"] == "ood" and row["dev_split"] == split:
            kind = row["orig_label"].split(" (")[0]
            judge.add(tallies[kind], read_radiograph(folder / row["file"]))
    judge.flush()
    return tallies


def describe(k: int, n: int) -> str:
    """k of n, per cent and interval."""
    low, high = wilson_interval(k, n)
    return f"{k} of {n} ({100 * k / n:.1f} %; {100 * low:.1f} to {100 * high:.1f})"


def list_codes(counts: Counter[str]) -> str:
    """Rules by how often they refused."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"`{code}` {count}" for code, count in ordered) or "none"


def print_refusals(
    title: str, tallies: dict[str, Tally], *, target: float | None = None, has_sum: bool = True
) -> None:
    """A row for each kind, then their sum."""
    print(f"\n### {title}\n\n| images | refused by any rule | by which |\n|---|---|---|")
    for name, tally in sorted(tallies.items()):
        over = target is not None and tally.refused / tally.n > target
        note = f" **over {target:.0%}**" if over else ""
        refused = describe(tally.refused, tally.n)
        print(f"| {name} | {refused}{note} | {list_codes(tally.codes)} |")
    if not has_sum:
        return
    total = sum(tallies.values(), Tally())
    print(f"| all | {describe(total.refused, total.n)} | {list_codes(total.codes)} |")


def print_rules(altered: dict[str, Tally], sound: Tally) -> None:
    """Each alteration with the rule that is meant for it, and whether that beats chance."""
    print("\n### Altered radiographs\n")
    print("| altered | meant | found by it | its false alarms | beats chance | any rule | by |")
    print("|---|---|---|---|---|---|---|")
    for name, (_, rule) in {**PLAIN, **SAMPLED}.items():
        tally = altered[name]
        cells = ["none", "", "", ""]
        if rule:
            # The development copies are all grey: for colour they say nothing.
            base = altered[UNMARKED] if rule == "coloured" else sound
            hits, alarms = (some.codes[rule] + some.flags[rule] for some in (tally, base))
            beats = wilson_interval(hits, tally.n)[0] > wilson_interval(alarms, base.n)[1]
            found = [describe(hits, tally.n), describe(alarms, base.n)]
            cells = [f"`{rule}`", *found, "yes" if beats else "**no**"]
        cells += [describe(tally.refused, tally.n), list_codes(tally.codes + tally.flags)]
        print(f"| {name} | {' | '.join(cells)} |")


def print_split(folder: Path, rows: list[Row], judge: Judge, *, split: str) -> None:
    """All tables of a split."""
    start = time.perf_counter()
    tallies = score_chests(folder, rows, judge, split=split)
    marker = "sound: "
    sound = {k.removeprefix(marker): v for k, v in tallies.items() if k.startswith(marker)}
    print(f"\n## {'Validation' if split == 'val' else 'Test'}")
    print_refusals("Sound radiographs", sound, target=TARGET)
    ages: dict[str, Tally] = defaultdict(Tally)
    for name, tally in sound.items():
        ages[name.rpartition(", ")[2]] += tally
    print_refusals("Sound radiographs by age", ages, target=TARGET)
    total = sum(sound.values(), Tally())
    flagged = {flag: describe(k, total.n) for flag, k in total.flags.items()}
    print(f"\nFlags on them: {flagged}")
    print_rules(tallies, total)
    laterals = score_laterals(folder, rows, judge, split=split)
    # The same images twice: a sum would say nothing.
    print_refusals("Lateral views", laterals, has_sum=False)
    print_refusals("Not a chest radiograph", score_foreign(folder, rows, judge, split=split))
    print(f"\n<!-- {time.perf_counter() - start:.0f} s -->", flush=True)


def main() -> None:
    """Validation, then test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=os.environ.get("CHESTX_CXR"))
    parser.add_argument("--split", choices=("val", "test"), action="append")
    options = parser.parse_args()
    if options.folder is None:
        parser.error("expected the folder of the radiographs, or CHESTX_CXR set to it")
    cv2.setNumThreads(1)
    rows = read_rows(options.folder)
    judge = Judge(load_model(threads=1))
    for split in options.split or ("val", "test"):
        print_split(options.folder, rows, judge, split=split)


if __name__ == "__main__":
    main()
