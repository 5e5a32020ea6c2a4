"""Collecting a model's answers, and keeping them in a file."""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from chestx.analysis import analyze
from chestx.datasets.example import Box, Example, Manifest, Target, Task
from chestx.domain import Decision, Report, UsageError
from chestx.evaluation.collect import (
    align_targets,
    clean_value,
    collect_outcomes,
    load_outcomes,
    save_outcomes,
)
from chestx.evaluation.outcomes import Outcomes
from chestx.models.classifier import Classifier

KEYS = ("NORMAL", "PNEUMONIA", "COVID19")


@dataclass(frozen=True)
class Table:
    """Stands in for what the manifest's reader gives."""

    manifest: Manifest


def table_of(
    files: dict[str, str], folder: Path, *, labels: tuple[str, ...] = KEYS, **details: object
) -> Table:
    """A manifest of one label an image; an empty label is an unsettled one."""
    examples = tuple(
        Example(
            path=path,
            targets=tuple(Target(int(label == key)) if label else Target.UNKNOWN for key in labels),
            **details,  # type: ignore[arg-type]
        )
        for path, label in files.items()
    )
    return Table(Manifest(labels=labels, task=Task.SINGLE_LABEL, examples=examples, folder=folder))


@pytest.fixture(scope="module")
def sampled(classifier: Classifier, samples: Path) -> Outcomes:
    """The shipped samples, some of which fail or are out of scope, and a file that is missing."""
    files = {path.name: "" for path in sorted(samples.iterdir()) if path.suffix != ".md"}
    for name in files:
        files[name] = "COVID19" if "covid" in name else "PNEUMONIA" if "pneu" in name else "NORMAL"
    files["missing.png"] = "NORMAL"
    return collect_outcomes(classifier, table_of(files, samples), workers=1, threads=1)


def test_keeps_every_image_with_what_predict_says_of_it(
    sampled: Outcomes, classifier: Classifier, samples: Path
) -> None:
    assert len(sampled) == len(sampled.decisions) == 13
    for row, path in enumerate(sampled.paths):
        result = analyze(samples / path, model=classifier)
        assert sampled.decisions[row] is result.decision
        if isinstance(result, Report):
            np.testing.assert_allclose(sampled.logits[row], result.logits, atol=1e-4)
            np.testing.assert_allclose(
                sampled.probabilities[row], list(result.probabilities.values()), atol=1e-5
            )
            np.testing.assert_allclose(sampled.embeddings[row], result.embedding, atol=1e-3)
            assert tuple(sampled.image_sizes[row]) == (result.header.rows, result.header.columns)
            assert sampled.reasons[row] == tuple(reason.code for reason in result.scope_reasons)


def test_keeps_images_that_fail_without_numbers(sampled: Outcomes) -> None:
    failed = [row for row, x in enumerate(sampled.decisions) if x is Decision.FAILED]
    assert [sampled.paths[row] for row in failed] == ["other-2-damaged.jpg", "missing.png"]
    for row in failed:
        assert np.isnan(sampled.probabilities[row]).all()
        assert np.isnan(sampled.embeddings[row]).all()
        assert sampled.image_sizes[row].tolist() == [0, 0]
        assert not sampled.thumbnails[row].any()
        assert len(sampled.reasons[row]) == 1
    assert not sampled.is_assessed[failed].any()


def test_thumbnails_show_the_whole_image(sampled: Outcomes) -> None:
    row = sampled.paths.index("child-1-normal.jpg")
    assert sampled.thumbnails[row].std() > 10
    assert sampled.formats[row] == "JPEG"


def test_columns_come_from_the_manifest_and_else_from_the_file(
    classifier: Classifier, samples: Path
) -> None:
    files = {"adult-4-pneumonia-jpegls.dcm": "PNEUMONIA", "child-1-normal.jpg": "NORMAL"}
    silent = collect_outcomes(classifier, table_of(files, samples), workers=0, threads=1)
    result = analyze(samples / "adult-4-pneumonia-jpegls.dcm", model=classifier)
    assert isinstance(result, Report)
    assert silent.attributes["view"][0] == result.header.view_position
    assert silent.attributes["sex"] == (result.header.sex, "")
    assert silent.attributes["age_band"][1] == ""
    told = collect_outcomes(
        classifier,
        table_of(
            files,
            samples,
            view="AP",
            age_years=45.0,
            source="here",
            patient_id="1",
            other={"shift": "night"},
        ),
        attributes=("shift",),
        workers=0,
        threads=1,
        keep_embeddings=False,
    )
    assert told.attributes["view"] == ("AP", "AP")
    assert told.attributes["age_band"] == ("40 to 59", "40 to 59")
    assert told.attributes["shift"] == ("night", "night")
    assert told.attributes["patient_stated"] == ("yes", "yes")
    assert told.embeddings.shape == (2, 0)


def test_an_age_that_only_the_manifest_knows_does_not_reach_the_scope(
    classifier: Classifier, samples: Path
) -> None:
    table = table_of({"child-1-normal.jpg": "NORMAL"}, samples, age_years=0.5, view="LATERAL")
    outcomes = collect_outcomes(classifier, table, workers=0, threads=1)
    assert outcomes.decisions[0].is_assessed


