"""The parts of the page that show figures of all images and of parts of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chestx.domain import Figure
from chestx.evaluation import plots
from chestx.evaluation.figures import ABSTAINING, FORCED, PREVALENCES, REFUSED_WRONG
from chestx.evaluation.outcomes import Question
from chestx.evaluation.page_discrimination import make_bar, show_plot
from chestx.evaluation.page_figures import (
    FigureBook,
    list_shown_questions,
    name_question,
    write_figure,
    write_number,
)
from chestx.evaluation.plots import Curve
from chestx.evaluation.result import ALL, Slice
from chestx.rendering.document import Block, Paragraph, PictureBlock, Section, Table
from chestx.shapes import Bool

_SIDES = {
    FORCED: "all answers, uncertain by the nearer side",
    ABSTAINING: "uncertain taken out",
    REFUSED_WRONG: "out of scope and failed are wrong",
}
_CALIBRATION = (
    "ECE",
    "ECE debiased",
    "Brier",
    "Brier reliability",
    "Brier resolution",
    "Brier uncertainty",
    "calibration slope",
    "calibration intercept",
    "calibration in the large",
)


def write_accounting(book: FigureBook) -> Section:
    """What became of every image."""
    evaluation = book.evaluation
    keys = [label.key for label in book.outcomes.card.labels]
    parts = [x for x in evaluation.slices if x.key == ALL or x.column == "source"]
    blocks: list[Block] = [
        Table(
            caption="Images by source",
            columns=(
                *("source", "images", "groups", "assessed", "out of scope", "failed"),
                *(f"{key}: with / without" for key in keys),
            ),
            rows=[_count_slice(part, keys) for part in parts],
            note=(
                "A group holds the images of one patient and duplicates of them. With and without: "
                "by the reference standard, assessed or not; the rest is not known or was not "
                "asked."
            ),
        )
    ]
    reasons = evaluation.slices[0].reasons
    if reasons:
        shown = [part for part in parts if part.reasons]
        blocks.append(
            Table(
                caption="Why images were not assessed",
                columns=("reason", *(_name_slice(part) for part in shown)),
                rows=[(name, *(f"{x.reasons.get(name, 0):,}" for x in shown)) for name in reasons],
                note="An image can have several reasons. None of them is left out of the count.",
            )
        )
    if evaluation.left_out:
        rows = [(reason, f"{count:,}") for reason, count in evaluation.left_out.items()]
        blocks.append(
            Table(caption="Rows not put to the model", columns=("reason", "rows"), rows=rows)
        )
    return Section("What became of every image", blocks)


def write_decisions(book: FigureBook) -> Section:
    """Figures at the card's operating points."""
    blocks: list[Block] = [
        Paragraph(
            "What the card's thresholds make of the scores. An uncertain answer is forced to the "
            "side of the threshold that it lies on; beside it stand the figures without uncertain "
            "answers, and those in which an image that was refused or failed counts as wrong."
        )
    ]
    for question in list_shown_questions(book.outcomes):
        point = question.operating_point
        sides = [side for side in _SIDES if book.list_names(question.key, sides=[side])]
        if point is None or not sides:
            continue
        names = [
            name for name in book.list_names(question.key, sides=sides) if "prevalence" not in name
        ]
        blocks.append(
            Table(
                caption=f"{name_question(question.key)}: {question.score} at {point.threshold:.3g}",
                columns=("figure", *(_SIDES[side] for side in sides)),
                rows=[
                    (name, *(write_figure(book.find(question.key, name, side=x)) for x in sides))
                    for name in names
                ],
                note=(
                    "PPV, NPV, accuracy and F1 hold for the share of positives in these images "
                    f"only; see the predictive values below. {_get_note(book, question)}"
                ).strip(),
            )
        )
        taken = _take_known(book, question)
        scores = question.y_prob.astype(np.float64)
        blocks.append(
            show_plot(
                plots.draw_scores(
                    scores[taken & question.y_true],
                    scores[taken & ~question.y_true],
                    score=question.score,
                    point=point,
                ),
                f"How {question.score} lies in images with (above) and without (below); note "
                "the logarithmic counts",
            )
        )
    return Section("Decisions", blocks)


