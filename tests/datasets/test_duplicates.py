"""Copies are found however they were changed, and strangers are not taken for copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.datasets.duplicates import Likeness, Pair, find_duplicates
from chestx.datasets.fingerprints import Fingerprint, take_fingerprints
from chestx.datasets.likeness import Variant, describe_thumbnail, list_variants

STRANGERS = (
    "child-1-normal.jpg",
    "child-2-normal.png",
    "child-3-pneumonia.jpg",
    "child-4-pneumonia.png",
    "adult-1-no-finding.png",
    "adult-3-pneumonia.jpg",
    "adult-5-covid19.jpg",
)

CHANGES: dict[str, Callable[[Any], Any]] = {
    "stretched": lambda image: cv2.resize(image, (300, 260), interpolation=cv2.INTER_AREA),
    "cropped": lambda image: image[: round(image.shape[0] * 0.9), round(image.shape[1] * 0.08) :],
    "compressed": lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE
    ),
    "darker": lambda image: (255 * (image / 255.0) ** 1.6).astype(np.uint8),
    "framed": lambda image: cv2.copyMakeBorder(image, 24, 24, 24, 24, cv2.BORDER_CONSTANT, value=0),
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: np.rot90(image),
}


def search(paths: list[Path]) -> list[Pair]:
    names = [str(path) for path in paths]
    taken = take_fingerprints(names, workers=0)
    prints = {i: print_ for i, print_ in enumerate(taken) if isinstance(print_, Fingerprint)}
    assert len(prints) == len(paths)
    return find_duplicates(prints, names, workers=0)


@pytest.fixture
def strangers(samples: Path) -> list[Path]:
    return [samples / name for name in STRANGERS]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_strangers(
    strangers: list[Path], tmp_path: Path, change: str
) -> None:
    image = cv2.imread(str(strangers[2]), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), np.ascontiguousarray(CHANGES[change](image)))
    (pair,) = search([*strangers, copy])
    assert (pair.first, pair.second) == (2, len(strangers))
    assert pair.likeness is Likeness.SAME_IMAGE
    assert pair.details >= 60
    if change in ("mirrored", "turned"):
        assert change in pair.change


def test_an_inverted_copy_is_found(strangers: list[Path], tmp_path: Path) -> None:
    image = cv2.imread(str(strangers[0]), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    copy = tmp_path / "copy.png"
    cv2.imwrite(str(copy), 255 - image)
    (pair,) = search([*strangers, copy])
    assert (pair.likeness, pair.change) == (Likeness.SAME_IMAGE, "")


def test_strangers_are_no_pairs(strangers: list[Path]) -> None:
    assert search(strangers) == []


def test_equal_files_and_equal_pixels_are_told_apart(strangers: list[Path], tmp_path: Path) -> None:
    png = strangers[1]
    image = cv2.imread(str(png), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    same_file, same_pixels = tmp_path / "file.png", tmp_path / "pixels.bmp"
    shutil.copy(png, same_file)
    cv2.imwrite(str(same_pixels), image)
    pairs = search([*strangers, same_file, same_pixels])
    kinds = [(pair.first, pair.second, pair.likeness) for pair in pairs]
    assert kinds == [
        (1, 7, Likeness.SAME_FILE),
        (1, 8, Likeness.SAME_PIXELS),
    ]


def test_blank_images_are_no_changed_copies(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for value, path in zip((30, 31), paths, strict=True):
        cv2.imwrite(str(path), np.full((300, 300), value, np.uint8))
    assert search(paths) == []


def test_a_window_is_described_as_the_crop_that_it_shows() -> None:
    thumbnail = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    variant = Variant(row=3, column=6, side=58)
    expected = describe_thumbnail(np.ascontiguousarray(thumbnail[3:61, 6:64]))
    assert np.array_equal(describe_thumbnail(variant.apply(thumbnail)), expected)


def test_there_are_eight_ways_round_and_27_windows() -> None:
    variants = list_variants()
    assert variants[0] == Variant()
    assert len(set(variants)) == 35
    assert not describe_thumbnail(np.full((64, 64), 7, np.uint8)).any()
