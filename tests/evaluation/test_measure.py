"""Every figure of an evaluation: against scikit-learn, by hand, and on real radiographs."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.domain import ANY_FINDING, Decision, Figure, UsageError
from chestx.evaluation.averages import measure_overall
from chestx.evaluation.baselines import MEAN_WITHIN, measure_baselines
from chestx.evaluation.caveats import list_caveats
from chestx.evaluation.collect import collect_outcomes
from chestx.evaluation.figures import ABSTAINING, FORCED, REFUSED_WRONG, Resampling
from chestx.evaluation.measure import measure, measure_question
from chestx.evaluation.outcomes import Outcomes, list_questions
from chestx.evaluation.result import Answered, Evaluation
from chestx.evaluation.slices import COLUMNS, list_parts
from chestx.metrics import wilson_interval
from chestx.models.classifier import Classifier

Make = Callable[..., Outcomes]


REPEATS = 40


def evaluate(outcomes: Outcomes, *, repeats: int = REPEATS, **options: object) -> Evaluation:
    return measure(
        outcomes,
        data="made up",
        manifest_sha256="0" * 64,
        left_out={},
        repeats=repeats,
        **options,  # type: ignore[arg-type]
    )


def answer_of(evaluation: Evaluation, question: str, slice_key: str = "all") -> Answered:
    (found,) = [
        answer
        for answer in evaluation.answers
        if (answer.question, answer.slice_key) == (question, slice_key)
    ]
    return found


def ask(
    outcomes: Outcomes, question: str, slice_key: str = "all", *, repeats: int = 40
) -> Answered:
    """One question in one slice, which is much quicker than all of them."""
    parts, _ = list_parts(outcomes, COLUMNS)
    (part,) = [part for part in parts if part.slice.key == slice_key]
    (asked,) = [each for each in list_questions(outcomes) if each.key == question]
    return measure_question(outcomes, asked, part, "made up", Resampling(0, repeats))


def warn(outcomes: Outcomes) -> list[str]:
    """What a reader is warned of."""
    return list_caveats(outcomes, list_parts(outcomes, ())[0][0].slice)


def pick(figures: tuple[Figure, ...], name: str, subject: str = "") -> Figure:
    """The one figure of this name whose subject ends so."""
    (found,) = [f for f in figures if f.name == name and f.subject.endswith(subject)]
    return found


@pytest.fixture(scope="module")
def single(single_label_outcomes: Make) -> Outcomes:
    return single_label_outcomes()


@pytest.fixture(scope="module")
def evaluation(single: Outcomes) -> Evaluation:
    return evaluate(single)


def test_ranking_and_calibration_are_those_of_scikit_learn(
    single: Outcomes, evaluation: Evaluation
) -> None:
    for question in list_questions(single):
        taken = single.is_assessed & question.is_known
        y_true, y_prob = question.y_true[taken], question.y_prob[taken]
        found = answer_of(evaluation, question.key)
        assert (found.n, found.positives) == (len(y_true), int(y_true.sum()))
        assert found.score == question.score
        for name, compute in (
            ("AUROC", metrics.roc_auc_score),
            ("PR-AUC", metrics.average_precision_score),
            ("Brier", metrics.brier_score_loss),
        ):
            figure = pick(found.figures, name)
            assert figure.value == pytest.approx(compute(y_true, y_prob), abs=1e-12)
            assert figure.low is not None
            assert figure.high is not None
            assert figure.low < figure.value < figure.high
            assert figure.n == 230
            assert "bootstrap of 115 patient or duplicate groups" in figure.note


def test_calibration_line_is_that_of_a_logistic_regression(
    single: Outcomes, evaluation: Evaluation
) -> None:
    from sklearn.linear_model import LogisticRegression

    question = list_questions(single)[0]
    p, y = question.y_prob[single.is_assessed], question.y_true[single.is_assessed]
    line = LogisticRegression(C=1e12, tol=1e-10).fit(np.log(p / (1 - p))[:, None], y)
    figures = answer_of(evaluation, ANY_FINDING).figures
    assert pick(figures, "calibration slope").value == pytest.approx(line.coef_[0, 0], abs=1e-4)
    assert pick(figures, "calibration intercept").value == pytest.approx(
        line.intercept_[0], abs=1e-4
    )


def test_the_parts_of_the_brier_score_add_up(evaluation: Evaluation) -> None:
    figures = answer_of(evaluation, "PNEUMONIA").figures
    part = {name: pick(figures, f"Brier {name}").value for name in ("reliability", "resolution")}
    total = part["reliability"] - part["resolution"] + pick(figures, "Brier uncertainty").value
    # The bins' width makes the rest.
    assert total == pytest.approx(pick(figures, "Brier").value, abs=0.01)


def test_decisions_are_those_of_scikit_learn(single: Outcomes, evaluation: Evaluation) -> None:
    for question in list_questions(single):
        if (point := question.operating_point) is None:
            continue
        p, y = question.y_prob[single.is_assessed], question.y_true[single.is_assessed]
        decided = ~((point.uncertain_low <= p) & (p < point.uncertain_high))
        found = answer_of(evaluation, question.key).figures
        for side, taken in ((FORCED, np.full(len(p), True)), (ABSTAINING, decided)):
            truth, called = y[taken], p[taken] >= point.threshold
            expected = {
                "accuracy": metrics.accuracy_score(truth, called),
                "balanced accuracy": metrics.balanced_accuracy_score(truth, called),
                "sensitivity": metrics.recall_score(truth, called),
                "specificity": metrics.recall_score(~truth, ~called),
                "PPV": metrics.precision_score(truth, called),
                "NPV": metrics.precision_score(~truth, ~called),
                "F1": metrics.f1_score(truth, called),
                "MCC": metrics.matthews_corrcoef(truth, called),
            }
            for name, value in expected.items():
                assert pick(found, name, f", {side}").value == pytest.approx(value, abs=1e-12)
            positive, negative = metrics.class_likelihood_ratios(truth, called)
            assert pick(found, "LR+", f", {side}").value == pytest.approx(positive)
            assert pick(found, "LR-", f", {side}").value == pytest.approx(negative)
        assert pick(found, "coverage").value == pytest.approx(decided.mean())
        assert pick(found, "uncertain among positives").value == pytest.approx((~decided)[y].mean())
        assert pick(found, "uncertain among negatives").value == pytest.approx(
            (~decided)[~y].mean()
        )


def test_the_subject_names_score_threshold_and_what_decided(evaluation: Evaluation) -> None:
    subjects = {figure.subject for figure in answer_of(evaluation, ANY_FINDING).figures}
    assert subjects == {
        "1 - P(NORMAL)",
        "1 - P(NORMAL) at 0.5, uncertain forced",
        "1 - P(NORMAL) at 0.5, uncertain taken out",
        "1 - P(NORMAL) at 0.5, uncertain forced, out of scope and failed counted as wrong",
    }


def test_predictive_values_follow_the_prevalence(evaluation: Evaluation) -> None:
    found = answer_of(evaluation, "PNEUMONIA").figures
    sensitivity = pick(found, "sensitivity", f", {FORCED}").value
    specificity = pick(found, "specificity", f", {FORCED}").value
    for percent in (1, 5, 10, 20):
        share = percent / 100
        true, false = sensitivity * share, (1 - specificity) * (1 - share)
        name = f"at {percent} % prevalence"
        assert pick(found, f"PPV {name}", f", {FORCED}").value == pytest.approx(
            true / (true + false)
        )
        right, missed = specificity * (1 - share), (1 - sensitivity) * share
        assert pick(found, f"NPV {name}", f", {FORCED}").value == pytest.approx(
            right / (right + missed)
        )


def test_refused_images_count_as_wrong_once_more(
    single_label_outcomes: Make,
) -> None:
    outcomes = single_label_outcomes(90, per_group=1, failed=9, out_of_scope=9, strength=50.0)
    found = ask(outcomes, "PNEUMONIA").figures
    # 30 of 90 have it; the last 18 images, 6 of them with it, got no answer.
    assert pick(found, "sensitivity", f", {FORCED}").value == 1
    assert pick(found, "sensitivity", f"0.4, {REFUSED_WRONG}").value == pytest.approx(24 / 30)
    assert pick(found, "sensitivity", f"0.4, {REFUSED_WRONG}").n == 30
    assert pick(found, "specificity", f"0.4, {REFUSED_WRONG}").value == pytest.approx(48 / 60)


def test_one_image_a_patient_gets_wilson_and_delong(single_label_outcomes: Make) -> None:
    found = ask(single_label_outcomes(per_group=1), "COVID19").figures
    auroc = pick(found, "AUROC")
    assert auroc.note == "interval: DeLong, on the logit scale"
    for name in ("sensitivity", "specificity", "accuracy", "PPV", "NPV"):
        figure = pick(found, name, f", {FORCED}")
        low, high = wilson_interval(round(figure.value * figure.n), figure.n)
        assert figure.low == pytest.approx(low)
        assert figure.high == pytest.approx(high)
        assert figure.note == "interval: Wilson"
    assert "bootstrap" in pick(found, "F1", f", {FORCED}").note


def test_the_interval_of_a_perfect_share_is_of_patients_and_not_of_images(
    single_label_outcomes: Make,
) -> None:
    outcomes = single_label_outcomes(120, per_group=4, strength=50.0, failed=0, out_of_scope=0)
    figure = pick(ask(outcomes, "COVID19").figures, "sensitivity", f", {FORCED}")
    assert (figure.value, figure.n) == (1.0, 40)
    assert (figure.low, figure.high) == wilson_interval(10, 10)
    assert figure.note == "interval: Wilson on 10 groups, since all images agree"


def test_classes_that_are_apart_give_an_interval_that_the_number_of_patients_bears(
    single_label_outcomes: Make,
) -> None:
    for per_group in (1, 2):
        outcomes = single_label_outcomes(120, per_group=per_group, strength=50.0)
        found = ask(outcomes, "COVID19")
        auroc = pick(found.figures, "AUROC")
        is_in = outcomes.is_assessed & (outcomes.targets[:, 2] == 1)
        pairs = len(np.unique(outcomes.groups[is_in]))
        assert [auroc.value, auroc.low, auroc.high] == pytest.approx(
            [1, *wilson_interval(pairs, pairs)]
        )
        assert f"Wilson on {pairs} pairs of groups" in auroc.note
        assert "LR+ (P(COVID19) at 0.4, uncertain forced)" in found.note
        assert "calibration slope (P(COVID19))" in found.note


def test_patients_of_many_images_make_intervals_wider(single_label_outcomes: Make) -> None:
    once = single_label_outcomes(200, per_group=1, strength=1.0, failed=0, out_of_scope=0)
    rows = np.repeat(np.arange(200), 4)
    fields = ("targets", "logits", "probabilities", "embeddings", "image_sizes", "thumbnails")
    changes: dict[str, Any] = {name: getattr(once, name)[rows] for name in (*fields, "groups")}
    for name in ("paths", "decisions", "reasons", "boxes", "formats"):
        changes[name] = tuple(getattr(once, name)[row] for row in rows)
    changes["attributes"] = {
        name: tuple(column[row] for row in rows) for name, column in once.attributes.items()
    }
    copies = dataclasses.replace(once, **changes)
    alone = dataclasses.replace(copies, groups=np.arange(800))
    widths = []
    for each in (once, copies, alone):
        found = ask(each, "COVID19", repeats=400).figures
        figure = pick(found, "F1", FORCED)
        assert figure.low is not None
        assert figure.high is not None
        widths.append(figure.high - figure.low)
    # Four copies of an image are worth one, unless they pass for four patients.
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.2)


def test_a_slice_of_one_class_gets_its_share_and_no_auroc(single_label_outcomes: Make) -> None:
    label = ["x", "y", "z"]
    sources = [label[row // 2 % 3] for row in range(240)]
    outcomes = single_label_outcomes(attributes={"source": sources})
    ill = ask(outcomes, "PNEUMONIA", "source=y")
    assert {figure.name for figure in ill.figures} == {"sensitivity", "uncertain among positives"}
    assert ill.note.startswith("76 positive and 0 negative images: only sensitivity")
    well = ask(outcomes, "PNEUMONIA", "source=x")
    assert {figure.name for figure in well.figures} == {"specificity", "uncertain among negatives"}
    assert not well.roc
    assert not well.reliability
    notes = "\n".join(warn(outcomes))
    assert "PNEUMONIA: every positive image comes from one source (y)." in notes
    assert "PNEUMONIA: no source has 10 images with it and 10 without" in notes
    (question,) = [each for each in list_questions(outcomes) if each.key == "PNEUMONIA"]
    alone = measure_baselines(
        outcomes, question, "made up", Resampling(0, 5), min_class=10, told={}
    )
    assert {(figure.name, figure.data) for figure in alone} == {("AUROC", "made up")}
    assert all(figure.note.startswith("no source has enough images") for figure in alone)


def test_a_slice_of_few_images_gets_counts_and_a_note(single_label_outcomes: Make) -> None:
    views = ["odd" if row < 12 else "PA" for row in range(240)]
    few = ask(single_label_outcomes(attributes={"view": views}), "PNEUMONIA", "view=odd")
    assert (few.n, few.positives, few.figures) == (12, 4, ())
    assert (
        few.note
        == "4 positive and 8 negative images: too few for figures, which need 10 of a kind."
    )


def test_a_label_that_is_never_decided_on_is_ranked_only(evaluation: Evaluation) -> None:
    normal = answer_of(evaluation, "NORMAL")
    assert normal.note == "The model never decides on this label."
    assert {figure.subject for figure in normal.figures} == {"P(NORMAL)"}
    assert normal.roc
    assert not normal.risk_coverage


def test_curves_go_from_end_to_end(single: Outcomes, evaluation: Evaluation) -> None:
    found = answer_of(evaluation, "PNEUMONIA")
    assert (found.roc[0].x, found.roc[0].y, found.roc[0].threshold) == (0, 0, 2)
    assert (found.roc[-1].x, found.roc[-1].y) == (1, 1)
    area = np.trapezoid([point.y for point in found.roc], [point.x for point in found.roc])
    assert area == pytest.approx(pick(found.figures, "AUROC").value, abs=1e-9)
    assert found.precision_recall[-1].x == 1
    assert sum(one.n for one in found.reliability) == found.n
    accuracy = pick(found.figures, "accuracy", f", {FORCED}").value
    assert found.risk_coverage[-1].coverage == 1
    assert found.risk_coverage[-1].risk == pytest.approx(1 - accuracy)


def test_averages_are_those_of_scikit_learn(single: Outcomes, evaluation: Evaluation) -> None:
    taken = single.is_assessed
    truth = single.targets[taken].argmax(axis=1)
    called = single.probabilities[taken].argmax(axis=1)
    overall = evaluation.overall
    assert pick(overall, "accuracy", "largest label").value == pytest.approx(
        metrics.accuracy_score(truth, called)
    )
    assert pick(overall, "accuracy", "counted as wrong").value == pytest.approx(
        (truth == called).sum() / 240
    )
    assert pick(overall, "balanced accuracy").value == pytest.approx(
        metrics.balanced_accuracy_score(truth, called)
    )
    labels = "largest label of NORMAL, PNEUMONIA, COVID19"
    for average in ("macro", "weighted"):
        for name, compute in (("F1", metrics.f1_score), ("PPV", metrics.precision_score)):
            assert pick(overall, f"{average} {name}", labels).value == pytest.approx(
                compute(truth, called, average=average)
            )
    ill = single.targets[taken, 1:] == 1
    p = single.probabilities[taken, 1:].astype(np.float64)
    for average in ("macro", "micro", "weighted"):
        assert pick(overall, f"{average} AUROC").value == pytest.approx(
            metrics.roc_auc_score(ill, p, average=average)
        )
        figure = pick(
            overall,
            f"{average} F1",
            "findings PNEUMONIA, COVID19 at their thresholds, uncertain forced",
        )
        assert figure.value == pytest.approx(metrics.f1_score(ill, p >= 0.4, average=average))


def test_several_labels_an_image_leave_unknown_answers_out(multi_label_outcomes: Make) -> None:
    outcomes = multi_label_outcomes()
    overall = tuple(measure_overall(outcomes, "made up", Resampling(0, 20)))
    for index, question in enumerate(list_questions(outcomes)):
        taken = outcomes.is_assessed & (outcomes.targets[:, index] >= 0)
        found = ask(outcomes, question.key)
        assert found.n == int(taken.sum()) < 230
        expected = metrics.roc_auc_score(
            outcomes.targets[taken, index], outcomes.probabilities[taken, index]
        )
        assert pick(found.figures, "AUROC").value == pytest.approx(expected)
    assert not ask(outcomes, "NODULE", "source=south").figures
    assert any("NODULE: the reference standard leaves" in note for note in warn(outcomes))
    assert not any(figure.subject.startswith("largest") for figure in overall)
    known = outcomes.is_assessed[:, None] & (outcomes.targets >= 0)
    expected = metrics.roc_auc_score(outcomes.targets[known], outcomes.probabilities[known])
    assert pick(overall, "micro AUROC").value == pytest.approx(expected)


def test_what_is_guessed_without_lungs_stands_beside_the_model(evaluation: Evaluation) -> None:
    subjects = {figure.subject for figure in evaluation.baselines}
    assert "COVID19 by the model, P(COVID19)" in subjects
    for what in ("a 4 x 4 thumbnail", "a 16 x 16 thumbnail", "image size and aspect", "the source"):
        assert f"COVID19 guessed from {what}" in subjects
    assert not any("format" in subject for subject in subjects)
    model = [f for f in evaluation.baselines if f.subject == "COVID19 by the model, P(COVID19)"]
    assert [(figure.name, figure.data) for figure in model] == [
        ("AUROC", "made up"),
        ("AUROC", "made up; source=north"),
        ("AUROC", "made up; source=south"),
        (MEAN_WITHIN, "made up"),
    ]
    pooled = pick(answer_of(evaluation, "COVID19").figures, "AUROC")
    assert model[0].value == pooled.value
    # A figure that is told twice has one interval.
    assert (model[0].low, model[0].high) == (pooled.low, pooled.high)
    within = pick(answer_of(evaluation, "COVID19", "source=north").figures, "AUROC")
    assert (model[1].value, model[1].low, model[1].high) == (within.value, within.low, within.high)
    assert model[3].value == pytest.approx((model[1].value + model[2].value) / 2)
    # The made-up images of COVID-19 are larger and brighter, and the model knows no pixels.
    sizes = [f for f in evaluation.baselines if f.subject.endswith("size and aspect")]
    assert min(f.value for f in sizes if f.subject.startswith("COVID19")) > 0.99


def test_a_guess_from_what_never_differs_within_a_source_is_a_coin(
    single_label_outcomes: Make,
) -> None:
    outcomes = single_label_outcomes(96)
    sizes = outcomes.image_sizes.copy()
    sizes[::2] = (100, 100)
    sizes[1::2] = (300, 200)
    evaluation = evaluate(dataclasses.replace(outcomes, image_sizes=sizes))
    found = [
        f for f in evaluation.baselines if f.subject == "COVID19 guessed from image size and aspect"
    ]
    assert [figure.value for figure in found[1:]] == [0.5, 0.5, 0.5]


def test_one_more_slice_changes_no_figure_of_another(
    single: Outcomes, evaluation: Evaluation
) -> None:
    for key in ("sex=F", "all"):
        alone = ask(single, "PNEUMONIA", key, repeats=REPEATS)
        assert alone == answer_of(evaluation, "PNEUMONIA", key)


def test_another_seed_gives_other_intervals_of_the_same_figures(single: Outcomes) -> None:
    part, question = list_parts(single, ())[0][0], list_questions(single)[-1]
    found = [
        measure_question(single, question, part, "made up", Resampling(seed, 40)).figures
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    first, second = (pick(figures, "AUROC") for figures in found[1:])
    assert first.value == second.value
    assert first.low != second.low


def test_every_value_is_a_number_that_json_knows(evaluation: Evaluation) -> None:
    json.dumps(dataclasses.asdict(evaluation), allow_nan=False)


def test_what_was_left_out_is_told(single_label_outcomes: Make) -> None:
    outcomes = dataclasses.replace(
        single_label_outcomes(24), left_out={"label OOD": 3}, notes=("Attention.",)
    )
    evaluation = measure(
        outcomes, data="x", manifest_sha256="ab", left_out={"not split=test": 7}, repeats=5
    )
    assert evaluation.left_out == {"not split=test": 7, "label OOD": 3}
    assert evaluation.notes[0] == "Attention."
    assert evaluation.settings["repeats"] == 5
    assert evaluation.model == outcomes.identity


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"split": ["validation"] * 240}, "240 of 240 images are of the split validation"),
        ({"split": [""] * 240}, "The manifest names no split"),
        ({"source": [""] * 240}, "The manifest names no source"),
        ({"patient_stated": ["no"] * 40 + ["yes"] * 200}, "For 40 of 240 images no patient"),
        ({}, "Figures over all sources reward telling the sources apart"),
        ({}, "6 images were out of scope and 4 failed, of 240."),
        ({}, "The model's labels exclude each other"),
    ],
)
def test_a_reader_is_warned(
    single_label_outcomes: Make, attributes: dict[str, list[str]], note: str
) -> None:
    notes = warn(single_label_outcomes(attributes=attributes))
    assert any(each.startswith(note) for each in notes), notes


def test_a_reader_is_warned_of_few_patients_and_many_refusals(single_label_outcomes: Make) -> None:
    outcomes = single_label_outcomes(80, per_group=4, failed=10, out_of_scope=10)
    notes = warn(outcomes)
    assert any("only 20 patient or duplicate groups" in note for note in notes)
    assert any("That is many" in note for note in notes)
    assert "Only 15 patient or duplicate groups" in ask(outcomes, ANY_FINDING).note


def test_images_that_all_failed_give_counts_and_no_figures(single_label_outcomes: Make) -> None:
    evaluation = evaluate(single_label_outcomes(60, failed=60, out_of_scope=0))
    assert evaluation.slices[0].failed == 60
    assert not any(answer.figures for answer in evaluation.answers)
    assert not evaluation.baselines
    assert [figure.value for figure in evaluation.overall] == []
    assert sum(map(sum, evaluation.confusions[0].counts)) == 60


def test_several_labels_an_image_have_no_confusion_matrix(multi_label_outcomes: Make) -> None:
    evaluation = evaluate(multi_label_outcomes(30), columns=())
    assert not evaluation.confusions
    assert len(evaluation.answers) == 4


def test_probabilities_of_exactly_0_and_1_are_measured(multi_label_outcomes: Make) -> None:
    outcomes = multi_label_outcomes()
    probabilities = outcomes.probabilities.copy()
    probabilities[:50], probabilities[50:100] = 0.0, 1.0
    found = ask(dataclasses.replace(outcomes, probabilities=probabilities), "EDEMA")
    assert found.figures
    for figure in found.figures:
        assert math.isfinite(figure.value)


def test_refuses_what_cannot_be_measured(single: Outcomes, single_label_outcomes: Make) -> None:
    with pytest.raises(UsageError, match="expected at least one image, got none"):
        evaluate(single_label_outcomes(0, failed=0, out_of_scope=0))
    with pytest.raises(UsageError, match="repeats: expected 1 to 100000, got 0"):
        evaluate(single, repeats=0)
    with pytest.raises(UsageError, match=r"columns: expected some of age_band.*, got 'ward'"):
        evaluate(single, columns=("ward",))


@dataclass(frozen=True)
class Table:
    """Stands in for what the manifest's reader gives."""

    manifest: Manifest


