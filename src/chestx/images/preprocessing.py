"""From shown pixels to model input: the one road, for training and serving alike."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from chestx.domain import Denoise, InputSpec
from chestx.images.areas import resize_by_area
from chestx.shapes import UInt8

MEDIAN_SIDE = 5
"""Side of the median's window in pixels: removes specks, keeps ribs."""

BILATERAL_DIAMETER, BILATERAL_GREY_SIGMA, BILATERAL_PIXEL_SIGMA = 5, 25.0, 2.0
"""Neighbourhood in pixels, then what counts as near in grey values and in pixels.

A tenth of the grey range keeps the edges of vessels and ribs (Tomasi and Manduchi, 1998).
"""

NLM_STRENGTH, NLM_PATCH, NLM_SEARCH = 5.0, 7, 21
"""Filter strength in grey values, side of the compared patches and of the searched area.

Strength is about the noise's standard deviation, patch and area are those of
Buades, Coll and Morel, 2005.
"""

_DENOISERS: dict[Denoise, Callable[[np.ndarray], np.ndarray]] = {
    Denoise.NONE: lambda picture: picture,
    Denoise.MEDIAN: lambda picture: cv2.medianBlur(picture, MEDIAN_SIDE),
    Denoise.BILATERAL: lambda picture: cv2.bilateralFilter(
        picture, BILATERAL_DIAMETER, BILATERAL_GREY_SIGMA, BILATERAL_PIXEL_SIGMA
    ),
    Denoise.NON_LOCAL_MEANS: lambda picture: cv2.fastNlMeansDenoising(
        picture, None, NLM_STRENGTH, NLM_PATCH, NLM_SEARCH
    ),
}


def preprocess(
    pixels: UInt8[np.ndarray, "height width"], spec: InputSpec
) -> UInt8[np.ndarray, "size size"]:
    """Resizes by stretching, then denoises, then equalises by CLAHE.

    Filters come after the resize: at full size they cost ten to fifty times as much
    and mostly remove what the resize averages away. Resizing is by pixel area both
    ways, which is how models are trained.

    Args:
        pixels: as shown, bright is dense.
        spec: of the model's card.
    """
    resized = resize_by_area(pixels, (spec.size, spec.size))
    filtered = _DENOISERS[spec.denoise](resized)
    if spec.clahe_clip_limit == 0:
        return filtered
    tiles = (spec.clahe_tiles, spec.clahe_tiles)
    return cv2.createCLAHE(spec.clahe_clip_limit, tiles).apply(filtered)


def resize_to_fit(
    pixels: UInt8[np.ndarray, "height width"], long_side: int
) -> UInt8[np.ndarray, "fit_height fit_width"]:
    """Shrinks a picture until its longer side fits; a smaller one stays as it is.

    Args:
        pixels: as shown.
        long_side: of the result at most, in pixels.
    """
    scale = long_side / max(pixels.shape)
    if scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    return resize_by_area(_halve(pixels, height, width), (width, height))


def _halve(
    pixels: UInt8[np.ndarray, "height width"], least_height: int, least_width: int
) -> UInt8[np.ndarray, "half_height half_width"]:
    """Halves a picture while whole pixels fall together and twice the wanted size is left.

    Means of four pixels are what processors are quickest at. Each step rounds once more, so
    the model's input never comes this way.
    """
    while True:
        rows, columns = pixels.shape
        if rows % 2 or columns % 2 or rows < 4 * least_height or columns < 4 * least_width:
            return pixels
        half = (columns // 2, rows // 2)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
