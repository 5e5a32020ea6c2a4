"""A run becomes a model folder that the product runs; its settings come from validation images."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from chestx.datasets.manifest import ManifestTable, read_manifest
from chestx.domain import LabelRole, ModelCard, Precision, UsageError
from chestx.evaluation.collect import collect_outcomes
from chestx.evaluation.measure import measure
from chestx.evaluation.recalibrate import CalibrationRules
from chestx.evaluation.rules import AbstentionRule, ThresholdRule
from chestx.learning.adaptation import adapt_model
from chestx.learning.calibrating import calibrate_draft, choose_distance_limit, take_validation
from chestx.learning.card_texts import CardTexts, read_card_texts
from chestx.learning.finished import load_trained, read_config, read_run, select_for_card
from chestx.learning.half_weights import is_half
from chestx.learning.publishing import publish_run
from chestx.learning.run import run_training
from chestx.models.classifier import Classifier
from chestx.models.folder import load_model_folder
from chestx.models.scope import Reference, fit_reference

pytestmark = pytest.mark.torch

TEXTS = CardTexts(
    name="tiny",
    version="1.0",
    summary="A tiny model.",
    displays={"PNEUMONIA": "pneumonia"},
    caveats={"PNEUMONIA": "Made of noise."},
    limitations=("It knows nothing.",),
)


RULES = CalibrationRules(
    threshold=ThresholdRule("sensitivity", 0.9),
    abstention=AbstentionRule("none"),
    keep_temperature=True,
)

NORMAL = ("adult-1-no-finding.png", "child-1-normal.jpg", "child-2-normal.png")
PNEUMONIA = ("adult-3-pneumonia.jpg", "child-3-pneumonia.jpg", "child-4-pneumonia.png")


def vary_image(path: Path, generator: np.random.Generator) -> np.ndarray:
    """A shipped radiograph, small, in another exposure and with noise."""
    shown = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert shown is not None
    image = cv2.resize(shown, (192, 192)).astype(np.float64)
    changed = image * generator.uniform(0.8, 1.1) + generator.normal(0, 6, image.shape)
    return np.asarray(np.clip(changed, 0, 255), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of a small network on variations of the shipped radiographs."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "source", "patient_id"])
        for number in range(120):
            label, names = (("NORMAL", NORMAL), ("PNEUMONIA", PNEUMONIA))[number % 2]
            name = f"{number:03d}.png"
            image = vary_image(samples / names[number // 2 % 3], generator)
            cv2.imwrite(str(folder / name), image)
            split = "validation" if number % 3 == 0 else "train"
            writer.writerow([name, label, split, f"site{number % 4 // 2}", number])
    (folder / "tiny.toml").write_text(
        'manifest = "manifest.csv"\nno_finding = "NORMAL"\nbackbone = "test_resnet"\n'
        'weights = "none"\nsize = 64\nepochs = 2\nbatch_size = 8\nlearning_rate = 0.01\n'
        "augment_rotation_degrees = 5\nloader_threads = 0\nseed = 3\n",
        encoding="utf-8",
    )
    run_training(folder / "tiny.toml", folder / "run")
    return folder / "run"


def read_validation(run: Path, manifest: Path) -> ManifestTable:
    return take_validation(read_manifest(manifest), read_config(run, read_run(run)))


@pytest.fixture(scope="module")
def published(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        # So that some validation images lie beyond the limit.
        patch.setattr("chestx.learning.calibrating.DISTANCE_QUANTILE", 0.8)
        patch.setattr("chestx.evaluation.precision.MIN_IMAGES", 20)
        publish_run(run, out, texts=TEXTS, rules=RULES, precisions=[Precision.INT8], workers=0)
    return out


def test_the_folder_is_a_model_that_runs_and_knows_its_answers(published: Path) -> None:
    classifier = Classifier.load(published, threads=1)
    classifier.check()
    card = classifier.card
    assert [label.key for label in card.labels] == ["NORMAL", "PNEUMONIA"]
    assert card.labels[0].role is LabelRole.NO_FINDING
    assert card.labels[1].caveat == "Made of noise."
    assert card.any_finding is not None
    assert card.scope.max_distance is not None
    assert {path.name for path in published.iterdir()} - {"model.int8.onnx"} == {
        "LICENSE",
        "README.md",
        "card.json",
        "model.onnx",
        "model.safetensors",
        "reference.npz",
    }


def test_thresholds_maps_and_figures_come_from_validation_images(published: Path) -> None:
    card = Classifier.load(published, threads=1).card
    names = {figure.name for figure in card.performance}
    assert {"AUROC", "sensitivity", "specificity"} <= names
    assert all("too good" in figure.note for figure in card.performance)
    whole = next(x for x in card.performance if x.name == "AUROC" and x.data == "validation")
    assert 20 <= whole.n <= 40
    assert all(label.map_scale > 0 for label in card.labels)
    assert card.training["images"] == {
        "site0 NORMAL": 20,
        "site0 PNEUMONIA": 20,
        "site1 NORMAL": 20,
        "site1 PNEUMONIA": 20,
    }
    assert card.training["run"]["config"]["backbone"] == "test_resnet"


def test_the_figures_are_those_of_an_evaluation_of_the_folder_on_the_same_images(
    run: Path, published: Path
) -> None:
    classifier = Classifier.load(published, threads=1)
    table = read_validation(run, run.parent / "manifest.csv")
    outcomes = collect_outcomes(classifier, table, workers=0)
    assessed = int(outcomes.is_assessed.sum())
    assert 20 <= assessed < 40
    evaluation = measure(
        outcomes,
        data="validation",
        manifest_sha256=table.sha256,
        left_out={},
        columns=("source",),
    )
    measured = [
        replace(figure, note="") for answered in evaluation.answers for figure in answered.figures
    ]
    stated = [replace(figure, note="") for figure in classifier.card.performance]
    assert max(figure.n for figure in stated if figure.name == "AUROC") == assessed
    assert [figure for figure in stated if figure not in measured] == []
    drift = classifier.folder.reference["drift_probability_histogram"]
    assert drift.sum(axis=1).tolist() == [assessed, assessed]


def test_validation_images_that_are_gone_stop_it_and_a_few_are_told_of(
    run: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(run.parent, tmp_path / "moved", ignore=shutil.ignore_patterns("run"))
    (place / "003.png").unlink()
    folder = load_model_folder(published)

    def calibrate() -> ModelCard:
        card, _ = calibrate_draft(
            published,
            folder.card,
            arrays=dict(folder.reference),
            table=read_validation(run, place / "manifest.csv"),
            config=read_config(run, read_run(run)),
            rules=RULES,
            workers=0,
        )
        return card

    with pytest.raises(UsageError, match=r"validation: expected at most 1% unread.* 1 of 40"):
        calibrate()
    monkeypatch.setattr("chestx.learning.dataset.MAX_UNREADABLE", 0.1)
    assert "1 of 40 validation images could not be read" in calibrate().limitations[-1]


def test_a_card_says_which_files_were_used_and_not_where_they_lay(
    run: Path, published: Path
) -> None:
    assert str(run.parent) not in (published / "card.json").read_text(encoding="utf-8")
    record = read_run(run)
    config = record["config"] | {
        "manifest": "/home/anna/study/all.csv",
        "cache": "/home/anna/cache",
        "unlabelled": ["../anna/inbox/"],
    }
    for given, shown in (
        ("imagenet", "imagenet"),
        ("/home/anna/pretrained.pth", "pretrained.pth"),
        ("/home/anna/runs/third/best.safetensors", "third/best.safetensors"),
        ("best.safetensors", "best.safetensors"),
        ("/best.safetensors", "best.safetensors"),
    ):
        carried = select_for_card({**record, "config": {**config, "weights": given}})["config"]
        assert carried["weights"] == shown
    assert (carried["manifest"], carried["unlabelled"]) == ("all.csv", ["inbox"])
    assert "cache" not in carried


def test_maps_mean_evidence_against_the_other_labels(published: Path, samples: Path) -> None:
    classifier = Classifier.load(published, threads=1)
    image = vary_image(samples / PNEUMONIA[0], np.random.default_rng(7))
    [prediction] = classifier.predict(cv2.resize(image, (64, 64))[None])
    np.testing.assert_allclose(prediction.maps.sum(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(prediction.logits.sum(), 0, atol=1e-4)


def test_variants_are_compared_on_the_runs_validation_images(published: Path) -> None:
    [variant] = load_model_folder(published).card.precisions
    assert (variant.precision, variant.images) == (Precision.INT8, 40)
    assert variant.data == "validation images of the run"
    assert (published / "model.int8.onnx").exists() is variant.kept
    Classifier.load(published, precision="int8" if variant.kept else "f32", threads=1).check()


def test_weights_stored_at_half_are_what_is_measured_and_stay_so_when_adapted(
    run: Path, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "half"
    card = publish_run(run, out, texts=TEXTS, rules=RULES, half_weights=True, workers=0)
    assert card.training["weights_stored_as"] == "float16"
    whole = (published / "model.onnx").stat().st_size
    assert (out / "model.onnx").stat().st_size < 0.6 * whole
    folder = load_model_folder(out)
    assert is_half(folder.graph)
    with np.load(out / "reference.npz") as reference:
        pixels, logits = reference["known_pixels"], reference["known_logits"]
    served = Classifier.load(out, threads=1).predict(pixels)
    # Not within a tolerance: the references are those of the stored graph itself.
    np.testing.assert_array_equal([one.logits for one in served], logits)
    images = sorted(str(path) for path in run.parent.rglob("*.png"))
    assert len(images) >= 64
    adapted = adapt_model(folder, images, tmp_path / "adapted", site="here", workers=0)
    assert is_half((adapted.folder.path / "model.onnx").read_bytes())
    plain = adapt_model(
        load_model_folder(published), images, tmp_path / "plain", site="here", workers=0
    )
    assert not is_half((plain.folder.path / "model.onnx").read_bytes())


def oppose_head(run: Path, published: Path, out: Path) -> Path:
    """A run whose head is the published one with the other sign."""
    weights = load_file(published / "model.safetensors")
    for key in ("head.weight", "head.bias"):
        weights[key] = -weights[key]
    out.mkdir()
    shutil.copy(run / "run.json", out)
    save_file(weights, out / "best.safetensors")
    return out


def test_weights_are_averaged_with_those_of_a_model_before_anything_is_measured(
    run: Path, published: Path, tmp_path: Path
) -> None:
    oppose_head(run, published, tmp_path / "opposed")
    rules = CalibrationRules(abstention=AbstentionRule("none"), keep_temperature=True)
    stages: list[str] = []
    card = publish_run(
        run,
        tmp_path / "averaged",
        texts=TEXTS,
        average_with=[tmp_path / "opposed", published, tmp_path / "opposed"],
        rules=rules,
        workers=0,
        on_stage=stages.append,
    )
    classifier = Classifier.load(tmp_path / "averaged", threads=1)
    classifier.check()
    [prediction] = classifier.predict(np.full((1, 64, 64), 90, dtype=np.uint8))
    np.testing.assert_allclose(prediction.logits, 0, atol=1e-3)
    assert stages[0] == "averaging the weights of 4 networks"
    described = card.training["averaged_with"]
    assert [list(item) for item in described] == [["run"], ["model"], ["run"]]
    assert described[1]["model"] == str(load_model_folder(published).identity)
    assert described[0]["run"]["split_sha256"] == card.training["run"]["split_sha256"]


def test_a_share_is_written_into_the_card_and_a_bad_one_told_before_any_work(
    run: Path, published: Path, tmp_path: Path
) -> None:
    weights = load_file(published / "model.safetensors")
    opposed = oppose_head(run, published, tmp_path / "opposed")
    rules = CalibrationRules(abstention=AbstentionRule("none"), keep_temperature=True)
    card = publish_run(
        run,
        tmp_path / "quarter",
        texts=TEXTS,
        average_with=[opposed],
        share=0.25,
        rules=rules,
        workers=0,
    )
    assert card.training["share_of_the_run"] == 0.25
    for key, value in load_file(tmp_path / "quarter" / "model.safetensors").items():
        # A quarter of the run's head and three quarters of its opposite.
        sign = -0.5 if key.startswith("head.") else 1
        wanted = sign * weights[key].float()
        np.testing.assert_allclose(value.float(), wanted, rtol=2e-3, atol=1e-6, err_msg=key)
    stages: list[str] = []
    with pytest.raises(UsageError, match="expected a number above 0 and below 1, got 1"):
        publish_run(
            run,
            tmp_path / "none",
            texts=TEXTS,
            average_with=[published],
            share=1.0,
            on_stage=stages.append,
        )
    assert not stages
    assert not (tmp_path / "none").exists()


def test_nothing_that_is_there_is_overwritten(run: Path, published: Path) -> None:
    with pytest.raises(UsageError, match="expected a name that is free"):
        publish_run(run, published, texts=TEXTS)


def test_a_manifest_that_changed_is_refused(run: Path, tmp_path: Path) -> None:
    text = (run.parent / "manifest.csv").read_text(encoding="utf-8")
    (tmp_path / "other.csv").write_text(text.replace("119.png", "118.png"), encoding="utf-8")
    with pytest.raises(UsageError, match="expected the manifest that the run learnt from"):
        publish_run(run, tmp_path / "new", texts=TEXTS, manifest=tmp_path / "other.csv")
    assert not (tmp_path / "new").exists()


def test_damaged_weights_and_those_of_another_network_are_refused(
    run: Path, tmp_path: Path
) -> None:
    shutil.copy(run / "run.json", tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(UsageError, match="expected a state dict of tensors"):
        load_trained(tmp_path, read_run(tmp_path))
    save_file({"head.bias": torch.zeros(2)}, tmp_path / "best.safetensors")
    with pytest.raises(UsageError, match="expected the weights of the network that the run's"):
        load_trained(tmp_path, read_run(tmp_path))


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the folder of a run of chestx train"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match=r"expected best\.safetensors; let the first epoch finish"):
        read_run(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="expected the record of a run"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text('{"config": {}, "labels": []}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"expected the record of a run .*, task is missing"):
        read_run(tmp_path)


def test_a_card_text_that_nobody_may_write_is_refused(run: Path, tmp_path: Path) -> None:
    texts = CardTexts(name="a\nb", version="1", summary="")
    with pytest.raises(UsageError, match="card: name: expected 1 to 64 printable characters"):
        publish_run(run, tmp_path / "new", texts=texts, workers=0)
    assert list(tmp_path.iterdir()) == []


def test_texts_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(
        'name = "a"\nversion = "1"\nsummary = "s"\nlimitations = ["x"]\n'
        '[scope]\nviews = ["PA"]\nmin_age_years = 18.0\n',
        encoding="utf-8",
    )
    texts = read_card_texts(path)
    assert texts.limitations == ("x",)
    assert texts.scope.views == ("PA",)
    assert texts.scope.min_age_years == 18
    path.write_text('name = "a"\nversion = "1"\nsummary = "s"\nmood = "good"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"expected the texts of a card: .*mood"):
        read_card_texts(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_card_texts(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("version = 2", r"card\.toml': version: expected a text, got 2"),
        ('limitations = "Adults."', r"limitations: expected a list of texts, got 'Adults\.'"),
        ("limitations = [1]", r"limitations: expected a list of texts, got \[1\]"),
        ("displays = {A = 1}", "displays: expected a table of texts"),
        ('scope = "PA"', "scope: expected a table, got 'PA'"),
        ('scope = {views = "PA"}', r"scope\.views: expected a list of texts, got 'PA'"),
        ('scope = {min_age_years = "18"}', r"scope\.min_age_years: expected a number, got '18'"),
        ("scope = {sexes = []}", "expected the texts of a card: .*sexes"),
        (
            "training = {finished = 2026-05-01}",
            r"training\.finished: expected a text, .*, got 2026-05-01; write a date in quotes",
        ),
        ("training = {runs = [{loss = nan}]}", r"training\.runs\.loss: .* got nan"),
    ],
)
def test_a_text_of_another_type_is_refused_by_its_key(
    tmp_path: Path, line: str, message: str
) -> None:
    given = {"name": 'name = "a"', "version": 'version = "1"', "summary": 'summary = "s"'}
    given[line.partition(" ")[0]] = line
    path = tmp_path / "card.toml"
    path.write_text("\n".join(given.values()), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_card_texts(path)


def test_the_distance_limit_lets_nearly_all_of_every_large_source_through() -> None:
    generator = np.random.default_rng(0)
    training = generator.normal(1, 0.3, (200, 12)).astype(np.float32)
    reference = Reference.from_arrays(fit_reference(training, components=4))
    near = generator.normal(1, 0.3, (100, 12)).astype(np.float32)
    far = generator.normal(1, 0.6, (50, 12)).astype(np.float32)
    stray = generator.normal(-1, 0.3, (5, 12)).astype(np.float32)
    failed = np.full((3, 12), np.nan, np.float32)
    embeddings = np.concatenate([near, far, stray, failed])
    sources = ("a",) * 100 + ("b",) * 50 + ("c",) * 5 + ("a",) * 3
    limit = choose_distance_limit(reference, embeddings, sources)
    assert np.mean([reference.distance(row) <= limit for row in far]) >= 0.98
    assert all(reference.distance(row) > limit for row in stray)
    record = json.loads(json.dumps({"limit": limit}))
    assert record["limit"] == pytest.approx(round(limit / 0.05) * 0.05)