def read_validation(cxr: Path, *, every: int) -> Table:
    keys = ("NORMAL", "PNEUMONIA", "COVID19")
    with (cxr / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dev_split"] == "val"]
    examples = tuple(
        Example(
            path=row["file"],
            targets=tuple(Target(int(row["label"] == key)) for key in keys),
            patient_id=row["patient_id"],
            group=row["split_group"],
            source=row["data_set"],
            split="validation",
            view=row["view"],
        )
        for row in rows[::every]
        if row["label"] in keys
    )
    return Table(Manifest(labels=keys, task=Task.SINGLE_LABEL, examples=examples, folder=cxr))


def test_real_radiographs_from_file_to_figures(classifier: Classifier, cxr: Path) -> None:
    outcomes = collect_outcomes(classifier, read_validation(cxr, every=13), workers=1, threads=1)
    evaluation = evaluate(outcomes)
    question = list_questions(outcomes)[0]
    taken = outcomes.is_assessed
    auroc = pick(answer_of(evaluation, ANY_FINDING).figures, "AUROC")
    assert auroc.value == pytest.approx(
        metrics.roc_auc_score(question.y_true[taken], question.y_prob[taken])
    )
    assert auroc.value > 0.9
    # What is measured is what the model said of each image.
    point = question.operating_point
    assert point is not None
    said = np.array([decision is Decision.POSITIVE for decision in outcomes.decisions])
    called = question.y_prob >= point.uncertain_high
    assert (said | ~called)[taken].all()
    sources = {told.value for told in evaluation.slices if told.column == "source"}
    assert {"kermany", "raddb"} <= sources
    assert any("validation" in note for note in evaluation.notes)
    json.dumps(dataclasses.asdict(evaluation), allow_nan=False)


def test_shipped_samples_are_too_few_and_it_says_so(classifier: Classifier, samples: Path) -> None:
    names = sorted(path.name for path in samples.iterdir() if path.suffix in (".jpg", ".png"))
    keys = ("NORMAL", "PNEUMONIA", "COVID19")
    examples = tuple(
        Example(
            path=name,
            targets=tuple(
                Target(int(key == ("PNEUMONIA" if "pneu" in name else "NORMAL"))) for key in keys
            ),
        )
        for name in names
    )
    manifest = Manifest(labels=keys, task=Task.SINGLE_LABEL, examples=examples, folder=samples)
    outcomes = collect_outcomes(classifier, Table(manifest), workers=1, threads=1)
    evaluation = evaluate(outcomes)
    assert evaluation.slices[0].failed == 1
    assert "too few for figures" in answer_of(evaluation, "PNEUMONIA").note
    assert [figure.n for figure in evaluation.overall if figure.name == "accuracy"] == [
        int(outcomes.is_assessed.sum()),
        len(names),
    ]
