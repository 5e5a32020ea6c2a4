"""MIMIC-CXR-JPG: Boston, 377,110 images of 227,835 studies; labels mined from reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.sources.common import (
    Row,
    compare_files,
    list_images,
    note_shared_patients,
    read_table,
    refuse_options,
)
from chestx.datasets.sources.mentions import LABELS, WORDS, MentionReader
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

NAME = "mimic-cxr-jpg"
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
LAYOUT = "files/p10/p10000032/s50414267/DICOM_ID.jpg beside mimic-cxr-2.0.0-metadata.csv.gz"

_METADATA = "mimic-cxr-2.0.0-metadata.csv"
_SPLIT = "mimic-cxr-2.0.0-split.csv"
_LABELS = ("mimic-cxr-2.0.0-chexpert.csv", "mimic-cxr-2.0.0-negbio.csv")
_READ_BY_PERSON = "mimic-cxr-2.1.0-test-set-labeled.csv"

METADATA_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition")
OTHER_METADATA_COLUMNS = (
    "PerformedProcedureStepDescription",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)

_SPLITS = {"train": "train", "validate": "validation", "test": "test"}
_DICOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_NUMBER = re.compile(r"\d{8}")
_NO_STUDY = (Target.UNKNOWN,) * len(LABELS)


@dataclass(frozen=True, slots=True)
class _Labels:
    """Targets by study, and from which table."""

    table: str
    targets: Mapping[str, tuple[Target, ...]]
    notes: tuple[str, ...]


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads a MIMIC-CXR-JPG folder.

    Args:
        folder: the one with the tables and ``files``.
        options: ``uncertain`` says what becomes of -1 (default ``ignore``: unknown);
            ``labels`` takes another table of labels than the CheXpert one, e.g. NegBio's.

    Raises:
        UsageError: another layout, unknown columns or cells, an option that has no use here.
    """
    refuse_options(options, source=NAME, allowed=("labels", "uncertain"))
    metadata = _find_table(folder, _METADATA)
    if metadata is None:
        raise UsageError(
            f"{str(folder)!r}: expected {LAYOUT}, but there is neither {_METADATA}.gz "
            f"nor {_METADATA}"
        )
    labels = _read_labels(_choose_labels(folder, options), options)
    splits = _read_splits(_find_table(folder, _SPLIT))
    rows = read_table(metadata, METADATA_COLUMNS, optional=OTHER_METADATA_COLUMNS)
    named = [_read_row(row, labels, splits) for row in rows]
    found = set(list_images(folder, "files", suffixes={".jpg"}))
    notes = compare_files((x.path for x in named), found, table=metadata.name, layout=LAYOUT)
    examples = tuple(example for example in named if example.path in found)
    notes += labels.notes + _note_set(folder, examples, labels, splits)
    notes += note_shared_patients(examples)
    manifest = Manifest(labels=LABELS, task=Task.MULTI_LABEL, examples=examples, folder=folder)
    return Scan(manifest, notes)


def _find_table(folder: Path, name: str) -> Path | None:
    """As it is published (packed) or unpacked."""
    paths = (folder / f"{name}.gz", folder / name)
    return next((path for path in paths if path.is_file()), None)


def _choose_labels(folder: Path, options: ScanOptions) -> Path:
    if options.labels is not None:
        return options.labels
    for name in _LABELS:
        path = _find_table(folder, name)
        if path is not None:
            return path
    raise UsageError(
        f"{str(folder)!r}: expected {' or '.join(f'{name}.gz' for name in _LABELS)}, there is "
        "neither; name another with --labels-csv"
    )


def _read_labels(path: Path, options: ScanOptions) -> _Labels:
    reader = MentionReader(options.uncertain)
    targets: dict[str, tuple[Target, ...]] = {}
    for row in read_table(path, ("subject_id", "study_id", *WORDS)):
        if row["study_id"] in targets:
            raise row.fail("expected each study once, got one again")
        targets[row["study_id"]] = reader.read_targets(row)
    basis = (
        f"Labels come from {path.name}: mined by rules from the report of a whole study, so "
        "every image of a study has the same, the lateral ones too."
    )
    return _Labels(path.name, targets, (basis, *reader.notes()))


def _read_splits(path: Path | None) -> Mapping[str, str]:
    """DICOM id -> split; empty where the table is not there."""
    if path is None:
        return {}
    splits = {}
    for row in read_table(path, ("dicom_id", "study_id", "subject_id", "split")):
        if row["split"] not in _SPLITS:
            raise row.fail(f"expected {', '.join(_SPLITS)} in 'split', got {row['split']!r:.40}")
        splits[row["dicom_id"]] = _SPLITS[row["split"]]
    return splits


def _read_row(row: Row, labels: _Labels, splits: Mapping[str, str]) -> Example:
    dicom_id, subject, study = row["dicom_id"], row["subject_id"], row["study_id"]
    if not _DICOM_ID.fullmatch(dicom_id):
        raise row.fail(
            f"expected five groups of eight hexadecimal digits in 'dicom_id', got {dicom_id!r:.80}"
        )
    if not (_NUMBER.fullmatch(subject) and _NUMBER.fullmatch(study)):
        raise row.fail("expected eight digits in 'subject_id' and 'study_id'")
    return Example(
        path=f"files/p{subject[:2]}/p{subject}/s{study}/{dicom_id}.jpg",
        targets=labels.targets.get(study, _NO_STUDY),
        patient_id=subject,
        study_id=study,
        split=splits.get(dicom_id, ""),
        source=NAME,
        view=row["ViewPosition"],
        licence=LICENCE,
    )


def _note_set(
    folder: Path, examples: tuple[Example, ...], labels: _Labels, splits: Mapping[str, str]
) -> tuple[str, ...]:
    made = []
    without = sum(example.study_id not in labels.targets for example in examples)
    if without:
        made.append(
            f"{without:,} images belong to studies without a row in {labels.table}: "
            "all their labels are unknown."
        )
    if not splits:
        made.append(f"{_SPLIT}.gz is not there: no official split is known.")
    no_view = sum(not example.view for example in examples)
    if no_view:
        made.append(f"{no_view:,} images state no view; some of them are lateral.")
    if _find_table(folder, _READ_BY_PERSON):
        made.append(
            f"{_READ_BY_PERSON} is there and is not read: it holds a radiologist's labels of "
            "the test reports under other names."
        )
    return tuple(made)
