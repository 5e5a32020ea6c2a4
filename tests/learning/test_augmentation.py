"""Changes of training images: each one changes something, keeps the form and follows its seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chestx.learning.augmentation import augment, mix_pair, take_style

pytestmark = pytest.mark.torch

CHANGES: dict[str, Any] = {
    "augment_rotation_degrees": 15.0,
    "augment_flip": True,
    "augment_shift": 0.1,
    "augment_scale": 0.2,
    "augment_aspect": 0.2,
    "augment_gamma": 0.4,
    "augment_contrast": 0.4,
    "augment_brightness": 0.2,
    "augment_noise": 15.0,
    "augment_blur": 2.0,
    "augment_downsample": 1.0,
    "augment_jpeg": 1.0,
    "augment_equalise": 1.0,
    "augment_border": 0.2,
    "augment_text": 1.0,
    "augment_erase": 1.0,
}


@pytest.fixture(scope="module")
def radiograph(samples: Path) -> np.ndarray:
    path = samples / "adult-1-no-finding.png"
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    return np.asarray(cv2.resize(image, (96, 80)), dtype=np.uint8)


def test_nothing_is_changed_unless_it_is_asked_for(
    radiograph: np.ndarray, make_config: Callable[..., Any]
) -> None:
    changed = augment(radiograph, make_config(), generator=np.random.default_rng(0))
    assert np.array_equal(changed, radiograph)


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_changes_and_keeps_the_form(
    radiograph: np.ndarray, make_config: Callable[..., Any], name: str
) -> None:
    config, before = make_config(**{name: CHANGES[name]}), radiograph.copy()
    seeds = range(8)
    made = [augment(radiograph, config, generator=np.random.default_rng(s)) for s in seeds]
    again = [augment(radiograph, config, generator=np.random.default_rng(s)) for s in seeds]
    assert np.array_equal(radiograph, before)
    assert all(image.shape == (80, 96) and image.dtype == np.uint8 for image in made)
    assert all(np.array_equal(one, other) for one, other in zip(made, again, strict=True))
    assert any(not np.array_equal(image, radiograph) for image in made)
    # It is still the same radiograph.
    likeness = [np.corrcoef(image.ravel(), radiograph.ravel())[0, 1] for image in made]
    if name != "augment_flip":
        assert np.median(likeness) > 0.3


def test_a_flip_is_exact_and_happens_half_the_time(
    radiograph: np.ndarray, make_config: Callable[..., Any]
) -> None:
    config, generator = make_config(augment_flip=True), np.random.default_rng(0)
    made = [augment(radiograph, config, generator=generator) for _ in range(100)]
    flipped = sum(np.array_equal(image, radiograph[:, ::-1]) for image in made)
    kept = sum(np.array_equal(image, radiograph) for image in made)
    assert flipped + kept == 100
    assert 35 <= flipped <= 65


def test_every_change_at_once_works_on_the_smallest_input(
    make_config: Callable[..., Any],
) -> None:
    small = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    generator = np.random.default_rng(1)
    for _ in range(50):
        changed = augment(small, make_config(**CHANGES), generator=generator)
        assert changed.shape == (16, 16)


def test_a_mixture_lies_between_its_images() -> None:
    first, second = (np.full((4, 4), grey, dtype=np.uint8) for grey in (100, 200))
    assert mix_pair(first, second, share=0.25)[0, 0] == 175
    assert np.array_equal(mix_pair(first, second, share=1.0), first)


def test_style_is_taken_and_anatomy_is_kept(radiograph: np.ndarray) -> None:
    """Of a picture that is brighter, flatter and full of grain."""
    grain = np.random.default_rng(0).integers(100, 256, radiograph.shape).astype(np.uint8)
    assert np.abs(take_style(radiograph, grain, share=0.0).astype(int) - radiograph).max() <= 1
    same = take_style(radiograph, radiograph, share=1.0)
    assert np.abs(same.astype(int) - radiograph).max() <= 1
    mixed = take_style(radiograph, grain, share=0.5)
    assert mixed.dtype == np.uint8
    expected = (radiograph.mean() + grain.mean()) / 2
    assert float(mixed.mean()) == pytest.approx(expected, abs=4)
    assert np.corrcoef(mixed.ravel(), radiograph.ravel())[0, 1] > 0.7
    assert abs(np.corrcoef(mixed.ravel(), grain.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("shape", [(16, 16), (15, 17)])
def test_style_of_a_blank_picture_is_defined(shape: tuple[int, int]) -> None:
    blank, white = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    assert not take_style(blank, blank, share=0.5).any()
    assert take_style(white, blank, share=1.0).max() <= 1
    assert take_style(blank, white, share=0.5).shape == shape
