"""Whether a heatmap lies where readers drew a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestx.datasets.example import Box
from chestx.evaluation.faithfulness import enlarge_map
from chestx.shapes import Bool, Float

IOU_SHARE = 0.5
"""Share of the map's peak from which a place counts as marked."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """How one map lies to the boxes of its label.

    Attributes:
        is_hit: the peak lies in a box (pointing game).
        energy: share of the positive evidence inside the boxes.
        iou: of the places from half the peak upwards and the boxes.
        box_share: of the image that the boxes cover: what a map that knows nothing hits.
    """

    is_hit: bool
    energy: float
    iou: float
    box_share: float


def draw_boxes(
    boxes: Sequence[Box], *, rows: int, columns: int, size: int
) -> Bool[np.ndarray, "size size"]:
    """Boxes on the model input, which is the whole image stretched to a square.

    A pixel belongs to a box if its middle does.

    Args:
        boxes: in pixels of the image as shown.
        rows, columns: of that image.
        size: side of the model input.
    """
    middle = (np.arange(size) + 0.5) / size
    covered = np.zeros((size, size), dtype=bool)
    for box in boxes:
        x, y = middle * columns, middle * rows
        covered |= np.outer(
            (box.y <= y) & (y < box.y + box.height), (box.x <= x) & (x < box.x + box.width)
        )
    return covered


def measure_localisation(
    heatmap: Float[np.ndarray, "height width"], covered: Bool[np.ndarray, "size size"]
) -> Localisation:
    """A map against the boxes of its label.

    A map without any positive evidence hits nothing.

    Source: Zhang et al., Top-down Neural Attention, ECCV 2016 (pointing game, here without
    a margin); Wang et al., Score-CAM, CVPRW 2020 (energy).
    """
    values = np.maximum(enlarge_map(heatmap, len(covered)), 0)
    total, peak = float(values.sum()), float(values.max())
    share = float(covered.mean())
    if total == 0:
        return Localisation(False, 0.0, 0.0, share)
    marked = values >= IOU_SHARE * peak
    return Localisation(
        is_hit=bool(covered.ravel()[values.argmax()]),
        energy=float(values[covered].sum() / total),
        iou=float((marked & covered).sum() / (marked | covered).sum()),
        box_share=share,
    )
