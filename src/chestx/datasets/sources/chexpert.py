"""CheXpert: Stanford, 224,316 radiographs of 65,240 patients; labels mined from reports."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    Row,
    compare_files,
    join_name,
    list_images,
    note_shared_patients,
    parse_age,
    parse_sex,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.mentions import LABELS, WORDS, MentionReader
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

NAME = "chexpert"
LICENCE = "Stanford University Dataset Research Use Agreement"
LAYOUT = (
    "the folder CheXpert-v1.0 or CheXpert-v1.0-small with train.csv, valid.csv, "
    "train/patient00001/study1/view1_frontal.jpg"
)

TABLES = (
    ("train.csv", "train"),
    ("valid.csv", "validation"),
    ("val_labels.csv", "validation"),
    ("test_labels.csv", "test"),
)
"""Name and official split. The last two are those of CheXlocalize, without persons' columns."""

PERSON_COLUMNS = ("Sex", "Age", "Frontal/Lateral", "AP/PA")

_ROOT = re.compile(r"CheXpert-v1\.0(-small)?/")
_VALID = re.compile(r"^valid/")
_PATH = re.compile(
    r"(?:.*/)?(?P<patient>patient\d{1,8})/(?P<study>study\d{1,4})/view\d{1,3}_(?P<side>frontal|lateral)\.jpg"
)
_FRONTAL_VIEWS = frozenset({"AP", "PA", "LL", "RL", ""})


@dataclass(slots=True)
class _Table:
    """What was read of one table.

    Attributes:
        valid: folder of the validation images with ``/``; CheXlocalize moved them.
    """

    name: str
    split: str
    valid: str
    reader: MentionReader
    examples: list[Example] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads a CheXpert folder.

    Args:
        folder: CheXpert-v1.0 or CheXpert-v1.0-small, the one with train.csv.
        options: ``uncertain`` says what becomes of -1 (default ``ignore``: unknown).

    Raises:
        UsageError: another layout, unknown columns or cells, an option that has no use here.
    """
    refuse_options(options, source=NAME, allowed=("uncertain",))
    tables = [
        _read_table(folder / name, split, options)
        for name, split in TABLES
        if (folder / name).is_file()
        and not (name == "val_labels.csv" and (folder / "valid.csv").is_file())
    ]
    if not tables:
        raise UsageError(
            f"{str(folder)!r}: expected {LAYOUT}, but there is none of "
            f"{', '.join(name for name, _ in TABLES)}"
        )
    found = set(list_images(folder))
    named = [example for table in tables for example in table.examples]
    notes = compare_files(
        (example.path for example in named),
        found,
        table=", ".join(table.name for table in tables),
        layout=LAYOUT,
    )
    for table in tables:
        notes += _note_table(table)
    examples = tuple(example for example in named if example.path in found)
    manifest = Manifest(labels=LABELS, task=Task.MULTI_LABEL, examples=examples, folder=folder)
    return Scan(manifest, notes + note_shared_patients(examples))


def _read_table(path: Path, split: str, options: ScanOptions) -> _Table:
    """Rows of one table; the persons' columns and No Finding are not in every edition."""
    rows = read_table(
        path,
        ("Path", *(word for word in WORDS if word != "No Finding")),
        optional=(*PERSON_COLUMNS, "No Finding"),
    )
    has_moved = (path.parent / "val").is_dir() and not (path.parent / "valid").is_dir()
    valid = "val/" if has_moved else "valid/"
    table = _Table(path.name, split, valid, MentionReader(options.uncertain))
    for row in rows:
        if "No Finding" not in row.cells:
            table.reader.missing = frozenset({"No Finding"})
        table.examples.append(_read_row(row, table))
    return table


def _read_row(row: Row, table: _Table) -> Example:
    name = _VALID.sub(table.valid, _ROOT.sub("", row["Path"], count=1))
    match = _PATH.fullmatch(name)
    if match is None:
        raise row.fail(
            "expected a path like train/patient00001/study1/view1_frontal.jpg, "
            f"got {row['Path']!r:.80}"
        )
    patient = match["patient"]
    return Example(
        path=join_name("", name, table=row.table),
        targets=table.reader.read_targets(row),
        patient_id=patient,
        study_id=f"{patient}/{match['study']}",
        split=table.split,
        source=NAME,
        view=_read_view(row, match["side"], table),
        age_years=_read_age(row, table),
        sex=_read_sex(row, table),
        licence=LICENCE,
    )


def _read_view(row: Row, side: str, table: _Table) -> str:
    stated = row.cells.get("Frontal/Lateral", side.capitalize())
    if stated == "Lateral":
        return "LATERAL"
    view = row.cells.get("AP/PA", "")
    if stated != "Frontal" or view not in _FRONTAL_VIEWS:
        raise row.fail(
            "expected Frontal or Lateral and AP, PA, LL, RL or nothing, "
            f"got {stated!r:.40} and {view!r:.40}"
        )
    table.oddities["frontal by one column and LL or RL by another"] += view in ("LL", "RL")
    return view or "FRONTAL"


def _read_age(row: Row, table: _Table) -> float | None:
    age = parse_age(row.cells.get("Age", ""))
    table.oddities["of age 90, which stands for 90 and more"] += age == 90
    table.oddities["of age 0, which stands for not known"] += age == 0
    return age or None


def _read_sex(row: Row, table: _Table) -> str:
    text = row.cells.get("Sex", "")
    sex = parse_sex(text)
    if not sex and text not in ("", "Unknown"):
        raise row.fail(f"expected Female, Male or Unknown in 'Sex', got {text!r:.40}")
    table.oddities["of unknown sex"] += text == "Unknown"
    return sex


def _note_table(table: _Table) -> tuple[str, ...]:
    if table.split == "train":
        basis = "its labels are mined from reports by rules, not read from the images"
    else:
        basis = "its labels are read from the images by radiologists"
    counted = [f"{count:,} {what}" for what, count in table.oddities.items() if count]
    also = f" Images met: {', '.join(counted)}." if counted else ""
    made = [f"{table.name}: {basis}.{also}"]
    if table.reader.missing:
        made.append(f"{table.name} has no column 'No Finding'; NO_FINDING counts as not asked.")
    return (*made, *(f"{table.name}: {note}" for note in table.reader.notes()))
