from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chestx import Classifier
from chestx.domain import ANY_FINDING, Figure, InvalidModelError, OperatingPoint, UsageError
from chestx.models.site import (
    SiteProfile,
    apply_site_profile,
    identify_with_profile,
    load_site_profile,
    site_profile_from_json,
    site_profile_to_json,
)


@pytest.fixture(scope="module")
def profile(classifier: Classifier) -> SiteProfile:
    identity = classifier.identity
    point = OperatingPoint(0.6, 0.55, 0.65)
    return SiteProfile(
        format_version=1,
        site="St. Elsewhere, Ångström wing",
        model_name=identity.name,
        model_version=identity.version,
        model_checksum=identity.checksum,
        model_precision=identity.precision,
        temperature=1.5,
        operating_points={ANY_FINDING: point, "PNEUMONIA": point, "COVID19": point},
        chosen_on="200 images of 180 patients",
        accepted_on="210 other images of 190 patients",
        performance=(
            Figure(name="AUROC", subject="1 - P(NORMAL)", data="accepted_on", value=0.9, n=210),
        ),
        criteria=("any_finding sensitivity >= 0.8: met",),
        manifest_sha256="0" * 64,
        signed_by="Dr. Example",
        signed_on="2026-01-31",
        software="0.1.0",
    )


@pytest.fixture
def write(tmp_path: Path, profile: SiteProfile) -> Callable[..., Path]:
    def write_file(**changes: Any) -> Path:
        document = json.loads(site_profile_to_json(profile))
        document["profile"] |= changes
        path = tmp_path / "site.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write_file


def test_a_profile_makes_the_round_trip(tmp_path: Path, profile: SiteProfile) -> None:
    path = tmp_path / "site.json"
    path.write_text(site_profile_to_json(profile), encoding="utf-8")
    assert load_site_profile(path) == profile


def test_a_profile_sets_temperature_and_thresholds_and_nothing_else(
    classifier: Classifier, profile: SiteProfile
) -> None:
    card = apply_site_profile(classifier.card, profile)
    assert card.temperature == 1.5
    assert card.any_finding == profile.operating_points[ANY_FINDING]
    assert {label.key: label.operating_point for label in card.labels} == {
        "NORMAL": None,
        "PNEUMONIA": profile.operating_points["PNEUMONIA"],
        "COVID19": profile.operating_points["COVID19"],
    }
    back = replace(
        card,
        temperature=classifier.card.temperature,
        any_finding=classifier.card.any_finding,
        labels=classifier.card.labels,
    )
    assert back == classifier.card


def test_a_model_with_a_profile_decides_by_it_and_says_so(
    classifier: Classifier, tmp_path: Path, profile: SiteProfile
) -> None:
    path = tmp_path / "site.json"
    path.write_text(site_profile_to_json(profile), encoding="utf-8")
    fitted = Classifier.load(threads=1, site_profile=path)
    assert fitted.card.any_finding == profile.operating_points[ANY_FINDING]
    assert fitted.identity.site == profile.site
    assert len(fitted.identity.site_profile) == 64
    assert replace(fitted.identity, site="", site_profile="") == classifier.identity


def test_a_profile_of_another_model_is_refused(
    classifier: Classifier, profile: SiteProfile
) -> None:
    other = replace(profile, model_checksum="f" * 64)
    with pytest.raises(
        UsageError, match=r"belongs to chestx-default .* \(ffffffffffff, f32\), got"
    ):
        identify_with_profile(classifier.identity, other)
    with pytest.raises(UsageError, match="commission the site for this model"):
        identify_with_profile(replace(classifier.identity, precision="bf16"), profile)


def test_a_profile_for_other_findings_is_refused(
    classifier: Classifier, profile: SiteProfile
) -> None:
    other = replace(profile, operating_points={"EDEMA": OperatingPoint(0.5, 0.5, 0.5)})
    with pytest.raises(UsageError, match=r"expected operating points for COVID19, .*, got EDEMA"):
        apply_site_profile(classifier.card, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 1.6}, "was changed after it was signed"),
        ({"format_version": 2}, "made by a newer chestx: it has format 2"),
        ({"temperature": 0}, "temperature: expected 0.001 to 1000, got 0.0"),
        ({"signed_by": " "}, "signed_by: expected 1 to 64 printable characters"),
        ({"signed_on": "yesterday"}, "signed_on: expected a date as YYYY-MM-DD, got 'yesterday'"),
        ({"extra": 1}, "expected no key 'extra'"),
        ({"site": None}, "expected a text, got nothing"),
    ],
)
def test_a_profile_that_cannot_be_trusted_is_refused(
    write: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidModelError, match=message):
        load_site_profile(write(**changes))


@pytest.mark.parametrize("text", ["", "[]", '{"profile": {}}', '{"profile": {}, "sha256": NaN}'])
def test_another_file_is_no_profile(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidModelError, match="expected"):
        load_site_profile(path)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="expected a site profile, there is no file"):
        load_site_profile(tmp_path / "none.json")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidModelError, match="there is no file"):
        load_site_profile(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidModelError, match="cannot be read as text"):
        load_site_profile(tmp_path / "bytes")
    (tmp_path / "large").write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(InvalidModelError, match="of at most 1048576 bytes, got 1048577"):
        load_site_profile(tmp_path / "large")


def test_json_of_another_form_names_the_place() -> None:
    with pytest.raises(InvalidModelError, match=r"run\.json: expected a site profile"):
        site_profile_from_json({"profile": 1}, where="run.json")
