"""Arithmetic shared by the figures: shares of nothing, and weights that stand for draws."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from chestx.shapes import Float, Float64

Values = Float64[np.ndarray, "..."]
"""One figure a draw."""

Number = TypeVar("Number", int | float, Values)
"""A number, or one for each draw of the bootstrap."""

Weights = Float64[np.ndarray, "repeats n"]
"""How often each image counts in each draw: whole numbers, 0 or more."""


def divide(numerator: Number, denominator: Number) -> Number:
    """The quotient, NaN where the denominator is 0."""
    if isinstance(denominator, np.ndarray):
        quotient = np.full(denominator.shape, np.nan)
        np.divide(numerator, denominator, out=quotient, where=denominator != 0)
        return quotient
    return numerator / denominator if denominator else math.nan


def weigh_once(n: int) -> Weights:
    """The draw that holds every image once."""
    return np.ones((1, n))


def refuse_missing(values: Float[np.ndarray, ...]) -> None:
    """Images without an answer have no place in a figure about answers.

    Raises:
        ValueError: a value is NaN.
    """
    missing = int(np.isnan(values).sum())
    if missing:
        raise ValueError(
            f"expected a score for every image, got {missing} of {values.size} that are not a "
            "number; leave images that were not assessed out and count them apart"
        )