def write_predictive_values(book: FigureBook) -> Section:
    """What a call means where the finding is rare."""
    columns = ("question", "prevalence", "PPV", "NPV", "PPV, decided only", "NPV, decided only")
    rows = []
    for question in list_shown_questions(book.outcomes):
        for prevalence in PREVALENCES:
            share = f"{prevalence:.0%}".replace("%", " %")
            found = [
                book.find(question.key, f"{name} at {share} prevalence", side=side)
                for side in (FORCED, ABSTAINING)
                for name in ("PPV", "NPV")
            ]
            if any(found):
                rows.append((name_question(question.key), share, *map(write_figure, found)))
    note = (
        "From sensitivity and specificity in these images, by Bayes' rule. They hold elsewhere "
        "only as far as those two do."
    )
    if not rows:
        return Section("Predictive values", [Paragraph("None: see the notes on decisions.")])
    caption = "Of 100 called positive (PPV) or negative (NPV), how many are: as shares"
    return Section(
        "Predictive values", [Table(caption=caption, columns=columns, rows=rows, note=note)]
    )


def write_calibration(book: FigureBook) -> Section:
    """Whether a probability means what it says, and what abstaining buys."""
    questions = [
        (question, answer)
        for question in list_shown_questions(book.outcomes)
        if (answer := book.find_answer(question.key)) and answer.reliability
    ]
    blocks: list[Block] = [
        Paragraph(
            "Whether of the images with probability p a share p has the finding: points on the "
            "dotted line. A slope below 1 says that the probabilities are too extreme, an "
            "intercept above 0 that they are too low. All of it holds for the mix of images "
            "measured here."
        )
    ]
    if questions:
        blocks.append(
            Table(
                caption="Calibration",
                columns=("figure", *(question.score for question, _ in questions)),
                rows=[
                    (name, *(_write_calibration(book.find(q.key, name)) for q, _ in questions))
                    for name in _CALIBRATION
                ],
            )
        )
    for question, answer in questions:
        probabilities = question.y_prob.astype(np.float64)[_take_known(book, question)]
        blocks.append(
            show_plot(
                plots.draw_reliability(answer.reliability, probabilities),
                f"Reliability of {question.score}: observed share over predicted probability "
                "(bars: 95 %, Wilson), and how often each probability was given",
            )
        )
    curves = [
        Curve(label=name_question(q.key), points=plots.to_curve_points(answer.risk_coverage))
        for q, answer in questions
        if answer.risk_coverage
    ]
    if curves:
        words = "Wrong answers among the answered when the least certain are left undecided"
        blocks.append(show_plot(plots.draw_risk_coverage(curves), words))
    return Section("Calibration and abstention", blocks)


def write_subgroups(book: FigureBook) -> Section:
    """Every slice of every column."""
    blocks: list[Block] = [
        Paragraph(
            "The same figures in parts of the images. A part with images of one kind only has "
            "sensitivity or specificity and no AUROC. Parts differ in more than their name, and of "
            "many some differ by chance."
        )
    ]
    columns = dict.fromkeys(x.column for x in book.evaluation.slices if x.column)
    for question in list_shown_questions(book.outcomes):
        answered = [x for x in book.evaluation.slices if (x.key, question.key) in book.answers]
        for column in columns:
            parts = [x for x in answered if x.column == column]
            if parts:
                blocks.append(_tabulate_slices(book, question, column, parts))
        blocks += _draw_forests(book, question, answered)
    return Section("By source, view, age, sex and more", blocks)


