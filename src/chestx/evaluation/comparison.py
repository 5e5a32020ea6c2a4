"""What a comparison of two models found, as plain values that JSON takes."""

from __future__ import annotations

from dataclasses import dataclass

from chestx.domain import ModelIdentity
from chestx.evaluation.result import ALL
from chestx.evaluation.verdicts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of both models on the same images.

    Attributes:
        slice_key: ``all`` or ``source=...``.
        question: label key or ANY_FINDING.
        name: of the figure: ``AUROC``, ``sensitivity``, ``specificity``, ``accuracy``,
            ``ECE`` or ``coverage``.
        first, second: of each model.
        value: second - first.
        low, high: its interval; None where too few draws gave a figure.
        n: images that the figure is of.
        higher_is_better: whether more of it is better.
        p_value: two-sided; None without an interval.
        adjusted_p_value: by Holm over all differences of the comparison.
        verdict: of the interval, without regard to how many differences were looked at.
    """

    slice_key: str
    question: str
    name: str
    first: float
    second: float
    value: float
    low: float | None
    high: float | None
    n: int
    higher_is_better: bool
    p_value: float | None
    adjusted_p_value: float | None
    verdict: Verdict

    @property
    def is_pooled(self) -> bool:
        """Whether it is of the images of all sources together."""
        return self.slice_key == ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How alike two models answer, whoever is right.

    Attributes:
        slice_key, question: as in :class:`Difference`.
        images: in the slice.
        same: share of those for which both say the same: positive, negative, uncertain,
            out of scope or failed; None for a question that is never decided.
        same_low, same_high: its interval.
        compared: images that both gave a probability.
        shift_p99: 99 % of those moved by at most this much in probability; None without any.
        shift_p99_low, shift_p99_high: its interval.
        shift_max: the largest move.
        known: images with a reference standard that both assessed, for the counts below,
            in which an uncertain answer is forced to the nearer side.
        true_gained, true_lost: images with the finding that only the second, only the
            first called positive.
        false_gained, false_lost: images without it that only the second, only the first
            called negative.
    """

    slice_key: str
    question: str
    images: int
    same: float | None
    same_low: float | None
    same_high: float | None
    compared: int
    shift_p99: float | None
    shift_p99_low: float | None
    shift_p99_high: float | None
    shift_max: float | None
    known: int
    true_gained: int
    true_lost: int
    false_gained: int
    false_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole result.

    Attributes:
        first, second: who was compared; differences are second - first.
        images, groups: of the data, and patient or duplicate groups drawn for intervals.
        margin: largest loss that counts as none.
        level: of the intervals.
        repeats: draws of the bootstrap.
        differences: pooled first, then each source.
        agreements: likewise.
        summary: sentences for a person, one a question, then how many differences were
            looked at and how many hold.
        notes: what a reader must know.
    """

    first: ModelIdentity
    second: ModelIdentity
    images: int
    groups: int
    margin: float
    level: float
    repeats: int
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    summary: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a changed model may lose against the one it stands in for.

    Attributes:
        max_auroc_drop: of any question, pooled and within each source.
        min_agreement: share of images with the same answer, of any question.
        max_p99: largest move in probability of 99 % of the images, of any label.
    """

    max_auroc_drop: float = 0.005
    min_agreement: float = 0.99
    max_p99: float = 0.02


def check_gate(comparison: Comparison, gate: Gate) -> tuple[str, ...]:
    """Why the second model may not stand in for the first; nothing where it may.

    The figures themselves are held to the gate and not their intervals: it is for a
    model that should give the same answers, such as a faster variant of the first.
    """
    faults = [
        f"AUROC of {one.question} on {one.slice_key}: expected a drop of at most "
        f"{gate.max_auroc_drop:g}, got {-one.value:.4f}"
        for one in comparison.differences
        if one.name == "AUROC" and -one.value > gate.max_auroc_drop
    ]
    for one in comparison.agreements:
        if one.slice_key != ALL:
            continue
        if one.same is not None and one.same < gate.min_agreement:
            faults.append(
                f"answers on {one.question}: expected at least {gate.min_agreement:.2%} the same, "
                f"got {one.same:.2%}"
            )
        if one.shift_p99 is not None and one.shift_p99 > gate.max_p99:
            faults.append(
                f"probability of {one.question}: expected 99 % of the images to move by at most "
                f"{gate.max_p99:g}, got {one.shift_p99:.4f}"
            )
    return tuple(faults)
