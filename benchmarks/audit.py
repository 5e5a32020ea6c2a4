"""How many changed copies the audit finds, and how many strangers it takes for copies.

    python benchmarks/audit.py FOLDER [IMAGES]

FOLDER holds a manifest.csv with the columns file, dev_split and split_group. Training images
alone are used: some get one changed copy each, and all are searched together.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from chestx.datasets.duplicates import ALIKE_DETAILS, Likeness, find_duplicates
from chestx.datasets.fingerprints import Fingerprint, take_fingerprints
from chestx.metrics import wilson_interval

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def crop(share: float) -> Change:
    """Leaves out a share of each side, at a random place."""

    def change(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        height, width = image.shape
        out = round(height * share), round(width * share)
        row, column = (int(generator.integers(0, n + 1)) for n in out)
        return image[row : height - out[0] + row, column : width - out[1] + column]

    return change


def write_on(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Three lines of text and an arrow."""
    shown = image.copy()
    height, width = image.shape
    for _ in range(3):
        place = int(generator.integers(0, width // 2)), int(generator.integers(20, height))
        cv2.putText(shown, "PORTABLE 12:34", place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255.0, 2)
    cv2.arrowedLine(shown, (40, 40), (120, 120), 255.0, 3)
    return shown


def tilt(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """By five degrees."""
    height, width = image.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 5, 1)
    return cv2.warpAffine(image, turn, (width, height))


def frame(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A black border of 8 %."""
    wide = round(0.08 * max(image.shape))
    return cv2.copyMakeBorder(image, wide, wide, wide, wide, cv2.BORDER_CONSTANT, value=0)


def shrink(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Stretched to 160 x 160 pixels."""
    return cv2.resize(image, (160, 160), interpolation=cv2.INTER_AREA)


def compress(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """JPEG of quality 30."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


CHANGES: dict[str, Change] = {
    "stretched to 160 x 160": shrink,
    "JPEG quality 30": compress,
    "gamma 0.6": lambda image, _: (255 * (image / 255.0) ** 0.6).astype(np.uint8),
    "local contrast (CLAHE)": lambda image, _: cv2.createCLAHE(3.0, (8, 8)).apply(image),
    "cropped by 5 %": crop(0.05),
    "cropped by 10 %": crop(0.10),
    "cropped by 15 %": crop(0.15),
    "black border of 8 %": frame,
    "text and arrow": write_on,
    "tilted by 5 degrees": tilt,
    "mirrored": lambda image, _: image[:, ::-1],
    "turned by 90 degrees": lambda image, _: np.rot90(image),
    "turned by 180 degrees": lambda image, _: np.rot90(image, 2),
    "inverted": lambda image, _: 255 - image,
}


def main(folder: Path, count: int) -> None:
    """Makes the copies, searches and prints two tables."""
    cv2.setNumThreads(1)
    generator = np.random.default_rng(0)
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dev_split"] == "train"]
    chosen = [rows[int(i)] for i in generator.permutation(len(rows))[:count]]
    paths = [str(folder / row["file"]) for row in chosen]
    groups = [row["split_group"] for row in chosen]
    with tempfile.TemporaryDirectory() as made:
        names = list(CHANGES)
        copied = count // 2
        for number in range(copied):
            image = cv2.imread(paths[number], cv2.IMREAD_GRAYSCALE)
            changed = CHANGES[names[number % len(names)]](image, generator)
            paths.append(str(Path(made, f"{number}.png")))
            cv2.imwrite(paths[-1], np.ascontiguousarray(changed))
        start = time.perf_counter()
        taken = take_fingerprints(paths, workers=1)
        prints = {i: p for i, p in enumerate(taken) if isinstance(p, Fingerprint)}
        read = time.perf_counter()
        pairs = find_duplicates(prints, paths, workers=1)
        done = time.perf_counter()
    origin = [*range(count), *range(copied)]
    best = {
        (min(pair.first, pair.second), max(pair.first, pair.second)): pair.likeness
        for pair in pairs
    }
    print(f"{len(paths)} images, {copied} of them copies; read in {read - start:.0f} s, "
          f"searched in {done - read:.0f} s")  # fmt: skip
    print("| change | copies | same image (95 %) | at least alike |")
    print("|---|---|---|---|")
    for place, name in enumerate(names):
        mine = [best.get((n, count + n)) for n in range(place, copied, len(names))]
        same = sum(kind is not None and kind.is_duplicate for kind in mine)
        found = sum(kind is not None for kind in mine)
        low, high = wilson_interval(same, len(mine))
        print(f"| {name} | {len(mine)} | {same} ({low:.0%} to {high:.0%}) | {found} |")
    strangers: Counter[Likeness] = Counter()
    relatives: Counter[Likeness] = Counter()
    details = []
    for (first, second), kind in best.items():
        one, other = origin[first], origin[second]
        if one == other:
            continue
        if groups[one] == groups[other]:
            relatives[kind] += 1
        else:
            strangers[kind] += 1
            details.append(next(p.details for p in pairs if {p.first, p.second} == {first, second}))
    print("of different groups:", {kind.value: n for kind, n in strangers.items()},
          f"common details (from {ALIKE_DETAILS}):", sorted(details)[-10:])  # fmt: skip
    print("of one group:", {kind.value: n for kind, n in relatives.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 800)
