"""Fits what tells a chest radiograph from its inverse and from itself turned.

    python scripts/fit_quality.py MANIFEST [--output FILE] [--test]

MANIFEST is a CSV beside the folder of its images with the columns file, data_set, label,
view, population, licence and dev_split. Weights come from the train rows, limits from the
val rows; ``--test`` scores the test rows with what the package ships and writes nothing.
Two linear scores of a 24 x 24 thumbnail of ranks: one that is negative for the inverse
(logistic regression of "this, not its inverse"), one that is highest the right way up
(logistic regression of "this, not itself turned by 90, 180, 270 degrees"); their sum tells
a chest that is both from a sound one. Each training
image is used as it is and twice disturbed (turned a little, shifted, scaled, framed,
darkened), each of them also mirrored, and each source counts alike.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from chestx.images import quality
from chestx.images.reading import read_radiograph
from chestx.metrics import wilson_interval

SEED = 20_261_121
DISTURBED_COPIES = 2
RIDGE = 3_000.0
MAX_FALSE_ALARMS = 0.005
"""Share of sound validation images, in every source of 100 or more, that a limit may refuse."""

FRONTAL_LABELS = ("NORMAL", "PNEUMONIA", "COVID19")
Rows = list[dict[str, str]]


def read_rows(manifest: Path, split: str) -> Rows:
    """Frontal chest radiographs of a split; for training only those whose licence permits it."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dev_split"] == split]
    rows = [
        row
        for row in rows
        if row["label"] in FRONTAL_LABELS and row["view"] not in ("L", "Axial", "Coronal")
    ]
    return [row for row in rows if split != "train" or may_learn_from(row)]


def may_learn_from(row: dict[str, str]) -> bool:
    """Not from images of the mixed collection whose own licence is NC, ND or not stated."""
    words = row["licence"].replace("-", " ")
    is_closed = re.search(r"\bN[CD]\b|not stated|unstated", words) is not None
    return not (row["data_set"].startswith("ieee8023") and is_closed)


def name_group(row: dict[str, str]) -> str:
    """Source and age group."""
    age = "child" if "paediatric" in row["population"] else "adult"
    return f"{row['data_set'].removesuffix('_dcn')} {age}"


