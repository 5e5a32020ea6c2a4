"""An acceptance test accepts what is shown, and nothing that is only hoped for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chestx.domain import CAVEAT, Figure, UsageError
from chestx.evaluation.commission import (
    Commissioning,
    Criterion,
    Verdict,
    commission,
    halve_outcomes,
    take_outcomes,
)
from chestx.evaluation.commission_page import write_commissioning
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.recalibrate import CalibrationRules
from chestx.models.site import load_site_profile

MakeOutcomes = Callable[..., Outcomes]


def run(outcomes: Outcomes, *criteria: str, **options: Any) -> Commissioning:
    settings: dict[str, Any] = {
        "site": "St. Elsewhere",
        "signed_by": "Dr. Example",
        "rules": CalibrationRules(),
        "data": "site.csv",
        "manifest_sha256": "0" * 64,
        "left_out": {},
        "signed_on": date(2026, 1, 31),
        "repeats": 50,
    }
    wanted = [Criterion.parse(text) for text in criteria]
    return commission(outcomes, criteria=wanted, **(settings | options))


@pytest.fixture(scope="module")
def accepted(single_label_outcomes: MakeOutcomes) -> Commissioning:
    return run(
        single_label_outcomes(400, strength=3, failed=2, out_of_scope=2),
        "any_finding sensitivity >= 0.8",
        "PNEUMONIA AUROC >= 0.7",
        "refused <= 0.1",
    )


def test_a_good_model_is_accepted_with_a_profile_that_says_how_it_was_measured(
    accepted: Commissioning,
) -> None:
    profile = accepted.profile
    assert profile is not None
    assert accepted.is_accepted
    assert [item.verdict for item in accepted.judged] == [Verdict.MET] * 3
    assert profile.operating_points.keys() == {"any_finding", "PNEUMONIA", "COVID19"}
    assert profile.model_checksum == "0" * 64
    assert profile.signed_on == "2026-01-31"
    assert profile.criteria[0].startswith("any_finding sensitivity >= 0.8: 0.9")
    assert profile.criteria[0].endswith(": met")
    assert "the second half of site.csv: 200 images" in profile.accepted_on


def test_a_model_that_knows_nothing_is_not_accepted(
    single_label_outcomes: MakeOutcomes, tmp_path: Path
) -> None:
    outcomes = single_label_outcomes(400, strength=0.3)
    result = run(outcomes, "any_finding AUROC >= 0.9", "refused <= 0.1")
    assert result.profile is None
    assert [item.verdict for item in result.judged] == [Verdict.MISSED, Verdict.MET]
    write_commissioning(result, tmp_path, card=outcomes.card, site="A", signed_by="B")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "commission.html",
        "commission.json",
    ]
    page = (tmp_path / "commission.html").read_text(encoding="utf-8")
    assert "Not accepted: 1 of 2 criteria are not met." in page


def test_decisions_are_judged_with_uncertain_forced_and_refusals_by_patient(
    accepted: Commissioning,
) -> None:
    forced, _, refused = (item.figure for item in accepted.judged)
    assert forced.subject.endswith(", uncertain forced")
    assert "bootstrap of 100 patient or duplicate groups" in refused.note


def test_settings_and_figures_never_share_a_patient(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(600, per_group=3)
    first = halve_outcomes(outcomes, seed=1)
    assert not set(outcomes.groups[first]) & set(outcomes.groups[~first])
    for column in outcomes.targets.T:
        assert abs(int(column[first].sum()) - int(column[~first].sum())) <= 3
    assert len(take_outcomes(outcomes, first)) == first.sum()
    np.testing.assert_array_equal(first, halve_outcomes(outcomes, seed=1))
    assert (first != halve_outcomes(outcomes, seed=2)).any()


@pytest.mark.parametrize(
    ("text", "low", "high", "verdict"),
    [
        ("x AUROC >= 0.8", 0.8, 0.9, Verdict.MET),
        ("x AUROC >= 0.8", 0.79, 0.9, Verdict.NOT_SHOWN),
        ("x AUROC >= 0.8", 0.6, 0.79, Verdict.MISSED),
        ("x ECE <= 0.1", 0.01, 0.1, Verdict.MET),
        ("x ECE <= 0.1", 0.01, 0.11, Verdict.NOT_SHOWN),
        ("x ECE <= 0.1", 0.11, 0.2, Verdict.MISSED),
        ("x ECE <= 0.1", None, None, Verdict.NOT_SHOWN),
    ],
)
def test_a_criterion_is_met_only_by_the_whole_interval(
    text: str, low: float | None, high: float | None, verdict: Verdict
) -> None:
    value = 0.1 if low is None or high is None else (low + high) / 2
    figure = Figure(name="x", subject="x", data="x", value=value, low=low, high=high, n=10)
    assert Criterion.parse(text).judge(figure) is verdict


@pytest.mark.parametrize(
    "text",
    ["", "sensitivity >= 0.8", "x y", "x y = 1", "x AUROC >= much", "x AUROC >= 1e999", ">= 1"],
)
def test_another_criterion_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"criterion: expected FINDING FIGURE >= NUMBER"):
        Criterion.parse(text)


def test_a_criterion_on_what_is_not_measured_names_what_is(
    single_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = single_label_outcomes(140)
    with pytest.raises(UsageError, match=r"expected one of any_finding, NORMAL, .*, got 'EDEMA'"):
        run(outcomes, "EDEMA AUROC >= 0.8")
    with pytest.raises(UsageError, match=r"expected one of the figures .*AUROC, .*got 'luck'"):
        run(outcomes, "PNEUMONIA luck >= 0.8")


def test_what_is_good_enough_must_be_said_before(single_label_outcomes: MakeOutcomes) -> None:
    with pytest.raises(UsageError, match="criteria: expected at least one"):
        run(single_label_outcomes())


def test_a_handful_of_patients_commissions_nothing(single_label_outcomes: MakeOutcomes) -> None:
    with pytest.raises(UsageError, match="images of at least 20 patients, got 10"):
        run(single_label_outcomes(20), "refused <= 0.9")


def test_a_name_that_no_file_may_hold_is_refused(single_label_outcomes: MakeOutcomes) -> None:
    with pytest.raises(UsageError, match="site profile: site: expected 1 to 64 printable"):
        run(single_label_outcomes(), "refused <= 0.9", site="a\nb")


def test_the_files_say_the_same(accepted: Commissioning, tmp_path: Path) -> None:
    card = accepted.accepted_outcomes.card
    output = tmp_path / "out"
    write_commissioning(accepted, output, card=card, site="A & B <i>", signed_by="Dr. Example")
    page = (output / "commission.html").read_text(encoding="utf-8")
    assert "Accepted: all 3 criteria are met. Signed by Dr. Example on 2026-01-31." in page
    assert "A &amp; B &lt;i&gt;" in page
    assert CAVEAT in page
    result = json.loads((output / "commission.json").read_text(encoding="utf-8"))
    assert result["accepted"] is True
    assert [item["verdict"] for item in result["criteria"]] == ["met"] * 3
    assert load_site_profile(output / "site-profile.json") == accepted.profile
    with pytest.raises(UsageError, match=r"holds commission\.html already; name another folder"):
        write_commissioning(accepted, output, card=card, site="A", signed_by="B")
