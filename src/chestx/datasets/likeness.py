"""Which thumbnails are alike enough to be looked at closely.

A thumbnail's histogram is equalised and its smooth part removed, so that exposure does not
count and ribs and heart do. Sixteen by sixteen such values of one image are compared
with those of windows, turns and mirrors of every other image by matrix products; the nearest
are aligned on 64 x 64 values, and what is alike then is left for the comparison of details.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from chestx.datasets.fingerprints import THUMBNAIL
from chestx.shapes import Bool, Float32, UInt8

SIDE, SMOOTH, ALIGN_SMOOTH = 16, 2.5, 6.0
"""Values a side for the search; standard deviations of the smooth part in cells."""

CROPS = (0.05, 0.10, 0.15)
"""Shares of each side that a window leaves out, in nine places."""

NEAREST = 5
"""Neighbours of each image that are aligned."""

BLOCK = 2048
"""Images on each side of a matrix product."""

MIN_SIMILARITY = 0.6
"""Under it a neighbour is not aligned; 99 of 100 pairs of different patients are under 0.84."""

MIN_CORRELATION, MIN_ALIGNED = 0.5, 0.65
"""Correlation of 64 x 64 values as they lie, or aligned, from which details are compared.

Of the nearest neighbours of other patients one in ten reaches the second.
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to look at a thumbnail: mirrored, then turned, then a window of it.

    Attributes:
        is_mirrored: left to right.
        turns: quarter turns anticlockwise.
        row, column, side: of the window in cells.
    """

    is_mirrored: bool = False
    turns: int = 0
    row: int = 0
    column: int = 0
    side: int = THUMBNAIL

    def apply(self, thumbnail: UInt8[np.ndarray, "64 64"]) -> UInt8[np.ndarray, "side side"]:
        """The window."""
        end = (self.row + self.side, self.column + self.side)
        return self.orient(thumbnail)[self.row : end[0], self.column : end[1]]

    def orient(self, thumbnail: UInt8[np.ndarray, "64 64"]) -> UInt8[np.ndarray, "64 64"]:
        """Mirrored and turned, whole."""
        shown = thumbnail[:, ::-1] if self.is_mirrored else thumbnail
        return np.ascontiguousarray(np.rot90(shown, self.turns))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two images that are alike as thumbnails.

    Attributes:
        first, second: positions.
        is_mirrored, turns: what was done to the second.
        correlation: of the 64 x 64 values, the better of as they lie and aligned.
    """

    first: int
    second: int
    is_mirrored: bool
    turns: int
    correlation: float


def list_variants() -> tuple[Variant, ...]:
    """All ways that the second image of a pair is looked at; the first is the plain one."""
    turned = [Variant(mirror, turns) for mirror in (False, True) for turns in range(4)]
    windows = []
    for crop in CROPS:
        left_out = round(THUMBNAIL * crop)
        places = (0, left_out // 2, left_out)
        windows += [
            Variant(row=row, column=column, side=THUMBNAIL - left_out)
            for row in places
            for column in places
        ]
    return (*turned, *windows)


def describe_thumbnail(cells: UInt8[np.ndarray, "side side"]) -> Float32[np.ndarray, " values"]:
    """Equalised, without its smooth part, of mean 0 and length 1; zeros for a constant one."""
    small = cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    values = _remove_smooth(small, SMOOTH).ravel()
    values -= values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), dtype=np.float32)


def find_candidates(thumbnails: Sequence[UInt8[np.ndarray, "64 64"]]) -> list[Candidate]:
    """Pairs of images that are alike as thumbnails.

    The cost of the search grows with the square of the number: about half a minute on one
    core for 10,000 images.

    Args:
        thumbnails: of images that differ.

    Returns:
        Each pair once, first < second not promised, in order of position.
    """
    variants = list_variants()
    similarity, neighbour, way = _find_nearest(thumbnails, variants)
    best: dict[tuple[int, int], tuple[float, int, int, int]] = {}
    for first, row in enumerate(similarity):
        for place in np.flatnonzero(row >= MIN_SIMILARITY):
            second = int(neighbour[first, place])
            found = (float(row[place]), first, second, int(way[first, place]))
            pair = (min(first, second), max(first, second))
            best[pair] = max(best.get(pair, found), found)
    candidates = []
    for _, first, second, number in (best[pair] for pair in sorted(best)):
        variant = variants[number]
        correlation = align_thumbnails(thumbnails[first], thumbnails[second], variant)
        if correlation > 0:
            candidates.append(
                Candidate(first, second, variant.is_mirrored, variant.turns, correlation)
            )
    return candidates


