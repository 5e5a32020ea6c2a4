"""RSNA Pneumonia Detection Challenge 2018: NIH radiographs read again by radiologists."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.datasets.sources.common import (
    Row,
    compare_files,
    list_images,
    make_targets,
    note_shared_patients,
    parse_age,
    parse_sex,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import Limits, UnreadableImageError, UsageError

NAME = "rsna"
LICENCE = "RSNA Pneumonia Detection Challenge rules; images NIH ChestX-ray14"
LAYOUT = (
    "stage_2_train_labels.csv beside stage_2_train_images/PATIENT-ID.dcm "
    "(and stage_2_detailed_class_info.csv, stage_2_test_images)"
)
LABELS = ("NORMAL", "ABNORMAL", "LUNG_OPACITY", "PNEUMONIA")
BOXED = ("LUNG_OPACITY", "PNEUMONIA")
"""The readers drew one kind of box: an opacity that is suspicious for pneumonia."""

CLASSES: Mapping[str, frozenset[str]] = {
    "Lung Opacity": frozenset({"ABNORMAL", "LUNG_OPACITY", "PNEUMONIA"}),
    "No Lung Opacity / Not Normal": frozenset({"ABNORMAL"}),
    "Normal": frozenset({"NORMAL"}),
}
"""Class of an image -> terms that are present; the other terms are absent."""

_TRAIN_LABELS = "stage_2_train_labels.csv"
_CLASS_INFO = "stage_2_detailed_class_info.csv"
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_MAX_MAPPING_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_BOX_COLUMNS = ("x", "y", "width", "height")
_IMAGE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NIH_IMAGE = re.compile(r"(?P<patient>\d{8})_\d{3}\.png")


@dataclass(slots=True)
class _Reading:
    """What the tables say of one image."""

    is_positive: bool
    boxes: list[Box] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Person:
    """What the header of a file says of a person; empty where nothing."""

    view: str = ""
    age_years: float | None = None
    sex: str = ""


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the folder of the Kaggle challenge, stage 2.

    Views, ages and sexes come from the DICOM headers. True patients are known only where
    RSNA's mapping to the NIH images lies in the folder too.

    Raises:
        UsageError: another layout, unknown columns, classes or cells, or any option.
    """
    refuse_options(options, source=NAME)
    table = folder / _TRAIN_LABELS
    if not table.is_file():
        raise UsageError(f"{str(folder)!r}: expected {LAYOUT}, but there is no {_TRAIN_LABELS}")
    readings = _read_labels(table)
    classes = _read_classes(folder / _CLASS_INFO, readings)
    nih_images = _read_mapping(folder / _MAPPING)
    found = list_images(folder, "stage_2_train_images", suffixes={".dcm"})
    train = {f"stage_2_train_images/{image}.dcm": image for image in readings}
    notes = compare_files(train, found, table=_TRAIN_LABELS, layout=LAYOUT)
    there = set(found)
    examples = [
        _make_example(
            folder, path, "train", _settle(readings[image], classes.get(image)), nih_images
        )
        for path, image in train.items()
        if path in there
    ]
    unread = (Target.UNKNOWN,) * len(LABELS), ()
    examples += [
        _make_example(folder, path, "test", unread, nih_images)
        for path in list_images(folder, "stage_2_test_images", suffixes={".dcm"})
    ]
    manifest = Manifest(
        labels=LABELS, task=Task.MULTI_LABEL, examples=tuple(examples), folder=folder
    )
    return Scan(manifest, notes + _note_set(examples, bool(classes), bool(nih_images)))


def _read_id(row: Row) -> str:
    if not _IMAGE_ID.fullmatch(row["patientId"]):
        raise row.fail(
            "expected an id like 0004cfab-14fd-4e49-80ba-63a80b6bddd6 in 'patientId', "
            f"got {row['patientId']!r:.80}"
        )
    return row["patientId"]


def _read_labels(path: Path) -> dict[str, _Reading]:
    """One row a box; an image without boxes has one row."""
    readings: dict[str, _Reading] = {}
    for row in read_table(path, ("patientId", *_BOX_COLUMNS, "Target")):
        image, target = _read_id(row), row["Target"]
        if target not in ("0", "1"):
            raise row.fail(f"expected 0 or 1 in 'Target', got {target!r:.40}")
        reading = readings.setdefault(image, _Reading(target == "1"))
        if reading.is_positive != (target == "1"):
            raise row.fail("expected one 'Target' an image, got another than before")
        reading.boxes += _read_boxes(row)
    return readings


def _read_boxes(row: Row) -> list[Box]:
    corners = [row[column] for column in _BOX_COLUMNS]
    if any(corners) != (row["Target"] == "1"):
        raise row.fail("expected a box where 'Target' is 1 and none where it is 0")
    if not any(corners):
        return []
    try:
        x, y, width, height = map(float, corners)
        return [Box(label=label, x=x, y=y, width=width, height=height) for label in BOXED]
    except ValueError:
        raise row.fail("expected a corner and positive sides in pixels, got no such box") from None


