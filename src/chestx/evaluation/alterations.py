"""What the probes do to an image before they put it to the model.

Everything is done to the square of the model's size, made from the image by the
model's own resize and not yet denoised or equalised, so a strength in pixels is the
same for every image, and the model's filters see the altered image as they would at work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from chestx.shapes import UInt8

LUNGS = (0.12, 0.88, 0.08, 0.86)
CHEST = (0.06, 0.94, 0.04, 0.94)
RING = (0.03, 0.97, 0.03, 0.97)
"""Left, right, upper and lower edge of what is hidden, in shares of width and height.

On a frontal radiograph that is cut to the chest, the lungs lie in the first from apex to
diaphragm but for the outermost ribs and, in children, the deepest recesses; the
second holds them in every image looked at; outside the third are the border and the
marks on it.
"""

TINY_SIDE = 16
"""Side of the thumbnail that the smallest picture of an image is made of."""

_TEXT = "PORTABLE AP"


@dataclass(frozen=True, slots=True, eq=False)
class Alteration:
    """One way to alter an image.

    Attributes:
        key: short and stable, e.g. ``lungs_masked``.
        words: for a table, e.g. ``lungs masked``.
        apply: from the square, its width over its height as shown, and a source of
            chance to the altered square.
    """

    key: str
    words: str
    apply: Callable[
        [UInt8[np.ndarray, "size size"], float, np.random.Generator],
        UInt8[np.ndarray, "size size"],
    ]


def hide_box(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    box: tuple[float, float, float, float],
) -> UInt8[np.ndarray, "size size"]:
    """The box in the mean grey of what stays visible, which tells nothing of what is hidden."""
    size = len(pixels)
    left, right, top, bottom = (round(edge * size) for edge in box)
    hidden = np.zeros((size, size), dtype=bool)
    hidden[top:bottom, left:right] = True
    grey = np.uint8(round(float(pixels[~hidden].mean())))
    return np.where(hidden, grey, pixels)


def shrink_and_enlarge(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    side: int,
) -> UInt8[np.ndarray, "size size"]:
    """Down to so many pixels a side and back; unchanged where it has no more than that."""
    if side >= len(pixels):
        return pixels
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)


def shuffle_pixels(
    pixels: UInt8[np.ndarray, "size size"], _aspect: float, generator: np.random.Generator
) -> UInt8[np.ndarray, "size size"]:
    """The same grey values in random places."""
    return generator.permutation(pixels.ravel()).reshape(pixels.shape)


def flip_left_right(
    pixels: UInt8[np.ndarray, "size size"], _aspect: float, _generator: np.random.Generator
) -> UInt8[np.ndarray, "size size"]:
    """As in a mirror."""
    return np.ascontiguousarray(pixels[:, ::-1])


def rotate(
    pixels: UInt8[np.ndarray, "size size"],
    aspect: float,
    _generator: np.random.Generator,
    *,
    degrees: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """Turned about the middle by the angle on the image as shown, anticlockwise.

    The square is a stretched image: turning it as it is would shear the chest. What
    comes in at the corners is the image mirrored at its edge, so that no black wedge does.
    """
    middle = (len(pixels) - 1) / 2
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    linear = np.array([[cos, sin / aspect], [-sin * aspect, cos]])
    shift = np.array([middle, middle]) - linear @ np.array([middle, middle])
    return cv2.warpAffine(
        pixels,
        np.column_stack([linear, shift]),
        pixels.shape[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def change_contrast(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    factor: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """Distances from the image's mean grey times the factor; clipped at black and white."""
    mean = float(pixels.mean())
    return _to_grey(mean + (pixels.astype(np.float64) - mean) * factor)


