"""An evaluation in a few lines for a terminal; nothing that flatters stands alone."""

from __future__ import annotations

from chestx.evaluation.figures import FORCED
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page_figures import (
    BY_MODEL,
    FigureBook,
    Rank,
    is_matched_without_lungs,
    list_shown_questions,
    name_question,
    write_figure,
)
from chestx.evaluation.result import Evaluation

_TUNING = frozenset({"train", "validation"})
_THUMBNAILS = ("a 16 x 16 thumbnail", "a 4 x 4 thumbnail")


def summarise(evaluation: Evaluation, outcomes: Outcomes) -> list[str]:
    """How many images, then for each question the figures within sources and their baselines."""
    whole = evaluation.slices[0]
    lines = [
        f"{whole.images:,} images of {whole.groups:,} patient or duplicate groups: "
        f"{whole.assessed:,} assessed, {whole.out_of_scope:,} out of scope, {whole.failed:,} failed"
    ]
    tuned = sum(split in _TUNING for split in outcomes.attributes.get("split", ()))
    if tuned:
        lines.append(
            f"WARNING: {tuned:,} of these images are of a training or validation split; if this "
            "model or its thresholds were made with them, every figure is too good"
        )
    book = FigureBook(evaluation, outcomes)
    for question in list_shown_questions(outcomes):
        lines += _summarise_question(book, question.key)
    return lines


def _summarise_question(book: FigureBook, question: str) -> list[str]:
    answer = book.find_answer(question)
    if answer is None:
        return []
    lines = [f"{name_question(question)}: {answer.positives:,} of {answer.n:,} positive"]
    lines += [_write_rank(rank) for rank in book.list_ranks(question)]
    found = [
        f"{name} {write_figure(figure)}"
        for name in ("sensitivity", "specificity")
        if (figure := book.find(question, name, side=FORCED))
    ]
    if found:
        lines.append(f"  {', '.join(found)} at the card's threshold")
    return lines


def _write_rank(rank: Rank) -> str:
    model = rank.aurocs.get(BY_MODEL)
    line = f"  AUROC {rank.place}: {write_figure(model) or 'none'}"
    for name in _THUMBNAILS:
        if guess := rank.aurocs.get(name):
            line += f"; guessed from {name}: {write_figure(guess)}"
            break
    return line + (
        "  <- not clearly above a guess without lungs" if is_matched_without_lungs(rank) else ""
    )
