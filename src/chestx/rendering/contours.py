"""Outlines of the strong parts of a heatmap, for objects that hold lines and not colours.

An outline is where the surface that ``overlay.draw_heatmap`` draws passes one half of its
fixed scale. It shows what moved a score; it is not the boundary of anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from chestx.domain import Report
from chestx.shapes import Bool, Float32, Float64, Int64

LEVEL = 0.5
"""Share of the fixed scale at which an outline runs."""

MOST_REGIONS = 8
MOST_POINTS = 64

_LEAST_SAMPLES = 64  # A side: nine or so a cell.
_TOLERANCE = 0.005  # Of a cell: how far points that are left out may lie from the line, at first.
_OUTSIDE = -1.0

# Sides of a square of four samples, and for the corners that are inside (bits, from the
# highest: top left, top right, bottom right, bottom left) the sides where a line enters and
# leaves with the inside to its right. Where opposite corners are inside, they are not joined.
_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_CROSSINGS = (
    (1, _LEFT, _BOTTOM),
    (2, _BOTTOM, _RIGHT),
    (3, _LEFT, _RIGHT),
    (4, _RIGHT, _TOP),
    (5, _RIGHT, _TOP),
    (5, _LEFT, _BOTTOM),
    (6, _BOTTOM, _TOP),
    (7, _LEFT, _TOP),
    (8, _TOP, _LEFT),
    (9, _TOP, _BOTTOM),
    (10, _TOP, _LEFT),
    (10, _BOTTOM, _RIGHT),
    (11, _TOP, _RIGHT),
    (12, _RIGHT, _LEFT),
    (13, _RIGHT, _BOTTOM),
    (14, _BOTTOM, _LEFT),
)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """One strong part of a heatmap.

    Attributes:
        points: x (column) and y (row) in pixels of the full-size image, from 0, 0 at the top
            left corner of the top left pixel to columns, rows; the last equals the first;
            clockwise; read-only. Source: PS3.3 C.10.5, C.18.6.
        strength: peak of the surface within, 0 to 1.
    """

    points: Float64[np.ndarray, "count 2"]
    strength: float

    def __post_init__(self) -> None:
        self.points.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class _Surface:
    """The drawn map on a grid, within a ring of nothing that lies on the image's border.

    Attributes:
        values: the samples, 0 to 1; ``_OUTSIDE`` in the ring.
        across, down: where the columns and rows of samples lie, in cells.
    """

    values: Float32[np.ndarray, "rows columns"]
    across: Float64[np.ndarray, " columns"]
    down: Float64[np.ndarray, " rows"]


def find_regions(report: Report, *, key: str) -> tuple[Region, ...]:
    """Outlines where the drawn map of a label passes one half of its fixed scale.

    A part that touches the image's border is closed along it; a hole within a part is not
    outlined.

    Args:
        report: without maps it has no regions.
        key: of the label.

    Returns:
        The strongest first, at most ``MOST_REGIONS`` of at most ``MOST_POINTS`` points.
    """
    cells = report.map_of(key)
    if cells is None or not cells.any():
        return ()
    surface = _sample_surface(cells)
    inside = surface.values >= LEVEL
    # Joined by sides alone, as the lines are: so each part has one line around it.
    count, parts = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, np.asarray(parts, np.intp), surface.values)
    size = report.header.columns, report.header.rows
    regions = []
    for edges in _trace_lines(inside):
        inner = _find_inner_ends(inside, edges)
        corners = _leave_out_points(_place_points(surface, edges))
        if _is_outer(corners):
            # In this order, by which the far border is met exactly.
            points = np.concatenate([corners, corners[:1]]) / cells.shape[::-1] * size
            regions.append(Region(points, float(peaks[parts.flat[inner[0]]])))
    return tuple(sorted(regions, key=lambda region: -region.strength)[:MOST_REGIONS])


def _sample_surface(cells: Float32[np.ndarray, "map_height map_width"]) -> _Surface:
    height, width = cells.shape
    fineness = ceil(_LEAST_SAMPLES / max(cells.shape))
    fine = cv2.resize(
        cells, (width * fineness, height * fineness), interpolation=cv2.INTER_CUBIC
    ).clip(0, 1)
    # Level from the outermost samples to the border, as a picture is.
    values = np.pad(np.pad(fine, 1, mode="edge"), 1, constant_values=_OUTSIDE)
    return _Surface(values, _place_samples(width, fineness), _place_samples(height, fineness))


def _place_samples(cells: int, fineness: int) -> Float64[np.ndarray, " samples"]:
    centres = (np.arange(cells * fineness) + 0.5) / fineness
    return np.concatenate([[0, 0], centres, [cells, cells]])


def _trace_lines(inside: Bool[np.ndarray, "rows columns"]) -> Iterator[Int64[np.ndarray, " edges"]]:
    """The lines around all parts, as the grid's edges that they cross in turn (marching squares).

    An edge is numbered by its first sample; those that run down follow those that run across.
    """
    bits = inside.astype(np.uint8)
    corners = bits[:-1, :-1] << 3 | bits[:-1, 1:] << 2 | bits[1:, 1:] << 1 | bits[1:, :-1]
    rows, columns = np.nonzero((corners != 0) & (corners != 15))
    found = corners[rows, columns]
    first = rows * inside.shape[1] + columns
    last = inside.size
    sides = np.stack([first, first + last + 1, first + inside.shape[1], first + last])
    following: dict[int, int] = {}
    for bits_inside, enter, leave in _CROSSINGS:
        here = found == bits_inside
        following.update(zip(sides[enter, here].tolist(), sides[leave, here].tolist(), strict=True))
    while following:
        start, edge = following.popitem()
        line = [start]
        while edge != start:
            line.append(edge)
            edge = following.pop(edge)
        yield np.array(line)


def _find_ends(
    shape: tuple[int, ...], edges: Int64[np.ndarray, " edges"]
) -> tuple[Int64[np.ndarray, " edges"], Int64[np.ndarray, " edges"]]:
    """The two samples that each edge joins."""
    count = shape[0] * shape[1]
    first = edges % count
    return first, first + np.where(edges < count, 1, shape[1])


def _find_inner_ends(
    inside: Bool[np.ndarray, "rows columns"], edges: Int64[np.ndarray, " edges"]
) -> Int64[np.ndarray, " edges"]:
    first, second = _find_ends(inside.shape, edges)
    return np.asarray(np.where(inside.flat[first], first, second))


def _place_points(
    surface: _Surface, edges: Int64[np.ndarray, " edges"]
) -> Float64[np.ndarray, "edges 2"]:
    """Where the surface passes the level on each edge, x and y in cells."""
    first, second = _find_ends(surface.values.shape, edges)
    low, high = surface.values.flat[first], surface.values.flat[second]
    share = ((LEVEL - low) / (high - low))[:, None].astype(np.float64)
    ends = []
    for samples in (first, second):
        rows, columns = np.divmod(samples, surface.values.shape[1])
        ends.append(np.stack([surface.across[columns], surface.down[rows]], axis=1))
    points: Float64[np.ndarray, "edges 2"] = ends[0] + share * (ends[1] - ends[0])
    return points


def _leave_out_points(line: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, "kept 2"]:
    """As many points as may stay, the first not repeated (Douglas-Peucker)."""
    points = line.astype(np.float32)[:, None]
    tolerance = _TOLERANCE
    while len(kept := cv2.approxPolyDP(points, tolerance, closed=True)) >= MOST_POINTS:
        tolerance *= 1.5
    return np.asarray(kept[:, 0], np.float64)


def _is_outer(line: Float64[np.ndarray, "points 2"]) -> bool:
    """Whether a line has an area and runs clockwise: around a part and not around a hole."""
    x, y = line.T
    return bool((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0)
