"""Heatmaps from the outside: parts of the image are hidden and the model is asked again.

They need nothing but answers, so they exist for every network, whatever its last layers
are. They cost dozens to hundreds of forward passes an image, against none for a class
activation map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import cv2
import numpy as np

from chestx.domain import Activation, Prediction
from chestx.models.classifier import Classifier
from chestx.shapes import Float32, UInt8

Score = Callable[[UInt8[np.ndarray, "batch size size"]], Float32[np.ndarray, "batch labels"]]
"""From model inputs to one number a label."""

Predict = Callable[[UInt8[np.ndarray, "batch size size"]], list[Prediction]]
"""From model inputs to the model's answers."""

OCCLUSION_GRID = 14
"""Cells a side; one forward pass a cell."""

SERVED_GRID = 8
"""Cells a side of the map that goes with an answer: about as fine as the usual class
activation map, for 65 forward passes an image."""

OCCLUSION_PATCH = 2.0
"""Side of the hidden square in cells: neighbouring squares overlap by half."""

RISE_MASKS, RISE_CELLS, RISE_SHARE = 400, 7, 0.5
"""Masks of an image, their cells a side, and the share of cells that is left visible.

Cells and share are those of Petsiuk et al., who draw 4000 masks and more.
"""

RISE_SIDE = 28
"""Side of a RISE map; its masks hold nothing finer."""

_BATCH = 32


def score_evidence(classifier: Classifier, *, predict: Predict | None = None) -> Score:
    """Logits of a model as evidence for each label: against the others where they exclude
    each other (softmax), alone where they do not.

    A softmax does not change when a number is added to all logits, so only their
    differences mean something.

    Args:
        classifier: the model.
        predict: asks it by another way, e.g. one that shares the processor with others;
            None for its own.
    """
    is_softmax = classifier.card.activation is Activation.SOFTMAX
    ask = predict or classifier.predict

    def score(
        pixels: UInt8[np.ndarray, "batch size size"],
    ) -> Float32[np.ndarray, "batch labels"]:
        logits = np.stack([prediction.logits for prediction in ask(pixels)])
        return logits - logits.mean(axis=1, keepdims=True) if is_softmax else logits

    return score


def compute_occlusion_maps(
    score: Score, pixels: UInt8[np.ndarray, "size size"], *, grid: int = OCCLUSION_GRID
) -> Float32[np.ndarray, "labels grid grid"]:
    """How much of each label's score is lost when a square around each cell is hidden.

    The square, two cells wide, takes the mean grey of the image; at the edges it is cut off.

    Args:
        score: of the model.
        pixels: model input.
        grid: cells a side; its square is the number of forward passes, one more is made.

    Returns:
        Score of the whole image minus that of the image with the square hidden; positive
        where the hidden part spoke for the label.

    Raises:
        ValueError: fewer than 2 cells, or more than pixels.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks,
    ECCV 2014, section 4.2.
    """
    size = len(pixels)
    if not 2 <= grid <= size:
        raise ValueError(f"grid: expected 2 to {size} cells, got {grid}")
    grey = np.uint8(round(float(pixels.mean())))
    half = OCCLUSION_PATCH / 2
    edges = [
        (
            round(max(i + 0.5 - half, 0) * size / grid),
            round(min(i + 0.5 + half, grid) * size / grid),
        )
        for i in range(grid)
    ]

    def hide() -> Iterator[UInt8[np.ndarray, "size size"]]:
        for top, bottom in edges:
            for left, right in edges:
                hidden = pixels.copy()
                hidden[top:bottom, left:right] = grey
                yield hidden

    whole = score(pixels[None])[0]
    lost = whole - _score_all(score, hide())
    return np.ascontiguousarray(lost.T.reshape(len(whole), grid, grid))


def compute_rise_maps(
    score: Score,
    pixels: UInt8[np.ndarray, "size size"],
    *,
    seed: int,
    masks: int = RISE_MASKS,
) -> Float32[np.ndarray, "labels side side"]:
    """How each label's score moves with what random masks leave visible.

    What is hidden fades to the mean grey of the image, not to black, which is air on a
    radiograph. A map is the slope of the score over the visibility of each place (their
    covariance over the variance of the visibility): scores and visibility are
    taken about their means, without which a map of few masks is mostly the masks' own sum.

    Args:
        score: of the model.
        pixels: model input.
        seed: of the masks; the same seed gives the same masks for every image.
        masks: number of them, one forward pass each.

    Raises:
        ValueError: fewer than 2 masks.

    Source: Petsiuk, Das and Saenko, RISE, BMVC 2018.
    """
    if masks < 2:
        raise ValueError(f"masks: expected 2 or more, got {masks}")
    grey = np.float32(pixels.mean())
    small = np.empty((masks, RISE_SIDE, RISE_SIDE), dtype=np.float32)

    def show() -> Iterator[UInt8[np.ndarray, "size size"]]:
        for i, visible in enumerate(_draw_masks(len(pixels), masks, seed=seed)):
            small[i] = cv2.resize(visible, (RISE_SIDE, RISE_SIDE), interpolation=cv2.INTER_AREA)
            yield np.rint(grey + (pixels - grey) * visible).astype(np.uint8)

    scores = _score_all(score, show())
    about = small - small.mean(axis=0)
    covariance = np.tensordot(scores - scores.mean(axis=0), about, axes=(0, 0)) / masks
    variance = (about**2).mean(axis=0)
    return np.asarray(covariance / np.maximum(variance, np.float32(1e-6)), dtype=np.float32)


def _draw_masks(size: int, masks: int, *, seed: int) -> Iterator[Float32[np.ndarray, "size size"]]:
    """Coarse random grids, enlarged smoothly and shifted by up to a cell."""
    generator = np.random.default_rng(seed)
    cell = -(-size // RISE_CELLS)
    side = (RISE_CELLS + 1) * cell
    for _ in range(masks):
        coarse = generator.random((RISE_CELLS + 1, RISE_CELLS + 1)) < RISE_SHARE
        mask = cv2.resize(coarse.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        top, left = generator.integers(0, cell, size=2)
        yield mask[top : top + size, left : left + size]


def _score_all(
    score: Score, images: Iterator[UInt8[np.ndarray, "size size"]]
) -> Float32[np.ndarray, "images labels"]:
    """Scores of many images with a batch of them in memory."""
    parts = []
    while batch := list(islice(images, _BATCH)):
        parts.append(score(np.stack(batch)))
    return np.concatenate(parts)
