"""NIH ChestX-ray14: 112,120 radiographs of 30,805 patients, labels mined from reports."""

from __future__ import annotations

from pathlib import Path

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    MAX_AGE_YEARS,
    Row,
    compare_files,
    index_names,
    join_name,
    list_images,
    make_targets,
    note_shared_patients,
    parse_age,
    parse_sex,
    read_lines,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.nih_boxes import read_boxes, scale_boxes
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.vocabulary import align_label
from chestx.domain import UsageError

SOURCE = "nih"
TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}

# A comma stands inside the brackets of two names, so each is two columns to any reader.
COLUMNS = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip
SEX_COLUMNS = ("Patient Gender", "Patient Sex")

WORDS = {
    "Atelectasis": "ATELECTASIS",
    "Cardiomegaly": "CARDIOMEGALY",
    "Consolidation": "CONSOLIDATION",
    "Edema": "EDEMA",
    "Effusion": "PLEURAL_EFFUSION",
    "Emphysema": "EMPHYSEMA",
    "Fibrosis": "FIBROSIS",
    "Hernia": "HERNIA",
    "Infiltration": "INFILTRATION",
    "Mass": "MASS",
    "No Finding": "NO_FINDING",
    "Nodule": "NODULE",
    "Pleural_Thickening": "PLEURAL_THICKENING",
    "Pneumonia": "PNEUMONIA",
    "Pneumothorax": "PNEUMOTHORAX",
}
LABELS = tuple(sorted(WORDS.values()))

_LAYOUT = "the images in images_001/images to images_012/images or in images"


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the table, the official lists and the boxes where they are there.

    Args:
        folder: with one of TABLES, the images in any folders below, and perhaps the LISTS
            and ``BBox_List_2017.csv``.
        options: none is used.

    Raises:
        UsageError: another layout, unknown columns or labels.
    """
    refuse_options(options, source=SOURCE)
    table = _find_table(folder)
    places = index_names(list_images(folder), folder=folder)
    splits = _read_splits(folder)
    boxes = read_boxes(folder / "BBox_List_2017.csv")
    examples, named, ages = [], [], 0
    for row in read_table(table, COLUMNS, optional=SEX_COLUMNS):
        name = join_name("", row["Image Index"], table=table.name)
        path = places.get(name, name)
        named.append(path)
        if name not in places:
            continue
        example = _read_example(row, path, splits.get(name, ""))
        ages += example.age_years is None and row["Patient Age"] != ""
        examples.append(scale_boxes(example, boxes.get(name, ()), folder=folder))
    notes = compare_files(named, list(places.values()), table=table.name, layout=_LAYOUT)
    manifest = Manifest(
        labels=LABELS, task=Task.MULTI_LABEL, examples=tuple(examples), folder=folder
    )
    notes += _note(manifest.examples, splits, ages)
    return Scan(manifest, notes)


def _find_table(folder: Path) -> Path:
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{str(folder)!r}: expected {' or '.join(TABLES)} in it, got neither")


def _read_splits(folder: Path) -> dict[str, str]:
    """File name -> split, from the official lists that are there."""
    splits: dict[str, str] = {}
    for name, split in LISTS.items():
        if not (folder / name).is_file():
            continue
        for image in read_lines(folder / name):
            if splits.setdefault(image, split) != split:
                raise UsageError(
                    f"{name}: expected no image of train_val_list.txt, got {image!r:.80} in both"
                )
    return splits


def _read_example(row: Row, path: str, split: str) -> Example:
    words = row["Finding Labels"].split("|")
    terms = {align_label(word, WORDS, source=f"{row.table}, line {row.line}") for word in words}
    if "NO_FINDING" in terms and len(terms) > 1:
        raise row.fail("expected 'No Finding' alone, got it beside findings")
    sex = next((row[column] for column in SEX_COLUMNS if column in row.cells), "")
    return Example(
        path=path,
        targets=make_targets(LABELS, terms),
        patient_id=row["Patient ID"],
        split=split,
        source=SOURCE,
        view=row["View Position"],
        age_years=parse_age(row["Patient Age"]),
        sex=parse_sex(sex),
        licence="free use with attribution (NIH Clinical Center)",
        other={"follow_up": row["Follow-up #"]},
    )


def _note(examples: tuple[Example, ...], splits: dict[str, str], ages: int) -> tuple[str, ...]:
    notes = [
        "Labels were mined from reports: absent means that the report did not name the finding, "
        "and NO_FINDING that it named none of the 14; neither is a reader's verdict."
    ]
    if ages:
        notes.append(
            f"{ages:,} ages are no ages of 0 to {MAX_AGE_YEARS:.0f} years (the first edition of "
            "the table has such errors) and were left out."
        )
    if not splits:
        notes.append(
            f"There is no {' and no '.join(LISTS)}, so the official split is not in the manifest."
        )
    elif without := sum(not example.split for example in examples):
        notes.append(f"{without:,} images are in none of the official lists; they have no split.")
    return (*notes, *note_shared_patients(examples))
