"""Measured figures into a model's card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from chestx.domain import Figure
from chestx.evaluation.figures import ABSTAINING, FORCED
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page_figures import FigureBook, list_shown_questions
from chestx.evaluation.result import ALL, Evaluation
from chestx.models.derive import derive_model_folder
from chestx.models.folder import ModelFolder

_OF_SCORE = ("AUROC", "PR-AUC", "ECE", "Brier", "calibration slope")
_OF_DECISIONS = ("sensitivity", "specificity", "PPV at 10 % prevalence", "NPV at 10 % prevalence")
_THUMBNAIL = "a 16 x 16 thumbnail"


def select_figures(evaluation: Evaluation, outcomes: Outcomes) -> tuple[Figure, ...]:
    """The figures that a card should tell, those within a source before the pooled ones.

    For each question: AUROC and decisions within each source, all together, and how far a
    thumbnail comes; calibration and abstention of all images.
    """
    book = FigureBook(evaluation, outcomes)
    sources = [part.key for part in evaluation.slices if part.column == "source"]
    found: list[Figure] = []
    for question in list_shown_questions(outcomes):
        for key in sources:
            found += _take(book, question.key, key, scores=("AUROC",), decisions=_OF_DECISIONS[:2])
        found += _take(book, question.key, ALL, scores=_OF_SCORE, decisions=_OF_DECISIONS)
        coverage = book.find(question.key, "coverage", side=ABSTAINING)
        found += [coverage] if coverage else []
        found += [
            figure
            for rank in book.list_ranks(question.key)
            for what, figure in rank.aurocs.items()
            if what == _THUMBNAIL
        ]
    accuracy = [x for x in evaluation.overall if x.name in ("accuracy", "macro AUROC")]
    return (*found, *accuracy)


def add_performance(folder: ModelFolder, figures: Sequence[Figure], out: Path) -> ModelFolder:
    """A copy of a model folder whose card and README hold these figures and no others.

    Args:
        folder: verified; it stays as it is.
        figures: what was measured of this very model.
        out: the new folder; nothing of that name may be there.

    Returns:
        The new folder, verified. Its checksum is another one, since its card says something
        else; its answers are the same.

    Raises:
        UsageError: something of that name is there.
        ChestxError: it cannot be written.
    """
    return derive_model_folder(folder, out, card=replace(folder.card, performance=tuple(figures)))


def _take(
    book: FigureBook,
    question: str,
    slice_key: str,
    *,
    scores: Sequence[str],
    decisions: Sequence[str],
) -> Iterator[Figure]:
    for names, side in ((scores, ""), (decisions, FORCED)):
        for name in names:
            if figure := book.find(question, name, side=side, slice_key=slice_key):
                yield figure
