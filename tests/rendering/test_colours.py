"""The colours of a heatmap."""

from __future__ import annotations

import cv2
import numpy as np

from chestx.rendering.colours import get_colours, get_opacities, lay_over


def get_lab() -> np.ndarray:
    colours = get_colours()[None].astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0])


def test_lightness_rises_evenly_with_evidence() -> None:
    lightness = get_lab()[:, 0]
    steps = np.diff(lightness[::16])
    assert lightness[-1] - lightness[0] > 55
    assert (np.diff(lightness) > -0.2).all()
    assert steps.min() > 0.75 * steps.mean()
    assert steps.max() < 1.35 * steps.mean()


def test_equal_steps_of_evidence_look_alike() -> None:
    steps = np.linalg.norm(np.diff(get_lab()[::16], axis=0), axis=1)
    assert steps.max() / steps.min() < 4


def test_the_order_is_seen_without_red_or_green_cones() -> None:
    # Vienot 1999: what a reader without long-wave cones sees, in linear RGB.
    linear = (get_colours() / 255.0) ** 2.2
    protanope = np.array([[0.1124, 0.8876, 0], [0.1124, 0.8876, 0], [0.004, -0.004, 1]])
    deuteranope = np.array([[0.2928, 0.7072, 0], [0.2928, 0.7072, 0], [-0.0223, 0.0223, 1]])
    for matrix in (protanope, deuteranope):
        luminance = np.clip(linear @ matrix.T, 0, 1) @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(luminance[::8]) > 0).all()


def test_no_evidence_leaves_the_image_as_it_is() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = lay_over(grey, np.zeros_like(grey))
    assert (shown == grey[:, :, None]).all()


def test_more_evidence_is_more_colour_and_the_image_stays_visible() -> None:
    opacities = get_opacities()
    assert opacities[0] == 0
    assert (np.diff(opacities) > 0).all()
    assert opacities[-1] < 0.65
    full = np.full((1, 2), 255, np.uint8)
    dark, bright = lay_over(np.array([[0, 255]], np.uint8), full)[0].astype(int)
    assert (bright - dark > 80).all()


def test_what_is_laid_over_is_the_weighted_mean_of_image_and_colour() -> None:
    random = np.random.default_rng(0)
    grey, evidence = random.integers(0, 256, (2, 40, 50), dtype=np.uint8)
    weight = get_opacities()[evidence][..., None]
    expected = grey[..., None] * (1 - weight) + get_colours()[evidence] * weight
    assert np.abs(lay_over(grey, evidence) - expected).max() <= 2
