"""Altered images are what their names say."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from chestx.evaluation.alterations import (
    FLIP,
    LUNGS,
    ROBUSTNESS,
    SHORTCUTS,
    Alteration,
    add_noise,
    blur,
    change_contrast,
    change_gamma,
    compress_jpeg,
    crop,
    frame,
    hide_box,
    rotate,
    shrink_and_enlarge,
)

SIZE = 224
EVERYTHING = (*SHORTCUTS, FLIP, *ROBUSTNESS)


@pytest.fixture
def picture() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.asarray(60 + 0.4 * x + 0.2 * y + 20 * np.sin(x / 9) * np.cos(y / 7), dtype=np.uint8)


def alter(alteration: Alteration, picture: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.asarray(alteration.apply(picture, 1.0, np.random.default_rng(seed)))


@pytest.mark.parametrize("alteration", EVERYTHING, ids=lambda x: x.key)
def test_an_alteration_changes_a_copy_and_keeps_the_size(
    picture: np.ndarray, alteration: Alteration
) -> None:
    before = picture.copy()
    after = alter(alteration, picture)
    assert after.shape == picture.shape
    assert after.dtype == np.uint8
    np.testing.assert_array_equal(picture, before)
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, alter(alteration, picture))


def test_names_are_not_used_twice() -> None:
    for names in ([x.key for x in EVERYTHING], [x.words for x in EVERYTHING]):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("alteration", SHORTCUTS[:3], ids=lambda x: x.key)
def test_a_mask_tells_nothing_of_what_it_hides(picture: np.ndarray, alteration: Alteration) -> None:
    other = picture.copy()
    other[60:150, 60:150] = 255
    np.testing.assert_array_equal(alter(alteration, picture), alter(alteration, other))


def test_a_mask_keeps_what_is_around_it(picture: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    masked = hide_box(picture, 1.0, generator, box=LUNGS)
    left, right, top, bottom = (round(edge * SIZE) for edge in LUNGS)
    outside = np.ones(picture.shape, dtype=bool)
    outside[top:bottom, left:right] = False
    np.testing.assert_array_equal(masked[outside], picture[outside])
    assert set(masked[~outside].tolist()) == {round(float(picture[outside].mean()))}


def test_shuffled_pixels_keep_their_grey_values_only(picture: np.ndarray) -> None:
    shuffled = alter(SHORTCUTS[4], picture)
    np.testing.assert_array_equal(np.sort(shuffled.ravel()), np.sort(picture.ravel()))
    assert abs(np.corrcoef(shuffled.ravel(), picture.ravel())[0, 1]) < 0.05
    assert not np.array_equal(shuffled, alter(SHORTCUTS[4], picture, seed=1))


def test_the_mirror_image_of_the_mirror_image_is_the_image(picture: np.ndarray) -> None:
    np.testing.assert_array_equal(alter(FLIP, alter(FLIP, picture)), picture)


@pytest.mark.parametrize("aspect", [1.0, 1.5, 0.7])
@pytest.mark.parametrize("degrees", [-15, 10])
def test_a_stretched_image_is_turned_as_it_was_shown(aspect: float, degrees: int) -> None:
    height = 300
    width = round(height * aspect)
    shown = np.zeros((height, width), dtype=np.uint8)
    cv2.line(shown, (width // 2, height // 2), (width // 2, height // 5), (255,), 9)
    square = cv2.resize(shown, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    turned = rotate(square, aspect, np.random.default_rng(0), degrees=degrees)
    y, x = np.nonzero(turned > 100)
    across, up = (x.mean() - SIZE / 2) * aspect, SIZE / 2 - y.mean()
    # The upright line leans to the left when the image is turned anticlockwise.
    assert math.degrees(math.atan2(-across, up)) == pytest.approx(degrees, abs=1)


def test_turning_lets_no_black_in_at_the_corners(picture: np.ndarray) -> None:
    turned = rotate(picture, 1.0, np.random.default_rng(0), degrees=15)
    assert turned.min() >= picture.min()


def test_grey_values_move_as_said(picture: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    flat = change_contrast(picture, 1.0, generator, factor=0.7)
    assert flat.std() == pytest.approx(0.7 * picture.std(), rel=0.02)
    assert flat.mean() == pytest.approx(picture.mean(), abs=0.5)
    assert change_gamma(picture, 1.0, generator, gamma=1.4).mean() < picture.mean()
    noisy = add_noise(picture, 1.0, generator, sigma=10)
    assert (noisy.astype(float) - picture).std() == pytest.approx(10, rel=0.03)
    assert (
        alter(next(x for x in ROBUSTNESS if x.key == "inverted"), picture) == 255 - picture
    ).all()


def test_detail_is_lost_as_said(picture: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    point = np.zeros((SIZE, SIZE), dtype=np.uint8)
    point[112, 112] = 255
    row = blur(point, 1.0, generator, sigma=2)[112].astype(float)
    spread = np.sqrt((row * (np.arange(SIZE) - 112) ** 2).sum() / row.sum())
    assert spread == pytest.approx(2, abs=0.3)  # Grey values of the tails are rounded to 0.
    tiny = shrink_and_enlarge(add_noise(picture, 1.0, generator, sigma=20), 1.0, generator, side=16)
    assert np.abs(np.diff(tiny.astype(float))).max() <= 255 * 16 / SIZE
    assert tiny.mean() == pytest.approx(picture.mean(), abs=2)
    small = np.zeros((16, 16), dtype=np.uint8)
    assert shrink_and_enlarge(small, 1.0, generator, side=16) is small
    errors = [
        np.abs(compress_jpeg(picture, 1.0, generator, quality=q).astype(float) - picture).mean()
        for q in (30, 10)
    ]
    assert 0 < errors[0] < errors[1]


def test_a_crop_cuts_away_half_of_its_share_on_each_side(picture: np.ndarray) -> None:
    cropped = crop(picture, 1.0, np.random.default_rng(0), share=0.2)
    for here, there in (((0, 0), (22, 22)), ((-1, -1), (201, 201))):
        assert abs(int(cropped[here]) - int(picture[there])) <= 2


@pytest.mark.parametrize(("only_sides", "top"), [(False, 22), (True, 0)])
def test_a_frame_is_black_and_holds_the_whole_image(
    picture: np.ndarray, only_sides: bool, top: int
) -> None:
    framed = frame(picture, 1.0, np.random.default_rng(0), share=0.2, only_sides=only_sides)
    inside = framed[top : SIZE - top, 22 : SIZE - 22]
    outside = framed.sum(dtype=np.int64) - inside.sum(dtype=np.int64)
    assert outside == 0
    small = cv2.resize(picture, inside.shape[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(inside, small)
    assert inside.min() > 0


def test_burnt_in_text_stays_in_its_corner(picture: np.ndarray) -> None:
    marked = alter(next(x for x in ROBUSTNESS if x.key == "text"), picture)
    y, x = np.nonzero(marked != picture)
    assert y.max() < SIZE / 8
    assert x.max() < SIZE / 2
    assert marked[y, x].max() > 240
