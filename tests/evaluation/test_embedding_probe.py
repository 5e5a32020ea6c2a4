"""Embeddings that hold source or age are found out, others are not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chestx.evaluation.embedding_probe import probe_age, probe_source
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_sample import choose_sample, list_sources

SOURCES = ("north", "north", "south", "south")


@pytest.fixture
def outcomes(single_label_outcomes: Any) -> Outcomes:
    made = single_label_outcomes(240, sources=SOURCES, per_group=2)
    assert isinstance(made, Outcomes)
    return made


def put_into_embedding(outcomes: Outcomes, values: np.ndarray) -> Outcomes:
    embeddings = outcomes.embeddings.copy()
    embeddings[:, -1] = values.astype(np.float32)
    return replace(outcomes, embeddings=embeddings)


def test_a_source_in_the_embedding_is_read_within_each_label(outcomes: Outcomes) -> None:
    is_north = np.array(list_sources(outcomes)) == "north"
    rows = choose_sample(outcomes, limit=500, seed=0)
    result = probe_source(put_into_embedding(outcomes, is_north * 4.0), rows, seed=0)
    assert {figure.data for figure in result.figures} == {
        "NORMAL present",
        "PNEUMONIA present",
        "COVID19 present",
    }
    assert all(figure.value > 0.95 for figure in result.figures)
    assert "beyond chance in 6 of 6 cases" in result.verdict


def test_a_source_that_is_not_in_the_embedding_is_not_read(outcomes: Outcomes) -> None:
    rows = choose_sample(outcomes, limit=500, seed=0)
    result = probe_source(outcomes, rows, seed=0)
    assert all(figure.low is not None and figure.low < 0.6 for figure in result.figures)


def test_one_source_alone_cannot_be_told_from_others(single_label_outcomes: Any) -> None:
    outcomes = single_label_outcomes(60, sources=("north",))
    result = probe_source(outcomes, choose_sample(outcomes, limit=500, seed=0), seed=0)
    assert result.figures == ()
    assert result.verdict.startswith("Not measured: no label has images of several sources")


def test_an_age_in_the_embedding_is_read(outcomes: Outcomes) -> None:
    ages = np.random.default_rng(0).uniform(20, 90, len(outcomes))
    rows = choose_sample(outcomes, limit=500, seed=0)
    result = probe_age(put_into_embedding(outcomes, ages / 10), rows, ages[rows], seed=0)
    found = {(x.name, x.subject, x.data): x.value for x in result.figures}
    own, median = "age from the embedding", "always the median age"
    assert found["correlation", own, "all"] > 0.95
    error = "mean absolute error in years"
    assert found[error, own, "all"] < found[error, median, "all"] / 3
    assert ("correlation", own, "source=north") in found
    assert "Correlation of predicted and stated age" in result.verdict


def test_an_age_that_is_not_in_the_embedding_is_not_read(outcomes: Outcomes) -> None:
    rows = choose_sample(outcomes, limit=500, seed=0)
    ages = np.random.default_rng(5).uniform(20, 90, len(rows))
    result = probe_age(outcomes, rows, ages, seed=0)
    correlation = result.figures[0]
    assert correlation.name == "correlation"
    assert abs(correlation.value) < 0.3


def test_children_and_unknown_ages_are_left_out(outcomes: Outcomes) -> None:
    rows = choose_sample(outcomes, limit=500, seed=0)
    ages = np.where(np.arange(len(rows)) % 2 == 0, 5.0, math.nan)
    result = probe_age(outcomes, rows, ages, seed=0)
    assert result.figures == ()
    assert result.verdict == "Not measured: fewer than 50 images of adults of known age."


def test_outcomes_without_embeddings_say_so(outcomes: Outcomes) -> None:
    bare = replace(outcomes, embeddings=np.empty((len(outcomes), 0), dtype=np.float32))
    rows = choose_sample(bare, limit=500, seed=0)
    for result in (
        probe_source(bare, rows, seed=0),
        probe_age(bare, rows, np.full(len(rows), 40.0), seed=0),
    ):
        assert result.verdict == "Not measured: the embeddings of these outcomes were not kept."
