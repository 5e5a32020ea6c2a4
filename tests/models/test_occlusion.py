"""Occlusion and RISE maps point at the pixels that a known score reads."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Float32, UInt8

from chestx.models.classifier import Classifier
from chestx.models.occlusion import (
    OCCLUSION_GRID,
    RISE_SIDE,
    compute_occlusion_maps,
    compute_rise_maps,
    score_evidence,
)

SIZE = 56


def read_corners(
    pixels: UInt8[np.ndarray, "batch size size"],
) -> Float32[np.ndarray, "batch 2"]:
    """Mean of the upper left quarter, and of the lower right one."""
    half = pixels.shape[1] // 2
    first = pixels[:, :half, :half].mean(axis=(1, 2))
    second = pixels[:, half:, half:].mean(axis=(1, 2))
    return np.stack([first, second], axis=1).astype(np.float32)


@pytest.fixture
def pixels() -> UInt8[np.ndarray, "size size"]:
    picture = np.full((SIZE, SIZE), 40, dtype=np.uint8)
    picture[: SIZE // 2, : SIZE // 2] = 200
    picture[SIZE // 2 :, SIZE // 2 :] = 200
    return picture


def test_an_occlusion_map_points_at_what_the_score_reads(pixels: np.ndarray) -> None:
    maps = compute_occlusion_maps(read_corners, pixels)
    assert maps.shape == (2, OCCLUSION_GRID, OCCLUSION_GRID)
    half = OCCLUSION_GRID // 2
    assert (maps[0, : half - 1, : half - 1] > 0).all()
    assert not maps[0, half + 1 :].any()
    assert not maps[0, :, half + 1 :].any()
    np.testing.assert_allclose(maps[1], maps[0, ::-1, ::-1], atol=1e-4)


def test_an_occlusion_map_is_the_score_that_is_lost(pixels: np.ndarray) -> None:
    maps = compute_occlusion_maps(read_corners, pixels, grid=4)
    # Around the second cell of the second row: pixels 7 to 35 of 56, 21 x 21 of them in the
    # quarter of 28 x 28, go from 200 to the mean of 120.
    assert maps[0, 1, 1] == pytest.approx(80 * 21**2 / 28**2, rel=1e-5)


def test_an_occlusion_map_needs_cells_that_hold_a_pixel(pixels: np.ndarray) -> None:
    for grid in (1, SIZE + 1):
        with pytest.raises(ValueError, match=f"grid: expected 2 to 56 cells, got {grid}"):
            compute_occlusion_maps(read_corners, pixels, grid=grid)


def test_a_rise_map_points_at_what_the_score_reads(pixels: np.ndarray) -> None:
    maps = compute_rise_maps(read_corners, pixels, seed=0)
    assert maps.shape == (2, RISE_SIDE, RISE_SIDE)
    half = RISE_SIDE // 2
    for found, inside, outside in (
        (maps[0], maps[0, :half, :half], maps[0, half:, half:]),
        (maps[1], maps[1, half:, half:], maps[1, :half, :half]),
    ):
        assert inside.mean() > 5 * abs(outside.mean())
        assert found.max() == inside.max()


def test_a_rise_map_is_the_same_for_the_same_seed_only(pixels: np.ndarray) -> None:
    first, again, other = (
        compute_rise_maps(read_corners, pixels, seed=seed, masks=20) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_rise_map_needs_two_masks(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="masks: expected 2 or more, got 1"):
        compute_rise_maps(read_corners, pixels, seed=0, masks=1)


def test_a_score_that_reads_nothing_gives_empty_maps(pixels: np.ndarray) -> None:
    def score(
        images: UInt8[np.ndarray, "batch size size"],
    ) -> Float32[np.ndarray, "batch 1"]:
        return np.ones((len(images), 1), dtype=np.float32)

    assert not compute_occlusion_maps(score, pixels, grid=4).any()
    assert not compute_rise_maps(score, pixels, seed=0, masks=10).any()


def test_evidence_of_a_softmax_sums_to_nothing(classifier: Classifier) -> None:
    size = classifier.card.input.size
    pixels = np.random.default_rng(0).integers(0, 255, (2, size, size), dtype=np.uint8)
    evidence = score_evidence(classifier)(pixels)
    logits = np.stack([prediction.logits for prediction in classifier.predict(pixels)])
    np.testing.assert_allclose(evidence.sum(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.diff(evidence), np.diff(logits), atol=1e-5)
