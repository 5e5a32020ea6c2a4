"""Maps and boxes are laid on each other in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.datasets.example import Box
from chestx.evaluation.localisation import draw_boxes, measure_localisation


def test_boxes_of_a_wide_image_are_stretched_with_it() -> None:
    box = Box(label="NODULE", x=200.0, y=0.0, width=200.0, height=50.0)
    covered = draw_boxes([box], rows=100, columns=400, size=64)
    expected = np.zeros((64, 64), dtype=bool)
    expected[:32, 32:] = True
    np.testing.assert_array_equal(covered, expected)


def test_boxes_past_the_edge_and_over_each_other_count_once() -> None:
    boxes = [
        Box(label="NODULE", x=-50.0, y=-50.0, width=100.0, height=100.0),
        Box(label="NODULE", x=0.0, y=0.0, width=50.0, height=50.0),
    ]
    assert draw_boxes(boxes, rows=100, columns=100, size=64).mean() == 0.25


def test_a_map_in_the_box_hits_it_and_one_elsewhere_does_not() -> None:
    covered = np.zeros((64, 64), dtype=bool)
    covered[:32, :32] = True
    inside, outside = np.zeros((8, 8)), np.zeros((8, 8))
    inside[1, 1], outside[6, 6] = 1, 1
    hit, missed = (measure_localisation(x, covered) for x in (inside, outside))
    assert hit.is_hit
    assert hit.energy == pytest.approx(1)
    assert (missed.is_hit, missed.energy, missed.iou) == (False, 0, 0)
    assert hit.box_share == missed.box_share == 0.25


def test_the_iou_is_of_places_from_half_the_peak_upwards() -> None:
    covered = np.zeros((64, 64), dtype=bool)
    covered[:, :16] = True
    heatmap = np.zeros((64, 64))
    heatmap[:, :32], heatmap[:, 32:] = 1, 0.4
    assert measure_localisation(heatmap, covered).iou == 0.5


def test_evidence_against_is_not_counted_and_no_evidence_hits_nothing() -> None:
    covered = np.ones((64, 64), dtype=bool)
    found = measure_localisation(-np.ones((4, 4)), covered)
    assert (found.is_hit, found.energy, found.iou) == (False, 0, 0)
