"""Shrinking by pixel area, several times as fast as OpenCV on full-size radiographs.

OpenCV walks every pixel of a row with a weight of its own. Here whole rows are summed first,
which processors do many at a time, and only the few rows that are left are weighted.
"""

from __future__ import annotations

import cv2
import numpy as np

from chestx.shapes import Float32, UInt8

MIN_PIXELS = 1 << 20
"""Pictures with fewer pixels are left to OpenCV: the calls would cost what the sums save."""


def resize_by_area(
    pixels: UInt8[np.ndarray, "height width"], size: tuple[int, int]
) -> UInt8[np.ndarray, "new_height new_width"]:
    """Resizes by pixel area: each new pixel is the mean of what it covers, parts by their share.

    The same as ``cv2.resize`` with ``INTER_AREA``, but that a mean which lies halfway between
    two grey values may be rounded the other way: at most one pixel in 2,000 of a radiograph.

    Args:
        pixels: the picture.
        size: width and height of the result.
    """
    width, height = size
    rows, columns = pixels.shape
    is_small = rows * columns < MIN_PIXELS or rows < 2 * height or columns < width
    # OpenCV has a quick way of its own where whole pixels fall together.
    if is_small or (rows % height == 0 and columns % width == 0):
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    sums = cv2.resize(sum_rows(pixels, height), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(sums, alpha=height / rows))


def sum_rows(
    pixels: UInt8[np.ndarray, "height width"], height: int
) -> Float32[np.ndarray, "new_height width"]:
    """Sums of as many equal bands of rows as asked for, rows at their edges by their share."""
    rows = len(pixels)
    edges = np.arange(height + 1) * (rows / height)
    tops = np.minimum(edges.astype(np.int64), rows - 1)
    shares = (edges - tops).astype(np.float32)[:, None]
    ends = [*tops[:-1].tolist(), rows]
    sums = np.empty((height, pixels.shape[1]), np.float32)
    for row, top in enumerate(ends[:-1]):
        band = pixels[top : ends[row + 1]]
        cv2.reduce(band, 0, cv2.REDUCE_SUM, dst=sums[row : row + 1], dtype=cv2.CV_32F)
    # The row at an edge was given to the band below it; its upper part belongs above.
    shares[-1] = 0
    parts = pixels[tops] * shares
    sums += parts[1:]
    sums -= parts[:-1]
    return sums