def change_gamma(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    gamma: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """Grey values in 0 to 1 to this power: above 1 darker."""
    return _to_grey(255 * (pixels / 255) ** gamma)


def blur(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    sigma: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """Gaussian, sigma in pixels of the model input."""
    return cv2.GaussianBlur(pixels, (0, 0), sigma)


def add_noise(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    generator: np.random.Generator,
    *,
    sigma: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """Gaussian, sigma in grey values of 255."""
    return _to_grey(pixels + generator.normal(0, sigma, pixels.shape))


def invert(
    pixels: UInt8[np.ndarray, "size size"], _aspect: float, _generator: np.random.Generator
) -> UInt8[np.ndarray, "size size"]:
    """Bone dark, air bright."""
    return np.uint8(255) - pixels


def crop(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    share: int | float,
) -> UInt8[np.ndarray, "size size"]:
    """So much of width and height cut away, half on each side, and the rest stretched back."""
    cut = round(len(pixels) * share / 2)
    kept = pixels[cut : len(pixels) - cut, cut : len(pixels) - cut]
    return cv2.resize(kept, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)


def frame(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    share: int | float,
    only_sides: bool = False,
) -> UInt8[np.ndarray, "size size"]:
    """Black around the image, as a collimator or padding to a square leaves it.

    So much of the new width and height is black, half on each side; with ``only_sides`` of the
    width alone, which squeezes the chest.
    """
    size = len(pixels)
    across = round(size * share / 2)
    down = 0 if only_sides else across
    inside = (size - 2 * across, size - 2 * down)
    framed = np.zeros_like(pixels)
    framed[down : size - down, across : size - across] = cv2.resize(
        pixels, inside, interpolation=cv2.INTER_AREA
    )
    return framed


def compress_jpeg(
    pixels: UInt8[np.ndarray, "size size"],
    _aspect: float,
    _generator: np.random.Generator,
    *,
    quality: int,
) -> UInt8[np.ndarray, "size size"]:
    """Through a grey JPEG of this quality."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def burn_text(
    pixels: UInt8[np.ndarray, "size size"], _aspect: float, _generator: np.random.Generator
) -> UInt8[np.ndarray, "size size"]:
    """White letters in the upper left corner, a twentieth of the height, as consoles burn in."""
    marked = pixels.copy()
    size = len(pixels)
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, max(1, size // 20))
    place = (size // 40, size // 10)
    cv2.putText(marked, _TEXT, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), 1, cv2.LINE_AA)
    return marked


def _to_grey(values: np.ndarray) -> UInt8[np.ndarray, "size size"]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


SHORTCUTS = (
    Alteration("lungs_masked", "lungs masked", partial(hide_box, box=LUNGS)),
    Alteration("chest_masked", "whole chest masked", partial(hide_box, box=CHEST)),
    Alteration("border_only", "border only", partial(hide_box, box=RING)),
    Alteration("tiny", "16 x 16 pixels", partial(shrink_and_enlarge, side=TINY_SIDE)),
    Alteration("histogram", "grey values only (pixels shuffled)", shuffle_pixels),
)
"""After which little or nothing of the lungs is left."""

FLIP = Alteration("flipped", "left and right exchanged", flip_left_right)

ROBUSTNESS = (
    *(
        Alteration(f"rotated_{angle:+d}", f"rotated {angle:+d}°", partial(rotate, degrees=angle))
        for angle in (-15, -10, -5, 5, 10, 15)
    ),
    *(
        Alteration(f"contrast_{x:g}", f"contrast x {x:g}", partial(change_contrast, factor=x))
        for x in (0.7, 1.4)
    ),
    *(
        Alteration(f"gamma_{x:g}", f"gamma {x:g}", partial(change_gamma, gamma=x))
        for x in (0.7, 1.4)
    ),
    *(Alteration(f"blur_{x}", f"blur sigma {x} px", partial(blur, sigma=x)) for x in (1, 2)),
    *(
        Alteration(f"noise_{x}", f"noise sigma {x}", partial(add_noise, sigma=x))
        for x in (5, 10, 20)
    ),
    Alteration("inverted", "inverted", invert),
    *(
        Alteration(f"crop_{x}", f"cropped by {x} %", partial(crop, share=x / 100))
        for x in (5, 10, 20)
    ),
    *(
        Alteration(f"frame_{x}", f"black frame of {x} %", partial(frame, share=x / 100))
        for x in (10, 20)
    ),
    Alteration("sides_20", "black sides of 20 %", partial(frame, share=0.2, only_sides=True)),
    *(
        Alteration(f"jpeg_{x}", f"JPEG quality {x}", partial(compress_jpeg, quality=x))
        for x in (30, 10)
    ),
    *(
        Alteration(f"pixels_{x}", f"{x} x {x} pixels", partial(shrink_and_enlarge, side=x))
        for x in (128, 64)
    ),
    Alteration("text", "burnt-in text", burn_text),
)
"""What happens to images on their way, and what a reader would see through."""
