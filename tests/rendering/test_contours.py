"""Outlines of the strong parts of a heatmap."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from chestx.domain import (
    Decision,
    Finding,
    FindingDecision,
    ImageHeader,
    ModelIdentity,
    OperatingPoint,
    Report,
)
from chestx.rendering.contours import MOST_POINTS, MOST_REGIONS, Region, find_regions
from chestx.rendering.overlay import draw_heatmap

POINT = OperatingPoint(0.5, 0.5, 0.5)


def make_report(cells: np.ndarray | None, *, rows: int = 700, columns: int = 700) -> Report:
    """A report of one finding, A, with a map on a scale of 4."""
    finding = Finding("A", "a", 0.9, FindingDecision.POSITIVE, POINT)
    return Report(
        source="",
        sha256="",
        header=ImageHeader(format="PNG", rows=rows, columns=columns),
        model=ModelIdentity("m", "1", "0"),
        decision=Decision.POSITIVE,
        findings=(finding,),
        any_finding=None,
        probabilities={"A": 0.9},
        scope_reasons=(),
        flags=(),
        interpretation="",
        distance=None,
        shown_label="A",
        map_scales={"A": 4.0},
        logits=np.zeros(1, np.float32),
        embedding=np.zeros(1, np.float32),
        maps=None if cells is None else (4 * cells[None]).astype(np.float32),
        preview=None,
    )


def make_spots(*spots: tuple[float, float, float], grid: tuple[int, int] = (14, 14)) -> np.ndarray:
    """Gaussian spots at x, y in cells, each with its peak; 2 cells wide at half of 1."""
    rows, columns = np.mgrid[: grid[0], : grid[1]] + 0.5
    width = 2 / 1.17741  # Half width at half height in standard deviations.
    cells = [
        peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / width**2)
        for x, y, peak in spots
    ]
    return np.asarray(sum(cells))


def find(cells: np.ndarray, **size: int) -> tuple[Region, ...]:
    return find_regions(make_report(cells, **size), key="A")


def fill(regions: tuple[Region, ...], shape: tuple[int, int]) -> np.ndarray:
    """A mask of the pixels whose centres lie within."""
    mask = np.zeros(shape, np.uint8)
    for region in regions:
        # Fixed point with 8 bits; the centre of the first pixel is 0, 0 to OpenCV.
        points = np.round((region.points - 0.5) * 256).astype(np.int32)
        cv2.fillPoly(mask, [points], 1, shift=8)
    return mask


@pytest.mark.parametrize(("rows", "columns"), [(700, 700), (2800, 700), (140, 3500), (5001, 4011)])
def test_the_outline_of_a_round_spot_is_its_half_strength_line(rows: int, columns: int) -> None:
    (region,) = find(make_spots((6.3, 4.6, 1.0)), rows=rows, columns=columns)
    cells = region.points * 14 / (columns, rows)
    distances = np.hypot(*(cells - (6.3, 4.6)).T)
    assert np.abs(distances - 2).max() < 0.06
    assert region.strength == pytest.approx(1, abs=0.02)
    assert (region.points[0] == region.points[-1]).all()
    assert 20 < len(region.points) <= MOST_POINTS


@pytest.mark.parametrize("shape", [(900, 600), (600, 900), (512, 128), (333, 777)])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_outlined_is_what_is_drawn_at_half_strength(
    shape: tuple[int, int], seed: int
) -> None:
    cells = np.random.default_rng(seed).random((7, 7))
    report = make_report(cells, rows=shape[0], columns=shape[1])
    drawn = draw_heatmap(np.full(shape, 0, np.uint8), report, key="A").max(axis=2)
    # On black the brightest channel is red, which rises with evidence.
    half = draw_heatmap(
        np.zeros((8, 8), np.uint8), make_report(np.full((7, 7), 0.5), rows=8, columns=8), key="A"
    ).max()
    regions = find_regions(report, key="A")
    wrong = fill(regions, shape) != (drawn >= half)
    # No place is wrong that is wider than a tenth of a cell or, in a small image, five pixels.
    side = max(5, min(shape) // 70)
    left = cv2.erode(wrong.astype(np.uint8), np.ones((side, side), np.uint8))
    assert not left.any()


def test_several_spots_are_several_regions_the_strongest_first() -> None:
    regions = find(make_spots((3, 3, 0.7), (11, 3, 1.0), (7, 11, 0.9)))
    assert [round(region.strength, 1) for region in regions] == [1.0, 0.9, 0.7]
    centres = [region.points[:-1].mean(axis=0) / 50 for region in regions]
    assert np.allclose(centres, [(11, 3), (7, 11), (3, 3)], atol=0.3)


@pytest.mark.parametrize(
    ("x", "y", "on_edge"), [(0, 7, (0, None)), (14, 7, (700, None)), (7, 0, (None, 0))]
)
def test_a_spot_at_the_border_is_closed_along_it(
    x: float, y: float, on_edge: tuple[float | None, float | None]
) -> None:
    (region,) = find(make_spots((x, y, 1.0)))
    for axis, edge in enumerate(on_edge):
        if edge is not None:
            along = region.points[region.points[:, axis] == edge, 1 - axis]
            assert np.ptp(along) / 50 == pytest.approx(4, abs=0.1)
    assert region.points.min() >= 0
    assert region.points.max() <= 700


def test_a_full_map_is_the_whole_image() -> None:
    (region,) = find(np.ones((7, 7)), rows=900, columns=600)
    corners = [(0, 0), (600, 0), (600, 900), (0, 900)]
    assert {tuple(point) for point in region.points} == set(corners)
    assert len(region.points) == 5


def test_a_line_runs_clockwise() -> None:
    (region,) = find(make_spots((7, 7, 1.0)))
    x, y = region.points.T
    assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0


@pytest.mark.parametrize("cells", [np.zeros((7, 7)), np.full((7, 7), 0.49), -np.ones((7, 7)), None])
def test_weak_evidence_or_none_has_no_region(cells: np.ndarray | None) -> None:
    assert find_regions(make_report(cells), key="A") == ()


def test_a_hole_is_not_outlined() -> None:
    cells = np.zeros((14, 14))
    cells[3:11, 3:11] = 1
    cells[5:9, 5:9] = 0
    (region,) = find(cells)
    assert fill((region,), (700, 700))[350, 350] == 1


def test_parts_that_meet_at_a_corner_are_two() -> None:
    cells = np.zeros((2, 2))
    cells[0, 0] = cells[1, 1] = 0.9
    assert len(find(cells)) == 2


def test_a_ragged_map_keeps_to_the_most_regions_and_points() -> None:
    cells = np.random.default_rng(0).random((40, 40))
    regions = find(cells)
    assert len(regions) == MOST_REGIONS
    assert max(len(region.points) for region in regions) <= MOST_POINTS


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (9, 1), (224, 224)])
def test_a_map_may_have_any_size(grid: tuple[int, int]) -> None:
    (region,) = find(np.ones(grid), rows=16, columns=4000)
    assert tuple(region.points.max(axis=0)) == (4000, 16)


def test_points_cannot_be_changed() -> None:
    (region,) = find(np.ones((7, 7)))
    with pytest.raises(ValueError, match="read-only"):
        region.points[0] = 1
