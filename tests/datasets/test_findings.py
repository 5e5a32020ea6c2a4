"""Trouble with files and rows is named, counted and listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chestx.datasets.duplicates import Likeness, Pair
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.findings import (
    find_faults,
    find_lone_labels,
    judge_licences,
)
from chestx.datasets.fingerprints import Fingerprint, Unreadable
from chestx.datasets.stats import LabelCount
from chestx.domain import ImageHeader


def make_manifest(*examples: Example) -> Manifest:
    return Manifest(
        labels=("NORMAL", "PNEUMONIA"),
        task=Task.MULTI_LABEL,
        examples=examples,
        folder=Path(),
    )


def make_example(path: str, **columns: Any) -> Example:
    return Example(path=path, **{"targets": (Target.PRESENT, Target.ABSENT), **columns})


def make_print(*reasons: str, **header: Any) -> Fingerprint:
    return Fingerprint(
        sha256="0" * 64,
        pixel_digest=b"0",
        file_bytes=1,
        header=ImageHeader(format="DICOM", rows=64, columns=64, **header),
        reasons=reasons,
        flags=(),
        thumbnail=np.zeros((64, 64), np.uint8),
        ring=np.zeros(8, np.float32),
    )


def test_files_that_are_missing_or_broken_are_listed() -> None:
    manifest = make_manifest(*map(make_example, ("a.png", "b.png", "c.png", "c.png")))
    prints: list[Fingerprint | Unreadable] = [
        Unreadable("there is no such file", True),
        Unreadable("it is cut short", False),
        make_print("inverted"),
        make_print("blank", "inverted"),
    ]
    faults = {fault.kind: fault.paths for fault in find_faults(manifest, prints, ())}
    assert faults == {
        "missing": ("a.png",),
        "unreadable": ("b.png: it is cut short",),
        "repeated": ("c.png (2 times)",),
        "blank": ("c.png",),
        "inverted": ("c.png", "c.png"),
    }


@pytest.mark.parametrize(
    ("columns", "header", "kind", "words"),
    [
        ({"view": "LATERAL"}, {}, "lateral", "view LATERAL"),
        ({}, {"view_position": "LL"}, "lateral", "view LL"),
        ({}, {"body_part_examined": "LEG"}, "foreign", "DICOM BodyPartExamined LEG"),
        ({}, {"modality": "CT"}, "foreign", "DICOM Modality CT"),
        ({"age_years": 40.0}, {"age_years": 52.0}, "age_conflict", "table 40 years, file 52"),
        ({"sex": "F"}, {"sex": "M"}, "sex_conflict", "table F, file M"),
        ({"view": "PA"}, {"view_position": "AP"}, "view_conflict", "table PA, file AP"),
    ],
)
def test_table_and_file_are_held_against_each_other(
    columns: dict[str, Any], header: dict[str, Any], kind: str, words: str
) -> None:
    manifest = make_manifest(make_example("a.dcm", **columns))
    (fault,) = find_faults(manifest, [make_print(**header)], ())
    assert (fault.kind, fault.paths) == (kind, (f"a.dcm: {words}",))


def test_what_agrees_is_no_fault() -> None:
    example = make_example("a.dcm", view="AP supine", age_years=40.0, sex="F")
    print_ = make_print(
        view_position="AP", age_years=41.0, sex="F", body_part_examined="Chest", modality="DX"
    )
    assert find_faults(make_manifest(example), [print_], ()) == ()


def test_duplicates_that_contradict_each_other_are_named() -> None:
    sick = (Target.ABSENT, Target.PRESENT)
    manifest = make_manifest(
        make_example("a.png"),
        make_example("b.png", targets=sick),
        make_example("c.png", targets=(Target.PRESENT, Target.UNKNOWN)),
    )
    pairs = [
        Pair(0, 1, Likeness.SAME_FILE),
        Pair(0, 2, Likeness.SAME_FILE),
        Pair(1, 2, Likeness.ALIKE, details=40),
    ]
    (fault,) = find_faults(manifest, [make_print()] * 3, pairs)
    assert (fault.kind, fault.paths) == (
        "label_conflict",
        ("a.png and b.png: NORMAL, PNEUMONIA",),
    )


def count(source: str, label: str, present: int, absent: int) -> LabelCount:
    return LabelCount(
        source=source,
        split="",
        label=label,
        present=present,
        absent=absent,
        unknown=0,
        not_asked=0,
    )


def test_a_label_of_one_source_is_named() -> None:
    counts = [count("a", "COVID19", 5, 0), count("b", "COVID19", 0, 5)]
    assert find_lone_labels(counts) == (
        "COVID19 is present in one source only (a): a model that knows the source knows the label.",
        "COVID19: no source has images with it and without it, so every figure for it "
        "compares sources.",
    )


def test_sources_with_one_answer_are_named() -> None:
    counts = [
        count("a", "COVID19", 5, 5),
        count("b", "COVID19", 2, 0),
        count("", "COVID19", 0, 9),
    ]
    assert find_lone_labels(counts) == (
        "COVID19: images without a source, b have one answer only; trust figures within a.",
    )


def test_one_source_has_nothing_to_be_compared_with() -> None:
    assert find_lone_labels([count("a", "COVID19", 5, 0)]) == ()


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("CC BY 4.0", ""),
        ("", "none stated"),
        ("not stated for this image", "none stated"),
        ("CC BY-NC-SA 4.0", "no commercial use; share alike"),
        ("ours (some CC BY-NC-SA, ...)", "no commercial use; share alike"),
        ("CC BY-NC-ND", "no commercial use; no derivatives: even a resized copy may be one"),
        ("research use, (c) the authors", "research use"),
        ("Academic Torrents", ""),
    ],
)
def test_a_licence_is_read_as_far_as_its_words_go(licence: str, told: str) -> None:
    assert judge_licences(make_manifest(make_example("a", licence=licence))) == (
        (licence, 1, told),
    )
