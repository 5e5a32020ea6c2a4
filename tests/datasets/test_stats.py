"""Counts of a data set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.datasets.stats import LabelCount, describe_manifest

MakeManifest = Callable[..., Manifest]


def test_images_patients_and_groups_are_counted(make_manifest: MakeManifest) -> None:
    box = Box(label="PNEUMONIA", x=0.0, y=0.0, width=1.0, height=1.0)
    statistics = describe_manifest(
        make_manifest(
            [
                ("NORMAL", {"patient_id": "1", "source": "a", "age_years": 4.0, "sex": "F"}),
                ("PNEUMONIA", {"patient_id": "1", "source": "a", "age_years": 71.0}),
                ("PNEUMONIA", {"patient_id": "1", "source": "b", "boxes": (box,)}),
                ("PNEUMONIA", {"split": "test", "view": "PA", "licence": "CC BY"}),
            ]
        )
    )
    assert (statistics.images, statistics.patients, statistics.groups) == (4, 2, 3)
    assert (statistics.images_without_patient, statistics.images_with_boxes) == (1, 1)
    assert statistics.ages == {"min": 4.0, "median": 37.5, "max": 71.0}
    assert list(statistics.counts["age"].items()) == [("1 to 5", 1), ("60 to 79", 1), ("", 2)]
    assert list(statistics.counts["source"].items()) == [("a", 2), ("b", 1), ("", 1)]
    assert statistics.counts["split"] == {"test": 1, "": 3}
    assert set(statistics.counts) == {"split", "source", "view", "age", "sex", "licence"}


def test_unknown_and_not_asked_stay_apart(tmp_path: Path) -> None:
    rows = [
        ("a", (Target.PRESENT, Target.NOT_ASKED)),
        ("a", (Target.UNKNOWN, Target.NOT_ASKED)),
        ("b", (Target.ABSENT, Target.PRESENT)),
    ]
    manifest = Manifest(
        labels=("EDEMA", "MASS"),
        task=Task.MULTI_LABEL,
        examples=tuple(
            Example(path=str(number), targets=targets, source=source, split="train")
            for number, (source, targets) in enumerate(rows)
        ),
        folder=tmp_path,
    )

    def count(label: str, source: str, *numbers: int) -> LabelCount:
        names = ("present", "absent", "unknown", "not_asked")
        return LabelCount(
            label=label, split="train", source=source, **dict(zip(names, numbers, strict=True))
        )

    assert describe_manifest(manifest).targets == (
        count("EDEMA", "a", 1, 0, 1, 0),
        count("EDEMA", "b", 0, 1, 0, 0),
        count("MASS", "a", 0, 0, 0, 2),
        count("MASS", "b", 1, 0, 0, 0),
    )


def test_statistics_are_plain_json(make_manifest: MakeManifest) -> None:
    record = describe_manifest(make_manifest([("NORMAL", {"sex": "M"})])).to_json()
    assert json.loads(json.dumps(record))["targets"][0]["present"] == 1


def test_splits_and_folds_are_in_their_order(make_manifest: MakeManifest) -> None:
    folds = ("10", "2", "", "2")
    splits = ("test", "train", "", "validation")
    counts = describe_manifest(
        make_manifest(
            [
                ("NORMAL", {"split": split, "other": {"fold": fold}})
                for split, fold in zip(splits, folds, strict=True)
            ]
        )
    )
    assert list(counts.counts["fold"].items()) == [("2", 2), ("10", 1), ("", 1)]
    assert list(counts.counts["split"]) == ["train", "validation", "test", ""]
    assert [count.split for count in counts.targets][:4] == ["train", "validation", "test", ""]
