"""The course of the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chestx.learning.schedules import compute_rate_factor

pytestmark = pytest.mark.torch


def list_factors(config: Any, steps: int = 100) -> list[float]:
    return [compute_rate_factor(step, steps, config) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_it_rises_to_its_height_and_falls(make_config: Callable[..., Any], schedule: str) -> None:
    factors = list_factors(make_config(schedule=schedule, warmup_share=0.2))
    assert factors[:20] == sorted(factors[:20])
    assert factors[20] == 1
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert factors[-1] < 0.001
    assert all(0 < factor <= 1 for factor in factors)


def test_without_warming_up_it_begins_at_its_height(make_config: Callable[..., Any]) -> None:
    assert list_factors(make_config(schedule="cosine", warmup_share=0.0))[0] == 1


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_it_stays(make_config: Callable[..., Any], schedule: str) -> None:
    assert set(list_factors(make_config(schedule=schedule))) == {1.0}
