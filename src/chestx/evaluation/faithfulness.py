"""Whether a heatmap shows what the answer hangs on: the image is taken away in its order.

A map is judged against a random map and a spot in the middle on the same images: a
chest is in the middle of its image, so a map that knows nothing scores well, too.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from chestx.shapes import Bool, Float, Int, UInt8

STEPS = 16
"""Steps from the whole image to none of it."""

ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that ROAD removes."""

ROAD_NOISE = 0.01 * 255
"""Standard deviation of the noise on imputed pixels, in grey values; that of the authors."""

_SIDE_WEIGHT, _CORNER_WEIGHT = 1 / 6, 1 / 12
_ROAD_TOLERANCE = 1e-5

Probability = Callable[[UInt8[np.ndarray, "batch size size"]], Float[np.ndarray, " batch"]]
"""Calibrated probability of the label that is explained."""


def enlarge_map(
    heatmap: Float[np.ndarray, "height width"], size: int
) -> Float[np.ndarray, "size size"]:
    """A map stretched over the model input, as it is drawn."""
    return cv2.resize(heatmap.astype(np.float64), (size, size), interpolation=cv2.INTER_LINEAR)


def rank_pixels(
    heatmap: Float[np.ndarray, "height width"], size: int, *, generator: np.random.Generator
) -> Int[np.ndarray, " pixels"]:
    """Pixels of the model input from the most to the least relevant, equal ones by lot."""
    values = enlarge_map(heatmap, size).ravel()
    return np.lexsort((generator.random(values.size), -values))


def blur_strongly(pixels: UInt8[np.ndarray, "size size"]) -> UInt8[np.ndarray, "size size"]:
    """Without any structure of the lungs: Gaussian with a sigma of a twentieth of the side."""
    return cv2.GaussianBlur(pixels, (0, 0), len(pixels) / 20)


def fill_mean(pixels: UInt8[np.ndarray, "size size"]) -> UInt8[np.ndarray, "size size"]:
    """All in the mean grey."""
    return np.full_like(pixels, round(float(pixels.mean())))


def measure_curve(
    probability: Probability,
    start: UInt8[np.ndarray, "size size"],
    end: UInt8[np.ndarray, "size size"],
    order: Int[np.ndarray, " pixels"],
    *,
    steps: int = STEPS,
) -> Float[np.ndarray, " points"]:
    """Probabilities while the pixels of one image are replaced by another's, in an order.

    Deletion starts at the image and ends at a reference without information (mean grey
    or a blurred copy), insertion the other way round.

    Args:
        probability: of the label.
        start, end: the two images.
        order: of the pixels, first replaced first.
        steps: equal parts of the pixels.

    Returns:
        steps + 1 probabilities, from the start to the end.

    Source: Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.1.
    """
    images = np.repeat(start[None], steps + 1, axis=0)
    flat = images.reshape(steps + 1, -1)
    for step in range(1, steps + 1):
        replaced = order[: round(len(order) * step / steps)]
        flat[step, replaced] = end.ravel()[replaced]
    return probability(images)


def integrate_curve(curve: Float[np.ndarray, " points"]) -> float:
    """Area under it over 0 to 1 of the pixels, by trapezoids."""
    return float((curve.sum() - (curve[0] + curve[-1]) / 2) / (len(curve) - 1))


def measure_road(
    probability: Probability,
    pixels: UInt8[np.ndarray, "size size"],
    order: Int[np.ndarray, " pixels"],
    *,
    generator: np.random.Generator,
) -> float:
    """How much more is lost without the most than without the least relevant pixels.

    Removed pixels are imputed from what is left (see :func:`impute_pixels`), so that the
    shape of what was removed does not itself tell the model something.

    Returns:
        Mean over the shares of the probability with the least relevant pixels removed minus
        that with the most relevant removed; above 0, the map knows something.

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution
    Methods, ICML 2022.
    """
    images = []
    for share in ROAD_SHARES:
        count = round(len(order) * share)
        for removed in (order[-count:], order[:count]):
            is_removed = np.zeros(pixels.size, dtype=bool)
            is_removed[removed] = True
            images.append(
                impute_pixels(pixels, is_removed.reshape(pixels.shape), generator=generator)
            )
    without = probability(np.stack(images)).reshape(len(ROAD_SHARES), 2)
    return float((without[:, 0] - without[:, 1]).mean())


def impute_pixels(
    pixels: UInt8[np.ndarray, "size size"],
    is_removed: Bool[np.ndarray, "size size"],
    *,
    generator: np.random.Generator,
) -> UInt8[np.ndarray, "size size"]:
    """Removed pixels as the weighted mean of their eight neighbours, with a little noise.

    Neighbours at the sides weigh 1/6, at the corners 1/12; all equations are solved
    together, by conjugate gradients from a blurred guess.

    Args:
        pixels: the image.
        is_removed: at least one pixel must be left.
        generator: of the noise.

    Source: Rong et al., ICML 2022, section 4.2 (noisy linear imputation).
    """
    from scipy.sparse import coo_matrix, diags
    from scipy.sparse.linalg import cg

    size, count = len(pixels), int(is_removed.sum())
    if not count:
        return pixels
    number = np.full((size, size), -1)
    number[is_removed] = np.arange(count)
    rows, columns = np.nonzero(is_removed)
    diagonal, right = np.zeros(count), np.zeros(count)
    entries = []
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if not (down or across):
                continue
            weight = _CORNER_WEIGHT if down and across else _SIDE_WEIGHT
            y, x = rows + down, columns + across
            here = np.flatnonzero((y >= 0) & (y < size) & (x >= 0) & (x < size))
            neighbour = number[y[here], x[here]]
            diagonal[here] += weight
            is_left = neighbour < 0
            left = here[is_left]
            right[left] += weight * pixels[y[left], x[left]]
            gone = here[~is_left]
            entries.append((gone, neighbour[~is_left], np.full(len(gone), -weight)))
    i, j, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    matrix = coo_matrix((values, (i, j)), shape=(count, count)).tocsr() + diags(diagonal)
    solution, _ = cg(
        matrix,
        right,
        x0=_guess(pixels, is_removed),
        rtol=_ROAD_TOLERANCE,
        M=diags(1 / diagonal),
    )
    imputed = pixels.astype(np.float64)
    imputed[is_removed] = solution + generator.normal(0, ROAD_NOISE, count)
    return np.asarray(np.clip(np.rint(imputed), 0, 255), dtype=np.uint8)


def _guess(
    pixels: UInt8[np.ndarray, "size size"], is_removed: Bool[np.ndarray, "size size"]
) -> Float[np.ndarray, " removed"]:
    """Blurred mean of what is left around each removed pixel; the overall mean far from it."""
    left = (~is_removed).astype(np.float64)
    sigma = len(pixels) / 15
    share = cv2.GaussianBlur(left, (0, 0), sigma)
    total = cv2.GaussianBlur(left * pixels, (0, 0), sigma)
    mean = float(pixels[~is_removed].mean())
    faint = 1e-3
    guess = (total + faint * mean) / (share + faint)
    return np.asarray(guess[is_removed], dtype=np.float64)


def make_random_map(*, generator: np.random.Generator, side: int = 7) -> Float[np.ndarray, "s s"]:
    """As coarse as a class activation map, and knowing nothing."""
    return generator.random((side, side))


def make_centre_map(side: int = 28) -> Float[np.ndarray, "s s"]:
    """A Gaussian spot in the middle, sigma a quarter of the side."""
    place = (np.arange(side) + 0.5) / side - 0.5
    ridge = np.exp(-(place**2) / (2 * 0.25**2))
    return np.outer(ridge, ridge)
