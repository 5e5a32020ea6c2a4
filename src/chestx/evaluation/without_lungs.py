"""What a model still knows when the lungs are gone."""

from __future__ import annotations

from collections.abc import Sequence

from chestx.domain import Figure
from chestx.evaluation.alterations import SHORTCUTS
from chestx.evaluation.altered import UNALTERED, AlteredAnswers
from chestx.evaluation.outcomes import Question
from chestx.evaluation.probe_result import (
    ProbeResult,
    ask,
    find_figure,
    join_words,
    make_figure,
    say_figure,
)
from chestx.evaluation.probe_sample import Part
from chestx.evaluation.result import ALL

_WHAT = (
    "The same images without lungs, put to the same model: the lungs masked, the whole chest "
    "masked, only the border left, 16 x 16 pixels left, only the grey values left. A model that "
    "reads lungs separates nothing then: AUROC about 0.5."
)
_NOTE = (
    "A high figure proves that the answer is partly in what is left; a low one does not prove "
    "that the unaltered image is read by the lungs, because an altered image is also unlike "
    "anything that the model has seen. Body shape, tubes, the heart's outline and edges of the "
    "lungs are left by the masks and may honestly go with a disease. 16 x 16 pixels keep large "
    "densities of the lungs."
)


def probe_shortcuts(
    answers: AlteredAnswers, questions: Sequence[Question], parts: Sequence[Part]
) -> ProbeResult:
    """AUROC on images without lungs, beside the unaltered ones."""
    figures = []
    for question in questions:
        for part in parts:
            asked = ask(question, part, answers)
            if not asked.has_both_classes:
                continue
            for alteration in (UNALTERED, *SHORTCUTS):
                value, drawn = asked.rank(answers, answers.find(alteration.key))
                name = f"AUROC, {alteration.words}"
                figures.append(
                    make_figure(name, asked.subject, asked.data, value, len(asked.y_true), drawn)
                )
    return ProbeResult(
        name="shortcuts",
        what=_WHAT,
        figures=tuple(figures),
        verdict=_judge(figures, questions, parts),
        note=_NOTE,
    )


def _judge(figures: Sequence[Figure], questions: Sequence[Question], parts: Sequence[Part]) -> str:
    if not figures:
        return "Not measured: no question has enough images of both classes."
    pooled = [_say_question(figures, question.score) for question in questions]
    within = _say_within(figures, questions, parts)
    return " ".join(sentence for sentence in (*pooled, within) if sentence)


def _say_question(figures: Sequence[Figure], subject: str) -> str:
    whole = find_figure(figures, "AUROC, unaltered", subject)
    if whole is None:
        return ""
    shown = [
        f"{say_figure(figure)} with {alteration.words}"
        for alteration in SHORTCUTS
        if (figure := find_figure(figures, f"AUROC, {alteration.words}", subject))
        and _is_off_chance(figure)
    ]
    start = f"{subject}, AUROC {say_figure(whole)} unaltered: "
    if not shown:
        return start + "no better and no worse than chance without lungs."
    return start + f"still {join_words(shown)}; that much can be had from what is left."


def _say_within(
    figures: Sequence[Figure], questions: Sequence[Question], parts: Sequence[Part]
) -> str:
    """Masked lungs within each source, where the source itself cannot be the answer."""
    name = f"AUROC, {SHORTCUTS[0].words}"
    found = [
        f"{say_figure(figure)} for {question.score} in {part.key}"
        for question in questions
        for part in parts
        if part.key != ALL and (figure := find_figure(figures, name, question.score, data=part.key))
    ]
    if not found:
        return ""
    return f"Within one source, with {SHORTCUTS[0].words}: {join_words(found)}."


def _is_off_chance(figure: Figure) -> bool:
    return (
        figure.low is not None
        and figure.high is not None
        and not (figure.low <= 0.5 <= figure.high)
    )
