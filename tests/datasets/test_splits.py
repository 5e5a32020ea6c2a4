"""Parts share no patient and no picture, look alike, and show when they were changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.groups import group_examples
from chestx.datasets.manifest import read_manifest, write_manifest
from chestx.datasets.splits import LeakageError, SplitOptions, split_manifest, verify_split
from chestx.datasets.stratify import deal_groups
from chestx.domain import UsageError

MakeManifest = Callable[..., Manifest]
LABELS = ("NORMAL", "PNEUMONIA")


def make_rows(patients: int = 200, seed: int = 0) -> list[tuple[str, dict[str, object]]]:
    generator = np.random.default_rng(seed)
    rows: list[tuple[str, dict[str, object]]] = []
    for patient in range(patients):
        label = LABELS[int(generator.random() < 0.3)]
        source = "ab"[int(generator.random() < 0.25)]
        rows += [
            (label, {"path": f"{patient}-{n}.png", "patient_id": str(patient), "source": source})
            for n in range(int(generator.integers(1, 4)))
        ]
    return rows


def get_parts(manifest: Manifest) -> dict[str, str]:
    return {example.path: example.split for example in manifest.examples}


def get_folds(manifest: Manifest) -> dict[str, str]:
    return {example.path: example.other.get("fold", "") for example in manifest.examples}


def test_parts_share_no_group_and_are_alike_in_labels_and_sources(
    make_manifest: MakeManifest,
) -> None:
    manifest = split_manifest(make_manifest(make_rows()))
    assert verify_split(manifest) == ()
    total = Counter((e.targets, e.source) for e in manifest.examples)
    for part, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        held = Counter((e.targets, e.source) for e in manifest.examples if e.split == part)
        for stratum, count in total.items():
            assert abs(held[stratum] - share * count) <= 3, (part, stratum)


def test_the_order_of_rows_changes_nothing(make_manifest: MakeManifest) -> None:
    rows = make_rows()
    order = np.random.default_rng(1).permutation(len(rows)).tolist()
    straight = split_manifest(make_manifest(rows))
    shuffled = split_manifest(make_manifest([rows[number] for number in order]))
    assert get_parts(straight) == get_parts(shuffled)
    assert straight.examples[0].other["split_id"] == shuffled.examples[0].other["split_id"]


def test_the_seed_decides(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(make_rows())
    first = get_parts(split_manifest(manifest, SplitOptions(seed=1)))
    assert first == get_parts(split_manifest(manifest, SplitOptions(seed=1)))
    assert first != get_parts(split_manifest(manifest, SplitOptions(seed=2)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_no_group_is_ever_parted(seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = [(Target.PRESENT, Target.ABSENT), (Target.ABSENT, Target.PRESENT)]
    manifest = Manifest(
        labels=LABELS,
        task=Task.SINGLE_LABEL,
        folder=Path("/data"),
        examples=tuple(
            Example(
                path=str(number),
                targets=targets[int(generator.integers(2))],
                patient_id=str(generator.integers(40)),
                dup_group=str(generator.integers(60)) if generator.random() < 0.1 else "",
                source="ab"[int(generator.integers(2))],
            )
            for number in range(80)
        ),
    )
    try:
        split = split_manifest(manifest, SplitOptions(seed=seed))
    except UsageError:
        # A group that joined too many images for any part.
        return
    parts = {(int(g), e.split) for g, e in zip(group_examples(split), split.examples, strict=True)}
    assert len(parts) == len({group for group, _ in parts})
    assert verify_split(split) == ()


def test_several_labels_are_spread_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = ("EDEMA", "MASS", "HERNIA")
    prevalence = np.array([0.3, 0.1, 0.01])
    examples = tuple(
        Example(
            path=str(number),
            targets=tuple(Target(int(x)) for x in generator.random(3) < prevalence),
        )
        for number in range(2000)
    )
    manifest = Manifest(labels=labels, task=Task.MULTI_LABEL, examples=examples, folder=tmp_path)
    split = split_manifest(manifest, SplitOptions(folds=5))
    total = (manifest.targets == Target.PRESENT).sum(axis=0)
    folds = np.array([e.other["fold"] for e in split.examples])
    for fold in "01234":
        held = (split.targets[folds == fold] == Target.PRESENT).sum(axis=0)
        assert np.all(np.abs(held - total / 5) <= 2), fold
        assert abs((folds == fold).sum() - 400) <= 3


def test_a_part_that_is_kept_stays_and_takes_its_patients(make_manifest: MakeManifest) -> None:
    rows = make_rows()
    for _, attributes in rows:
        if attributes["patient_id"] in ("1", "2", "3"):
            attributes["split"] = "test"
    rows.append(("NORMAL", {"path": "late.png", "patient_id": "2", "source": rows[0][1]["source"]}))
    rows[-1][1]["source"] = next(a["source"] for _, a in rows if a["patient_id"] == "2")
    split = split_manifest(make_manifest(rows), SplitOptions(keep=("test",)))
    parts = get_parts(split)
    assert parts["late.png"] == "test"
    assert {e.patient_id for e in split.examples if e.split == "test"} == {"1", "2", "3"}
    free = [part for part in parts.values() if part != "test"]
    assert abs(free.count("train") / len(free) - 70 / 85) < 0.02


def test_a_whole_official_split_is_checked_and_recorded(make_manifest: MakeManifest) -> None:
    rows = make_rows(6)
    for number, (_, attributes) in enumerate(rows):
        attributes |= {"split": "test", "patient_id": str(number)}
    manifest = make_manifest(rows)
    split = split_manifest(manifest, SplitOptions(keep=("train", "validation", "test")))
    assert get_parts(split) == get_parts(manifest)
    assert re.fullmatch("[0-9a-f]{16}", split.examples[0].other["split_id"])


def test_folds_leave_the_kept_part_alone(make_manifest: MakeManifest) -> None:
    rows = make_rows()
    for _, attributes in rows:
        if attributes["patient_id"] in ("1", "2", "3"):
            attributes["split"] = "test"
    split = split_manifest(make_manifest(rows), SplitOptions(keep=("test",), folds=4))
    for example in split.examples:
        assert bool(example.split) != bool(example.other["fold"])
    assert set(get_folds(split).values()) == {"", "0", "1", "2", "3"}


def test_a_source_held_out_is_the_test_part(make_manifest: MakeManifest) -> None:
    split = split_manifest(make_manifest(make_rows()), SplitOptions(hold_out=("b",)))
    assert all((e.source == "b") == (e.split == "test") for e in split.examples)
    assert {e.split for e in split.examples if e.source == "a"} == {"train", "validation"}


def test_every_source_can_be_a_fold(make_manifest: MakeManifest) -> None:
    split = split_manifest(make_manifest(make_rows()), SplitOptions(fold_by_source=True))
    assert all(e.other["fold"] == e.source and not e.split for e in split.examples)


def make_leaking(make_manifest: MakeManifest, **last: object) -> Manifest:
    rows = make_rows()
    for _, attributes in rows:
        attributes["split"] = "train"
    for number in (0, 1, 2):
        rows.append(("NORMAL", {"path": f"leak{number}", "patient_id": "5", "split": "test"}))
        rows[-1][1]["source"] = next(a["source"] for _, a in rows if a["patient_id"] == "5")
        rows[-1][1].update(last)
    return make_manifest(rows)


def test_a_leak_of_a_kept_part_is_an_error_with_counts(make_manifest: MakeManifest) -> None:
    manifest = make_leaking(make_manifest)
    images = sum(e.patient_id == "5" and e.split == "train" for e in manifest.examples)
    says = f"share 1 patient or duplicate group with {images} image"
    with pytest.raises(LeakageError, match=says):
        split_manifest(manifest, SplitOptions(keep=("test",)))
    split = split_manifest(manifest, SplitOptions(keep=("test",), leave_out_leaks=True))
    assert verify_split(split) == ()
    assert sum(not e.split for e in split.examples) == images
    with pytest.raises(LeakageError, match=r"1 patient or duplicate group with \d+ images lie in"):
        split_manifest(manifest, SplitOptions(keep=("test", "train")))


def test_pictures_in_several_sources_leak_between_them(make_manifest: MakeManifest) -> None:
    rows = make_rows()
    for number, source in enumerate("aab"):
        attributes = {"path": f"d{number}", "dup_group": "d", "source": source}
        rows.append(("NORMAL", dict(attributes)))
    manifest = make_manifest(rows)
    with pytest.raises(LeakageError, match="with 3 images lie in several sources"):
        split_manifest(manifest, SplitOptions(fold_by_source=True))
    folds = split_manifest(manifest, SplitOptions(fold_by_source=True, leave_out_leaks=True))
    assert sum(not fold for fold in get_folds(folds).values()) == 3
    with pytest.raises(
        LeakageError, match=r"the sources held out share 1 patient .* with 2 images"
    ):
        split_manifest(manifest, SplitOptions(hold_out=("b",)))
    parts = get_parts(split_manifest(manifest, SplitOptions(hold_out=("b",), leave_out_leaks=True)))
    assert [parts[f"d{number}"] for number in range(3)] == ["", "", "test"]


def test_a_change_of_the_split_is_seen(make_manifest: MakeManifest, tmp_path: Path) -> None:
    split = split_manifest(make_manifest(make_rows()))
    write_manifest(split, tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv").split_problem == ""
    for name, value in (("split", "train"), ("patient_id", "x"), ("dup_group", "y")):
        number = next(n for n, e in enumerate(split.examples) if e.split == "test")
        examples = list(split.examples)
        examples[number] = replace(examples[number], **{name: value})  # type: ignore[arg-type]
        changed = replace(split, examples=tuple(examples))
        assert any("changed after it was made" in said for said in verify_split(changed))
        write_manifest(changed, tmp_path / "m.csv")
        assert "changed after it was made" in read_manifest(tmp_path / "m.csv").split_problem
    fewer = replace(split, examples=split.examples[:-1])
    assert any("changed after it was made" in said for said in verify_split(fewer))


def test_a_leak_is_seen_without_a_checksum(make_manifest: MakeManifest) -> None:
    leaking = make_leaking(make_manifest)
    assert [re.sub(r"\d+ images", "n images", said) for said in verify_split(leaking)] == [
        "1 patient or duplicate group with n images lies in several parts"
    ]


def test_the_checksum_survives_a_move_and_a_choice_of_rows(
    make_manifest: MakeManifest, tmp_path: Path
) -> None:
    split = split_manifest(make_manifest(make_rows()))
    path = tmp_path / "elsewhere" / "m.csv"
    write_manifest(split, path)
    assert path.read_text().splitlines()[1].startswith("../")
    assert read_manifest(path).split_problem == ""
    assert verify_split(read_manifest(path).manifest) == ()
    part = read_manifest(path, where=["split=test"])
    assert part.split_problem == ""
    assert "split_id" not in part.manifest.examples[0].other


def test_two_splits_put_together_are_seen(make_manifest: MakeManifest, tmp_path: Path) -> None:
    split = split_manifest(make_manifest(make_rows()))
    first = split.examples[0]
    mixed = (replace(first, other={**first.other, "split_id": "0" * 16}), *split.examples[1:])
    write_manifest(replace(split, examples=mixed), tmp_path / "m.csv")
    assert "2 different splits" in read_manifest(tmp_path / "m.csv").split_problem


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shares": {"train": 0.5, "test": 0.4}}, "that sum to 1 .*, got train 0.5, test 0.4"),
        ({"shares": {"train": 1.5, "test": -0.5}}, "expected numbers from 0 to 1"),
        ({"shares": {"train": 0.5, "dev": 0.5}}, "part: expected one of train, validation, test"),
        ({"folds": 1}, "folds: expected 2 to 100, got 1"),
        ({"folds": 5, "fold_by_source": True}, "exclude each other"),
        ({"hold_out": ("a",), "keep": ("test",)}, "hold out and keep exclude each other"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SplitOptions(**options)


def test_an_existing_split_is_not_replaced_unasked(make_manifest: MakeManifest) -> None:
    rows = make_rows()
    rows[0][1]["split"] = "test"
    manifest = make_manifest(rows)
    with pytest.raises(UsageError, match=f"1 of {len(rows)} images have a split already"):
        split_manifest(manifest)
    assert verify_split(split_manifest(manifest, SplitOptions(keep=()))) == ()


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        (make_rows(2), {}, "group for each of 3 parts, got 2 in all"),
        (
            [("NORMAL", {})] * 20 + [("PNEUMONIA", {"patient_id": "p"})] * 3,
            {},
            "PNEUMONIA: expected at least one patient .* for each of 3 parts, got 1 in all",
        ),
        (
            [("NORMAL", {})] * 20 + [("PNEUMONIA", {})] * 4,
            {"folds": 5},
            "PNEUMONIA: .* each of 5 parts, got 4",
        ),
        (
            [("NORMAL", {})] * 200 + [("PNEUMONIA", {})] * 4,
            {"shares": {"train": 0.98, "validation": 0.01, "test": 0.01}},
            "PNEUMONIA: there are too few patients .* for the share of",
        ),
        (
            [("NORMAL", {"patient_id": "unknown"})] * 80 + [("NORMAL", {})] * 20,
            {},
            "one patient or duplicate group holds 80 of 100 images; is one id given to many",
        ),
        ([("NORMAL", {"source": "a"})] * 9, {"fold_by_source": True}, "several sources, got 1"),
        ([("NORMAL", {})] * 9, {"fold_by_source": True}, "a source for every image"),
        ([("NORMAL", {"source": "a"})] * 9, {"hold_out": ("b",)}, "one of the sources a, got 'b'"),
        ([("NORMAL", {"source": "a"})] * 9, {"hold_out": ("a",)}, "another source to train on"),
        (
            [("NORMAL", {"split": "test"})] * 9,
            {"keep": ("test",), "folds": 3},
            "expected images outside the kept parts",
        ),
        (
            [("NORMAL", {"split": "test"}), ("NORMAL", {})],
            {"keep": ("test",), "shares": {"test": 1.0}},
            "expected a share for a part that is not kept",
        ),
    ],
)
def test_what_is_impossible_says_why(
    make_manifest: MakeManifest,
    rows: list[tuple[str, dict[str, object]]],
    options: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(UsageError, match=says):
        split_manifest(make_manifest(rows), SplitOptions(**options))


def test_an_error_names_no_patient(make_manifest: MakeManifest) -> None:
    rows = [("NORMAL", {"patient_id": "Smith"})] * 80 + [("NORMAL", {})] * 20
    with pytest.raises(UsageError) as raised:
        split_manifest(make_manifest(rows))
    assert "Smith" not in str(raised.value)


def test_dealing_gives_every_part_its_share_of_every_stratum() -> None:
    counts = np.array([[1, 0]] * 60 + [[0, 1]] * 20)
    parts = deal_groups(counts, counts.sum(axis=1), np.array([0.5, 0.25, 0.25]))
    assert [np.bincount(parts[:60]).tolist(), np.bincount(parts[60:]).tolist()] == [
        [30, 15, 15],
        [10, 5, 5],
    ]
