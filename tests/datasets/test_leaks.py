"""What ties splits together is a leak, and what may do so is a warning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chestx.datasets.duplicates import Likeness, Pair
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.fingerprints import Fingerprint
from chestx.datasets.leaks import Leak, find_leaks
from chestx.domain import ImageHeader


def make_manifest(*rows: Mapping[str, Any]) -> Manifest:
    examples = tuple(
        Example(path=f"{number}.png", targets=(Target.PRESENT,), **row)
        for number, row in enumerate(rows)
    )
    return Manifest(labels=("PNEUMONIA",), task=Task.SINGLE_LABEL, examples=examples, folder=Path())


def make_print(**header: str) -> Fingerprint:
    return Fingerprint(
        sha256="0" * 64,
        pixel_digest=b"0",
        file_bytes=1,
        header=ImageHeader(format="DICOM", rows=64, columns=64, **header),  # type: ignore[arg-type]
        reasons=(),
        flags=(),
        thumbnail=np.zeros((64, 64), np.uint8),
        ring=np.zeros(8, np.float32),
    )


def find(*rows: Mapping[str, Any]) -> tuple[Leak, ...]:
    return find_leaks(make_manifest(*rows), {}, ())


def test_a_patient_in_two_splits_is_a_leak() -> None:
    (leak,) = find(
        {"patient_id": "7", "source": "a", "split": "train"},
        {"patient_id": "7", "source": "a", "split": "train"},
        {"patient_id": "7", "source": "a", "split": "test"},
        {"patient_id": "8", "source": "a", "split": "test"},
    )
    assert (leak.kind, leak.is_certain, leak.count, leak.images) == ("patient", True, 1, 3)
    assert leak.sentence == "1 patient(s) by patient_id in more than one split (3 images)."
    assert leak.examples == (("0.png (train)", "2.png (test)"),)


def test_a_short_id_that_two_sources_use_says_nothing() -> None:
    assert not find(
        {"patient_id": "7", "source": "a", "split": "train"},
        {"patient_id": "7", "source": "b", "split": "test"},
    )


def test_a_long_id_that_two_sources_use_is_a_warning() -> None:
    (leak,) = find(
        {"patient_id": "0012-345", "source": "a", "split": "train"},
        {"patient_id": "0012-345", "source": "b", "split": "test"},
    )
    assert (leak.kind, leak.is_certain) == ("shared_patient_id", False)


def test_an_id_that_names_its_source_is_one_patient_everywhere() -> None:
    (leak,) = find(
        {"patient_id": "a:7", "source": "a", "split": "train"},
        {"patient_id": "a:7", "source": "b", "split": "test"},
    )
    assert (leak.kind, leak.is_certain) == ("patient", True)


def test_studies_and_groups_in_two_splits_are_leaks() -> None:
    for column in ("study_id", "group", "dup_group"):
        (leak,) = find({column: "x", "split": "train"}, {column: "x", "split": "validation"})
        assert leak.kind == column.removesuffix("_id")
        assert leak.is_certain


def test_an_image_without_a_split_takes_no_part() -> None:
    assert not find({"group": "x", "split": "train"}, {"group": "x"})


def test_what_a_header_says_ties_splits_too() -> None:
    manifest = make_manifest({"split": "train"}, {"split": "test"}, {"split": "test"})
    prints = {0: make_print(patient_id="p"), 1: make_print(patient_id="p"), 2: make_print()}
    (leak,) = find_leaks(manifest, prints, ())
    assert (leak.kind, leak.images) == ("header_patient", 2)
    prints = {0: make_print(study_instance_uid="1.2"), 2: make_print(study_instance_uid="1.2")}
    assert find_leaks(manifest, prints, ())[0].kind == "header_study"


def test_duplicates_across_splits_are_leaks_and_alike_images_a_warning() -> None:
    manifest = make_manifest({"split": "train"}, {"split": "test"}, {"split": "test"})
    pairs = (
        Pair(0, 1, Likeness.ALIKE, details=33),
        Pair(0, 2, Likeness.SAME_IMAGE, details=90),
        Pair(1, 2, Likeness.SAME_FILE),
    )
    leaks = find_leaks(manifest, {}, pairs)
    assert [(leak.kind, leak.is_certain) for leak in leaks] == [
        ("same_image", True),
        ("alike", False),
    ]


def test_a_fold_counts_as_a_split() -> None:
    (leak,) = find(
        {"group": "x", "other": {"fold": "10"}},
        {"group": "x", "other": {"fold": "2"}},
        {"group": "x"},
    )
    assert leak.examples == (("1.png (fold 2)", "0.png (fold 10)"),)
    (kept,) = find({"group": "x", "split": "test"}, {"group": "x", "other": {"fold": "2"}})
    assert kept.examples == (("0.png (test)", "1.png (fold 2)"),)
    assert not find(
        {"group": "x", "split": "train", "other": {"fold": "1"}},
        {"group": "x", "split": "train"},
        {"group": "x", "split": "train", "other": {"fold": "1"}},
    )
