"""Parts of the images, with every one accounted for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from chestx.evaluation import slices
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.slices import COLUMNS, NOT_STATED, count_confusions, list_parts


def test_all_images_come_first_and_every_value_of_a_column_holds_its_own(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes(sources=("north", "south", "north"))
    parts, notes = list_parts(outcomes, COLUMNS)
    assert [part.slice.key for part in parts] == [
        "all",
        "source=north",
        "source=south",
        "view=PA",
        "view=AP",
        "age_band=40 to 59",
        f"age_band={NOT_STATED}",
        "sex=F",
        "sex=M",
    ]
    assert not notes
    for column in ("source", "view", "age_band", "sex"):
        together = np.sum([part.is_in for part in parts if part.slice.column == column], axis=0)
        np.testing.assert_array_equal(together, np.ones(len(outcomes)))


def test_every_image_of_a_slice_is_accounted_for(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes(failed=4, out_of_scope=6)
    parts, _ = list_parts(outcomes, COLUMNS)
    for part in parts:
        told = part.slice
        assert told.images == told.assessed + told.out_of_scope + told.failed
        assert told.images == int(part.is_in.sum())
        for key in ("any_finding", "NORMAL", "PNEUMONIA", "COVID19"):
            assert told.positives[key] + told.negatives[key] == told.images
    everything = parts[0].slice
    assert (everything.images, everything.out_of_scope, everything.failed) == (240, 6, 4)
    assert everything.reasons == {"lateral": 6, "failed": 4}
    assert everything.groups == 120
    assert everything.positives["NORMAL"] == 80
    assert everything.positives["any_finding"] == 160


def test_an_unsettled_answer_is_neither_positive_nor_negative(
    multi_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = multi_label_outcomes()
    told = list_parts(outcomes, ())[0][0].slice
    known = int((outcomes.targets[:, 0] >= 0).sum())
    assert told.positives["PNEUMONIA"] + told.negatives["PNEUMONIA"] == known < told.images


def test_a_column_of_many_values_becomes_no_endless_table(
    single_label_outcomes: Callable[..., Outcomes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "MOST_VALUES", 3)
    devices = [f"device {row % 10}" for row in range(240)]
    outcomes = single_label_outcomes(attributes={"device": devices})
    parts, notes = list_parts(outcomes, ("device",))
    assert len(parts) == 4
    assert notes == ["device: 7 of 10 values, the rarest, have no table of their own (168 images)."]


def test_the_confusion_matrix_counts_every_settled_image_once(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    outcomes = single_label_outcomes(failed=4, out_of_scope=6)
    targets = outcomes.targets.copy()
    targets[0] = -1
    outcomes = dataclasses.replace(outcomes, targets=targets)
    parts, _ = list_parts(outcomes, COLUMNS)
    everything, *by_source = count_confusions(outcomes, parts)
    assert everything.rows == ("NORMAL", "PNEUMONIA", "COVID19")
    assert everything.columns == (*everything.rows, "out_of_scope", "failed")
    counts = np.array(everything.counts)
    assert counts.sum() == 239
    assert counts.sum(axis=0)[3:].tolist() == [6, 4]
    assert [confusion.slice_key for confusion in by_source] == ["source=north", "source=south"]
    np.testing.assert_array_equal(sum(np.array(x.counts) for x in by_source), counts)


def test_the_confusion_matrix_is_that_of_scikit_learn(
    single_label_outcomes: Callable[..., Outcomes],
) -> None:
    from sklearn.metrics import confusion_matrix

    outcomes = single_label_outcomes(failed=0, out_of_scope=0)
    counts = np.array(count_confusions(outcomes, list_parts(outcomes, ())[0])[0].counts)
    expected = confusion_matrix(
        outcomes.targets.argmax(axis=1), outcomes.probabilities.argmax(axis=1)
    )
    np.testing.assert_array_equal(counts[:, :3], expected)
