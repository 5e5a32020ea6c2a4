"""Words on a plain ground, in bands as wide as a picture: what overlay and capture are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from chestx.rendering.text import Mask
from chestx.shapes import UInt8

Picture = UInt8[np.ndarray, "_height _width 3"]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (18, 20, 24)
TEXT: Colour = (238, 240, 243)
QUIET: Colour = (176, 182, 190)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large letters and marks are, in pixels.

    Attributes:
        headline, body, small: letters.
        margin: at both ends of a line.
        gap: between bands, and between marks and words.
        bar: height of a probability bar.
        scale: least width of the colour scale.
        names: of findings, at most, as a share of the width.
    """

    headline: int = 20
    body: int = 14
    small: int = 12
    margin: int = 12
    gap: int = 8
    bar: int = 10
    scale: int = 96
    names: float = 0.4


def stack_lines(lines: Sequence[tuple[Mask, Colour]], width: int, sizes: Sizes) -> Picture:
    """Lines below each other in a band with half a gap above and below."""
    band = make_band(sum(mask.shape[0] for mask, _ in lines) + sizes.gap, width)
    top = sizes.gap // 2
    for mask, colour in lines:
        paste_line(band, mask, top, sizes.margin, colour)
        top += mask.shape[0]
    return band


def make_band(height: int, width: int) -> Picture:
    """An empty band."""
    row = np.tile(np.asarray(BACKGROUND, np.uint8), (1, width, 1))
    return row.repeat(height, axis=0)


def paste_line(band: Picture, mask: Mask, top: int, left: int, colour: Colour) -> None:
    """Inks a line onto the plain ground of a band."""
    height, width = mask.shape
    # A channel at a time: OpenCV looks up one channel several times as fast as three.
    inks = cv2.merge([cv2.LUT(mask, table) for table in _get_inks(colour)])
    band[top : top + height, left : left + width] = inks[: band.shape[0] - top]


@lru_cache(maxsize=32)
def _get_inks(colour: Colour) -> UInt8[np.ndarray, "3 levels=256"]:
    """Coverage -> red, green and blue between the background and the ink."""
    steps = np.linspace(0, 1, 256)
    ends = zip(BACKGROUND, colour, strict=True)
    inks = np.stack([ground * (1 - steps) + ink * steps for ground, ink in ends])
    return inks.round().astype(np.uint8)
