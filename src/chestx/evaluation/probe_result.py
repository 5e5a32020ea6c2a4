"""What a probe found, and the sentences and figures that all of them are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestx.domain import Figure
from chestx.evaluation.altered import AlteredAnswers
from chestx.evaluation.outcomes import Question
from chestx.evaluation.probe_sample import MIN_IMAGES, Part
from chestx.evaluation.result import ALL
from chestx.metrics import compute_auroc, compute_aurocs, estimate_from_draws
from chestx.shapes import Bool, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One probe.

    Attributes:
        name: e.g. ``shortcuts``; short and stable.
        what: what was done, in a sentence or two.
        figures: name is the measure and, after a comma, the alteration or the kind of map;
            subject is the score; data is the part of the images.
        verdict: what the figures say, in a sentence with numbers.
        note: what the probe cannot show.
    """

    name: str
    what: str
    figures: tuple[Figure, ...]
    verdict: str
    note: str = ""


def find_figure(
    figures: Sequence[Figure], name: str, subject: str, *, data: str = ALL
) -> Figure | None:
    """The figure of this name, subject and part; None where it was not measured."""
    wanted = (name, subject, data)
    return next((x for x in figures if (x.name, x.subject, x.data) == wanted), None)


def make_figure(
    name: str,
    subject: str,
    data: str,
    value: float,
    n: int,
    drawn: Float[np.ndarray, " repeats"],
    *,
    note: str = "",
) -> Figure:
    """A figure with the interval of its draws, where they give one."""
    found = estimate_from_draws(value, drawn)
    low, high = (found.low, found.high) if found.has_interval else (None, None)
    return Figure(
        name=name, subject=subject, data=data, value=value, n=n, low=low, high=high, note=note
    )


def say_figure(figure: Figure) -> str:
    """Value and interval in words: ``0.87 (0.82 to 0.91)``."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def say_change(figure: Figure) -> str:
    """A difference with its sign: ``-0.02 (-0.04 to +0.01)``."""
    if figure.low is None or figure.high is None:
        return f"{figure.value:+.2f}"
    return f"{figure.value:+.2f} ({figure.low:+.2f} to {figure.high:+.2f})"


def join_words(words: Sequence[str]) -> str:
    """``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One question put to one part of the sample, unknown answers left out.

    Attributes:
        subject: what is ranked, in words.
        key: of the question.
        data: key of the part.
        positions: of the images in the sample.
        y_true: the reference standard of each.
        draws: weights of each in each draw.
    """

    subject: str
    key: str
    data: str
    positions: np.ndarray
    y_true: Bool[np.ndarray, " images"]
    draws: Float[np.ndarray, "repeats images"]

    @property
    def has_both_classes(self) -> bool:
        """Whether there are enough of each class to rank them."""
        present = int(self.y_true.sum())
        return min(present, len(self.y_true) - present) >= MIN_IMAGES

    def rank(self, answers: AlteredAnswers, alteration: int) -> tuple[float, np.ndarray]:
        """AUROC under an alteration, and that of each draw."""
        scores = answers.score(alteration, self.key)[self.positions].astype(np.float64)
        return (
            compute_auroc(self.y_true, scores),
            compute_aurocs(self.y_true, scores, self.draws),
        )


def ask(question: Question, part: Part, answers: AlteredAnswers) -> Asked:
    """A question put to a part of the images that were altered."""
    rows = answers.rows[part.rows]
    known = question.is_known[rows]
    return Asked(
        subject=question.score,
        key=question.key,
        data=part.key,
        positions=part.rows[known],
        y_true=question.y_true[rows][known],
        draws=part.draws[:, known],
    )
