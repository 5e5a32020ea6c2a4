"""What the pixels alone tell: blank, clipped, inverted, turned, a colour photograph.

An image with a fault here is out of scope, whatever a model says of it: a model gives
an answer to an inverted radiograph as readily as to a sound one. A picture that is
mirrored left to right cannot be told from a sound one by such means and is not looked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from chestx.domain import Quality, Radiograph, ScopeReason
from chestx.shapes import Float32, UInt8

MIN_SIDE = 100
"""Shorter side in pixels under which findings cannot be seen; validation has 224 and more."""

LOW_RESOLUTION_SIDE = 224
"""Shorter side under which the flag ``low_resolution`` is set."""

BLANK_RANGE, LOW_CONTRAST_RANGE = 8.0, 40.0
"""Grey values between the 1st and the 99th percentile; training and validation have 55 and more."""

CLIPPED_SHARE = 0.3
"""Share of the middle that is pure black or pure white; validation has at most 0.22."""

COLOUR_LIMIT, COLOURED_LIMIT = 30.0, 0.5
"""Colourfulness over which a picture is no radiograph, and over which it is not purely grey.

Five of 8,400 training and validation radiographs have more than 30, all tinted pictures
out of two papers; those without marks have 0.
"""

THUMBNAIL = 24
"""Side of the square that the way round is judged on."""

_SMALL = 256
_MIDDLE = slice(_SMALL * 15 // 100, _SMALL * 85 // 100)


@dataclass(frozen=True, slots=True, eq=False)
class Orientation:
    """Linear scores of a thumbnail's ranks; made by ``scripts/fit_quality.py``.

    Attributes:
        positive: weights whose sum is positive for a chest that is not inverted.
        upright: weights whose sum is largest the right way up.
        inverted_limit: a sum of ``positive`` under it is inverted.
        rotated_limit: how far another way up may be ahead of the shown one.
        corrected_limit: how far the best of all corrections (inverted, turned, both) may
            be ahead of none, by both scores together.
    """

    positive: Float32[np.ndarray, " cells"]
    upright: Float32[np.ndarray, " cells"]
    inverted_limit: float
    rotated_limit: float
    corrected_limit: float


def assess_quality(radiograph: Radiograph) -> Quality:
    """Judges the pixels of an image and what the file says of their colour.

    Args:
        radiograph: as shown, bright is dense.

    Returns:
        Reasons that put the image out of scope, flags that do not, and the measures
        behind them: ``shorter_side``, ``grey_range``, ``clipped_black``,
        ``clipped_white``, ``colourfulness``, and where there is contrast to judge by
        ``positive_score``, ``rotation_lead`` and ``correction_lead``.
    """
    small = make_small_copy(radiograph.pixels)
    middle = small[_MIDDLE, _MIDDLE]
    low, high = _find_percentiles(small[::2, ::2], (0.01, 0.99))
    measures = {
        "shorter_side": float(min(radiograph.header.rows, radiograph.header.columns)),
        "grey_range": float(high - low),
        "clipped_black": float((middle <= 1).mean()),
        "clipped_white": float((middle >= 254).mean()),
        "colourfulness": radiograph.header.colourfulness,
    }
    reasons = [*_judge_size(measures), *_judge_colour(measures), *_judge_contrast(measures)]
    if measures["grey_range"] >= BLANK_RANGE:
        orientation = load_orientation()
        ranks = rank_thumbnail(small)
        measures["positive_score"] = float(ranks @ orientation.positive)
        measures["rotation_lead"] = measure_rotation(ranks, orientation.upright)
        lead, is_inverted, is_rotated = find_correction(ranks, orientation)
        measures["correction_lead"] = lead
        reasons += _judge_orientation(
            measures, orientation, best_correction=(is_inverted, is_rotated)
        )
    return Quality(tuple(reasons), _find_flags(measures), measures)


@cache
def load_orientation() -> Orientation:
    """The fitted scores that ship with the package."""
    with (files("chestx.images") / "orientation.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return Orientation(
            arrays["positive"],
            arrays["upright"],
            float(arrays["inverted_limit"]),
            float(arrays["rotated_limit"]),
            float(arrays["corrected_limit"]),
        )


def rank_thumbnail(pixels: UInt8[np.ndarray, "height width"]) -> Float32[np.ndarray, " cells"]:
    """Ranks of a thumbnail's cells, with mean 0 and standard deviation 1.

    Ranks do not change with window, gamma or exposure, and those of the inverse are
    exactly their negatives. Equal cells share their mean rank; a constant picture is 0.
    """
    side = (THUMBNAIL, THUMBNAIL)
    cells = cv2.resize(pixels, side, interpolation=cv2.INTER_AREA).ravel()
    _, places, counts = np.unique(cells, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    centred = ranks - ranks.mean()
    return np.asarray(centred / max(centred.std(), 1e-6), dtype=np.float32)


def measure_rotation(
    ranks: Float32[np.ndarray, " cells"], upright: Float32[np.ndarray, " cells"]
) -> float:
    """How far the best turned way up is ahead of the shown one; negative for a sound image."""
    scores = [float(turned @ upright) for turned in _turn_all(ranks)]
    return max(scores[1:]) - scores[0]


def find_correction(
    ranks: Float32[np.ndarray, " cells"], orientation: Orientation
) -> tuple[float, bool, bool]:
    """How far the best of seven corrections is ahead of none, and whether it inverts and turns."""
    weights = orientation.positive + orientation.upright
    scores = [float(turned @ weights) for turned in _turn_all(ranks)]
    fits = {(sign, turn): sign * score for turn, score in enumerate(scores) for sign in (1, -1)}
    as_shown = fits.pop((1, 0))
    sign, turn = max(fits, key=fits.__getitem__)
    return fits[sign, turn] - as_shown, sign < 0, turn > 0


def _turn_all(ranks: Float32[np.ndarray, " cells"]) -> list[Float32[np.ndarray, " cells"]]:
    """As they are, and turned by one, two and three quarter turns anticlockwise."""
    cells = ranks.reshape(THUMBNAIL, THUMBNAIL)
    ways = (cells, cells.T[::-1], cells[::-1, ::-1], cells.T[:, ::-1])
    return [way.ravel() for way in ways]


def _find_percentiles(
    pixels: UInt8[np.ndarray, "height width"], shares: tuple[float, ...]
) -> list[float]:
    """What NumPy's percentiles are, by counting the 256 values instead of sorting pixels."""
    counts = np.cumsum(np.bincount(pixels.ravel(), minlength=256))
    found = []
    for share in shares:
        place = share * (pixels.size - 1)
        below, above = np.searchsorted(counts, (int(place), math.ceil(place)), side="right")
        found.append(float(below + (above - below) * (place - int(place))))
    return found


