from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chestx.domain import CAVEAT
from chestx.evaluation.claim import (
    ClaimMaterial,
    ClaimStatus,
    claim_to_json,
    fill_claim,
    write_claim_section,
)
from chestx.evaluation.measure import measure

if TYPE_CHECKING:
    from tests.evaluation.conftest import MakeOutcomes


@pytest.fixture(scope="module")
def material(single_label_outcomes: MakeOutcomes) -> ClaimMaterial:
    outcomes = single_label_outcomes(90)
    left_out = {"label OTHER not asked for": 3}
    evaluation = measure(
        outcomes, data="made up", manifest_sha256="0" * 64, left_out=left_out, repeats=8
    )
    return ClaimMaterial(evaluation=evaluation, outcomes=outcomes, probes=(), pictures=2)


def test_all_44_items_are_answered_or_said_not_to_be(material: ClaimMaterial) -> None:
    items = fill_claim(material)
    assert [item.number for item in items] == list(range(1, 45))
    assert all(item.answer and item.topic and item.part for item in items)


def test_what_only_people_can_know_is_not_stated(material: ClaimMaterial) -> None:
    items = fill_claim(material)
    for number in (5, 11, 15, 16, 17, 18, 24, 25, 44):
        assert items[number - 1].status is ClaimStatus.NOT_STATED, number


def test_counts_are_those_of_the_evaluation(material: ClaimMaterial) -> None:
    items = fill_claim(material)
    counts = items[34].answer
    assert "90 images of 45 patient or duplicate groups" in counts
    assert "80 assessed, 6 out of scope, 4 failed; 3 rows" in counts
    assert "north 45, south 45" in items[6].answer
    assert "3 with label OTHER not asked for" in items[7].answer


def test_probes_that_were_not_run_are_not_claimed(material: ClaimMaterial) -> None:
    without = fill_claim(material)[29]
    assert without.status is ClaimStatus.NOT_STATED
    with_probes = fill_claim(replace(material, probes=("flip",)))[29]
    assert "flip" in with_probes.answer


def test_the_checklist_is_a_table_and_json(material: ClaimMaterial) -> None:
    items = fill_claim(material)
    assert write_claim_section(items).title == "CLAIM checklist"
    document = json.loads(json.dumps(claim_to_json(items, evaluation=material.evaluation)))
    assert document["caveat"] == CAVEAT
    assert len(document["items"]) == 44
