"""Grey values out of a table: what every pixel becomes, computed once for each stored value."""

from __future__ import annotations

import cv2
import numpy as np

from chestx.shapes import UInt8, UInt16

LOOKS_UP_16_BITS = int(cv2.__version__.split(".")[0]) >= 5
"""Whether OpenCV has tables of 65,536 values, several times as fast as NumPy's."""

_BLOCK_ROWS = 64


def apply_table(
    table: UInt8[np.ndarray, " values"],
    stored: UInt8[np.ndarray, "height width"] | UInt16[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width"]:
    """Takes every pixel's grey value from the table.

    Args:
        table: a grey value for every number that the type of ``stored`` can hold.
        stored: the pixels.
    """
    if len(table) == 256 or LOOKS_UP_16_BITS:
        return np.asarray(cv2.LUT(stored, table))
    shown = np.empty(stored.shape, dtype=np.uint8)
    # By blocks, because take() converts its indices to 64 bits. Every index is in the
    # table, so clipping changes none; it only spares the check.
    for row in range(0, stored.shape[0], _BLOCK_ROWS):
        block = slice(row, row + _BLOCK_ROWS)
        np.take(table, stored[block], out=shown[block], mode="clip")
    return shown
