"""Kermany chest_xray, in the layout of the archive on Kaggle.

Source of layout and names: https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia; names
of the edition at Mendeley: https://data.mendeley.com/datasets/rscbjbr9sj.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target
from chestx.datasets.sources.registry import scan_folder
from chestx.domain import UsageError

NAMES = (
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/NORMAL/NORMAL2-IM-0381-0001-0002.jpeg",
    "train/PNEUMONIA/person1_bacteria_1.jpeg",
    "train/PNEUMONIA/person1_bacteria_2.jpeg",
    "train/PNEUMONIA/person1000_virus_1681.jpeg",
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg",
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/PNEUMONIA/person1_virus_6.jpeg",
)


def _make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name, format="JPEG")
    return folder


def test_patients_kinds_and_splits_come_from_the_names(tmp_path: Path) -> None:
    scan = scan_folder("kermany", _make(tmp_path, *NAMES))
    found = {e.path: (e.patient_id, e.split, e.other["sublabel"]) for e in scan.manifest.examples}
    assert found == {
        "train/NORMAL/IM-0115-0001.jpeg": ("IM-0115", "train", ""),
        "train/NORMAL/NORMAL2-IM-0381-0001-0002.jpeg": ("NORMAL2-IM-0381", "train", ""),
        "train/PNEUMONIA/person1_bacteria_1.jpeg": ("person1_bacteria", "train", "bacterial"),
        "train/PNEUMONIA/person1_bacteria_2.jpeg": ("person1_bacteria", "train", "bacterial"),
        "train/PNEUMONIA/person1000_virus_1681.jpeg": ("person1000_virus", "train", "viral"),
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": ("NORMAL2-IM-1427", "validation", ""),
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg": (
            "person1946_bacteria", "validation", "bacterial",
        ),
        "test/NORMAL/IM-0001-0001.jpeg": ("IM-0001", "test", ""),
        "test/PNEUMONIA/person1_virus_6.jpeg": ("person1_virus", "test", "viral"),
    }  # fmt: skip
    assert scan.manifest.labels == ("NORMAL", "PNEUMONIA")
    by_path = {e.path: e for e in scan.manifest.examples}
    assert by_path[NAMES[2]].targets == (Target.ABSENT, Target.PRESENT)
    assert by_path[NAMES[2]].view == "AP"


def test_the_traps_are_told(tmp_path: Path) -> None:
    notes = " ".join(scan_folder("kermany", _make(tmp_path, *NAMES)).notes)
    assert "shape of the picture" in notes
    assert "validation split has 2 images" in notes
    assert "more than one of the set's own splits" not in notes


def test_the_copy_inside_the_archive_is_passed_over(tmp_path: Path) -> None:
    base = tmp_path / "chest_xray"
    _make(base, *NAMES)
    _make(base / "chest_xray", *NAMES)
    _make(tmp_path / "chest_xray" / "__MACOSX", *NAMES)
    (base / "train" / "NORMAL" / ".DS_Store").write_bytes(b"x")
    scan = scan_folder("kermany", tmp_path)
    assert len(scan.manifest.examples) == len(NAMES)
    assert scan.manifest.examples[0].path.startswith("chest_xray/test/")
    assert any(note.startswith("9 image files lie elsewhere") for note in scan.notes)


def test_names_of_the_mendeley_edition_are_known(tmp_path: Path) -> None:
    _make(
        tmp_path,
        "train/PNEUMONIA/BACTERIA-1008087-0001.jpeg",
        "train/NORMAL/NORMAL-1003233-0001.jpeg",
        "test/PNEUMONIA/VIRUS-1008087-0003.jpeg",
    )
    scan = scan_folder("kermany", tmp_path)
    found = [(e.patient_id, e.other["sublabel"]) for e in scan.manifest.examples]
    assert found == [("1008087", "viral"), ("1003233", ""), ("1008087", "bacterial")]
    assert any(note.startswith("1 of 2 patients have images in more") for note in scan.notes)


def test_a_name_that_tells_no_patient_is_counted(tmp_path: Path) -> None:
    scan = scan_folder("kermany", _make(tmp_path, *NAMES, "train/NORMAL/renamed (1).jpeg"))
    assert any(note.startswith("1 file names tell no patient") for note in scan.notes)


def test_another_class_is_refused(tmp_path: Path) -> None:
    _make(tmp_path, *NAMES, "train/COVID/1.jpeg")
    with pytest.raises(UsageError, match=r"kermany, folder train: expected one of .* got 'COVID'"):
        scan_folder("kermany", tmp_path)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got no train and test folder"):
        scan_folder("kermany", tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(UsageError, match="expected images in train, val and test"):
        scan_folder("kermany", tmp_path)
