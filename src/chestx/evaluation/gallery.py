"""The worst answers as pictures: what was surest and wrong, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np

from chestx.analysis import Analyzer
from chestx.datasets.example import Manifest
from chestx.domain import Decision, Report, Result
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.models.classifier import Classifier
from chestx.rendering.document import Block, Gallery, Paragraph, PictureBlock, Section
from chestx.rendering.overlay import draw_overlay, encode_picture
from chestx.shapes import Bool

MAX_PICTURES = 24
_PICTURE_SIZE = 512
_SHOWN_WIDTH = 480

CaseKind = Literal["false positive", "false negative", "out of scope", "failed"]


@dataclass(frozen=True, slots=True)
class Case:
    """An image worth looking at.

    Attributes:
        row: of the outcomes.
        kind: why.
        question: key of the question that was answered wrongly; empty where none was.
        words: what was said and what is known.
    """

    row: int
    kind: CaseKind
    question: str
    words: str


def choose_cases(outcomes: Outcomes, *, most: int = MAX_PICTURES) -> list[Case]:
    """The surest wrong answers of each kind, then refused and failed images.

    A third each goes to false positives, false negatives and images that were not assessed;
    of several findings each gets its turn, and an image is shown once. An answer inside
    the abstention band counts by the side that it lies on.
    """
    each = most // 3
    questions = [q for q in list_questions(outcomes) if q.operating_point is not None]
    taken: set[int] = set()
    cases: list[Case] = []
    kinds: tuple[Literal["false positive", "false negative"], ...]
    kinds = ("false positive", "false negative")
    for kind in kinds:
        queues = [_rank_errors(q, outcomes.is_assessed, kind=kind) for q in questions]
        cases += _take_turns(outcomes, questions, queues, kind, each, taken)
    return cases + _list_unassessed(outcomes, most - 2 * each)


def render_gallery(
    cases: Sequence[Case], outcomes: Outcomes, manifest: Manifest, *, analyzer: Analyzer
) -> Section:
    """Analyses the cases once more, with their pictures.

    Args:
        cases: of these outcomes.
        outcomes: whose paths are those of the manifest.
        manifest: that the paths count from.
        analyzer: of the same model, with previews.
    """
    places = {example.path: manifest.resolve(example) for example in manifest.examples}
    paths = [places[outcomes.paths[case.row]] for case in cases]
    results = list(analyzer.stream(paths, finish=lambda _, result: result))
    blocks: list[Block] = [
        Paragraph(
            "The surest wrong answers of the model, and images that it refused. Whether the model "
            "or the reference standard is wrong is for a physician to say: labels of public data "
            "sets are often wrong just here. Every image is in images.csv."
        )
    ]
    for kind in ("false positive", "false negative", "out of scope", "failed"):
        chosen = [i for i, case in enumerate(cases) if case.kind == kind]
        blocks += _show_kind(
            kind, [cases[i] for i in chosen], [results[i] for i in chosen], outcomes
        )
    return Section("Worst answers", blocks)


def make_analyzer(classifier: Classifier, *, workers: int | None, threads: int | None) -> Analyzer:
    """An analyzer whose reports carry what the pictures need."""
    return Analyzer(classifier, workers=workers, threads=threads, preview_size=_PICTURE_SIZE)


def _rank_errors(
    question: Question, is_assessed: Bool[np.ndarray, " images"], *, kind: str
) -> list[int]:
    """Rows with this error, the surest first."""
    assert question.operating_point is not None
    is_called = question.y_prob >= question.operating_point.threshold
    usable = question.is_known & is_assessed
    if kind == "false positive":
        rows = np.flatnonzero(usable & ~question.y_true & is_called)
        return [int(row) for row in rows[np.argsort(-question.y_prob[rows], kind="stable")]]
    rows = np.flatnonzero(usable & question.y_true & ~is_called)
    return [int(row) for row in rows[np.argsort(question.y_prob[rows], kind="stable")]]


def _take_turns(
    outcomes: Outcomes,
    questions: Sequence[Question],
    queues: Sequence[Sequence[int]],
    kind: Literal["false positive", "false negative"],
    most: int,
    taken: set[int],
) -> list[Case]:
    waiting = [list(queue) for queue in queues]
    cases: list[Case] = []
    while any(waiting) and len(cases) < most:
        for question, queue in zip(questions, waiting, strict=True):
            while queue and queue[0] in taken:
                queue.pop(0)
            if queue and len(cases) < most:
                row = queue.pop(0)
                taken.add(row)
                words = f"{question.score} = {question.y_prob[row]:.3f}"
                words += f"; reference: {name_reference(outcomes, row)}"
                cases.append(Case(row, kind, question.key, words))
    return cases


def _list_unassessed(outcomes: Outcomes, most: int) -> list[Case]:
    """Refused images, of each reason in turn, then failed ones."""
    by_reason: dict[str, list[int]] = {}
    failed = []
    for row, decision in enumerate(outcomes.decisions):
        if decision is Decision.OUT_OF_SCOPE:
            by_reason.setdefault(", ".join(outcomes.reasons[row]), []).append(row)
        elif decision is Decision.FAILED:
            failed.append(row)
    cases: list[Case] = []
    while any(by_reason.values()) and len(cases) < most:
        for reason, rows in by_reason.items():
            if rows and len(cases) < most:
                row = rows.pop(0)
                words = f"{reason}; reference: {name_reference(outcomes, row)}"
                cases.append(Case(row, "out of scope", "", words))
    for row in failed[: most - len(cases)]:
        reason = "; ".join(outcomes.reasons[row])
        cases.append(
            Case(row, "failed", "", f"{reason}; reference: {name_reference(outcomes, row)}")
        )
    return cases


def name_reference(outcomes: Outcomes, row: int) -> str:
    """The labels that the reference standard gives an image, in words."""
    labels = zip(outcomes.card.labels, outcomes.targets[row], strict=True)
    present = [label.key for label, target in labels if target == 1]
    if present:
        return ", ".join(present)
    return "none of the labels" if (outcomes.targets[row] == 0).any() else "not known"


def _show_kind(
    kind: str, cases: Sequence[Case], results: Sequence[Result], outcomes: Outcomes
) -> list[Block]:
    if not cases:
        return [Paragraph(f"{kind.capitalize()}: none.")]
    pictures, missing = [], []
    for case, result in zip(cases, results, strict=True):
        name = PurePath(outcomes.paths[case.row]).name
        source = outcomes.attributes.get("source", ("",) * len(outcomes))[case.row]
        words = f"{name}{f' ({source})' if source else ''}: {case.words}"
        if isinstance(result, Report):
            pictures.append(
                PictureBlock(
                    data=_draw(result, name),
                    media_type="image/jpeg",
                    alt=f"Radiograph with overlay: {kind}, {words}",
                    caption=words,
                    width=_SHOWN_WIDTH,
                )
            )
        else:
            missing.append(f"{words}. No picture: {result.reason}")
    blocks: list[Block] = [Paragraph(f"{kind.capitalize()}: {len(cases)} shown.")]
    if pictures:
        blocks.append(Gallery(pictures))
    return blocks + [Paragraph(words, "warning") for words in missing]


def _draw(report: Report, title: str) -> bytes:
    return encode_picture(draw_overlay(report, size=_PICTURE_SIZE, title=title), format="jpg")
