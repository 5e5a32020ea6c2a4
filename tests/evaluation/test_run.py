from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chestx.datasets.manifest import ManifestTable, read_manifest
from chestx.domain import CAVEAT, Figure, UsageError
from chestx.evaluation.collect import load_outcomes
from chestx.evaluation.page_figures import list_shown_questions
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.publish_card import add_performance, select_figures
from chestx.evaluation.run import (
    FILES,
    EvaluationOptions,
    EvaluationRun,
    evaluate_model,
    prepare_folder,
)
from chestx.models.classifier import Classifier
from chestx.models.folder import load_model_folder

OPTIONS = EvaluationOptions(
    data="labels.csv, split=test", probes=False, repeats=20, workers=0, threads=1
)


@pytest.fixture(scope="module")
def table(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> ManifestTable:
    """The shipped samples three times over, as other patients, one file that is not there."""
    path = tmp_path_factory.mktemp("data") / "labels.csv"
    images = sorted(samples.glob("[ac]*"))
    labels = ("NORMAL", "PNEUMONIA")
    lines = ["path,label,split,source,patient_id,ward"]
    for round_ in range(3):
        for number, image in enumerate(images):
            label = labels[(number + round_) % 2]
            name = f"{round_}-{image.name}"
            shutil.copyfile(image, path.parent / name)
            lines.append(f"{name},{label},test,=north,{round_}-{number},w{number % 2}")
    lines.append("gone.png,NORMAL,test,=north,last,w1")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_manifest(path)


@pytest.fixture(scope="module")
def run(
    classifier: Classifier, table: ManifestTable, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationRun:
    output = tmp_path_factory.mktemp("out") / "evaluation"
    return evaluate_model(classifier, table, output, options=OPTIONS, compare_with=classifier)


def test_every_file_is_written_and_says_who_spoke(run: EvaluationRun) -> None:
    assert sorted(path.name for path in run.output.iterdir()) == sorted(FILES)
    for name in FILES:
        if name != "outcomes.npz":
            text = (run.output / name).read_text(encoding="utf-8")
            assert run.evaluation.model.name in text, name
            if name != "confusion.csv" or len(text.splitlines()) > 1:
                assert CAVEAT in text, name
    for name in ("evaluation.html", "evaluation.json", "figures.csv", "images.csv"):
        assert run.evaluation.model.checksum in (run.output / name).read_text("utf-8"), name


def test_every_image_is_accounted_for(run: EvaluationRun, table: ManifestTable) -> None:
    with (run.output / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [x.path for x in table.manifest.examples]
    assert rows[-1]["decision"] == "failed"
    assert rows[0]["attribute_source"] == "'=north"
    document = json.loads((run.output / "evaluation.json").read_text(encoding="utf-8"))
    assert document["slices"][0]["images"] == len(rows)
    assert document["slices"][0]["failed"] == 1
    assert document["settings"]["probes"] == "no"
    assert document["comparison"]["summary"]


def test_the_outcomes_can_be_measured_again(run: EvaluationRun) -> None:
    assert load_outcomes(run.output / "outcomes.npz").paths == run.outcomes.paths


def test_the_page_shows_the_comparison_and_the_file_that_is_missing(run: EvaluationRun) -> None:
    page = (run.output / "evaluation.html").read_text(encoding="utf-8")
    assert "<h2>Comparison</h2>" in page
    assert "gone.png" in page


def test_an_earlier_evaluation_is_kept_unless_told_otherwise(run: EvaluationRun) -> None:
    with pytest.raises(UsageError, match=r"holds evaluation.html already; .*--overwrite"):
        prepare_folder(run.output, overwrite=False)
    prepare_folder(run.output, overwrite=True)
    assert (run.output / "evaluation.html").exists()


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"images.csv that chestx did not write"):
        prepare_folder(tmp_path, overwrite=True)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="expected a folder to write to"):
        prepare_folder(tmp_path / "file" / "out", overwrite=False)


def test_a_column_to_tabulate_by_must_be_there(
    classifier: Classifier, table: ManifestTable, tmp_path: Path
) -> None:
    options = EvaluationOptions(data="x", by=("wing",), workers=0, threads=1)
    with pytest.raises(UsageError, match="expected a column 'wing' to tabulate by"):
        evaluate_model(classifier, table, tmp_path / "out", options=options)


def test_a_card_tells_of_rarity_refusals_and_what_the_probes_found(run: EvaluationRun) -> None:
    def figure(name: str, subject: str) -> Figure:
        return Figure(name=name, subject=subject, data="source=north", value=0.6, n=9)

    question = list_shown_questions(run.outcomes)[0]
    told = figure("AUROC, border only", question.score)
    untold = figure("AUROC, whole chest masked", question.score)
    source = figure("AUROC", "source=north against the other sources")
    probes = [
        ProbeResult(name="shortcuts", what="", figures=(told, untold), verdict=""),
        ProbeResult(name="source_from_embedding", what="", figures=(source,), verdict=""),
    ]
    figures = select_figures(run.evaluation, run.outcomes, probes)
    where = f"{run.evaluation.data}; source=north"
    assert {replace(told, data=where), replace(source, data=where)} <= set(figures)
    assert untold.name not in {item.name for item in figures}
    names = {item.name for item in figures}
    assert {f"{x} at {p} % prevalence" for x in ("PPV", "NPV") for p in (1, 5, 10, 20)} <= names
    refused = {x.data: (x.value, x.n) for x in figures if x.name == "share out of scope"}
    for part in run.evaluation.slices:
        if part.column in ("", "source"):
            where = f"{run.evaluation.data}; {part.key}" if part.column else run.evaluation.data
            assert refused[where] == (part.out_of_scope / part.images, part.images)


def test_figures_reach_the_card_of_a_new_folder(
    classifier: Classifier, run: EvaluationRun, tmp_path: Path
) -> None:
    figures = (
        *select_figures(run.evaluation, run.outcomes),
        Figure(name="AUROC", subject="P(X)", data="labels.csv", value=0.9, n=9, low=0.8, high=0.95),
    )
    made = add_performance(classifier.folder, figures, tmp_path / "new")
    assert made.card.performance == figures
    assert made.identity.checksum != classifier.identity.checksum
    again = load_model_folder(tmp_path / "new")
    assert again.graph == classifier.folder.graph
    assert "0.800 to 0.950" in (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="expected a name that is free"):
        add_performance(classifier.folder, figures, tmp_path / "new")