def _find_nearest(
    thumbnails: Sequence[UInt8[np.ndarray, "64 64"]], variants: Sequence[Variant]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity, position and variant of each image's nearest neighbours."""
    count = len(thumbnails)
    plain = np.array([describe_thumbnail(cells) for cells in thumbnails], dtype=np.float32)
    similarity = np.full((count, NEAREST), -1, dtype=np.float32)
    neighbour = np.zeros((count, NEAREST), dtype=np.int32)
    way = np.zeros((count, NEAREST), dtype=np.int16)
    for start in range(0, count, BLOCK):
        block = thumbnails[start : start + BLOCK]
        described = [
            np.array([describe_thumbnail(variant.apply(cells)) for cells in block])
            for variant in variants
        ]
        for rows in _list_blocks(count):
            best, which = _compare_block(plain[rows], described)
            own = np.arange(rows.start, rows.stop) - start
            inside = np.flatnonzero((own >= 0) & (own < len(block)))
            best[inside, own[inside]] = -1
            kept = min(NEAREST, len(block))
            top = np.argpartition(-best, kept - 1, axis=1)[:, :kept]
            joined = np.hstack([similarity[rows], np.take_along_axis(best, top, 1)])
            order = np.argsort(-joined, axis=1, kind="stable")[:, :NEAREST]
            ways = np.take_along_axis(which, top, 1)
            similarity[rows] = np.take_along_axis(joined, order, 1)
            neighbour[rows] = np.take_along_axis(
                np.hstack([neighbour[rows], top + start]), order, 1
            )
            way[rows] = np.take_along_axis(np.hstack([way[rows], ways]), order, 1)
    return similarity, neighbour, way


def _list_blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))


def _compare_block(
    plain: Float32[np.ndarray, "rows values"], described: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    best = plain @ described[0].T
    which = np.zeros(best.shape, dtype=np.int16)
    for number, other in enumerate(described[1:], start=1):
        similarity = plain @ other.T
        which[similarity > best] = number
        np.maximum(best, similarity, out=best)
    return best, which


def align_thumbnails(
    first: UInt8[np.ndarray, "64 64"], second: UInt8[np.ndarray, "64 64"], variant: Variant
) -> float:
    """How alike two images are where they overlap, after an affine alignment.

    Args:
        first, second: thumbnails.
        variant: the look at the second that resembled the first.

    Returns:
        Correlation of the 64 x 64 values; 0 where it is too small to go on.

    Source: Evangelidis and Psarakis, IEEE TPAMI 2008;30:1858 (the alignment).
    """
    shown = variant.orient(second)
    one, other = _remove_smooth(first, SMOOTH), _remove_smooth(shown, SMOOTH)
    everywhere = np.ones(one.shape, dtype=bool)
    plain = _correlate(one, other, everywhere)
    plain = plain if plain >= MIN_CORRELATION else 0.0
    scale = variant.side / THUMBNAIL
    shift = (scale - 1) / 2
    start = np.array(
        [[scale, 0, variant.column + shift], [0, scale, variant.row + shift]], dtype=np.float32
    )
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-3)
    smooth = (_remove_smooth(first, ALIGN_SMOOTH), _remove_smooth(shown, ALIGN_SMOOTH))
    try:
        _, affine = cv2.findTransformECC(
            *smooth, start, cv2.MOTION_AFFINE, steps, np.ones(one.shape, np.uint8), 3
        )
    except cv2.error:
        # It did not converge: these two have nothing in common.
        return plain
    size, back = (THUMBNAIL, THUMBNAIL), cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(other, affine, size, flags=cv2.INTER_LINEAR | back)
    whole = np.ones(one.shape, np.uint8)
    overlap = cv2.warpAffine(whole, affine, size, flags=cv2.INTER_NEAREST | back) > 0
    overlap[[0, 1, -2, -1]] = overlap[:, [0, 1, -2, -1]] = False
    if overlap.mean() < 0.3:
        return plain
    aligned = _correlate(one, moved, overlap)
    return max(plain, aligned if aligned >= MIN_ALIGNED else 0.0)


def _remove_smooth(
    cells: UInt8[np.ndarray, "side side"], sigma: float
) -> Float32[np.ndarray, "side side"]:
    values = cv2.equalizeHist(np.ascontiguousarray(cells)).astype(np.float32)
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)


def _correlate(
    one: Float32[np.ndarray, "side side"],
    other: Float32[np.ndarray, "side side"],
    where: Bool[np.ndarray, "side side"],
) -> float:
    a, b = one[where] - one[where].mean(), other[where] - other[where].mean()
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-6))
