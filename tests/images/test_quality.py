"""Pixels that no model should answer for are found, and sound radiographs are not."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from chestx.domain import ImageHeader, Quality, Radiograph
from chestx.images.quality import assess_quality, load_orientation, rank_thumbnail
from chestx.images.reading import read_radiograph


def assess(pixels: np.ndarray, *, colourfulness: float = 0.0) -> Quality:
    height, width = pixels.shape
    header = ImageHeader(format="PNG", rows=height, columns=width, colourfulness=colourfulness)
    return assess_quality(Radiograph(np.ascontiguousarray(pixels), header))


def codes(quality: Quality) -> set[str]:
    return {reason.code for reason in quality.reasons}


@pytest.fixture(scope="module")
def chests(cxr: Path) -> list[np.ndarray]:
    """Validation radiographs of every source, 70 or so."""
    with (cxr / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["dev_split"] == "val"
            and row["label"] in ("NORMAL", "PNEUMONIA", "COVID19")
            and row["view"] != "L"
        ]
    return [read_radiograph(cxr / row["file"]).pixels for row in rows[::12]]


def smooth_noise(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (300, 300))
    blurred = cv2.GaussianBlur(noise, (0, 0), 12)
    return np.asarray(np.clip(128 + blurred / blurred.std() * 40, 0, 255), dtype=np.uint8)


def test_sound_radiographs_have_no_fault(chests: list[np.ndarray]) -> None:
    found = [codes(assess(chest)) for chest in chests]
    assert sum(map(bool, found)) <= len(chests) // 50


def test_inverted_radiographs_are_found_and_called_so(chests: list[np.ndarray]) -> None:
    found = [codes(assess(255 - chest)) for chest in chests]
    assert sum("inverted" in each for each in found) >= len(chests) - 1
    assert sum(each == {"inverted"} for each in found) >= 0.95 * len(chests)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_radiographs_are_found_and_called_so(chests: list[np.ndarray], turn: int) -> None:
    found = [codes(assess(np.rot90(chest, turn))) for chest in chests]
    assert sum("rotated" in each for each in found) >= len(chests) - 1
    assert sum(each == {"rotated"} for each in found) >= 0.95 * len(chests)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turned_and_inverted_radiographs_are_found_and_called_so(
    chests: list[np.ndarray], turn: int
) -> None:
    found = [codes(assess(255 - np.rot90(chest, turn))) for chest in chests]
    assert sum(map(bool, found)) >= 0.95 * len(chests)
    assert sum(each == {"inverted", "rotated"} for each in found) >= 0.9 * len(chests)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_inversion_is_found_whatever_the_exposure(chests: list[np.ndarray], gamma: float) -> None:
    for chest in chests[::4]:
        curved = (255 * (chest / 255.0) ** gamma).astype(np.uint8)
        assert "inverted" not in codes(assess(curved))
        assert "inverted" in codes(assess(255 - curved))


@pytest.mark.parametrize(
    ("name", "is_inverted"),
    [
        ("1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm", False),
        ("Fake_MONOHR1.dcm", True),
    ],
)
def test_a_file_that_claims_the_wrong_photometric_is_found(
    cxr: Path, name: str, is_inverted: bool
) -> None:
    quality = assess_quality(read_radiograph(cxr / "originals" / "dicom" / name))
    assert codes(quality) == ({"inverted"} if is_inverted else set())
    assert (quality.measures["positive_score"] < -5) == is_inverted


def test_a_real_min_is_white_chest_is_not_called_inverted() -> None:
    data_store = pytest.importorskip("data_store")
    path = Path(data_store.__file__).parent / "data" / "RG1_UNCR.dcm"
    assert codes(assess_quality(read_radiograph(path))) == set()


def test_the_sentence_names_value_and_limit() -> None:
    (reason,) = assess(np.full((200, 200), 77, np.uint8)).reasons
    assert reason.code == "blank"
    assert reason.sentence == "The image is blank: its grey values span 0 of 255, needed 40."


def test_orientation_is_told_in_plain_words_and_measured_in_the_measures(
    chests: list[np.ndarray],
) -> None:
    inverted, turned = assess(255 - chests[0]), assess(np.rot90(chests[0]).copy())
    assert [reason.sentence for reason in inverted.reasons] == [
        "The image looks inverted (bone dark, air bright), or is no frontal chest radiograph."
    ]
    assert [reason.sentence for reason in turned.reasons] == [
        "The image looks turned by a quarter or a half, or is no frontal chest radiograph."
    ]
    assert {"positive_score", "rotation_lead", "correction_lead"} <= inverted.measures.keys()


def test_low_contrast_is_found() -> None:
    assert "low_contrast" in codes(assess((smooth_noise() // 10 + 100).astype(np.uint8)))


@pytest.mark.parametrize(("value", "word"), [(0, "black"), (255, "white")])
def test_clipping_in_the_middle_is_found(value: int, word: str) -> None:
    pixels = smooth_noise()
    pixels[80:220, 60:240] = value
    (reason,) = [r for r in assess(pixels).reasons if r.code == "clipped"]
    assert f"of its middle is pure {word}, accepted up to 30%" in reason.sentence


def test_a_white_frame_is_not_clipping() -> None:
    framed = np.full((400, 400), 255, np.uint8)
    framed[50:350, 50:350] = smooth_noise()
    assert "clipped" not in codes(assess(framed))


def test_too_small_a_picture_is_found() -> None:
    (reason,) = [r for r in assess(smooth_noise()[:99]).reasons if r.code == "too_small"]
    assert reason.sentence == "The image is too small: shorter side 99 pixels, needed 100."


def test_a_colour_photograph_is_found_and_coloured_marks_are_flagged() -> None:
    photograph, marked = (
        assess(smooth_noise(), colourfulness=40.0),
        assess(smooth_noise(), colourfulness=2.0),
    )
    assert "colour" in codes(photograph)
    assert "coloured" not in photograph.flags
    assert "colour" not in codes(marked)
    assert "coloured" in marked.flags


def test_a_small_but_sufficient_picture_is_flagged() -> None:
    assert "low_resolution" in assess(smooth_noise()[:120]).flags
    assert assess(smooth_noise()).flags == ()


def test_ranks_of_the_inverse_are_the_negative() -> None:
    pixels = smooth_noise()
    pixels[:40] = 0  # ties
    np.testing.assert_allclose(rank_thumbnail(255 - pixels), -rank_thumbnail(pixels), atol=1e-6)
    assert not rank_thumbnail(np.full((30, 30), 9, np.uint8)).any()


def test_the_shipped_scores_are_plain_and_whole() -> None:
    orientation = load_orientation()
    assert orientation.positive.shape == orientation.upright.shape == (576,)
    assert orientation.inverted_limit <= 0 <= orientation.rotated_limit
    assert orientation.corrected_limit >= 0
