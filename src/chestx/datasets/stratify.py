"""Deals groups of images to parts so that every part looks like the whole."""

from __future__ import annotations

import numpy as np

from chestx.shapes import Float, Int


def deal_groups(
    counts: Int[np.ndarray, "groups strata"],
    images: Int[np.ndarray, " groups"],
    shares: Float[np.ndarray, " parts"],
) -> Int[np.ndarray, " groups"]:
    """Iterative stratification, of groups instead of single images.

    The rarest stratum goes first; of it the largest group; to the part that still wants the most
    of that stratum, and among equals the most images.

    Args:
        counts: images of each group in each stratum; an image can be in several, and is in one
            at least.
        images: of each group.
        shares: of each part, summing to 1.

    Returns:
        Number of the part of each group. The order of the groups breaks ties.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, On the Stratification of Multi-label Data.
    """
    parts = np.full(len(counts), -1)
    left = counts.sum(axis=0)
    wanted = np.outer(shares, left)
    wanted_images = shares * images.sum()
    while left.any():
        stratum = int(np.argmin(np.where(left > 0, left, np.iinfo(left.dtype).max)))
        members = np.flatnonzero((parts < 0) & (counts[:, stratum] > 0))
        for group in members[np.argsort(-counts[members, stratum], kind="stable")]:
            part = _choose_part(wanted[:, stratum], wanted_images)
            parts[group] = part
            wanted[part] -= counts[group]
            wanted_images[part] -= images[group]
            left -= counts[group]
    return parts


def _choose_part(wanted: Float[np.ndarray, " parts"], images: Float[np.ndarray, " parts"]) -> int:
    # Sums of shares differ in the last bit with their order; that must decide nothing.
    best = wanted >= wanted.max() - 1e-6
    return int(np.argmax(np.where(best, images, -np.inf)))
