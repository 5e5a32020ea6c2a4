"""COVIDx: radiographs of many collections under lists of COVID-Net."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chestx.datasets.example import Example, Manifest, Task
from chestx.datasets.sources.common import (
    compare_files,
    join_name,
    list_images,
    make_targets,
    note_shared_patients,
    read_lines,
    refuse_options,
)
from chestx.datasets.sources.registry import Scan, ScanOptions
from chestx.domain import UsageError

SOURCE = "covidx"
CLASSES = ("NORMAL", "PNEUMONIA", "COVID19")

_THREE = {"normal": "NORMAL", "pneumonia": "PNEUMONIA", "COVID-19": "COVID19"}
_BINARY = {"positive": "COVID19", "negative": ""}
_LIST = re.compile(r"(train|val|test)(?:_COVIDx[\w-]*)?\.txt")
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_LAYOUT = "the images in the folders train, test and, where there is a list for it, val"

Line = tuple[str, str, str, str, str]
"""Split, patient, file, word and collection (empty in the oldest lists)."""


def scan(folder: Path, options: ScanOptions) -> Scan:
    """Reads the lists of one edition and the images in ``train``, ``test`` and ``val``.

    Args:
        folder: with the images, and the lists where ``options.labels`` does not say.
        options: ``labels`` is the folder that holds the lists.

    Raises:
        UsageError: no or several lists for a split, unknown classes, classes of both kinds
            of lists, none of the images there.
    """
    refuse_options(options, source=SOURCE, allowed=("labels",))
    lists = _find_lists(options.labels or folder)
    lines = [line for split, path in lists.items() for line in _read_list(split, path)]
    names = ", ".join(path.name for path in lists.values())
    is_binary = _check_words({line[3] for line in lines}, names)
    found = [path for split in lists for path in list_images(folder, split)]
    paths = {line: join_name(line[0], line[2], table=names) for line in lines}
    notes = compare_files(paths.values(), found, table=names, layout=_LAYOUT)
    there = set(found)
    examples = tuple(
        _make_example(line, path, is_binary=is_binary)
        for line, path in paths.items()
        if path in there
    )
    manifest = Manifest(
        labels=("COVID19",) if is_binary else CLASSES,
        task=Task.MULTI_LABEL if is_binary else Task.SINGLE_LABEL,
        examples=examples,
        folder=folder,
    )
    notes += _note(examples, is_binary=is_binary, twice=len(lines) - len(paths))
    return Scan(manifest, notes)


def _find_lists(folder: Path) -> dict[str, Path]:
    """Split as in the file name -> its one list."""
    lists: dict[str, Path] = {}
    for path in sorted(folder.glob("*.txt")):
        match = _LIST.fullmatch(path.name)
        if match is None:
            continue
        if match[1] in lists:
            raise UsageError(
                f"{str(folder)!r}: expected one list a split, got {lists[match[1]].name} and "
                f"{path.name}; put those of one edition into a folder and name it with "
                "--labels-csv"
            )
        lists[match[1]] = path
    if not lists:
        raise UsageError(
            f"{str(folder)!r}: expected lists such as train_COVIDx9A.txt and test_COVIDx9A.txt "
            "or train.txt, val.txt and test.txt, got none; name the folder that holds "
            "them with --labels-csv"
        )
    return lists


def _read_list(split: str, path: Path) -> Iterator[Line]:
    for number, text in enumerate(read_lines(path), start=1):
        cells = text.split()
        if len(cells) not in (3, 4):
            raise UsageError(
                f"{path.name}, entry {number}: expected patient, file, class and collection with "
                f"a space between, got {len(cells)} words"
            )
        if cells[2] not in _THREE and cells[2] not in _BINARY:
            raise UsageError(
                f"{path.name}, entry {number}: expected one of the classes "
                f"{', '.join([*_THREE, *_BINARY])}, got {cells[2]!r:.80}"
            )
        yield split, cells[0], cells[1], cells[2], cells[3] if len(cells) == 4 else ""


def _check_words(words: set[str], names: str) -> bool:
    """Whether the lists are binary ones."""
    is_binary = bool(words & _BINARY.keys())
    if is_binary and words & _THREE.keys():
        raise UsageError(
            f"{names}: expected lists with either {', '.join(_THREE)} or {', '.join(_BINARY)}, "
            "got both; put the lists of one edition into a folder and name it with --labels-csv"
        )
    return is_binary


def _make_example(line: Line, path: str, *, is_binary: bool) -> Example:
    split, patient, _, word, collection = line
    term = (_BINARY if is_binary else _THREE)[word]
    return Example(
        path=path,
        targets=make_targets(("COVID19",) if is_binary else CLASSES, {term} if term else ()),
        patient_id=patient,
        split=_SPLITS[split],
        source=f"{SOURCE}/{collection}" if collection else SOURCE,
        licence="not stated for each image; terms of the collection that it comes from",
    )


def _note(examples: tuple[Example, ...], *, is_binary: bool, twice: int) -> tuple[str, ...]:
    notes = []
    if is_binary:
        notes.append(
            "Negative says only that COVID-19 is absent: such images are normal or show another "
            "pneumonia, and these lists do not say which."
        )
    else:
        notes.append(
            "The classes exclude each other: here PNEUMONIA means pneumonia other than COVID-19."
        )
    sources: dict[str, set[bool]] = {}
    covid = 0 if is_binary else CLASSES.index("COVID19")
    for example in examples:
        sources.setdefault(example.source, set()).add(example.targets[covid] == 1)
    single = sorted(source for source, met in sources.items() if len(met) == 1)
    if len(sources) > 1 and single:
        notes.append(
            f"In {len(single)} of {len(sources)} collections every image has the same answer for "
            f"COVID-19 ({', '.join(single)}): a model can learn the collection instead."
        )
    if f"{SOURCE}/rsna" in sources:
        notes.append(
            "The patient ids of rsna are one for each image, not for each patient of the NIH."
        )
    if twice:
        notes.append(f"{twice:,} lines stand in the lists more than once and were taken once.")
    return (*notes, *note_shared_patients(examples))