def test_says_how_far_it_is(classifier: Classifier, samples: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = table_of({"child-1-normal.jpg": "NORMAL", "none.png": "NORMAL"}, samples)
    collect_outcomes(
        classifier, table, workers=0, threads=1, on_image=lambda *done: seen.append(done)
    )
    assert seen == [(1, 2), (2, 2)]


def test_refuses_a_column_that_the_manifest_lacks(classifier: Classifier, samples: Path) -> None:
    table = table_of({"child-1-normal.jpg": "NORMAL"}, samples)
    with pytest.raises(UsageError, match=r"expected a column 'ward' to tabulate by, got age_band"):
        collect_outcomes(classifier, table, attributes=("ward",), workers=0)


def test_images_with_a_label_that_the_model_does_not_know_are_counted_and_left_out(
    classifier: Classifier, tmp_path: Path
) -> None:
    labels = ("PNEUMONIA", "OOD", "NORMAL", "UNCERTAIN")
    files = {"a": "OOD", "b": "NORMAL", "c": "UNCERTAIN", "d": "OOD", "e": "PNEUMONIA", "f": ""}
    aligned = align_targets(table_of(files, tmp_path, labels=labels).manifest, classifier)
    assert aligned.rows == [1, 4, 5]
    assert aligned.targets.tolist() == [[1, 0, -2], [0, 1, -2], [-1, -1, -2]]
    assert aligned.left_out == {
        "label OOD, which the model does not know": 2,
        "label UNCERTAIN, which the model does not know": 1,
    }
    assert any("OOD or UNCERTAIN" in note for note in aligned.notes)
    assert any("has no label COVID19" in note for note in aligned.notes)


def test_images_with_several_labels_stay_where_one_is_unknown_to_the_model(
    classifier: Classifier, tmp_path: Path
) -> None:
    manifest = Manifest(
        labels=("EDEMA", "PNEUMONIA"),
        task=Task.MULTI_LABEL,
        examples=(
            Example(path="a", targets=(Target.PRESENT, Target.UNKNOWN)),
            Example(path="b", targets=(Target.PRESENT, Target.PRESENT)),
        ),
        folder=tmp_path,
    )
    aligned = align_targets(manifest, classifier)
    assert aligned.rows == [0, 1]
    assert aligned.targets.tolist() == [[-2, -1, -2], [-2, 1, -2]]
    assert not aligned.left_out


def test_refuses_a_manifest_of_other_labels(classifier: Classifier, tmp_path: Path) -> None:
    table = table_of({"a": "EDEMA"}, tmp_path, labels=("EDEMA", "NODULE"))
    with pytest.raises(UsageError, match=r"model's labels NORMAL, PNEUMONIA, COVID19, got EDEMA"):
        align_targets(table.manifest, classifier)


def test_refuses_a_manifest_of_which_no_image_is_left(
    classifier: Classifier, tmp_path: Path
) -> None:
    table = table_of({"a": "EDEMA"}, tmp_path, labels=("EDEMA", "NORMAL"))
    with pytest.raises(UsageError, match="expected images with the model's labels"):
        align_targets(table.manifest, classifier)


def test_an_image_that_is_listed_twice_counts_once(classifier: Classifier, tmp_path: Path) -> None:
    table = table_of({"a": "NORMAL", "b": "PNEUMONIA"}, tmp_path)
    one, other = table.manifest.examples
    manifest = dataclasses.replace(table.manifest, examples=(one, other, one, one))
    aligned = align_targets(manifest, classifier)
    assert aligned.rows == [0, 1]
    assert aligned.left_out == {"an image that an earlier row names already": 2}
    again = dataclasses.replace(other, path=one.path)
    conflict = dataclasses.replace(table.manifest, examples=(one, other, again))
    with pytest.raises(UsageError, match="got another one in 1 rows that name an image again"):
        align_targets(conflict, classifier)


def test_a_value_becomes_one_readable_line() -> None:
    assert clean_value("  ward\t7\x1b[31m\n\u202eB ") == "ward 7 [31m B"
    assert len(clean_value("x" * 9999)) == 120


def assert_same(first: Outcomes, second: Outcomes) -> None:
    for item in dataclasses.fields(Outcomes):
        one, other = getattr(first, item.name), getattr(second, item.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        else:
            assert one == other, item.name


def test_outcomes_come_back_from_a_file_as_they_were(
    single_label_outcomes: Callable[..., Outcomes],
    multi_label_outcomes: Callable[..., Outcomes],
    sampled: Outcomes,
    tmp_path: Path,
) -> None:
    boxes = ((Box(label="PNEUMONIA", x=1.5, y=2.0, width=3.0, height=4.0),),) + ((),) * 239
    for outcomes in (
        sampled,
        multi_label_outcomes(),
        dataclasses.replace(
            single_label_outcomes(), boxes=boxes, left_out={"label X": 3}, notes=("Grüße.",)
        ),
    ):
        save_outcomes(outcomes, tmp_path / "outcomes.npz")
        assert_same(load_outcomes(tmp_path / "outcomes.npz"), outcomes)
    assert [path.name for path in tmp_path.iterdir()] == ["outcomes.npz"]


def test_a_file_that_cannot_be_written_is_an_error(
    single_label_outcomes: Callable[..., Outcomes], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"expected to write .*, got: No such file"):
        save_outcomes(single_label_outcomes(), tmp_path / "none" / "outcomes.npz")


def test_refuses_what_is_not_a_file_of_outcomes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file, got none"):
        load_outcomes(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UsageError, match=r"expected an npz of plain arrays, .*; in .*text\.npz"):
        load_outcomes(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(UsageError, match="expected an npz of plain arrays"):
        load_outcomes(tmp_path / "other.npz")


def test_a_pickle_in_the_file_is_not_opened(
    single_label_outcomes: Callable[..., Outcomes], tmp_path: Path
) -> None:
    path = tmp_path / "outcomes.npz"
    save_outcomes(single_label_outcomes(), path)
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "groups": np.array([{}], dtype=object)})
    with pytest.raises(UsageError, match="expected an npz of plain arrays, got ValueError"):
        load_outcomes(path)


def test_refuses_a_file_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chestx.evaluation.outcome_files.MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "bomb.npz", texts=np.zeros(10_000, np.uint8))
    with pytest.raises(UsageError, match="at most 1000 bytes unpacked, got 10128"):
        load_outcomes(tmp_path / "bomb.npz")
    monkeypatch.undo()
    monkeypatch.setattr("chestx.evaluation.outcome_files.MAX_TEXT_BYTES", 1000)
    with pytest.raises(UsageError, match="at most 1000 bytes of text, got 10128"):
        load_outcomes(tmp_path / "bomb.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: texts.update(format_version=2), "expected format 1, got 2"),
        (lambda texts: texts.update(extra=1), "expected no key 'extra'"),
        (lambda texts: texts["decisions"].pop(), "expected decisions of 240 images, got 239"),
        (lambda texts: texts["decisions"].__setitem__(0, "maybe"), "expected one of positive"),
        (lambda texts: texts["attributes"]["sex"].pop(), "expected sex of 240 images"),
        (
            lambda texts: texts["attributes"]["sex"].__setitem__(0, "\x1b[2J"),
            "expected at most 200 printable characters",
        ),
        (lambda texts: texts.update(card="{}"), "card.json"),
        (
            lambda texts: texts["decisions"].__setitem__(-1, "negative"),
            "expected probabilities of 0 to 1",
        ),
    ],
)
def test_refuses_texts_that_do_not_fit(
    single_label_outcomes: Callable[..., Outcomes],
    tmp_path: Path,
    change: Callable[[dict[str, object]], object],
    message: str,
) -> None:
    path = tmp_path / "outcomes.npz"
    save_outcomes(single_label_outcomes(), path)
    arrays = dict(np.load(path))
    texts = json.loads(arrays["texts"].tobytes())
    change(texts)
    arrays["texts"] = np.frombuffer(json.dumps(texts).encode(), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match=message):
        load_outcomes(path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("groups", np.zeros(3, np.int64), r"expected groups of int64 \[240\], got int64 \[3\]"),
        ("logits", np.zeros((240, 3)), "expected logits of float32"),
        ("targets", np.full((240, 3), 7, np.int8), "expected targets of 1, 0, -1 or -2"),
        ("texts", np.zeros(3), "expected texts as bytes"),
        ("texts", np.full(3, 255, np.uint8), "expected texts in UTF-8"),
    ],
)
def test_refuses_arrays_that_do_not_fit(
    single_label_outcomes: Callable[..., Outcomes],
    tmp_path: Path,
    name: str,
    array: np.ndarray,
    message: str,
) -> None:
    path = tmp_path / "outcomes.npz"
    save_outcomes(single_label_outcomes(), path)
    np.savez(path, **{**dict(np.load(path)), name: array})
    with pytest.raises(UsageError, match=message):
        load_outcomes(path)


def test_a_member_that_is_no_array_is_refused(
    single_label_outcomes: Callable[..., Outcomes], tmp_path: Path
) -> None:
    path = tmp_path / "outcomes.npz"
    save_outcomes(single_label_outcomes(), path)
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    members["groups.npy"] = b"hello"
    with zipfile.ZipFile(path, "w") as archive:
        for item, data in members.items():
            archive.writestr(item, data)
    with pytest.raises(UsageError, match="outcomes: expected"):
        load_outcomes(path)


def test_collects_real_radiographs(classifier: Classifier, cxr: Path) -> None:
    with (cxr / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dev_split"] == "val"][::80]
    files = {row["file"]: row["label"] for row in rows if row["label"] in KEYS}
    outcomes = collect_outcomes(classifier, table_of(files, cxr), workers=1, threads=1)
    assert len(outcomes) == len(files)
    assert outcomes.is_assessed.mean() > 0.8
