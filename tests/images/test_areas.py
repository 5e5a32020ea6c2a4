"""The quick way to shrink gives what OpenCV gives, up to how a half is rounded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from chestx.images.areas import MIN_PIXELS, resize_by_area


def make_picture(height: int, width: int) -> np.ndarray:
    """Noise over a slope, with black and white patches."""
    picture = np.random.default_rng(height).integers(0, 256, (height, width), dtype=np.uint8)
    picture[: height // 5] = 255
    picture[:, width // 2 : width // 2 + 40] = 0
    return picture


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 1024), (1025, 1031), (1300, 900), (2000, 600)]
)
@pytest.mark.parametrize("size", [(224, 224), (512, 381)])
def test_it_is_the_resize_by_area_of_opencv_up_to_rounding(
    height: int, width: int, size: tuple[int, int]
) -> None:
    picture = make_picture(height, width)
    assert picture.size >= MIN_PIXELS
    expected = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(int)
    gap = np.abs(resize_by_area(picture, size) - expected)
    assert gap.max() <= 1
    assert (gap > 0).mean() < 1e-3


def test_every_grey_value_stays_what_it_is() -> None:
    for grey in (0, 1, 127, 254, 255):
        picture = np.full((1100, 1000), grey, np.uint8)
        assert (resize_by_area(picture, (224, 224)) == grey).all()


def test_the_share_of_a_row_at_an_edge_goes_to_both_sides() -> None:
    picture = np.zeros((1001, 1100), np.uint8)
    picture[500] = 200  # The middle row: half of it lies in each of two bands.
    shrunk = resize_by_area(picture, (550, 2))
    np.testing.assert_array_equal(shrunk, round(100 / 500.5))


def test_it_takes_views_and_read_only_pictures() -> None:
    picture = make_picture(1100, 2200)[:, ::2]
    whole = np.ascontiguousarray(picture)
    picture.flags.writeable = False
    np.testing.assert_array_equal(
        resize_by_area(picture, (224, 224)), resize_by_area(whole, (224, 224))
    )


@pytest.mark.parametrize(("height", "width"), [(300, 200), (2048, 1024), (1100, 1000), (1200, 900)])
def test_small_and_even_ratios_and_enlarging_are_left_to_opencv(height: int, width: int) -> None:
    picture = make_picture(height, width)
    for size in ((512, 1024), (width, height)):
        expected = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(resize_by_area(picture, size), expected)
