"""Measured figures into a model's card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from chestx.domain import Figure
from chestx.evaluation.figures import ABSTAINING, FORCED, PREVALENCES
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.page_figures import FigureBook, list_shown_questions
from chestx.evaluation.probe_result import ProbeResult
from chestx.evaluation.result import ALL, Evaluation, Slice
from chestx.metrics import wilson_interval
from chestx.models.derive import derive_model_folder
from chestx.models.folder import ModelFolder

_OF_SCORE = ("AUROC", "PR-AUC", "ECE", "Brier", "calibration slope")
_OF_DECISIONS = ("sensitivity", "specificity")
_AT_PREVALENCES = tuple(
    f"{value} at {prevalence:.0%} prevalence".replace("%", " %")
    for prevalence in PREVALENCES
    for value in ("PPV", "NPV")
)
_SUBGROUPS = ("age_band", "sex")
_THUMBNAIL = "a 16 x 16 thumbnail"
_PROBED = ("AUROC, lungs masked", "AUROC, border only", "AUROC, 16 x 16 pixels")
_SOURCE_PROBE = "source_from_embedding"


def select_figures(
    evaluation: Evaluation, outcomes: Outcomes, probes: Sequence[ProbeResult] = ()
) -> tuple[Figure, ...]:
    """The figures that a card should tell, those within a source before the pooled ones.

    For each question: AUROC and decisions within each source, all together, how far a
    thumbnail comes, and what is left where the lungs are hidden; calibration, abstention, and
    what a call means where the finding is rare. For the first question the same by age and sex.
    Then what was refused in each source and age group, and how well the source can be
    read from the features.

    Args:
        evaluation, outcomes: of the same images.
        probes: of the same model, on those images.
    """
    book = FigureBook(evaluation, outcomes)
    sources = [part.key for part in evaluation.slices if part.column == "source"]
    subgroups = [part.key for part in evaluation.slices if part.column in _SUBGROUPS]
    probed = [
        _say_where(figure, evaluation)
        for probe in probes
        for figure in probe.figures
        if figure.name in _PROBED or probe.name == _SOURCE_PROBE
    ]
    found: list[Figure] = []
    for number, question in enumerate(list_shown_questions(outcomes)):
        for key in (*sources, *(() if number else subgroups)):
            found += _take(book, question.key, key, scores=("AUROC",), decisions=_OF_DECISIONS)
        decisions = (*_OF_DECISIONS, *_AT_PREVALENCES)
        found += _take(book, question.key, ALL, scores=_OF_SCORE, decisions=decisions)
        coverage = book.find(question.key, "coverage", side=ABSTAINING)
        found += [coverage] if coverage else []
        found += [
            figure
            for rank in book.list_ranks(question.key)
            for what, figure in rank.aurocs.items()
            if what == _THUMBNAIL
        ]
        found += [figure for figure in probed if figure.subject == question.score]
    found += [
        _say_where(_count_refused(part), evaluation)
        for part in evaluation.slices
        if part.key == ALL or part.column in ("source", "age_band")
    ]
    found += [figure for figure in probed if figure.name not in _PROBED]
    accuracy = [x for x in evaluation.overall if x.name in ("accuracy", "macro AUROC")]
    return (*found, *accuracy)


def _say_where(figure: Figure, evaluation: Evaluation) -> Figure:
    """The figure of a part of the images, with the name of all of them before it."""
    data = evaluation.data if figure.data == ALL else f"{evaluation.data}; {figure.data}"
    return replace(figure, data=data)


def _count_refused(part: Slice) -> Figure:
    low, high = wilson_interval(part.out_of_scope, part.images)
    return Figure(
        name="share out of scope",
        subject="image",
        data=part.key,
        value=part.out_of_scope / part.images,
        n=part.images,
        low=low,
        high=high,
        note="interval takes images for independent",
    )


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
