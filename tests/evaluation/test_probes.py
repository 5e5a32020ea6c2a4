"""Models whose secret is known are found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.domain import Decision, UsageError
from chestx.evaluation.alterations import SHORTCUTS
from chestx.evaluation.altered import collect_altered
from chestx.evaluation.explained import CAM, DELETION_MEAN, OCCLUSION, choose_explained
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_result import ProbeResult, find_figure
from chestx.evaluation.probe_sample import (
    choose_sample,
    choose_stratified,
    list_finding_questions,
    list_parts,
    list_sources,
)
from chestx.evaluation.probes import run_probes
from chestx.evaluation.without_lungs import probe_shortcuts
from chestx.models.classifier import Classifier
from chestx.models.folder import ModelFolder
from chestx.models.runtime import GraphShape, Outputs
from chestx.models.scope import fit_reference

SIZE = 32
MIDDLE = slice(10, 22)
LEVELS = np.array([60.0, 110.0, 160.0])
"""Brightness that each of the three labels has where it can be read."""

Read = Callable[[np.ndarray], np.ndarray]


def read_border(pixels: np.ndarray) -> np.ndarray:
    """Mean of the outermost pixels of each image."""
    return np.asarray(pixels[:, [0, -1]].mean(axis=(1, 2)))


def read_middle(pixels: np.ndarray) -> np.ndarray:
    """Mean of the middle of each image."""
    return np.asarray(pixels[:, MIDDLE, MIDDLE].mean(axis=(1, 2)))


class HandMade:
    """A runtime whose logits are the distances of one brightness to the three levels."""

    def __init__(self, read: Read, features: int) -> None:
        self._read = read
        self._shape = GraphShape(SIZE, 3, features, (8, 8))

    @property
    def shape(self) -> GraphShape:
        return self._shape

    def run(self, pixels: UInt8[np.ndarray, "batch 1 size size"]) -> Outputs:
        values = self._read(pixels[:, 0])
        logits = -(((values[:, None] - LEVELS) / 25) ** 2)
        maps = np.zeros((len(pixels), 3, 8, 8), dtype=np.float32)
        maps[:, :, 3:5, 3:5] = 1
        embedding = np.ones((len(pixels), self._shape.features), dtype=np.float32)
        return Outputs(logits.astype(np.float32), embedding, maps)


def make_classifier(outcomes: Outcomes, read: Read) -> Classifier:
    features = outcomes.card.embedding_size
    embeddings = np.random.default_rng(0).normal(size=(40, features)).astype(np.float32)
    folder = ModelFolder(
        path=Path("made-up"),
        card=outcomes.card,
        identity=outcomes.identity,
        graph=b"",
        reference=fit_reference(embeddings, components=2),
    )
    return Classifier(folder, HandMade(read, features))


@pytest.fixture(scope="module")
def outcomes(single_label_outcomes: Any) -> Outcomes:
    made = single_label_outcomes(
        66, sources=("north", "south"), failed=0, out_of_scope=0, per_group=1
    )
    assert isinstance(made, Outcomes)
    return made


def write_table(folder: Path, outcomes: Outcomes, *, where: str) -> Manifest:
    """Pictures of noise whose border or middle is as bright as their label."""
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    examples = []
    for path, targets in zip(outcomes.paths, outcomes.targets.tolist(), strict=True):
        pixels = generator.integers(60, 160, (3 * SIZE, 3 * SIZE))
        level = LEVELS[targets.index(1)]
        if where == "border":
            pixels[:3] = pixels[-3:] = level
        else:
            pixels[30:66, 30:66] = level + generator.normal(0, 5, (36, 36))
        cv2.imwrite(str(folder / path), pixels.astype(np.uint8))
        examples.append(Example(path=path, targets=tuple(Target(x) for x in targets)))
    return Manifest(
        labels=("NORMAL", "PNEUMONIA", "COVID19"),
        task=Task.SINGLE_LABEL,
        examples=tuple(examples),
        folder=folder,
    )


@pytest.fixture(scope="module")
def with_borders(tmp_path_factory: pytest.TempPathFactory, outcomes: Outcomes) -> Manifest:
    return write_table(tmp_path_factory.mktemp("borders"), outcomes, where="border")


@pytest.fixture(scope="module")
def with_middles(tmp_path_factory: pytest.TempPathFactory, outcomes: Outcomes) -> Manifest:
    return write_table(tmp_path_factory.mktemp("middles"), outcomes, where="middle")


def probe(
    outcomes: Outcomes, manifest: Manifest, read: Read, **options: Any
) -> dict[str, ProbeResult]:
    arguments: dict[str, Any] = {"seed": 0, "explanations": False, "workers": 0, **options}
    results = run_probes(make_classifier(outcomes, read), manifest, outcomes, **arguments)
    return {result.name: result for result in results}


@pytest.fixture(scope="module")
def border_reader(outcomes: Outcomes, with_borders: Manifest) -> dict[str, ProbeResult]:
    """What is found of a model that reads the border."""
    return probe(outcomes, with_borders, read_border)


def test_a_model_that_reads_the_border_is_found_out(
    border_reader: dict[str, ProbeResult],
) -> None:
    result = border_reader["shortcuts"]
    for words in ("lungs masked", "whole chest masked", "border only"):
        figure = find_figure(result.figures, f"AUROC, {words}", "P(PNEUMONIA)")
        assert figure is not None
        assert figure.value == 1
    assert "still 1.00 (1.00 to 1.00) with lungs masked" in result.verdict
    assert "that much can be had from what is left" in result.verdict
    within = find_figure(result.figures, "AUROC, lungs masked", "P(PNEUMONIA)", data="source=north")
    assert within is not None
    assert "in source=north" in result.verdict


def test_a_model_that_reads_the_middle_knows_nothing_without_it(
    outcomes: Outcomes, with_middles: Manifest
) -> None:
    answers = collect_altered(
        make_classifier(outcomes, read_middle),
        [with_middles.resolve(example) for example in with_middles.examples],
        rows=np.arange(len(outcomes)),
        alterations=SHORTCUTS,
        seed=0,
        workers=0,
    )
    parts = list_parts(outcomes, answers.rows, generator=np.random.default_rng(0))
    result = probe_shortcuts(answers, list_finding_questions(outcomes), parts)
    whole = find_figure(result.figures, "AUROC, unaltered", "P(PNEUMONIA)")
    masked = find_figure(result.figures, "AUROC, lungs masked", "P(PNEUMONIA)")
    assert whole is not None
    assert whole.value == 1
    assert masked is not None
    assert masked.low is not None
    assert masked.high is not None
    assert masked.low <= 0.5 <= masked.high
    assert "P(PNEUMONIA), AUROC 1.00 (1.00 to 1.00) unaltered: " in result.verdict
    assert ") with lungs masked" not in result.verdict


def test_a_mirror_image_changes_nothing_for_a_model_without_sides(
    border_reader: dict[str, ProbeResult],
) -> None:
    result = border_reader["flip"]
    for figure in result.figures:
        if figure.name.startswith(("ΔAUROC", "mean |Δp|", "decisions changed")):
            assert figure.value == pytest.approx(0, abs=1e-6)
    assert result.verdict.startswith(
        "With left and right exchanged, 0% of the decisions change; AUROC: "
    )


def test_the_robustness_table_has_every_measure_of_every_alteration(
    border_reader: dict[str, ProbeResult],
) -> None:
    result = border_reader["robustness"]
    for words in ("rotated -15°", "blur sigma 2 px", "JPEG quality 10", "burnt-in text"):
        for measure in ("ΔAUROC", "sensitivity", "Δspecificity", "mean |Δp|"):
            assert find_figure(result.figures, f"{measure}, {words}", "P(COVID19)"), measure
        for measure in ("decisions changed", "refused"):
            assert find_figure(result.figures, f"{measure}, {words}", "image"), measure
    dark = find_figure(result.figures, "ΔAUROC, inverted", "P(COVID19)")
    assert dark is not None
    assert dark.value < -0.5
    assert "Inverted, " in result.verdict


def test_a_model_that_reads_a_known_place_is_explained_by_a_map_of_it(
    outcomes: Outcomes, with_middles: Manifest
) -> None:
    seen: list[tuple[int, int]] = []
    found = probe(
        outcomes,
        with_middles,
        read_middle,
        explanations=True,
        explained=4,
        limit=12,
        on_image=lambda done, total: seen.append((done, total)),
    )
    assert list(found) == [
        "shortcuts",
        "flip",
        "robustness",
        "source_from_embedding",
        "age_from_embedding",
        "faithfulness",
        "sanity",
    ]
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    faithful = found["faithfulness"]
    gain = f"{DELETION_MEAN}: gain over random map"
    for kind in (CAM, OCCLUSION):
        figure = find_figure(faithful.figures, f"{gain}, {kind}", "the finding that is explained")
        assert figure is not None
        assert figure.value > 0, kind
    assert faithful.verdict.startswith("The class activation map beats a random map in ")
    assert "On 4 true positives of the sample, at most 4." in faithful.note
    # Its graph is empty, so there is no head to shuffle, and the note says so.
    assert "could not be taken out of its graph" in found["sanity"].note


def test_boxes_bring_a_localisation(outcomes: Outcomes, with_middles: Manifest) -> None:
    sample = choose_sample(outcomes, limit=12, seed=0)
    rows = [row for row, _ in choose_explained(outcomes, sample, limit=12, seed=0)]
    keys = [label.key for label in outcomes.card.labels]
    boxes = list(outcomes.boxes)
    for row in rows[:3]:
        key = keys[outcomes.targets[row].tolist().index(1)]
        height, width = (side * 5 / 16 for side in outcomes.image_sizes[row].tolist())
        boxes[row] = (Box(label=key, x=width, y=height, width=width * 1.2, height=height * 1.2),)
    boxed = replace(outcomes, boxes=tuple(boxes))
    found = probe(boxed, with_middles, read_middle, explanations=True, explained=3, limit=12)[
        "localisation"
    ]
    hit = find_figure(found.figures, f"pointing game, {CAM}", "the finding that is explained")
    assert hit is not None
    assert (hit.value, hit.n) == (1, 3)
    assert "The peak lies in a box in 1.00 (1.00 to 1.00) for the class activation map" in (
        found.verdict
    )


def test_a_sample_keeps_the_shares_of_labels_and_sources(single_label_outcomes: Any) -> None:
    outcomes = single_label_outcomes(600, sources=("north", "north", "south", "north"))
    rows = choose_sample(outcomes, limit=120, seed=3)
    assert len(rows) == 120
    assert (np.diff(rows) > 0).all()
    assert outcomes.is_assessed[rows].all()
    is_south = np.array(list_sources(outcomes)) == "south"
    assert is_south[rows].mean() == pytest.approx(0.25, abs=0.05)
    assert (outcomes.targets[rows, 1] == 1).mean() == pytest.approx(1 / 3, abs=0.05)
    np.testing.assert_array_equal(rows, choose_sample(outcomes, limit=120, seed=3))
    assert not np.array_equal(rows, choose_sample(outcomes, limit=120, seed=4))


def test_a_small_stratum_is_not_lost() -> None:
    chosen = choose_stratified(["large"] * 500 + ["small"] * 2, limit=20, seed=0)
    assert len(chosen) == 20
    assert (chosen >= 500).any()


def test_images_that_nobody_assessed_are_no_ground_for_a_probe(
    outcomes: Outcomes, with_borders: Manifest
) -> None:
    refused = replace(outcomes, decisions=(Decision.OUT_OF_SCOPE,) * len(outcomes))
    found = probe(refused, with_borders, read_border)
    assert list(found) == ["probes"]
    assert found["probes"].verdict == "No image was assessed whose label is known."


def test_files_that_are_gone_are_counted(outcomes: Outcomes, tmp_path: Path) -> None:
    manifest = write_table(tmp_path, outcomes, where="border")
    chosen = [outcomes.paths[row] for row in choose_sample(outcomes, limit=5, seed=0)]
    for path in chosen[:2]:
        (tmp_path / path).unlink()
    note = probe(outcomes, manifest, read_border, limit=5)["shortcuts"].note
    assert note.endswith(
        "On 5 of 66 assessed images with a known label, chosen evenly by labels and source "
        "(seed 0). 2 of them could not be read again."
    )
    for path in chosen[2:]:
        (tmp_path / path).unlink()
    found = probe(outcomes, manifest, read_border, limit=5)
    assert found["probes"].verdict == "No image could be read again."


@pytest.mark.parametrize("name", ["limit", "explained"])
def test_a_limit_below_one_is_refused(
    outcomes: Outcomes, with_borders: Manifest, name: str
) -> None:
    with pytest.raises(UsageError, match=f"{name}: expected 1 or more images, got 0"):
        probe(outcomes, with_borders, read_border, **{name: 0})


def test_another_table_is_refused(outcomes: Outcomes, with_borders: Manifest) -> None:
    other = replace(with_borders, examples=with_borders.examples[:-10])
    with pytest.raises(UsageError, match="expected the table that the outcomes were measured on"):
        probe(outcomes, other, read_border)
