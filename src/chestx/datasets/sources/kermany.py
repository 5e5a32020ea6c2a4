"""Kermany chest_xray: children's radiographs, normal and pneumonia."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    list_images,
    make_targets,
    note_shared_patients,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.datasets.vocabulary import align_label
from chestx.domain import UsageError

SOURCE = "kermany"
LABELS = ("NORMAL", "PNEUMONIA")

_WORDS = {"NORMAL": "NORMAL", "PNEUMONIA": "PNEUMONIA"}
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_LAYOUT = "train, val and test with NORMAL and PNEUMONIA in each, as in the published archive"
_SMALL_VALIDATION = 100

# Names of the archive on Kaggle. Number and kind together are taken for the patient: 170 bare
# numbers stand in both train and test, always with the other kind, and their images are no
# more alike than those of strangers (correlation 0.173 to 0.176; number and kind 0.234).
_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_\d+(?:_\d+)?", re.IGNORECASE)
_NORMAL = re.compile(r"((?:NORMAL\d?-)?IM-\d+)-\d+(?:-\d+)?", re.IGNORECASE)
# Names of the archive at Mendeley: kind, random number of the patient, number of the image.
_MENDELEY = re.compile(r"(NORMAL|BACTERIA|VIRUS)-(\d+)-\d+", re.IGNORECASE)
_KINDS = {"bacteria": "bacterial", "virus": "viral"}


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads ``chest_xray``, from the folder itself or the one that holds it.

    Args:
        folder: with ``train``, ``val`` and ``test``; the edition at Mendeley has no ``val``.
        options: none is used.

    Raises:
        UsageError: another layout or class.
    """
    refuse_options(options, source=SOURCE)
    base = _find_base(folder)
    found = list_images(folder, base)
    examples = tuple(_read_example(path, base) for path in found if _is_inside(path, base))
    if not examples:
        raise UsageError(f"{str(folder)!r}: expected images in {_LAYOUT}, got none")
    manifest = Manifest(labels=LABELS, task=Task.SINGLE_LABEL, examples=examples, folder=folder)
    return Scan(manifest, _note(examples, outside=len(found) - len(examples)))


def _find_base(folder: Path) -> str:
    """The archive unpacks to chest_xray/chest_xray, with a copy of everything one level up."""
    for base in ("", "chest_xray", "chest_xray/chest_xray"):
        if (folder / base / "train").is_dir() and (folder / base / "test").is_dir():
            return base
    raise UsageError(f"{str(folder)!r}: expected {_LAYOUT}, got no train and test folder")


def _is_inside(path: str, base: str) -> bool:
    """Whether it is split/class/file; the copy of the set inside itself is not."""
    parts = PurePosixPath(path).relative_to(base).parts
    return len(parts) == 3 and parts[0] in _SPLITS


def _read_example(path: str, base: str) -> Example:
    split, word, name = PurePosixPath(path).relative_to(base).parts
    term = align_label(word, _WORDS, source=f"{SOURCE}, folder {split}")
    patient, kind = _read_name(PurePosixPath(name).stem)
    return Example(
        path=path,
        targets=make_targets(LABELS, {term}),
        patient_id=patient,
        split=_SPLITS[split],
        source=SOURCE,
        view="AP",
        population="children of 1 to 5 years, Guangzhou",
        licence="CC BY 4.0",
        other={"sublabel": kind if term == "PNEUMONIA" else ""},
    )


def _read_name(stem: str) -> tuple[str, str]:
    """Patient and kind of pneumonia from a file's name, empty where it does not tell."""
    if match := _PERSON.fullmatch(stem):
        kind = match[2].lower()
        return f"{match[1]}_{kind}", _KINDS[kind]
    if match := _NORMAL.fullmatch(stem):
        return match[1], ""
    if match := _MENDELEY.fullmatch(stem):
        return match[2], _KINDS.get(match[1].lower(), "")
    return "", ""


def _note(examples: tuple[Example, ...], *, outside: int) -> tuple[str, ...]:
    notes = [
        "In this set the shape of the picture nearly gives the label away (width / height alone: "
        "AUROC 0.87 on the native images): stretch to a square, never pad, and audit.",
        "All patients are children of 1 to 5 years from one hospital; the official test split "
        "differs from train, so scores on a random split of train are too good.",
    ]
    counts = Counter(example.split for example in examples)
    if 0 < counts["validation"] < _SMALL_VALIDATION:
        notes.append(
            f"The official validation split has {counts['validation']} images, too few to choose "
            "anything on: make another one out of train, by patient."
        )
    unknown = sum(not example.patient_id for example in examples)
    if unknown:
        notes.append(f"{unknown:,} file names tell no patient; those images have no patient id.")
    if outside:
        notes.append(
            f"{outside:,} image files lie elsewhere than in a class of a split (the archive holds "
            "a second copy of itself) and were left out."
        )
    return (*notes, *note_shared_patients(examples))
