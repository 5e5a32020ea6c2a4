"""The page leads with the answer; its charts hold no state and typeset nothing."""

from __future__ import annotations

import cv2
import numpy as np

from chestx.datasets.audit_charts import draw_ages, draw_shortcuts
from chestx.datasets.audit_page import _fit_height
from chestx.datasets.baselines import Shortcut
from chestx.domain import Figure


def make_shortcut(source: str, value: float) -> Shortcut:
    figure = Figure(
        name="AUROC", subject="x", data="one source", value=value, n=100, low=value, high=value
    )
    return Shortcut(label="PNEUMONIA", source=source, shortcut="size", figure=figure, positives=50)


def test_a_chart_is_a_picture_whatever_the_sources_are_called() -> None:
    shortcuts = [make_shortcut("$\\frac{", 0.9), make_shortcut("\u533b\u9662", 0.3)]
    picture = draw_shortcuts(shortcuts)
    assert picture.media_type == "image/png"
    image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert image.shape[1] > 800


def test_ages_are_drawn_by_label() -> None:
    picture = draw_ages({"NORMAL": [1.0, 2.0, 3.0], "PNEUMONIA": [40.0, 50.0]})
    assert picture.data.startswith(b"\x89PNG")


def test_a_picture_of_odd_shape_does_not_take_the_page() -> None:
    assert _fit_height(np.zeros((10, 256), np.uint8)).shape == (200, 400)
    assert _fit_height(np.zeros((256, 10), np.uint8)).shape == (200, 16)
