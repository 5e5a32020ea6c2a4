"""VinDr-CXR: two hospitals of Hanoi, 18,000 radiographs read by radiologists, with boxes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.datasets.sources.common import (
    DICOM_SUFFIXES,
    Row,
    compare_files,
    list_images,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.mentions import doubt_parents
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.vocabulary import align_label
from chestx.domain import UsageError

NAME = "vindr-cxr"
LICENCES = {
    "physionet": "PhysioNet Credentialed Health Data License 1.5.0",
    "kaggle": "VinBigData Chest X-ray Abnormalities Detection, competition rules",
}
LAYOUT = (
    "train/ID.dicom and test/ID.dicom with annotations/image_labels_train.csv (PhysioNet) "
    "or train.csv (Kaggle)"
)

KAGGLE_WORDS: Mapping[str, str] = {
    "Aortic enlargement": "AORTIC_ENLARGEMENT",
    "Atelectasis": "ATELECTASIS",
    "Calcification": "CALCIFICATION",
    "Cardiomegaly": "CARDIOMEGALY",
    "Consolidation": "CONSOLIDATION",
    "ILD": "INTERSTITIAL_PATTERN",
    "Infiltration": "INFILTRATION",
    "Lung Opacity": "LUNG_OPACITY",
    "Nodule/Mass": "LUNG_LESION",
    "Other lesion": "OTHER_FINDING",
    "Pleural effusion": "PLEURAL_EFFUSION",
    "Pleural thickening": "PLEURAL_THICKENING",
    "Pneumothorax": "PNEUMOTHORAX",
    "Pulmonary fibrosis": "FIBROSIS",
    "No finding": "NO_FINDING",
}
"""The 15 classes of the competition -> terms."""

WORDS: Mapping[str, str] = {
    **KAGGLE_WORDS,
    "Clavicle fracture": "FRACTURE",
    "Edema": "EDEMA",
    "Emphysema": "EMPHYSEMA",
    "Enlarged PA": "OTHER_FINDING",
    "Lung cavity": "OTHER_FINDING",
    "Lung cyst": "OTHER_FINDING",
    "Mediastinal shift": "OTHER_FINDING",
    "Rib fracture": "FRACTURE",
    "COPD": "OTHER_FINDING",
    "Lung tumor": "LUNG_LESION",
    "Pneumonia": "PNEUMONIA",
    "Tuberculosis": "TUBERCULOSIS",
}
"""The columns of both PhysioNet tables but the last -> terms."""

OTHER_DISEASE = ("Other diseases", "Other disease")
"""The last one is written in two ways: in the train table and in the test table."""

_BOX_COLUMNS = ("x_min", "y_min", "x_max", "y_max")
_IMAGE_ID = re.compile(r"[0-9a-f]{32}")
_MARKS = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass(slots=True)
class _Reading:
    """What the readers said of one image.

    Attributes:
        votes: reader -> terms that this reader marked.
        boxes: drawn by any of them.
    """

    votes: dict[str, set[str]] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """One part of the set: a folder of images and what is known of them."""

    folder: str
    split: str
    table: str
    labels: tuple[str, ...]
    readings: Mapping[str, _Reading]
    licence: str


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads a VinDr-CXR folder in the layout of PhysioNet or of the Kaggle competition.

    Raises:
        UsageError: another layout, unknown columns, classes or cells, or any option.
    """
    refuse_options(options, source=NAME)
    if (folder / "annotations").is_dir():
        parts = _read_physionet(folder)
    elif (folder / "train.csv").is_file():
        parts = _read_kaggle(folder)
    else:
        raise UsageError(
            f"{str(folder)!r}: expected {LAYOUT}, but there is neither a folder annotations "
            "nor train.csv"
        )
    splits: Counter[str] = Counter()
    notes: tuple[str, ...] = ()
    examples: list[Example] = []
    for part in parts:
        found = set(list_images(folder, part.folder, suffixes=DICOM_SUFFIXES))
        made = [_make_example(part, *item, splits) for item in part.readings.items()]
        notes += compare_files((x.path for x in made), found, table=part.table, layout=LAYOUT)
        examples += [example for example in made if example.path in found]
    manifest = Manifest(
        labels=parts[0].labels, task=Task.MULTI_LABEL, examples=tuple(examples), folder=folder
    )
    return Scan(manifest, notes + _note_set(examples, splits))


def _read_physionet(folder: Path) -> list[_Part]:
    """The parts whose table of labels is there."""
    labels = tuple(dict.fromkeys(WORDS.values()))
    parts = []
    for split in ("train", "test"):
        path = folder / "annotations" / f"image_labels_{split}.csv"
        if not path.is_file():
            continue
        readings = _read_labels(path, is_consensus=split == "test")
        boxes = folder / "annotations" / f"annotations_{split}.csv"
        if boxes.is_file():
            columns = ("image_id", "class_name", *_BOX_COLUMNS)
            rows = read_table(boxes, columns, optional=("rad_id",))
            _add_boxes(rows, readings, boxes.name)
        parts.append(_Part(split, split, path.name, labels, readings, LICENCES["physionet"]))
    if not parts:
        raise UsageError(
            f"{str(folder)!r}: expected {LAYOUT}, but there is neither image_labels_train.csv "
            "nor image_labels_test.csv in annotations"
        )
    return parts


