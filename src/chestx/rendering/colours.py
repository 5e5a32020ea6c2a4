"""The colours of a heatmap, and how they are laid over a grey image.

Source: "inferno" by Nathaniel J. Smith and Stefan van der Walt (CC0, matplotlib), in
OpenCV's table, without its dark end: that would darken the radiograph. Lightness
rises evenly, from purple through red to yellow, so order is seen with any colour
vision and in a grey print.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from chestx.shapes import Float32, UInt8

_FIRST, _LAST = 84, 248
_STRONGEST = 0.55
"""Weight of the colour at full evidence; the lung beneath stays visible."""


@cache
def get_colours() -> UInt8[np.ndarray, "levels=256 3"]:
    """The colour (RGB) of evidence 0 to 1 in 256 levels, read-only."""
    levels = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    table = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(np.float32)
    kept = np.linspace(_FIRST, _LAST, 256)
    colours = [np.interp(kept, np.arange(256), table[:, channel]) for channel in range(3)]
    return _freeze(np.stack(colours, axis=1).round().astype(np.uint8))


@cache
def get_opacities() -> Float32[np.ndarray, " levels=256"]:
    """The weight of the colour for evidence 0 to 1: nothing at 0, rising with it, read-only."""
    return _freeze(np.linspace(0, _STRONGEST, 256, dtype=np.float32))


def lay_over(
    grey: UInt8[np.ndarray, "height width"], evidence: UInt8[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Lays the colours of a map over an image.

    Args:
        grey: the image.
        evidence: 0 none to 255 full; where it is 0 the image stays as it is.

    Returns:
        RGB.
    """
    inks, kept = _get_tables()
    rest = cv2.multiply(grey, cv2.LUT(evidence, kept), scale=1 / 255)
    # A channel at a time: OpenCV looks up one channel several times as fast as three.
    return np.asarray(cv2.merge([cv2.add(rest, cv2.LUT(evidence, ink)) for ink in inks]))


@cache
def _get_tables() -> tuple[UInt8[np.ndarray, "3 levels=256"], UInt8[np.ndarray, " levels=256"]]:
    """The colour times its weight, and the weight (of 255) that is left to the grey value."""
    opacities = get_opacities()
    inks = (get_colours().T * opacities).round().astype(np.uint8)
    return _freeze(inks), _freeze(((1 - opacities) * 255).round().astype(np.uint8))


def _freeze(table: np.ndarray) -> np.ndarray:
    table.flags.writeable = False
    return table
