"""Shortcuts are measured in all sources and in each, with groups kept together."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from chestx.datasets.baselines import (
    POOLED,
    Shortcut,
    judge_shortcuts,
    make_features,
    measure_shortcuts,
)
from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.datasets.fingerprints import Fingerprint
from chestx.domain import ImageHeader
from chestx.metrics import compute_auroc


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chestx.datasets.baselines.REPEATS", 40)


def make_set(
    n: int = 120, *, wide_is_sick: bool = True
) -> tuple[Manifest, dict[int, Fingerprint], np.ndarray]:
    """Two sources; the label shows in the width of the file and in the age alone."""
    generator = np.random.default_rng(0)
    examples, prints = [], {}
    for number in range(n):
        is_sick = number % 2 == 0
        examples.append(
            Example(
                path=f"{number}.png",
                targets=(Target.PRESENT if is_sick else Target.ABSENT,),
                source="one" if number % 3 else "two",
                age_years=float(60 + generator.normal() if is_sick else 30),
                sex="F",
            )
        )
        wide = is_sick if wide_is_sick else bool(generator.random() < 0.5)
        prints[number] = Fingerprint(
            sha256="0" * 64,
            pixel_digest=b"0",
            file_bytes=1000,
            header=ImageHeader(format="PNG", rows=500, columns=800 if wide else 500),
            reasons=(),
            flags=(),
            thumbnail=generator.integers(0, 255, (64, 64)).astype(np.uint8),
            ring=generator.random(8).astype(np.float32),
        )
    manifest = Manifest(
        labels=("PNEUMONIA",), task=Task.SINGLE_LABEL, examples=tuple(examples), folder=Path()
    )
    return manifest, prints, np.arange(n)


@cache
def measure_once() -> tuple[Shortcut, ...]:
    """Shortcuts of the plain set; every call that measures costs a second."""
    return measure_shortcuts(*make_set(), seed=0)


def index(found: tuple[Shortcut, ...]) -> dict[tuple[str, str], Shortcut]:
    return {(shortcut.source, shortcut.shortcut): shortcut for shortcut in found}


def test_the_shape_of_the_file_gives_the_label_away() -> None:
    found = index(measure_once())
    for source in (POOLED, "one", "two"):
        figure = found[source, "size"].figure
        assert figure.value == 1
        assert found[source, "age"].figure.value > 0.99
    thumbnail = found[POOLED, "thumbnail_4"].figure
    assert thumbnail.low is not None
    assert thumbnail.low < 0.6
    assert found[POOLED, "size"].positives == 60
    # What is the same for all, and what is not stated, is no shortcut.
    assert not {(POOLED, "sex"), (POOLED, "view"), (POOLED, "stated")} & set(found)
    assert (POOLED, "source") in found
    assert ("one", "source") not in found


def test_a_shortcut_is_said_in_words_and_chance_is_not() -> None:
    (sentence,) = judge_shortcuts(measure_once())
    assert sentence.startswith(
        "PNEUMONIA can be guessed without lungs: all sources: AUROC 1.00 (1.00 to 1.00) from "
        "width, height and their ratio; one: AUROC 1.00"
    )
    assert sentence.endswith("at or below these are no evidence of reading lungs.")
    chance = [
        shortcut
        for shortcut in measure_shortcuts(*make_set(wide_is_sick=False), seed=0)
        if shortcut.shortcut != "age"
    ]
    assert judge_shortcuts(chance) == ()


def test_the_same_seed_gives_the_same_figures() -> None:
    assert measure_shortcuts(*make_set(), seed=0) == measure_once()


def test_too_few_images_give_no_figure() -> None:
    assert measure_shortcuts(*make_set(30), seed=0) == ()
    manifest, _, groups = make_set()
    assert measure_shortcuts(manifest, {}, groups, seed=0) == ()


def test_of_many_images_whole_groups_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chestx.datasets.baselines.MAX_IMAGES", 80)
    found = index(measure_shortcuts(*make_set(), seed=0))
    assert found[POOLED, "size"].figure.n == 80


def test_figures_are_those_of_the_metrics() -> None:
    from chestx.datasets.baselines import _count_auroc

    generator = np.random.default_rng(1)
    y_true, ranks = generator.random(50) < 0.4, generator.integers(0, 9, 50)
    drawn = generator.integers(0, 50, 50)
    expected = compute_auroc(y_true[drawn], ranks[drawn].astype(float))
    assert _count_auroc(y_true, ranks, drawn) == pytest.approx(expected)


def test_what_is_not_stated_is_not_a_number() -> None:
    manifest, prints, _ = make_set(4)
    features = make_features(manifest.examples, list(prints.values()))
    assert np.isnan(features["view"]).all()
    assert features["thumbnail_16"].shape == (4, 256)
    assert np.isfinite(features["age"]).all()