def _read_classes(path: Path, readings: Mapping[str, _Reading]) -> dict[str, str]:
    """Image -> class; empty where the table is not there."""
    if not path.is_file():
        return {}
    classes: dict[str, str] = {}
    for row in read_table(path, ("patientId", "class")):
        image, name = _read_id(row), row["class"]
        if name not in CLASSES:
            raise row.fail(f"expected {', '.join(CLASSES)} in 'class', got {name!r:.80}")
        if classes.setdefault(image, name) != name:
            raise row.fail("expected one 'class' an image, got another than before")
        if image in readings and readings[image].is_positive != ("PNEUMONIA" in CLASSES[name]):
            raise row.fail(f"expected the class to fit the Target in {_TRAIN_LABELS}")
    return classes


def _read_mapping(path: Path) -> dict[str, str]:
    """Image -> name of the same image in NIH ChestX-ray14; empty where there is no mapping."""
    if not path.is_file():
        return {}
    problem = f"{path.name}: expected RSNA's list of objects with 'subset_img_id' and 'img_id'"
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_MAPPING_BYTES + 1)
        if len(data) > _MAX_MAPPING_BYTES:
            raise UsageError(f"{problem} of at most {_MAX_MAPPING_BYTES:,} bytes, got more")
        entries = json.loads(data)
        mapping = {str(entry["subset_img_id"]): str(entry["img_id"]) for entry in entries}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise UsageError(f"{problem}, got something else") from None
    for name in mapping.values():
        if not _NIH_IMAGE.fullmatch(name):
            raise UsageError(f"{problem} like 00000003_000.png, got {name!r:.80}")
    return mapping


def _settle(reading: _Reading, name: str | None) -> tuple[tuple[Target, ...], tuple[Box, ...]]:
    """Targets and boxes; without a class it is open whether a negative image is normal."""
    if name is not None:
        targets = make_targets(LABELS, CLASSES[name])
    elif reading.is_positive:
        targets = make_targets(LABELS, CLASSES["Lung Opacity"])
    else:
        targets = make_targets(LABELS, (), unknown=("NORMAL", "ABNORMAL"))
    return targets, tuple(reading.boxes)


def _make_example(
    folder: Path,
    path: str,
    split: str,
    settled: tuple[tuple[Target, ...], tuple[Box, ...]],
    nih_images: Mapping[str, str],
) -> Example:
    person = _read_person(folder / path)
    nih_image = nih_images.get(PurePosixPath(path).stem, "")
    match = _NIH_IMAGE.fullmatch(nih_image)
    return Example(
        path=path,
        targets=settled[0],
        patient_id=match["patient"] if match else "",
        split=split,
        source=NAME,
        view=person.view,
        age_years=person.age_years,
        sex=person.sex,
        licence=LICENCE,
        boxes=settled[1],
        other={"nih_image": nih_image} if nih_image else {},
    )


def _read_person(path: Path) -> _Person:
    """From the start of a DICOM file; a broken one says nothing here and fails when it is read."""
    from chestx.images.dicom_dataset import Tag
    from chestx.images.dicom_elements import read_dicom_file

    if not path.is_file():
        return _Person()  # A pipe would keep us waiting.
    try:
        with open(path, "rb") as file:
            header = read_dicom_file(file.read(_HEAD_BYTES), limits=Limits()).data_set
    except (OSError, UnreadableImageError):
        return _Person()
    # The set writes PatientAge without its unit ("51"), which is no DICOM age.
    return _Person(
        header.read_text(Tag.ViewPosition)[:16],
        parse_age(header.read_text(Tag.PatientAge)),
        parse_sex(header.read_text(Tag.PatientSex)),
    )


def _note_set(examples: list[Example], has_classes: bool, has_mapping: bool) -> tuple[str, ...]:
    made = [
        "The images are of NIH ChestX-ray14 (1024 x 1024, 8 bit): joined with that set or "
        "with one that has its images they are duplicates.",
        "A lung opacity here is one that is suspicious for pneumonia by the image; PNEUMONIA "
        "is the challenge's Target, not a diagnosis.",
    ]
    if not has_classes:
        made.append(
            f"{_CLASS_INFO} is not there: whether an image without opacity is normal is unknown."
        )
    if not has_mapping:
        made.append(
            "The column patientId names an image, not a patient: the patient is not known. Put "
            f"RSNA's {_MAPPING} into the folder to know the NIH patients."
        )
    test = Counter(example.split for example in examples)["test"]
    if test:
        made.append(f"{test:,} images of the challenge's test part have no labels: unknown.")
    no_view = sum(not example.view for example in examples)
    if no_view:
        made.append(f"{no_view:,} images state no view in their header, or have no header.")
    without = sum(not example.patient_id for example in examples)
    if has_mapping and without:
        made.append(f"{without:,} images are not in {_MAPPING}: their patient is not known.")
    return (*made, *note_shared_patients(examples))
