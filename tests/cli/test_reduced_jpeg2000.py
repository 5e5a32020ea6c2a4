"""``chestx predict --reduced-jpeg2000``: faster, said in every row, and pinned to the run."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from chestx.cli.app import run


@pytest.fixture(scope="module")
def inbox(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One radiograph of 1,600 pixels in JPEG 2000, and one that is no DICOM."""
    folder = tmp_path_factory.mktemp("inbox")
    data_set = dcmread(samples / "adult-2-no-finding-monochrome1.dcm")
    stored = cv2.resize(data_set.pixel_array, (1600, 1600), interpolation=cv2.INTER_CUBIC)
    data_set.Rows, data_set.Columns = stored.shape
    data_set.PixelData = np.ascontiguousarray(stored).tobytes()
    data_set.compress(JPEG2000Lossless, generate_instance_uid=False)
    data_set.save_as(folder / "a.dcm")
    (folder / "b.jpg").write_bytes((samples / "child-1-normal.jpg").read_bytes())
    return folder


def read_rows(out: Path) -> list[dict[str, str]]:
    with open(out / "results.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_reduced_row_says_so_and_answers_alike(inbox: Path, tmp_path: Path) -> None:
    plain = ["predict", str(inbox), "--no-report", "--workers", "1", "--threads", "1", "-q"]
    assert run([*plain, "-o", str(tmp_path / "whole")]) == 0
    assert run([*plain, "-o", str(tmp_path / "reduced"), "--reduced-jpeg2000"]) == 0
    whole, reduced = read_rows(tmp_path / "whole"), read_rows(tmp_path / "reduced")
    assert reduced[0]["notes"].endswith("decoded at 1/2 of its resolution")
    assert "resolution" not in whole[0]["notes"] + reduced[1]["notes"]
    assert [row["sha256"] for row in whole] == [row["sha256"] for row in reduced]
    assert (reduced[0]["rows"], reduced[0]["columns"]) == ("1600", "1600")
    assert reduced[0]["decision"] == whole[0]["decision"]
    scores = [name for name in whole[0] if name.startswith("probability_")]
    assert scores
    for name in scores:
        assert abs(float(reduced[0][name]) - float(whole[0][name])) < 0.02
    assert {n: v for n, v in reduced[1].items()} == {n: v for n, v in whole[1].items()}
    assert len(list((tmp_path / "reduced" / "heatmaps").iterdir())) == 2


def test_a_run_does_not_change_between_whole_and_reduced(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = ["predict", str(inbox), "--no-report", "--no-heatmaps", "--workers", "1", "-q"]
    plain += ["-o", str(tmp_path / "out")]
    assert run([*plain, "--reduced-jpeg2000"]) == 0
    assert run([*plain, "--resume"]) == 2
    assert "reduced_jpeg2000" in capsys.readouterr().err


def test_objects_for_the_archive_need_the_whole_image(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(inbox), "-o", str(tmp_path / "out"), "--reduced-jpeg2000"]
    assert run([*arguments, "--dicom", str(tmp_path / "objects")]) == 2
    assert "--reduced-jpeg2000 and --dicom exclude each other" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