def write_confusions(book: FigureBook) -> Section:
    """Counts of the largest label; a table a source."""
    confusions = book.evaluation.confusions
    if not confusions:
        text = "No confusion matrix: these labels do not exclude each other."
        return Section("Confusion", [Paragraph(text)])
    blocks: list[Block] = [
        Paragraph("The most probable label, whatever the thresholds, against the reference.")
    ]
    for confusion in confusions:
        place = "all images" if confusion.slice_key == ALL else confusion.slice_key
        if confusion.slice_key == ALL:
            blocks.append(show_plot(plots.draw_confusion(confusion), f"Confusion, {place}"))
        rows = [
            (key, *(f"{count:,}" for count in counts))
            for key, counts in zip(confusion.rows, confusion.counts, strict=True)
            if any(counts)
        ]
        heads = ("reference", *(name.replace("_", " ") for name in confusion.columns))
        blocks.append(Table(caption=f"Confusion, {place}", columns=heads, rows=rows))
    return Section("Confusion", blocks)


def write_overall(book: FigureBook) -> Section:
    """One number for several labels."""
    rows = [
        (x.name, x.subject, write_figure(x), f"{x.n:,}", x.note) for x in book.evaluation.overall
    ]
    if not rows:
        return Section("Over all labels", [Paragraph("Nothing was measured over all labels.")])
    table = Table(
        caption="Figures over all labels",
        columns=("figure", "of", "value (95 %)", "images", "note"),
        rows=rows,
        note="They mix labels and sources, and flatter where label and source go together.",
    )
    return Section("Over all labels", [table])


def _write_calibration(figure: Figure | None) -> str:
    """Parts of the Brier score never have an interval, which need not be said each time."""
    if figure is None or figure.low is not None:
        return write_figure(figure)
    return write_number(figure.value)


def _get_note(book: FigureBook, question: Question) -> str:
    answer = book.find_answer(question.key)
    return answer.note if answer else ""


def _take_known(book: FigureBook, question: Question) -> Bool[np.ndarray, " images"]:
    return np.asarray(question.is_known & book.outcomes.is_assessed)


def _count_slice(part: Slice, keys: Sequence[str]) -> tuple[str, ...]:
    counts = (part.images, part.groups, part.assessed, part.out_of_scope, part.failed)
    labels = (f"{part.positives.get(key, 0):,} / {part.negatives.get(key, 0):,}" for key in keys)
    return (_name_slice(part), *(f"{count:,}" for count in counts), *labels)


def _name_slice(part: Slice) -> str:
    return "all" if part.key == ALL else part.value


def _tabulate_slices(
    book: FigureBook, question: Question, column: str, parts: Sequence[Slice]
) -> Table:
    heads = ("images", "positive", "AUROC", "sensitivity", "specificity", "decided", "note")
    rows = []
    for part in parts:
        answer = book.answers[part.key, question.key]
        figures = (
            book.find(question.key, "AUROC", slice_key=part.key),
            book.find(question.key, "sensitivity", side=FORCED, slice_key=part.key),
            book.find(question.key, "specificity", side=FORCED, slice_key=part.key),
            book.find(question.key, "coverage", side=ABSTAINING, slice_key=part.key),
        )
        counts = (f"{answer.n:,}", f"{answer.positives:,}")
        rows.append((part.value, *counts, *map(write_figure, figures), answer.note))
    name = column.replace("_", " ")
    return Table(
        caption=f"{name_question(question.key)} by {name}", columns=(name, *heads), rows=rows
    )


def _draw_forests(
    book: FigureBook, question: Question, parts: Sequence[Slice]
) -> list[PictureBlock]:
    pictures = []
    for name, side, chance in (("AUROC", "", 0.5), ("sensitivity", FORCED, None)):
        bars = []
        for part in parts:
            figure = book.find(question.key, name, side=side, slice_key=part.key)
            if figure is not None:
                label = "all together" if part.key == ALL else part.key
                bars.append(make_bar(label, figure, "whole" if part.key == ALL else "part"))
        if len(bars) > 2:
            words = f"{name}, {name_question(question.key)}, in parts of the images"
            pictures.append(show_plot(plots.draw_forest(bars, name=name, chance=chance), words))
    return pictures
