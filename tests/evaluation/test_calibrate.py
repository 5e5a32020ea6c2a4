"""The temperature drawn from validation outputs does what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from chestx.domain import Activation, UsageError
from chestx.evaluation import calibrate
from chestx.evaluation.calibrate import fit_temperature


def _draw_softmax(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose truth is drawn from them at a known temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(20_000, 3))
    noise = generator.gumbel(size=logits.shape)
    chosen = (logits / temperature + noise).argmax(axis=1)
    return logits, np.eye(3, dtype=bool)[chosen]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_drawn_labels_is_found_again(temperature: float) -> None:
    assert fit_temperature(*_draw_softmax(temperature)) == pytest.approx(temperature, rel=0.03)


def test_the_temperature_is_where_scipy_finds_the_smallest_loss() -> None:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits, y_true = _draw_softmax(1.7)
    best = minimize_scalar(
        lambda t: -log_softmax(logits / t, axis=1)[y_true].mean(),
        bounds=(0.1, 10),
        method="bounded",
    ).x
    assert fit_temperature(logits, y_true) == pytest.approx(best, rel=1e-4)


def test_the_temperature_of_independent_labels_is_found_again() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(scale=3, size=(20_000, 4))
    y_true = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 2))
    found = fit_temperature(logits, y_true, activation=Activation.SIGMOID)
    assert found == pytest.approx(2, rel=0.03)


def test_logits_of_another_scale_give_a_temperature_of_that_scale() -> None:
    logits, y_true = _draw_softmax(1.0)
    assert fit_temperature(logits * 15, y_true) == pytest.approx(15, rel=0.03)


def test_perfect_separation_has_no_temperature_and_says_so() -> None:
    y_true = np.eye(3, dtype=bool)[[0, 1, 2]]
    with pytest.raises(UsageError, match="perfectly or not at all; use more"):
        fit_temperature(y_true * 4.0, y_true)


def test_every_setting_is_at_hand_in_one_place() -> None:
    assert all(callable(getattr(calibrate, name)) for name in calibrate.__all__)