def _read_labels(path: Path, *, is_consensus: bool) -> dict[str, _Reading]:
    """One row a reader and image, or one an image where the readers agreed on it."""
    reader_column = () if is_consensus else ("rad_id",)
    rows = read_table(path, ("image_id", *reader_column, *WORDS), optional=OTHER_DISEASE)
    readings: dict[str, _Reading] = defaultdict(_Reading)
    for row in rows:
        last = [word for word in OTHER_DISEASE if word in row.cells]
        if len(last) != 1:
            raise row.fail(f"expected one column {' or '.join(OTHER_DISEASE)}, got {len(last)}")
        terms = {WORDS[word] for word in WORDS if _read_mark(row, word)}
        terms |= {"OTHER_FINDING"} if _read_mark(row, last[0]) else set()
        reader = "consensus" if is_consensus else row["rad_id"]
        votes = readings[_read_id(row)].votes
        if reader in votes:
            raise row.fail("expected each reader once an image, got one again")
        votes[reader] = terms
    return dict(readings)


def _read_mark(row: Row, word: str) -> bool:
    cell = row[word]
    if cell not in _MARKS:
        raise row.fail(f"expected 0 or 1 in {word!r}, got {cell!r:.40}")
    return _MARKS[cell]


def _read_id(row: Row) -> str:
    if not _IMAGE_ID.fullmatch(row["image_id"]):
        raise row.fail(f"expected 32 hexadecimal digits in 'image_id', got {row['image_id']!r:.80}")
    return row["image_id"]


def _add_boxes(rows: Iterable[Row], readings: Mapping[str, _Reading], table: str) -> None:
    words = {**WORDS, **dict.fromkeys(OTHER_DISEASE, "OTHER_FINDING")}
    for row in rows:
        image = _read_id(row)
        if image not in readings:
            raise row.fail("expected an image of the table of labels, got another")
        term = align_label(row["class_name"], words, source=table)
        readings[image].boxes += _read_box(row, term)


def _read_box(row: Row, term: str) -> list[Box]:
    """One box, or none where the row has no corners (no finding, a finding of the whole)."""
    corners = [row[column] for column in _BOX_COLUMNS]
    if not any(corners):
        return []
    try:
        x_min, y_min, x_max, y_max = map(float, corners)
        return [Box(label=term, x=x_min, y=y_min, width=x_max - x_min, height=y_max - y_min)]
    except ValueError:
        raise row.fail(
            "expected x_min < x_max and y_min < y_max in pixels, got no such box"
        ) from None


def _read_kaggle(folder: Path) -> list[_Part]:
    """The competition's train part with labels, and its test part, whose labels it kept."""
    labels = tuple(dict.fromkeys(KAGGLE_WORDS.values()))
    readings: dict[str, _Reading] = defaultdict(_Reading)
    for row in read_table(
        folder / "train.csv", ("image_id", "class_name", "class_id", "rad_id", *_BOX_COLUMNS)
    ):
        term = align_label(row["class_name"], KAGGLE_WORDS, source="train.csv")
        reading = readings[_read_id(row)]
        reading.votes.setdefault(row["rad_id"], set()).add(term)
        reading.boxes += _read_box(row, term)
    licence = LICENCES["kaggle"]
    parts = [_Part("train", "train", "train.csv", labels, dict(readings), licence)]
    unread = [Path(path).stem for path in list_images(folder, "test", suffixes={".dicom"})]
    if unread:
        nothing = {image: _Reading() for image in unread}
        parts.append(_Part("test", "test", "test", labels, nothing, licence))
    return parts


def _make_example(part: _Part, image: str, reading: _Reading, splits: Counter[str]) -> Example:
    targets = _settle_votes(part.labels, reading.votes, splits)
    return Example(
        path=f"{part.folder}/{image}.dicom",
        targets=tuple(targets.values()),
        split=part.split,
        source=NAME,
        view="PA",
        licence=part.licence,
        boxes=tuple(box for box in reading.boxes if targets[box.label] is Target.PRESENT),
        other={"readers": str(len(reading.votes))} if reading.votes else {},
    )


def _settle_votes(
    labels: Iterable[str], votes: Mapping[str, set[str]], splits: Counter[str]
) -> dict[str, Target]:
    """Present where more than half of the readers marked it, absent where none did.

    What a minority marked is unknown, and so is everything where nobody read.
    """
    targets = {}
    for label in labels:
        marks = sum(label in terms for terms in votes.values())
        if 2 * marks > len(votes):
            targets[label] = Target.PRESENT
        elif votes and not marks:
            targets[label] = Target.ABSENT
        else:
            targets[label] = Target.UNKNOWN
            splits[label] += bool(votes)
    return doubt_parents(targets, ("LUNG_OPACITY",))


def _note_set(examples: list[Example], splits: Counter[str]) -> tuple[str, ...]:
    made = [
        "The set has no patient ids: images of one patient cannot be kept together, and the "
        "audit's search for near duplicates is the only guard.",
        "The view PA is the set's own statement for all images, not one per image.",
    ]
    if splits.total():
        most = ", ".join(f"{label} {count:,}" for label, count in splits.most_common(5) if count)
        made.append(
            f"{splits.total():,} labels of single images were marked by a minority of the "
            f"readers and are unknown (most: {most})."
        )
    unread = sum("readers" not in example.other for example in examples)
    if unread:
        made.append(f"{unread:,} images of the test part have no published labels: unknown.")
    return tuple(made)
