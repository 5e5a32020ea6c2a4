"""How far answers move when an image is altered in ways that a reader sees through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chestx.domain import Figure
from chestx.evaluation.alterations import FLIP, ROBUSTNESS, Alteration
from chestx.evaluation.altered import AlteredAnswers
from chestx.evaluation.outcomes import Question
from chestx.evaluation.probe_result import (
    Asked,
    ProbeResult,
    ask,
    find_figure,
    join_words,
    make_figure,
    say_change,
    say_figure,
)
from chestx.evaluation.probe_sample import Part
from chestx.metrics import compute_means

_FLIP_WHAT = (
    "Left and right exchanged, as on a film laid the wrong way round. Disease of the lungs is "
    "hardly one-sided over many patients, so an honest model ranks as before; its answers move "
    "by as much as they hang on the side of the heart and of markers."
)
_FLIP_NOTE = (
    "A model that was trained on flipped images passes this by construction, and then cannot "
    "know a heart on the wrong side either."
)
_WHAT = (
    "The same images turned, lighter, darker, blurred, noisy, cropped, framed in black, "
    "compressed, smaller, with text burnt in, and inverted. Differences are to the unaltered "
    "images, with paired intervals; "
    "sensitivity and specificity are at the card's threshold with the abstention band decided "
    "too; decisions are the whole answer (positive, uncertain, negative) as the model's numbers "
    "alone give it; refused are images that would be out of scope by their pixels or by their "
    "distance to the training images. Strengths in pixels are on the model input."
)
_NOTE = (
    "Each alteration is made alone and at a strength of our choice; what a hospital's own "
    "devices do to images, its own images show. An inverted image must be refused, not answered."
)


def probe_flip(
    answers: AlteredAnswers, questions: Sequence[Question], parts: Sequence[Part]
) -> ProbeResult:
    """The mirror image."""
    figures = _measure_alteration(answers, FLIP, questions, parts)
    return ProbeResult(
        name="flip",
        what=_FLIP_WHAT,
        figures=figures,
        verdict=_judge_flip(figures, questions),
        note=_FLIP_NOTE,
    )


def probe_robustness(
    answers: AlteredAnswers, questions: Sequence[Question], parts: Sequence[Part]
) -> ProbeResult:
    """The table of alterations."""
    figures = tuple(
        figure
        for alteration in ROBUSTNESS
        for figure in _measure_alteration(answers, alteration, questions, parts)
    )
    return ProbeResult(
        name="robustness",
        what=_WHAT,
        figures=figures,
        verdict=_judge_robustness(figures, questions),
        note=_NOTE,
    )


def _measure_alteration(
    answers: AlteredAnswers,
    alteration: Alteration,
    questions: Sequence[Question],
    parts: Sequence[Part],
) -> tuple[Figure, ...]:
    figures = []
    for question in questions:
        for part in parts:
            asked = ask(question, part, answers)
            if asked.has_both_classes:
                figures.append(_measure_auroc_change(answers, alteration, asked))
        asked = ask(question, parts[0], answers)
        figures += _measure_shares(answers, alteration, question, asked)
        figures.append(_measure_movement(answers, alteration, question, parts[0]))
    return (*figures, *_measure_decisions(answers, alteration, parts[0]))


def _measure_auroc_change(answers: AlteredAnswers, alteration: Alteration, asked: Asked) -> Figure:
    before, drawn_before = asked.rank(answers, 0)
    after, drawn_after = asked.rank(answers, answers.find(alteration.key))
    return make_figure(
        f"ΔAUROC, {alteration.words}",
        asked.subject,
        asked.data,
        after - before,
        len(asked.y_true),
        drawn_after - drawn_before,
        note=f"{before:.3f} unaltered, {after:.3f} altered",
    )


def _measure_shares(
    answers: AlteredAnswers, alteration: Alteration, question: Question, asked: Asked
) -> list[Figure]:
    """Sensitivity and specificity under the alteration and their changes."""
    if question.operating_point is None or not asked.has_both_classes:
        return []
    threshold = question.operating_point.threshold
    before, after = (
        answers.score(index, question.key)[asked.positions] >= threshold
        for index in (0, answers.find(alteration.key))
    )
    figures = []
    for name, members, is_right in (
        ("sensitivity", asked.y_true, True),
        ("specificity", ~asked.y_true, False),
    ):
        weights = asked.draws[:, members]
        right_before = (before[members] == is_right).astype(np.float64)
        right_after = (after[members] == is_right).astype(np.float64)
        for label, values in ((name, right_after), (f"Δ{name}", right_after - right_before)):
            figures.append(
                make_figure(
                    f"{label}, {alteration.words}",
                    asked.subject,
                    asked.data,
                    float(values.mean()),
                    len(values),
                    compute_means(values, weights),
                )
            )
    return figures


def _measure_movement(
    answers: AlteredAnswers, alteration: Alteration, question: Question, part: Part
) -> Figure:
    after = answers.score(answers.find(alteration.key), question.key)
    moved = np.abs(after.astype(np.float64) - answers.score(0, question.key))
    return make_figure(
        f"mean |Δp|, {alteration.words}",
        question.score,
        part.key,
        float(moved.mean()),
        len(moved),
        compute_means(moved, part.draws),
    )


def _measure_decisions(
    answers: AlteredAnswers, alteration: Alteration, part: Part
) -> tuple[Figure, Figure]:
    index = answers.find(alteration.key)
    changed = (answers.urgencies[index] != answers.urgencies[0]).astype(np.float64)
    refused = answers.is_refused[index].astype(np.float64)
    of_unaltered = float(answers.is_refused[0].mean())
    return (
        make_figure(
            f"decisions changed, {alteration.words}",
            "image",
            part.key,
            float(changed.mean()),
            len(changed),
            compute_means(changed, part.draws),
        ),
        make_figure(
            f"refused, {alteration.words}",
            "image",
            part.key,
            float(refused.mean()),
            len(refused),
            compute_means(refused, part.draws),
            note=f"{of_unaltered:.1%} of the unaltered copies of this size",
        ),
    )


def _judge_flip(figures: Sequence[Figure], questions: Sequence[Question]) -> str:
    words = FLIP.words
    changed = find_figure(figures, f"decisions changed, {words}", "image")
    assert changed is not None
    parts = [
        f"{question.score} {say_change(figure)}"
        for question in questions
        if (figure := find_figure(figures, f"ΔAUROC, {words}", question.score))
    ]
    start = f"With {words}, {changed.value:.0%} of the decisions change"
    return f"{start}; AUROC: {join_words(parts)}." if parts else f"{start}."


def _judge_robustness(figures: Sequence[Figure], questions: Sequence[Question]) -> str:
    sentences = []
    for question in questions:
        drops = [
            (figure, alteration)
            for alteration in ROBUSTNESS
            if alteration.key != "inverted"
            and (figure := find_figure(figures, f"ΔAUROC, {alteration.words}", question.score))
        ]
        if not drops:
            continue
        worst, alteration = min(drops, key=lambda pair: pair[0].value)
        lower = sum(figure.high is not None and figure.high < 0 for figure, _ in drops)
        sentences.append(
            f"{question.score}: AUROC falls most with {alteration.words}, "
            f"{say_change(worst)}; it is lower beyond chance in {lower} of {len(drops)}."
        )
    most = max(
        (
            (figure, alteration)
            for alteration in ROBUSTNESS
            if alteration.key != "inverted"
            and (figure := find_figure(figures, f"decisions changed, {alteration.words}", "image"))
        ),
        key=lambda pair: pair[0].value,
    )
    sentences.append(f"Most decisions change with {most[1].words}: {say_figure(most[0])} of them.")
    refused = find_figure(figures, "refused, inverted", "image")
    assert refused is not None
    answered = 1 - refused.value
    sentences.append(
        f"Inverted, {refused.value:.0%} are refused"
        + (
            f" and {answered:.0%} are answered, which must not be."
            if answered
            else ", as they must."
        )
    )
    return " ".join(sentences)
