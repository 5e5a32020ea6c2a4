"""The part of the page on discrimination: the model beside guesses without lungs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chestx.domain import Figure
from chestx.evaluation import plots
from chestx.evaluation.outcomes import Question
from chestx.evaluation.page_figures import (
    BY_MODEL,
    FigureBook,
    Rank,
    is_matched_without_lungs,
    list_shown_questions,
    name_question,
    write_figure,
)
from chestx.evaluation.plots import Bar, Curve
from chestx.evaluation.result import ALL, Answered, Point
from chestx.rendering.document import Block, Paragraph, PictureBlock, Section, Table, Tone


def write_discrimination(book: FigureBook) -> Section:
    """Model beside baselines within each source and together, with curves."""
    blocks: list[Block] = [
        Paragraph(
            "How well the score ranks images with above images without: 1 is perfect, 0.5 is "
            "chance. Within one source first. The figure of all sources together also rewards "
            "telling the sources apart, so it never stands alone; beside the model stands how "
            "far a linear guess comes that sees no lungs, on the same images."
        )
    ]
    for question in list_shown_questions(book.outcomes):
        blocks += _discriminate(book, question)
    return Section("Discrimination", blocks)


def make_bar(label: str, figure: Figure, kind: str) -> Bar:
    """A figure as a row of a forest plot, with the number of its images."""
    return Bar(
        label=label,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        kind="whole" if kind == "whole" else "part",
        note=f"n {figure.n:,}",
    )


def show_plot(data: bytes, words: str) -> PictureBlock:
    """A plot with the same words for those who see it and those who do not."""
    return PictureBlock(data=data, media_type="image/svg+xml", alt=words, caption=words)


def _discriminate(book: FigureBook, question: Question) -> list[Block]:
    ranks = book.list_ranks(question.key)
    title = f"{name_question(question.key)}: {question.score}"
    answer = book.find_answer(question.key)
    if not ranks:
        why = answer.note if answer and answer.note else "too few images of one of the two kinds"
        return [Paragraph(f"{title}: no AUROC; {why}.", "warning")]
    looks = list(dict.fromkeys(what for rank in ranks for what in rank.aurocs if what != BY_MODEL))
    blocks: list[Block] = [
        Table(
            caption=f"AUROC, {title}",
            columns=("images", "n", "model", *(f"guess from {what}" for what in looks)),
            rows=[_write_rank(rank, looks) for rank in ranks],
            tones=[_judge_rank(rank) for rank in ranks],
            note=(
                "Coloured: a guess without lungs reaches the model's interval, so the figure there "
                "does not show that the model reads lungs."
            ),
        )
    ]
    bars = _list_rank_bars(ranks)
    blocks.append(show_plot(plots.draw_forest(bars, name="AUROC", chance=0.5), f"AUROC, {title}"))
    answers = _list_source_answers(book, question)
    if any(answer.roc for answer in answers):
        blocks.append(
            show_plot(plots.draw_roc(_list_curves(book, answers, question, "roc")), f"ROC, {title}")
        )
    if any(answer.precision_recall for answer in answers):
        curves = _list_curves(book, answers, question, "precision_recall")
        blocks.append(
            show_plot(
                plots.draw_precision_recall(curves),
                f"Precision and recall, {title}; it depends on the share of positives, so curves "
                "of different sources cannot be compared",
            )
        )
    return blocks


def _write_rank(rank: Rank, looks: Sequence[str]) -> tuple[str, ...]:
    model = rank.aurocs.get(BY_MODEL)
    guesses = (write_figure(rank.aurocs.get(what)) for what in looks)
    return (rank.place, f"{model.n:,}" if model else "", write_figure(model), *guesses)


def _judge_rank(rank: Rank) -> Tone:
    return "warning" if is_matched_without_lungs(rank) else "plain"


def _list_rank_bars(ranks: Iterable[Rank]) -> list[Bar]:
    """The model within and together, each followed by the best guess without lungs."""
    bars = []
    for rank in ranks:
        model = rank.aurocs.get(BY_MODEL)
        guesses = {what: x for what, x in rank.aurocs.items() if what != BY_MODEL}
        if model is not None:
            kind = "whole" if rank.is_whole else "part"
            bars.append(make_bar(rank.place, model, "whole" if kind == "whole" else "part"))
        if guesses:
            best = max(guesses, key=lambda what: guesses[what].value)
            bars.append(
                Bar(
                    label=f"guess from {best}",
                    value=guesses[best].value,
                    low=guesses[best].low,
                    high=guesses[best].high,
                    kind="baseline",
                )
            )
    return bars


def _list_source_answers(book: FigureBook, question: Question) -> list[Answered]:
    """All images and each source, those with curves."""
    keys = [x.key for x in book.evaluation.slices if x.key == ALL or x.column == "source"]
    found = (book.find_answer(question.key, slice_key=key) for key in keys)
    return [answer for answer in found if answer is not None and answer.roc]


def _list_curves(
    book: FigureBook, answers: Sequence[Answered], question: Question, kind: str
) -> list[Curve]:
    curves = []
    values = {part.key: part.value for part in book.evaluation.slices}
    for answer in answers:
        is_whole = answer.slice_key == ALL
        name = "AUROC" if kind == "roc" else "PR-AUC"
        figure = book.find(question.key, name, slice_key=answer.slice_key)
        place = "all together" if is_whole else values[answer.slice_key]
        words = f"{place}: {name} {write_figure(figure)}, {answer.positives:,} of {answer.n:,}"
        points = answer.roc if kind == "roc" else answer.precision_recall
        if points:
            marks = _find_marks(points, question)
            curves.append(Curve(label=words, points=points, marks=marks, is_whole=is_whole))
    return curves


def _find_marks(points: Sequence[Point], question: Question) -> tuple[Point, ...]:
    """Where the card decides: the last point whose scores are all called positive."""
    if question.operating_point is None:
        return ()
    called = [x for x in points if x.threshold >= question.operating_point.threshold]
    return (min(called, key=lambda point: point.threshold),) if called else ()