def disturb(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As another technician, window or crop would have given it."""
    side = 224
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    matrix = cv2.getRotationMatrix2D((112, 112), rng.uniform(-12, 12), rng.uniform(0.85, 1.35))
    matrix[:, 2] = matrix[:, 2] + rng.uniform(-15, 15, 2)
    border = cv2.BORDER_CONSTANT if rng.random() < 0.7 else cv2.BORDER_REPLICATE
    square = cv2.warpAffine(square, matrix, (side, side), borderMode=border, borderValue=0)
    draw = rng.random()
    if draw < 0.5:
        top, bottom, left, right = rng.integers(2, 25, 4)
        framed = np.full_like(square, 0 if draw < 0.3 else rng.integers(256))
        framed[top:-bottom, left:-right] = square[top:-bottom, left:-right]
        square = framed
    return np.asarray(255 * (square / 255.0) ** rng.uniform(0.6, 1.6)).astype(np.uint8)


def load_ranks(
    manifest: Path, rows: Rows, *, copies: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rank thumbnails, and the group of each: every image, then its disturbed copies."""
    ranks, groups = [], []
    for row in rows:
        pixels = read_radiograph(manifest.parent / row["file"]).pixels
        for picture in [pixels, *(disturb(pixels, rng) for _ in range(copies))]:
            ranks.append(quality.rank_thumbnail(quality.make_small_copy(picture)))
            groups.append(name_group(row))
    return np.stack(ranks).astype(np.float64), np.array(groups)


def weigh(groups: np.ndarray) -> np.ndarray:
    """Every group the same sum of weights."""
    names, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray((len(groups) / len(names) / counts)[places])


def fit_logistic(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ridge logistic regression through the origin, every target 1, by Newton's method."""
    solution = np.zeros(features.shape[1])
    for _ in range(12):
        chance = 1 / (1 + np.exp(-features @ solution))
        gradient = features.T @ (weights * (1 - chance)) - RIDGE * solution
        curvature = weights * np.maximum(chance * (1 - chance), 1e-4)
        hessian = (features * curvature[:, None]).T @ features
        solution += np.linalg.solve(hessian + RIDGE * np.eye(len(solution)), gradient)
    return solution


def mirror(ranks: np.ndarray) -> np.ndarray:
    """Left and right exchanged."""
    return square(ranks)[:, :, ::-1].reshape(len(ranks), -1)


def rotate(ranks: np.ndarray, turn: int) -> np.ndarray:
    """Turned by quarter turns, anticlockwise."""
    return np.rot90(square(ranks), turn, (1, 2)).reshape(len(ranks), -1)


def square(ranks: np.ndarray) -> np.ndarray:
    """Rows of cells as pictures."""
    return ranks.reshape(len(ranks), quality.THUMBNAIL, quality.THUMBNAIL)


def measure_leads(ranks: np.ndarray, upright: np.ndarray) -> np.ndarray:
    """How far the best turned way is ahead of the shown one."""
    scores = np.stack([rotate(ranks, turn) @ upright for turn in range(4)])
    return np.asarray(scores[1:].max(axis=0) - scores[0])


def measure_corrections(ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How far the best of seven corrections is ahead of none."""
    upright = np.stack([rotate(ranks, turn) @ weights for turn in range(4)])
    return np.asarray(np.concatenate([upright[1:], -upright]).max(axis=0) - upright[0])


def choose_limit(scores: np.ndarray, groups: np.ndarray) -> float:
    """The lowest limit, not under 0, that refuses few enough in every large group."""
    limit = 0.0
    for name in np.unique(groups):
        ours = np.sort(scores[groups == name])
        if len(ours) >= 100:
            limit = max(limit, float(ours[-1 - int(MAX_FALSE_ALARMS * len(ours))]))
    return float(np.ceil(limit * 10) / 10)


def describe(k: int, n: int) -> str:
    """k of n with its interval."""
    low, high = wilson_interval(k, n)
    return f"{k}/{n} ({k / n:.1%}, {low:.1%} to {high:.1%})"


def is_refused(ranks: np.ndarray, orientation: quality.Orientation) -> np.ndarray:
    """Whether any of the three scores complains."""
    weights = orientation.positive + orientation.upright
    return np.asarray(
        (ranks @ orientation.positive < orientation.inverted_limit)
        | (measure_leads(ranks, orientation.upright) > orientation.rotated_limit)
        | (measure_corrections(ranks, weights) > orientation.corrected_limit)
    )


def print_table(ranks: np.ndarray, groups: np.ndarray, orientation: quality.Orientation) -> None:
    """False alarms and detections by source and age group."""
    print("group | sound, refused | inverted, refused | turned, refused | both, refused")
    for name in [*np.unique(groups), "all"]:
        ours = ranks[(groups == name) | (name == "all")]
        turned = np.concatenate([rotate(ours, turn) for turn in (1, 2, 3)])
        cells = [
            describe(int(is_refused(some, orientation).sum()), len(some))
            for some in (ours, -ours, turned, -turned)
        ]
        print(name, *cells, sep=" | ")


def print_other_reasons(manifest: Path, rows: Rows) -> None:
    """How many of each group each reason of ``assess_quality`` refuses."""
    refused: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        judged = quality.assess_quality(read_radiograph(manifest.parent / row["file"]))
        for code in [reason.code for reason in judged.reasons] + ["images"]:
            refused[name_group(row)][code] += 1
    for name, counts in sorted(refused.items()):
        print(name, dict(counts))


def main() -> None:
    """Fits and writes, or scores the test rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    shipped = Path(quality.__file__).with_name("orientation.npz")
    parser.add_argument("--output", type=Path, default=shipped)
    parser.add_argument("--test", action="store_true", help="score the test rows, write nothing")
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    scored = read_rows(options.manifest, "test" if options.test else "val")
    if not options.test:
        fit(options.manifest, options.output, scored, rng)
    ranks, groups = load_ranks(options.manifest, scored, copies=0, rng=rng)
    print_table(ranks, groups, quality.load_orientation())
    print_other_reasons(options.manifest, scored)


def fit(manifest: Path, output: Path, val: Rows, rng: np.random.Generator) -> None:
    """Fits on train, sets the limits on val, writes plain arrays."""
    rows = read_rows(manifest, "train")
    ranks, groups = load_ranks(manifest, rows, copies=DISTURBED_COPIES, rng=rng)
    ranks, weights = np.concatenate([ranks, mirror(ranks)]), np.tile(weigh(groups), 2)
    positive = fit_logistic(ranks, weights)
    differences = np.concatenate([ranks - rotate(ranks, turn) for turn in (1, 2, 3)])
    upright = fit_logistic(differences, np.tile(weights, 3))
    val_ranks, val_groups = load_ranks(manifest, val, copies=0, rng=rng)
    np.savez(
        output,
        positive=positive.astype(np.float32),
        upright=upright.astype(np.float32),
        inverted_limit=np.float32(0 - choose_limit(-(val_ranks @ positive), val_groups)),
        rotated_limit=np.float32(choose_limit(measure_leads(val_ranks, upright), val_groups)),
        corrected_limit=np.float32(
            choose_limit(measure_corrections(val_ranks, positive + upright), val_groups)
        ),
    )
    quality.load_orientation.cache_clear()
    print(f"{len(rows)} train images; wrote {output}")


if __name__ == "__main__":
    main()
