"""The audit finds the traps of a real collection, and says nothing of a sound one."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chestx.datasets.audit import Audit, audit_manifest, examine
from chestx.datasets.duplicates import Likeness
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.fingerprints import Fingerprint, take_fingerprints

LABELS = ("NORMAL", "PNEUMONIA", "COVID19")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chestx.datasets.baselines.REPEATS", 40)


def to_example(row: dict[str, str]) -> Example:
    targets = tuple(Target(row["label"] == label) for label in LABELS)
    return Example(
        path=row["file"],
        targets=targets if any(targets) else (Target.UNKNOWN,) * 3,
        patient_id=row["patient_id"],
        split=row["dev_split"].replace("val", "validation"),
        source=row["data_set"],
        dup_group=row["dup_group"],
        view=row["view"],
        licence=row["licence"],
    )


@pytest.fixture(scope="module")
def rows(cxr: Path) -> list[dict[str, str]]:
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_manifest(folder: Path, examples: list[Example]) -> Manifest:
    return Manifest(labels=LABELS, task=Task.SINGLE_LABEL, examples=tuple(examples), folder=folder)


def look(folder: Path, rows: list[dict[str, str]]) -> Audit:
    manifest = make_manifest(folder, [to_example(row) for row in rows])
    taken = take_fingerprints([manifest.resolve(e) for e in manifest.examples], workers=0)
    return examine(manifest, taken, seed=0, workers=0)


def show_the_same(cxr: Path, pair: list[dict[str, str]]) -> bool:
    """Whether two files differ by resampling at most; some pairs of the table are strangers."""
    shown = []
    for row in pair:
        image = cv2.imread(str(cxr / row["file"]), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        shown.append(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA).astype(int))
    return bool(np.abs(shown[0] - shown[1]).mean() < 5)


def test_repeated_images_are_found_and_strangers_of_the_same_group_are_not(
    cxr: Path, rows: list[dict[str, str]]
) -> None:
    by_group: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["data_set"] == "kermany" and row["dup_group"]:
            by_group.setdefault(row["dup_group"], []).append(row)
    pairs = [members for members in by_group.values() if len(members) == 2][:16]
    expected = {number for number, pair in enumerate(pairs) if show_the_same(cxr, pair)}
    assert 10 < len(expected) < 16
    audit = look(cxr, [row for members in pairs for row in members])
    found = [pair for pair in audit.pairs if pair.likeness.is_duplicate]
    assert {(pair.first, pair.second) for pair in found} == {(2 * n, 2 * n + 1) for n in expected}
    assert {pair.likeness for pair in found} == {Likeness.SAME_FILE, Likeness.SAME_IMAGE}


def test_slices_of_a_patient_whose_radiograph_is_in_another_split_are_a_leak(
    cxr: Path, rows: list[dict[str, str]]
) -> None:
    slices = [row for row in rows if row["data_set"] == "ood" and row["patient_id"]][:4]
    patients = {row["patient_id"] for row in slices}
    mine = [row for row in rows if row["patient_id"] in patients]
    audit = look(cxr, mine)
    tied = {row["patient_id"] for row in mine if row["dev_split"] != "test"}
    assert audit.leaks
    assert audit.leaks[0].startswith(f"{len(tied)} patient(s) by patient_id")


def test_the_shape_of_native_files_tells_pneumonia(cxr: Path, rows: list[dict[str, str]]) -> None:
    native = [row for row in rows if row["data_set"] == "kermany" and row["variant"] == "native"]
    chosen = [
        row
        for label in ("NORMAL", "PNEUMONIA")
        for row in [row for row in native if row["label"] == label][::5][:40]
    ]
    manifest = make_manifest(cxr, [to_example(row) for row in chosen])
    taken = take_fingerprints([manifest.resolve(e) for e in manifest.examples], workers=0)
    # Likeness is not the matter here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chestx.datasets.audit.find_duplicates", lambda *_, **__: [])
        audit = examine(manifest, taken, seed=0)
    found = {(s.label, s.shortcut): s.figure for s in audit.shortcuts}
    size = found["PNEUMONIA", "size"]
    assert 0.77 < size.value < 0.95
    assert found["PNEUMONIA", "thumbnail_4"].value > 0.8
    (sentence,) = [s for s in audit.warnings if s.startswith("PNEUMONIA can be guessed")]
    assert "AUROC" in sentence


def test_labels_of_one_source_are_named(cxr: Path, rows: list[dict[str, str]]) -> None:
    few: list[dict[str, str]] = []
    for source in ("cxnet", "nih", "kermany"):
        few += [row for row in rows if row["data_set"] == source][:2]
    audit = look(cxr, few)
    assert any(
        s.startswith("COVID19 is present in one source only (cxnet)") for s in audit.warnings
    )


@pytest.fixture
def small(samples: Path, tmp_path: Path) -> Manifest:
    """Three children in three splits, and a changed copy of one in another split."""
    (tmp_path / "set").mkdir()
    names = ("child-1-normal.jpg", "child-2-normal.png", "child-3-pneumonia.jpg")
    for name in names:
        shutil.copy(samples / name, tmp_path / "set" / name)
    image = cv2.imread(str(samples / names[0]), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    cv2.imwrite(str(tmp_path / "set" / "<b>copy.png"), image[10:, :-12])
    normal, sick = (
        (Target.PRESENT, Target.ABSENT, Target.ABSENT),
        (
            Target.ABSENT,
            Target.PRESENT,
            Target.ABSENT,
        ),
    )
    examples = [
        Example(path=names[0], targets=normal, split="train", source="a"),
        Example(path=names[1], targets=normal, split="validation", source="a"),
        Example(path=names[2], targets=sick, split="train", source="a", age_years=4.0),
        Example(path="<b>copy.png", targets=sick, split="test", source="a"),
        Example(path="gone.png", targets=sick, split="test", source="a"),
    ]
    return make_manifest(tmp_path / "set", examples)


def test_page_and_json_say_what_was_found(small: Manifest, tmp_path: Path) -> None:
    seen: list[None] = []
    out = tmp_path / "out" / "audit"
    audit = audit_manifest(small, out, workers=0, on_image=lambda: seen.append(None))
    assert len(seen) == audit.images == 5
    assert audit.readable == 4
    assert audit.leaks == (
        "1 pair(s) of images in different splits: changed copy, or taken again of the same "
        "patient.",
    )
    assert "1 file(s) are missing." in audit.warnings
    assert "1 pair(s) of duplicates contradict each other in a label." in audit.warnings
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "The splits leak" in page
    assert "&lt;b&gt;copy.png (test)" in page
    assert "<b>" not in page
    assert "data:image/jpeg;base64," in page
    record = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert record["leaks"] == list(audit.leaks)
    assert record["warnings"] == list(audit.warnings)
    (pair,) = record["duplicates"]
    assert (pair["likeness"], {pair["first_split"], pair["second_split"]}) == (
        "same_image",
        {"train", "test"},
    )
    assert sorted(path.name for path in out.iterdir()) == ["audit.html", "audit.json"]


def test_a_sound_set_has_no_leak(small: Manifest, tmp_path: Path) -> None:
    sound = replace(small, examples=small.examples[:3])
    audit = audit_manifest(sound, tmp_path / "out", workers=0)
    assert audit.leaks == ()
    assert audit.pairs == ()
    assert audit.faults == ()
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "No patient, study, group or duplicate was found in two splits." in page
    assert "Every file is there, can be read and looks as it should." in page


def test_a_set_without_splits_is_told_so(small: Manifest) -> None:
    examples = tuple(replace(example, split="") for example in small.examples[:2])
    manifest = replace(small, examples=examples)
    taken = take_fingerprints([manifest.resolve(e) for e in examples], workers=0)
    audit = examine(manifest, taken, seed=0, workers=0)
    assert (
        "No image has a split or a fold: leaks between them could not be looked for."
        in audit.warnings
    )


def test_a_copy_in_another_fold_is_a_leak(small: Manifest, tmp_path: Path) -> None:
    examples = tuple(
        replace(example, split="", other={"fold": str(number)})
        for number, example in enumerate(small.examples)
    )
    audit = audit_manifest(replace(small, examples=examples), tmp_path / "out", workers=0)
    assert len(audit.leaks) == 1
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;copy.png (fold 3, PNEUMONIA)" in page
    assert "child-1-normal.jpg (fold 0, NORMAL)" in page


def test_a_set_of_missing_files_has_an_audit(small: Manifest, tmp_path: Path) -> None:
    manifest = replace(small, examples=small.examples[4:])
    audit = audit_manifest(manifest, tmp_path / "out", workers=0)
    assert (audit.readable, audit.shortcuts, audit.pairs) == (0, (), ())


def test_a_name_that_is_no_text_reaches_the_page(small: Manifest, tmp_path: Path) -> None:
    odd = replace(small.examples[4], path="caf\udce9.png")
    audit_manifest(replace(small, examples=(odd,)), tmp_path / "out", workers=0)
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "1 file(s) are missing" in page
    record = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert record["faults"][0]["paths"] == ["caf\udce9.png"]


def test_fingerprints_of_one_run_are_enough_for_another(small: Manifest) -> None:
    taken = take_fingerprints([small.resolve(e) for e in small.examples], workers=0)
    first, again = (examine(small, taken, seed=1, workers=0) for _ in range(2))
    assert first.warnings == again.warnings
    assert first.pairs == again.pairs
    assert all(
        print_.thumbnail.dtype == np.uint8 for print_ in taken if isinstance(print_, Fingerprint)
    )