def make_small_copy(
    pixels: UInt8[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "side side"]:
    """The square copy that is judged; large pictures are thinned out first, which is fast."""
    step = max(1, min(pixels.shape) // (2 * _SMALL))
    thinned = np.ascontiguousarray(pixels[::step, ::step])
    return cv2.resize(thinned, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)


def _judge_size(measures: dict[str, float]) -> list[ScopeReason]:
    side = measures["shorter_side"]
    if side >= MIN_SIDE:
        return []
    sentence = f"The image is too small: shorter side {side:g} pixels, needed {MIN_SIDE}."
    return [ScopeReason("too_small", sentence)]


def _judge_colour(measures: dict[str, float]) -> list[ScopeReason]:
    colourfulness = measures["colourfulness"]
    if colourfulness <= COLOUR_LIMIT:
        return []
    sentence = (
        f"The image is in colour, a radiograph is grey: colourfulness {colourfulness:.0f} "
        f"of 255, accepted up to {COLOUR_LIMIT:g}."
    )
    return [ScopeReason("colour", sentence)]


def _judge_contrast(measures: dict[str, float]) -> list[ScopeReason]:
    grey_range = measures["grey_range"]
    if grey_range < BLANK_RANGE:
        sentence = (
            f"The image is blank: its grey values span {grey_range:.0f} of 255, "
            f"needed {LOW_CONTRAST_RANGE:g}."
        )
        return [ScopeReason("blank", sentence)]
    if grey_range < LOW_CONTRAST_RANGE:
        sentence = (
            f"The image has too little contrast: its grey values span {grey_range:.0f} of 255, "
            f"needed {LOW_CONTRAST_RANGE:g}."
        )
        return [ScopeReason("low_contrast", sentence)]
    for name in ("black", "white"):
        share = measures[f"clipped_{name}"]
        if share > CLIPPED_SHARE:
            sentence = (
                f"The image is clipped: {share:.0%} of its middle is pure {name}, "
                f"accepted up to {CLIPPED_SHARE:.0%}; show it with a wider window."
            )
            return [ScopeReason("clipped", sentence)]
    return []


def _judge_orientation(
    measures: dict[str, float], orientation: Orientation, *, best_correction: tuple[bool, bool]
) -> list[ScopeReason]:
    """Reasons ``inverted`` and ``rotated``.

    The inverse of an upright chest also scores badly for being upright, and a turned
    chest for not being inverted: where both complain, or neither does of a chest that is
    both, the correction that fits best says which it is.
    """
    score, lead = measures["positive_score"], measures["rotation_lead"]
    corrected = measures["correction_lead"]
    is_inverted = score < orientation.inverted_limit
    is_rotated = lead > orientation.rotated_limit
    if corrected > (0 if is_inverted and is_rotated else orientation.corrected_limit):
        is_inverted, is_rotated = best_correction
    reasons = []
    # The scores have no unit that a reader knows; they stand in ``Quality.measures``.
    if is_inverted:
        sentence = (
            "The image looks inverted (bone dark, air bright), or is no frontal chest radiograph."
        )
        reasons.append(ScopeReason("inverted", sentence))
    if is_rotated:
        sentence = (
            "The image looks turned by a quarter or a half, or is no frontal chest radiograph."
        )
        reasons.append(ScopeReason("rotated", sentence))
    return reasons


def _find_flags(measures: dict[str, float]) -> tuple[str, ...]:
    flags = []
    if COLOURED_LIMIT < measures["colourfulness"] <= COLOUR_LIMIT:
        flags.append("coloured")
    if MIN_SIDE <= measures["shorter_side"] < LOW_RESOLUTION_SIDE:
        flags.append("low_resolution")
    return tuple(flags)
