from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from chestx.domain import OperatingPoint
from chestx.evaluation.plots import (
    MAX_CURVES,
    Bar,
    Curve,
    draw_confusion,
    draw_forest,
    draw_precision_recall,
    draw_reliability,
    draw_risk_coverage,
    draw_roc,
    draw_scores,
    to_curve_points,
)
from chestx.evaluation.result import Confusion, Point, ReliabilityBin, RiskPoint

POINTS = tuple(Point(x / 10, math.sqrt(x / 10), 1 - x / 10) for x in range(11))
HOSTILE = "</svg><script>x</script> $\\frac{1}{0}$ & 北京 مستشفى \U0001f600 \x00\u202e" + "y" * 200


def make_curves(label: str = "all together: AUROC 0.91") -> list[Curve]:
    return [
        Curve(label=label, points=POINTS, marks=POINTS[3:4], is_whole=True),
        Curve(label="_hidden", points=POINTS[::2]),
    ]


@cache
def draw_everything(label: str) -> dict[str, bytes]:
    scores = np.linspace(0, 1, 30)
    bins = [ReliabilityBin(0.1, 0.2, 0.1, 0.4, 15), ReliabilityBin(0.8, 1.0, 0.7, 1.0, 15)]
    confusion = Confusion(
        slice_key="all", rows=(label, "B"), columns=(label, "B", "failed"),
        counts=((8, 2, 0), (0, 0, 0)),
    )  # fmt: skip
    bars = [
        Bar(label=label, value=0.9, low=0.8, high=0.95, kind="whole", note=label),
        Bar(label="nothing known", value=0.7, low=None, high=None),
        Bar(label="thumbnail", value=0.85, low=0.8, high=0.9, kind="baseline"),
    ]
    risk = Curve(label=label, points=to_curve_points([RiskPoint(0.5, 0.0), RiskPoint(1.0, 0.1)]))
    point = OperatingPoint(0.4, 0.3, 0.6)
    return {
        "roc": draw_roc(make_curves(label)),
        "precision_recall": draw_precision_recall(make_curves(label)),
        "risk_coverage": draw_risk_coverage([risk]),
        "reliability": draw_reliability(bins, scores),
        "scores": draw_scores(scores[15:], scores[:15], score=label, point=point),
        "confusion": draw_confusion(confusion),
        "forest": draw_forest(bars, name="AUROC", chance=0.5),
    }


def test_every_plot_is_one_svg_without_a_script_or_a_date() -> None:
    for name, data in draw_everything("north").items():
        root = ElementTree.fromstring(data)
        assert root.tag.endswith("svg"), name
        assert b"<dc:date>" not in data, name
        assert b"<script" not in data, name
        assert len(data) < 150_000, name


def test_the_same_figures_give_the_same_bytes() -> None:
    assert draw_everything("north") == draw_everything.__wrapped__("north")


def test_labels_of_any_script_and_of_ill_will_are_drawn_as_text() -> None:
    for name, data in draw_everything(HOSTILE).items():
        assert b"<script" not in data, name
        ElementTree.fromstring(data)


def test_a_label_that_begins_with_an_underscore_is_in_the_legend() -> None:
    assert draw_roc(make_curves()) != draw_roc(make_curves()[:1])
    assert b"_hidden" in draw_roc(make_curves())


def test_what_does_not_fit_into_a_plot_is_said() -> None:
    curves = [Curve(label=f"source {i}", points=POINTS) for i in range(MAX_CURVES + 3)]
    assert b"3 more are not drawn" in draw_roc(curves)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_roc([]),
        lambda: draw_risk_coverage([]),
        lambda: draw_reliability([], np.zeros(0)),
        lambda: draw_scores(np.zeros(0), np.zeros(0), score="P(X)", point=None),
        lambda: draw_forest([], name="AUROC"),
    ],
)
def test_nothing_to_draw_is_an_empty_plot(draw: Callable[[], bytes]) -> None:
    assert ElementTree.fromstring(draw()).tag.endswith("svg")


def test_settings_of_others_are_left_as_they_were() -> None:
    before = dict(mpl.rcParams)
    draw_roc(make_curves())
    assert dict(mpl.rcParams) == before
