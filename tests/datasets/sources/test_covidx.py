"""COVIDx under its published lists.

Source of the lines: https://github.com/lindawangg/COVID-Net/tree/master/labels, files
test_COVIDx2.txt, test_COVIDx6.txt, train_COVIDx9B.txt, test_COVIDx8B.txt, test_COVIDx_CXR-3A.txt.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from chestx.datasets.example import Target, Task
from chestx.datasets.sources.registry import ScanOptions, scan_folder
from chestx.domain import UsageError

RSNA = "47c78742-4998-4878-aec4-37b11b1354ac"
RICORD = "419639-003251 MIDRC-RICORD-1C-419639-003251-46647-0.png"
ACTMED = "ANON191 CR.1.2.840.113564.192168196.2020031913311637123.1203801020003.png"


def _make(folder: Path, **lists: list[str]) -> Path:
    """Lists by name (without suffix) and every image that they name."""
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        place = folder / name.split("_")[0]
        place.mkdir(exist_ok=True)
        for line in lines:
            Image.new("L", (4, 4)).save(place / line.split()[1])
    return folder


def test_lists_of_three_classes_give_one_label(tmp_path: Path) -> None:
    train = ["8 SARS-10.1148rg.242035193-g04mr34g05x-Fig5-day9.jpeg pneumonia cohen"]
    test = [f"{RICORD} COVID-19 ricord", f"{RSNA} {RSNA}.png normal rsna"]
    _make(tmp_path, **{"train_COVIDx_CXR-3A": train, "test_COVIDx_CXR-3A": test})
    scan = scan_folder("covidx", tmp_path)
    manifest = scan.manifest
    assert manifest.labels == ("NORMAL", "PNEUMONIA", "COVID19")
    assert manifest.task is Task.SINGLE_LABEL
    assert sorted((e.path, e.patient_id, e.split, e.source) for e in manifest.examples) == [
        (f"test/{RSNA}.png", RSNA, "test", "covidx/rsna"),
        (f"test/{RICORD.split()[1]}", "419639-003251", "test", "covidx/ricord"),
        (f"train/{train[0].split()[1]}", "8", "train", "covidx/cohen"),
    ]
    notes = " ".join(scan.notes)
    assert "PNEUMONIA means pneumonia other than COVID-19" in notes
    assert "In 3 of 3 collections every image has the same answer" in notes
    assert "ids of rsna are one for each image" in notes


def test_binary_lists_ask_for_covid_19_alone(tmp_path: Path) -> None:
    train = ["5 ARDSSevere.png negative cohen", f"{ACTMED} negative actmed"]
    test = ["19 1-s2.0-S0929664620300449-gr2_lrg-a.jpg positive cohen"]
    _make(tmp_path, train_COVIDx9B=train, test_COVIDx8B=test)
    scan = scan_folder("covidx", tmp_path)
    assert scan.manifest.labels == ("COVID19",)
    assert scan.manifest.task is Task.MULTI_LABEL
    answers = {e.path: e.targets for e in scan.manifest.examples}
    assert answers["train/ARDSSevere.png"] == (Target.ABSENT,)
    assert answers[f"test/{test[0].split()[1]}"] == (Target.PRESENT,)
    assert scan.notes[0].startswith("Negative says only that COVID-19 is absent")


def test_a_patient_in_both_official_splits_is_told(tmp_path: Path) -> None:
    later = "ANON191 CR.1.2.840.113564.1722810170.20200325010134750210.1003000225002.png"
    _make(
        tmp_path,
        train_COVIDx9B=[f"{ACTMED} negative actmed"],
        test_COVIDx6=[f"{later} positive actmed"],
    )
    notes = scan_folder("covidx", tmp_path).notes
    assert any(note.startswith("1 of 1 patients have images in more than one") for note in notes)


def test_the_oldest_lists_name_no_collection(tmp_path: Path) -> None:
    scan = scan_folder("covidx", _make(tmp_path, test_COVIDx2=[f"{RSNA} {RSNA}.png normal"]))
    assert scan.manifest.examples[0].source == "covidx"


def test_lists_without_an_edition_in_their_names_are_read(tmp_path: Path) -> None:
    _make(
        tmp_path,
        train=[f"{RICORD} positive ricord"],
        val=["5 ARDSSevere.png negative cohen"],
        test=[f"{RSNA} {RSNA}.png negative rsna"],
    )
    scan = scan_folder("covidx", tmp_path)
    assert {e.split for e in scan.manifest.examples} == {"train", "validation", "test"}


def test_several_editions_need_a_folder_of_lists(tmp_path: Path) -> None:
    line = [f"{RSNA} {RSNA}.png normal rsna"]
    _make(tmp_path, test_COVIDx8A=line, test_COVIDx7A=line)
    with pytest.raises(UsageError, match=r"one list a split, got test_COVIDx7A.txt and test_CO"):
        scan_folder("covidx", tmp_path)
    lists = tmp_path / "lists"
    lists.mkdir()
    (tmp_path / "test_COVIDx8A.txt").rename(lists / "test_COVIDx8A.txt")
    scan = scan_folder("covidx", tmp_path, ScanOptions(labels=lists))
    assert len(scan.manifest.examples) == 1


def test_a_line_twice_is_one_image(tmp_path: Path) -> None:
    line = f"{RSNA} {RSNA}.png normal rsna"
    scan = scan_folder("covidx", _make(tmp_path, test_COVIDx8A=[line, line]))
    assert len(scan.manifest.examples) == 1
    assert any(note.startswith("1 lines stand in the lists more than once") for note in scan.notes)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({}, "expected lists such as train_COVIDx9A.txt"),
        ({"train_COVIDx9A": ["1 a.png Level1 x"]}, "entry 1: expected one of the classes .*Level1"),
        ({"train_COVIDx9A": ["1 a.png"]}, "entry 1: expected patient, file, class .* got 2 words"),
        (
            {"train_COVIDx9A": ["1 a.png normal x"], "test_COVIDx9B": ["1 b.png negative x"]},
            "expected lists with either normal, pneumonia, COVID-19 or positive, negative, got",
        ),
        ({"train_COVIDx9A": ["1 ../a.png normal x"]}, "name of a file inside"),
    ],
)
def test_other_lists_are_refused(tmp_path: Path, lists: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scan_folder("covidx", _make(tmp_path, **lists))


def test_lists_without_their_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("1 a.png normal x\n")
    with pytest.raises(UsageError, match=r"train.txt: expected the images in the folders train"):
        scan_folder("covidx", tmp_path)
