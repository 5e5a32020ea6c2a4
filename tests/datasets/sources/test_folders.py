"""One folder a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target, Task
from chestx.datasets.sources.registry import scan_folder
from chestx.domain import UsageError


def _make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name)
    return folder


def test_folders_are_labels_and_have_no_patients(tmp_path: Path) -> None:
    _make(tmp_path, "COVID-19/a.png", "no finding/deep/b.jpg", "stray.png")
    scan = scan_folder("folders", tmp_path)
    manifest = scan.manifest
    assert manifest.labels == ("COVID_19", "NO_FINDING")
    assert manifest.task is Task.SINGLE_LABEL
    assert [(e.path, e.targets, e.split, e.patient_id) for e in manifest.examples] == [
        ("COVID-19/a.png", (Target.PRESENT, Target.ABSENT), "", ""),
        ("no finding/deep/b.jpg", (Target.ABSENT, Target.PRESENT), "", ""),
    ]
    assert {e.source for e in manifest.examples} == {tmp_path.name}
    assert "no patients" in scan.notes[0]
    assert scan.notes[1] == "1 image files lie in no folder of a class and were left out."


def test_folders_of_splits_are_known_by_name(tmp_path: Path) -> None:
    _make(tmp_path, "Train/a/1.png", "valid/b/1.png", "test/a/1.png", "test/b/2.png")
    examples = scan_folder("folders", tmp_path).manifest.examples
    assert [e.split for e in examples] == ["train", "test", "test", "validation"]


def test_splits_beside_classes_are_refused(tmp_path: Path) -> None:
    _make(tmp_path, "train/a/1.png", "other/b/1.png")
    with pytest.raises(UsageError, match="got train beside other"):
        scan_folder("folders", tmp_path)


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    _make(tmp_path, "everything/a/1.png", "everything/b/1.png")
    with pytest.raises(UsageError, match=r"at least two folders .* got 1"):
        scan_folder("folders", tmp_path)


@pytest.mark.parametrize("name", ["0", "\u5f02\u5e38"])
def test_a_name_that_is_no_label_is_refused(tmp_path: Path, name: str) -> None:
    _make(tmp_path, f"{name}/1.png", "b/1.png")
    with pytest.raises(UsageError, match="begin with a letter A to Z"):
        scan_folder("folders", tmp_path)


def test_two_names_for_one_label_are_refused(tmp_path: Path) -> None:
    _make(tmp_path, "lung opacity/1.png", "Lung_Opacity/1.png", "b/1.png")
    with pytest.raises(UsageError, match="both become the label LUNG_OPACITY"):
        scan_folder("folders", tmp_path)
