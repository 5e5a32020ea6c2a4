"""Figures by where they belong, and how they are written on the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chestx.domain import ANY_FINDING, Figure, LabelRole
from chestx.evaluation.baselines import MEAN_WITHIN
from chestx.evaluation.outcomes import Outcomes, Question, list_questions
from chestx.evaluation.result import ALL, Answered, Evaluation

BY_MODEL = "by the model"
_WITHIN = "; source="


@dataclass(frozen=True, slots=True)
class Rank:
    """AUROCs of one place: the model's and those of guesses without lungs.

    Attributes:
        place: which images, in words.
        is_whole: whether they are of all sources.
        aurocs: what was looked at -> figure.
    """

    place: str
    is_whole: bool
    aurocs: dict[str, Figure]


@dataclass(frozen=True, slots=True, eq=False)
class FigureBook:
    """The figures of an evaluation by slice and question."""

    evaluation: Evaluation
    outcomes: Outcomes
    answers: dict[tuple[str, str], Answered] = field(init=False)

    def __post_init__(self) -> None:
        found = {(x.slice_key, x.question): x for x in self.evaluation.answers}
        object.__setattr__(self, "answers", found)

    def find_answer(self, question: str, *, slice_key: str = ALL) -> Answered | None:
        """What was measured of a question in a slice."""
        return self.answers.get((slice_key, question))

    def find(
        self, question: str, name: str, *, side: str = "", slice_key: str = ALL
    ) -> Figure | None:
        """A figure.

        Args:
            question: key.
            name: of the figure.
            side: what decided, as the subject ends; empty for a figure of the score alone.
            slice_key: of the slice.
        """
        answer = self.find_answer(question, slice_key=slice_key)
        for figure in answer.figures if answer else ():
            if figure.name == name and get_side(figure, answer) == side:
                return figure
        return None

    def list_names(self, question: str, *, sides: Iterable[str]) -> list[str]:
        """Names of figures of all images, in the order of their measuring."""
        answer, wanted = self.find_answer(question), set(sides)
        figures = answer.figures if answer else ()
        return list(dict.fromkeys(x.name for x in figures if get_side(x, answer) in wanted))

    def list_ranks(self, question: str) -> list[Rank]:
        """Model and baselines: within each source, their mean, and all together at the end."""
        within: dict[str, dict[str, Figure]] = {}
        mean: dict[str, Figure] = {}
        pooled: dict[str, Figure] = {}
        for figure in self.evaluation.baselines:
            key, _, what = figure.subject.partition(" ")
            if key != question:
                continue
            what = BY_MODEL if what.startswith(BY_MODEL) else what.removeprefix("guessed from ")
            if figure.name == MEAN_WITHIN:
                mean[what] = figure
            elif _WITHIN in figure.data:
                source = figure.data.rpartition(_WITHIN)[2]
                within.setdefault(source, {})[what] = figure
            else:
                pooled[what] = figure
        ranks = [Rank(f"within {source}", False, aurocs) for source, aurocs in within.items()]
        if mean and len(within) > 1:
            ranks.append(Rank("mean within sources", False, mean))
        return ranks + ([Rank("all together", True, pooled)] if pooled else [])


def is_matched_without_lungs(rank: Rank) -> bool:
    """Whether some guess reaches into the interval of the model's AUROC."""
    model = rank.aurocs.get(BY_MODEL)
    if model is None:
        return False
    least = model.value if model.low is None else model.low
    return any(x.value >= least for what, x in rank.aurocs.items() if what != BY_MODEL)


def get_side(figure: Figure, answer: Answered | None) -> str:
    """What decided, as a figure's subject says after its score and threshold."""
    score = answer.score if answer else ""
    return figure.subject.removeprefix(score).partition(", ")[2]


def list_shown_questions(outcomes: Outcomes) -> list[Question]:
    """All questions but the label that says the same as any finding, turned round."""
    questions = list_questions(outcomes)
    mirrored = {x.key for x in outcomes.card.labels if x.role is LabelRole.NO_FINDING}
    if any(question.key == ANY_FINDING for question in questions):
        return [question for question in questions if question.key not in mirrored]
    return questions


def name_question(question: str) -> str:
    """A question as a title."""
    return "any finding" if question == ANY_FINDING else question


def write_number(value: float) -> str:
    """Three decimals; large numbers with fewer."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def write_figure(figure: Figure | None) -> str:
    """Value and interval; empty where there is none."""
    if figure is None or math.isnan(figure.value):
        return ""
    if figure.low is None or figure.high is None:
        return f"{write_number(figure.value)} (no interval)"
    low, high = write_number(figure.low), write_number(figure.high)
    return f"{write_number(figure.value)} ({low} to {high})"


def join_words(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
