"""The clustered bootstrap: how much a figure moves when other patients had come."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from chestx.metrics.numbers import Values, Weights, weigh_once
from chestx.shapes import Float64, Int, Shaped

_BLOCK_CELLS = 1_000_000
"""Weights held at once; a few tables of this size stay inside a small computer's memory."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: NaN where the images give none.
        low, high: interval, low <= value <= high; NaN where most draws gave no figure.
        draws: how many draws gave one.
        error: standard deviation of the draws; NaN where there is no interval.
    """

    value: float
    low: float
    high: float
    draws: int
    error: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether there are a value and both ends."""
        return not (math.isnan(self.value) or math.isnan(self.low))


def draw_weights(
    groups: Shaped[np.ndarray, " n"], *, generator: np.random.Generator, repeats: int
) -> Iterator[Weights]:
    """How often each image is drawn when whole groups are, in blocks of rows.

    Args:
        groups: patient or duplicate group of each image.
        generator: source of the draws.
        repeats: number of rows over all blocks.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    count = int(inverse.max()) + 1 if len(inverse) else 0
    rows = max(1, _BLOCK_CELLS // max(1, len(inverse)))
    for start in range(0, repeats if count else 0, rows):
        size = min(rows, repeats - start)
        drawn = generator.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times.astype(np.float64)[:, inverse]


def draw_table(
    groups: Shaped[np.ndarray, " n"], *, generator: np.random.Generator, repeats: int = 1000
) -> Weights:
    """:func:`draw_weights` in one table, for images that many figures are taken of."""
    blocks = draw_weights(groups, generator=generator, repeats=repeats)
    return np.concatenate([np.empty((0, len(groups))), *blocks])


def bootstrap_figures(
    compute: Callable[[Weights], Mapping[str, Values]],
    groups: Shaped[np.ndarray, " n"],
    *,
    generator: np.random.Generator,
    repeats: int = 1000,
    level: float = 0.95,
    recentred: Collection[str] = (),
) -> dict[str, Estimate]:
    """Many figures and their intervals from one set of draws of whole groups.

    The intervals are percentiles of the draws, widened where needed to hold the value.
    Draws without a figure (of one class only) are left out; where most are, there is
    no interval.

    Args:
        compute: from a table of weights (a row a draw) to one number a row for each
            name; the ``compute_...s`` functions and :func:`count_decisions` take such.
            The same names each time.
        groups: patient or duplicate group of each image.
        generator: source of the draws.
        repeats: number of draws.
        level: coverage wanted.
        recentred: names of figures that are never below 0 and that resampling itself
            pushes up, as it does a calibration error. Their squares are shifted to have
            the value's square as mean, and cut at 0, before the percentiles are taken.

    Source: Field and Welsh, Bootstrapping clustered data, JRSS B 2007;69:369.
    """
    values = {name: float(one[0]) for name, one in compute(weigh_once(len(groups))).items()}
    blocks = [
        compute(weights) for weights in draw_weights(groups, generator=generator, repeats=repeats)
    ]
    draws = {
        name: np.concatenate([np.empty(0), *(block[name] for block in blocks)]) for name in values
    }
    return {
        name: estimate_from_draws(value, draws[name], level=level, is_recentred=name in recentred)
        for name, value in values.items()
    }


def estimate_from_draws(
    value: float,
    draws: Float64[np.ndarray, " repeats"],
    *,
    level: float = 0.95,
    is_recentred: bool = False,
) -> Estimate:
    """A figure with the percentile interval of its draws, as :func:`bootstrap_figures` makes it.

    Args:
        value: of all images.
        draws: the figure of each draw; NaN where it has none.
        level, is_recentred: as there.
    """
    known = draws[np.isfinite(draws)]
    if math.isnan(value) or not len(known) or len(known) * 2 < len(draws):
        return Estimate(value, math.nan, math.nan, len(known), math.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    if is_recentred:
        push = float((known**2).mean()) - value**2
        low, high = (math.sqrt(max(0.0, end**2 - push)) for end in (low, high))
    error = float(known.std())
    return Estimate(value, min(float(low), value), max(float(high), value), len(known), error)


def bootstrap_interval(
    statistic: Callable[[Int[np.ndarray, " m"]], float],
    groups: Shaped[np.ndarray, " n"],
    *,
    generator: np.random.Generator,
    repeats: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic, resampling whole groups with replacement.

    Images of one patient are no independent evidence; resampling them one by one
    would make the interval too narrow. :func:`bootstrap_figures` is much faster where
    the figure can be computed from weights.

    Args:
        statistic: from the positions of the drawn images to a figure; NaN where a
            draw has none (e.g. one class only), which is left out.
        groups: patient or duplicate group of each image.
        generator: source of the draws.
        repeats: number of draws.
        level: coverage wanted.

    Raises:
        ValueError: more than half of the draws gave no figure.

    Source: Field and Welsh, Bootstrapping clustered data, JRSS B 2007;69:369.
    """
    _, inverse = np.unique(groups, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    figures = []
    for _ in range(repeats):
        drawn = generator.integers(len(members), size=len(members))
        figures.append(statistic(np.concatenate([members[i] for i in drawn])))
    known = np.array([figure for figure in figures if not math.isnan(figure)])
    if len(known) * 2 < repeats:
        raise ValueError(f"bootstrap: only {len(known)} of {repeats} draws gave a figure")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
