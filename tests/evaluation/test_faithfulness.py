"""Maps that know what a score reads beat maps that do not."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.evaluation.faithfulness import (
    ROAD_NOISE,
    blur_strongly,
    enlarge_map,
    fill_mean,
    impute_pixels,
    integrate_curve,
    make_centre_map,
    make_random_map,
    measure_curve,
    measure_road,
    rank_pixels,
)

SIZE = 56


def read_corner(pixels: np.ndarray) -> np.ndarray:
    """Brightness of the upper left quarter, 0 to 1."""
    return np.asarray(pixels[:, : SIZE // 2, : SIZE // 2].mean(axis=(1, 2)) / 255)


@pytest.fixture
def picture() -> np.ndarray:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 40, (SIZE, SIZE))
    pixels[8:22, 8:22] += 200
    return pixels.astype(np.uint8)


@pytest.fixture
def true_map() -> np.ndarray:
    heatmap = np.zeros((7, 7))
    heatmap[1:3, 1:3] = 1
    return heatmap


def order_of(heatmap: np.ndarray) -> np.ndarray:
    return rank_pixels(heatmap, SIZE, generator=np.random.default_rng(0))


def test_a_map_is_stretched_over_the_whole_image() -> None:
    heatmap = np.zeros((2, 2))
    heatmap[0, 1] = 1
    large = enlarge_map(heatmap, SIZE)
    assert large[0, -1] == 1
    assert large[-1, 0] == large[0, 0] == large[-1, -1] == 0


def test_pixels_are_ranked_from_the_most_relevant_and_equal_ones_by_lot() -> None:
    order = order_of(np.array([[0.0, 1.0], [0.0, 0.0]]))
    assert sorted(order.tolist()) == list(range(SIZE * SIZE))
    rows, columns = np.divmod(order[:100], SIZE)
    assert rows.max() < SIZE / 2
    assert columns.min() >= SIZE / 2
    flat = order_of(np.zeros((2, 2)))
    assert abs(np.corrcoef(flat, np.arange(SIZE * SIZE))[0, 1]) < 0.05


def test_a_curve_goes_from_the_start_to_the_end(picture: np.ndarray) -> None:
    end = fill_mean(picture)
    curve = measure_curve(read_corner, picture, end, order_of(np.ones((2, 2))), steps=4)
    assert curve.shape == (5,)
    assert curve[0] == read_corner(picture[None])[0]
    assert curve[-1] == read_corner(end[None])[0]


def test_areas_under_curves_are_those_of_trapezoids() -> None:
    assert integrate_curve(np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert integrate_curve(np.array([1.0, 0.0, 0.0])) == pytest.approx(0.25)


def test_a_true_map_beats_a_random_one_and_the_middle(
    picture: np.ndarray, true_map: np.ndarray
) -> None:
    maps = {
        "true": true_map,
        "random": make_random_map(generator=np.random.default_rng(1)),
        "centre": make_centre_map(),
    }
    deletion, insertion, road = {}, {}, {}
    for name, heatmap in maps.items():
        order, blurred = order_of(heatmap), blur_strongly(picture)
        deletion[name] = integrate_curve(
            measure_curve(read_corner, picture, fill_mean(picture), order)
        )
        insertion[name] = integrate_curve(measure_curve(read_corner, blurred, picture, order))
        road[name] = measure_road(read_corner, picture, order, generator=np.random.default_rng(0))
    assert min(deletion, key=deletion.__getitem__) == "true"
    assert max(insertion, key=insertion.__getitem__) == "true"
    assert max(road, key=road.__getitem__) == "true"
    assert road["true"] > 0.1


def test_removed_pixels_are_imputed_from_their_neighbours() -> None:
    ramp = np.repeat(np.linspace(20, 220, SIZE)[None], SIZE, axis=0).round().astype(np.uint8)
    is_removed = np.zeros(ramp.shape, dtype=bool)
    is_removed[10:46, 10:46] = True
    imputed = impute_pixels(ramp, is_removed, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(imputed[~is_removed], ramp[~is_removed])
    # The smooth surface between the edges of a ramp is the ramp, up to noise.
    errors = imputed[is_removed].astype(float) - ramp[is_removed]
    assert abs(errors.mean()) < 0.5
    assert errors.std() == pytest.approx(ROAD_NOISE, rel=0.15)


def test_imputed_pixels_solve_the_equations_of_their_neighbours(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.evaluation.faithfulness.ROAD_NOISE", 0.0)
    is_removed = np.random.default_rng(3).random(picture.shape) < 0.8
    filled = impute_pixels(picture, is_removed, generator=np.random.default_rng(0)).astype(float)
    padded = np.pad(filled, 1, constant_values=np.nan)
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    for y, x in np.argwhere(is_removed)[::97]:
        around = padded[y : y + 3, x : x + 3]
        known = ~np.isnan(around)
        mean = (around[known] * weights[known]).sum() / weights[known].sum()
        assert filled[y, x] == pytest.approx(mean, abs=1.5)


def test_nothing_removed_is_the_image(picture: np.ndarray) -> None:
    nothing = np.zeros(picture.shape, dtype=bool)
    assert impute_pixels(picture, nothing, generator=np.random.default_rng(0)) is picture


def test_the_spot_in_the_middle_is_in_the_middle() -> None:
    spot = make_centre_map()
    np.testing.assert_allclose(spot, spot[::-1, ::-1])
    assert spot[14, 14] == spot.max()
