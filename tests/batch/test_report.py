"""The page can be made anew from what lies in the folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from chestx.batch.journal import prepare_output
from chestx.batch.options import BatchOptions
from chestx.batch.report import rebuild_report
from chestx.batch.run import predict_files
from chestx.domain import CAVEAT, InvalidModelError, OperatingPoint, UsageError
from chestx.models.classifier import Classifier
from chestx.models.site import SiteProfile, site_profile_to_json


@pytest.fixture
def output(samples: Path, classifier: Classifier, tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    prepare_output(folder)
    paths = sorted(map(str, samples.iterdir()))
    predict_files(
        paths, folder, classifier=classifier, options=BatchOptions(workers=0, heatmaps=False)
    )
    return folder


def test_a_report_made_anew_is_the_same(output: Path) -> None:
    page = output / "report.html"
    first = page.read_bytes()
    page.unlink()
    assert rebuild_report(output) == page
    assert page.read_bytes() == first
    assert CAVEAT.encode() in first


def test_every_readable_image_has_its_pictures(output: Path) -> None:
    for name in ("views", "thumbnails", "maps"):
        assert len(list((output / "pictures" / name).iterdir())) == 11
    text = (output / "report.html").read_text(encoding="utf-8")
    assert text.count("pictures/views/") == 11


def test_a_missing_picture_costs_only_itself(output: Path) -> None:
    (output / "pictures" / "views" / "000001.jpg").unlink()
    (output / "pictures" / "maps" / "000002.json").write_text("[[1]]")
    text = rebuild_report(output).read_text(encoding="utf-8")
    assert text.count("pictures/views/") == 10


def test_a_folder_without_a_finished_result_is_refused(output: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no result of chestx predict"):
        rebuild_report(tmp_path)
    record = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(UsageError, match="the run is not finished"):
        rebuild_report(output)


def test_results_of_another_model_are_refused(output: Path) -> None:
    record = json.loads((output / "run.json").read_text())
    record["model"]["checksum"] = "0" * 64
    (output / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="name its folder by --model"):
        rebuild_report(output)


def test_a_table_with_other_columns_is_refused(output: Path) -> None:
    (output / "results.csv").write_text("path,decision\n")
    with pytest.raises(UsageError, match="has other columns than this model"):
        rebuild_report(output)


def test_too_many_images_for_a_page_give_none(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.batch.report.MAX_REPORT_IMAGES", 5)
    with pytest.raises(UsageError, match="no report for more than 5 images"):
        rebuild_report(output)
    assert not (output / "report.html").exists()


def test_a_run_with_a_site_profile_says_so_everywhere_and_its_report_can_be_made_anew(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    point = OperatingPoint(0.99, 0.98, 1.0)
    profile = SiteProfile(
        format_version=1,
        site="St. Elsewhere",
        model_name=classifier.identity.name,
        model_version=classifier.identity.version,
        model_checksum=classifier.identity.checksum,
        model_precision=classifier.identity.precision,
        temperature=0.8,
        operating_points={"any_finding": point, "PNEUMONIA": point, "COVID19": point},
        chosen_on="",
        accepted_on="",
        performance=(),
        criteria=(),
        manifest_sha256="",
        signed_by="Dr. Example",
        signed_on="2026-01-31",
        software="0.1.0",
    )
    (tmp_path / "site.json").write_text(site_profile_to_json(profile), encoding="utf-8")
    fitted = Classifier.load(threads=1, site_profile=tmp_path / "site.json")
    output = tmp_path / "out"
    prepare_output(output)
    paths = sorted(map(str, samples.glob("child*")))
    predict_files(paths, output, classifier=fitted, options=BatchOptions(workers=0))
    checksum = fitted.identity.site_profile
    spoken = f"calibrated for St. Elsewhere (site profile {checksum[:12]})"
    for table in ("results.csv", "studies.csv"):
        with open(output / table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert {row["calibration"] for row in rows} == {spoken}
        assert {row["site_profile"] for row in rows} == {checksum}
    page = (output / "report.html").read_text(encoding="utf-8")
    assert spoken in page
    assert "0.99" in page
    (output / "report.html").unlink()
    rebuild_report(output)
    assert (output / "report.html").read_text(encoding="utf-8") == page
    text = (output / "run.json").read_text(encoding="utf-8")
    (output / "run.json").write_text(text.replace('"Dr. Example"', '"Dr. Other"'), encoding="utf-8")
    with pytest.raises(InvalidModelError, match="changed after it was signed"):
        rebuild_report(output)


def test_a_run_without_a_site_profile_says_that_it_is_not_calibrated(output: Path) -> None:
    with open(output / "results.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["calibration"] for row in rows} == {"not calibrated for this site"}
    assert "not calibrated for this site" in (output / "report.html").read_text(encoding="utf-8")
