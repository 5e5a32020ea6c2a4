from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chestx.datasets.example import Example, Manifest, Target, Task
from chestx.domain import Decision
from chestx.evaluation.collect import collect_outcomes
from chestx.evaluation.gallery import choose_cases, make_analyzer, name_reference, render_gallery
from chestx.models.classifier import Classifier
from chestx.rendering.document import Document, Gallery, Paragraph, render_document

if TYPE_CHECKING:
    from tests.evaluation.conftest import MakeOutcomes


def test_the_surest_wrong_answers_come_first(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(240, strength=0.5)
    cases = [x for x in choose_cases(outcomes) if x.question == "any_finding"]
    wrong = [x.row for x in cases if x.kind == "false positive"]
    scores = 1 - outcomes.probabilities[wrong, 0]
    assert wrong
    assert (np.diff(scores) <= 0).all()
    assert (outcomes.targets[wrong, 0] == Target.PRESENT).all()
    missed = [x.row for x in cases if x.kind == "false negative"]
    assert (np.diff(1 - outcomes.probabilities[missed, 0]) >= 0).all()
    assert (outcomes.targets[missed, 0] == Target.ABSENT).all()


def test_an_image_is_shown_once_and_every_kind_has_its_share(
    multi_label_outcomes: MakeOutcomes,
) -> None:
    outcomes = multi_label_outcomes(300, strength=0.3)
    cases = choose_cases(outcomes, most=12)
    assert len({case.row for case in cases}) == len(cases) == 12
    assert [case.kind for case in cases].count("false positive") == 4
    refused = [case for case in cases if case.kind in ("out of scope", "failed")]
    assert len(refused) == 4
    assert len({case.question for case in cases if case.question}) > 1


def test_a_model_without_errors_has_only_refused_images(
    single_label_outcomes: MakeOutcomes,
) -> None:
    cases = choose_cases(single_label_outcomes(60, strength=50))
    assert {case.kind for case in cases} == {"out of scope", "failed"}


def test_the_reference_is_named_in_words(single_label_outcomes: MakeOutcomes) -> None:
    outcomes = single_label_outcomes(60)
    targets = outcomes.targets.copy()
    targets[0], targets[1] = 0, -1
    outcomes = replace(outcomes, targets=targets)
    assert name_reference(outcomes, 0) == "none of the labels"
    assert name_reference(outcomes, 1) == "not known"
    assert name_reference(outcomes, 2) == "PNEUMONIA"


class _Table:
    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest


def test_pictures_are_drawn_and_a_missing_file_is_said(
    samples: Path, classifier: Classifier, tmp_path: Path
) -> None:
    shown = [str(path) for path in sorted(samples.iterdir())][:3]
    paths = [*shown, str(tmp_path / "gone.png")]
    absent = (Target.PRESENT, Target.ABSENT, Target.ABSENT)
    manifest = Manifest(
        labels=("NORMAL", "PNEUMONIA", "COVID19"),
        task=Task.SINGLE_LABEL,
        examples=tuple(Example(path=path, targets=absent) for path in paths),
        folder=tmp_path,
    )
    outcomes = collect_outcomes(classifier, _Table(manifest), workers=0, threads=1)
    assert outcomes.decisions[-1] is Decision.FAILED
    cases = choose_cases(outcomes)
    with make_analyzer(classifier, workers=0, threads=1) as analyzer:
        section = render_gallery(cases, outcomes, manifest, analyzer=analyzer)
    pictures = [x for block in section.blocks if isinstance(block, Gallery) for x in block.pictures]
    assert all(picture.data.startswith(b"\xff\xd8") for picture in pictures)
    assert len(pictures) == len([case for case in cases if case.kind != "failed"])
    warned = [x.text for x in section.blocks if isinstance(x, Paragraph) and x.tone == "warning"]
    assert any("gone.png" in text and "No picture" in text for text in warned)
    document = Document(title="t", summary=[], speaker="s", sections=[section])
    assert "data:image/jpeg" in render_document(document) or not pictures
