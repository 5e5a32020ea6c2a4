"""The figures that choose the epoch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chestx.learning.validation import compute_figures

pytestmark = pytest.mark.torch


def test_telling_the_source_flatters_only_the_pooled_figure(
    data: Path, load_images: Callable[..., Any]
) -> None:
    """One hospital has the sick, and the scores know nothing but the hospital."""
    images = load_images(data)
    sick = np.array(([True] * 20 + [False] * 4) + ([True] * 4 + [False] * 20))
    images = dataclasses.replace(
        images,
        sources=np.array([0] * 24 + [1] * 24),
        targets=np.stack([~sick, sick], axis=1).astype(np.int8),
    )
    generator = np.random.default_rng(0)
    score = np.array([3.0] * 24 + [-3.0] * 24) + generator.normal(0, 0.1, 48)
    logits = np.stack([-score, score], axis=1).astype(np.float32)
    figures = compute_figures(logits, images)
    assert figures.macro_auroc > 0.75
    # Four of a kind are too few to count.
    assert figures.by_source == {}
    assert math.isnan(figures.within_source_auroc)
    assert figures.monitored("within_source_auroc") == figures.macro_auroc
    assert figures.monitored("loss") == -figures.loss
    assert figures.accuracy == pytest.approx(40 / 48)


def test_within_sources_it_is_their_mean(data: Path, load_images: Callable[..., Any]) -> None:
    images = load_images(data)
    sick = images.targets[:, 1] == 1
    right = np.where(images.sources == 0, 1, -1)
    score = np.where(sick, 1.0, -1.0) * right
    figures = compute_figures(np.stack([-score, score], axis=1).astype(np.float32), images)
    assert figures.by_source == {"hospital_0": 1.0, "hospital_1": 0.0}
    assert figures.within_source_auroc == figures.monitored("within_source_auroc") == 0.5


def test_answers_that_are_not_known_do_not_count(
    multi_data: Path, load_images: Callable[..., Any]
) -> None:
    images = load_images(multi_data)
    known = images.targets >= 0
    assert not known.all()
    logits = np.where(images.targets == 1, 9.0, -9.0).astype(np.float32)
    logits[~known] = 50.0
    figures = compute_figures(logits, images)
    assert figures.accuracy == figures.macro_auroc == 1
    assert figures.loss < 0.001
