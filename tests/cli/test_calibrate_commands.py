"""``chestx calibrate`` and ``chestx commission`` as a user gives them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from chestx.cli.app import run
from chestx.domain import CAVEAT
from chestx.evaluation import collect
from chestx.evaluation.outcomes import Outcomes
from chestx.models.classifier import Classifier
from chestx.models.site import load_site_profile

LABELS = ("NORMAL", "PNEUMONIA", "COVID19")


@pytest.fixture(scope="module")
def manifest(cxr: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four validation images of each label."""
    with open(cxr / "manifest.csv", newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["dev_split"] == "val" and row["view"] not in ("L", "Axial", "Coronal")
        ]
    path = tmp_path_factory.mktemp("site") / "site.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "source", "group"])
        for label in LABELS:
            for row in [row for row in rows if row["label"] == label][:24]:
                writer.writerow(
                    [cxr / row["file"], label, "validation", row["data_set"], row["split_group"]]
                )
    return path


def test_calibrating_writes_a_model_that_runs(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    arguments = ["calibrate", "default", str(manifest), "-o", str(folder), "--workers", "1"]
    rules = ["--threshold", "youden", "--threshold-for", "PNEUMONIA:specificity=0.9"]
    assert run([*arguments, *rules, "--abstain", "none", "--version", "0.1-site"]) == 0
    said = capsys.readouterr().out
    assert "chosen on site.csv, split validation: 72 images" in said
    assert CAVEAT in said
    new = Classifier.load(folder, threads=1)
    new.check()
    assert new.card.version == "0.1-site"
    points = [label.operating_point for label in new.card.findings]
    assert all(point and point.uncertain_low == point.uncertain_high for point in points)
    # Before an image is read.
    assert run(["calibrate", "default", "nowhere.csv", "-o", str(folder), *rules]) == 2
    assert "expected a name that is free" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "test"], "expected validation images, got test"),
        (["--split", "train"], "split train: expected rows of this split in site.csv, got none"),
        (["--threshold", "best"], "threshold: expected sensitivity=S"),
        (["--threshold-for", "youden"], "--threshold-for: expected FINDING:RULE"),
        (["--abstain", "often"], "abstention: expected error=RATIO@SHARE"),
    ],
)
def test_a_wrong_option_is_one_line(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    output = tmp_path / "new"
    assert run(["calibrate", "default", str(manifest), "-o", str(output), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not output.exists()


def test_commissioning_accepts_and_signs(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = collect.collect_outcomes
    answers: list[Outcomes] = []

    def ask_once(*things: Any, **options: Any) -> Outcomes:
        """The model is asked once and judged twice."""
        if not answers:
            answers.append(ask(*things, **options))
        return answers[0]

    monkeypatch.setattr(collect, "collect_outcomes", ask_once)
    arguments = ["commission", "default", str(manifest), "--site", "St. Elsewhere"]
    arguments += ["--signed-by", "Dr. Example", "--workers", "1", "--repeats", "20"]
    arguments += ["--threshold", "youden", "--keep-temperature"]
    output = tmp_path / "accepted"
    criterion = ["--require", "any_finding sensitivity >= 0.6", "--require", "refused <= 0.2"]
    assert run([*arguments, *criterion, "-o", str(output)]) == 0
    said = capsys.readouterr().out
    assert "any_finding sensitivity >= 0.6: " in said
    assert "accepted; the profile is" in said
    assert CAVEAT in said
    profile = load_site_profile(output / "site-profile.json")
    assert profile.site == "St. Elsewhere"
    fitted = Classifier.load(threads=1, site_profile=output / "site-profile.json")
    assert fitted.card.temperature == profile.temperature
    refused = tmp_path / "refused"
    assert run([*arguments, "--require", "COVID19 PPV >= 0.999", "-o", str(refused)]) == 3
    assert "not accepted, no profile was written" in capsys.readouterr().out
    assert not (refused / "site-profile.json").exists()
