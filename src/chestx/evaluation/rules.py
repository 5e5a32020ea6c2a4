"""How thresholds and abstention are chosen, as a person writes it: ``sensitivity=0.95``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from chestx.domain import OperatingPoint, UsageError
from chestx.evaluation.calibrate import (
    choose_abstention_band,
    choose_band_for_coverage,
    choose_band_for_risk,
    choose_conformal_band,
    choose_threshold,
    choose_threshold_by_cost,
    choose_threshold_by_youden,
    choose_threshold_for_ppv,
    choose_threshold_for_specificity,
)
from chestx.shapes import Bool, Float, Int

ThresholdKind = Literal["sensitivity", "specificity", "youden", "cost", "ppv"]
AbstentionKind = Literal["error", "risk", "coverage", "conformal", "none"]

_AT = ("cost", "ppv")


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How a threshold is chosen.

    Attributes:
        kind: what is asked for.
        value: how much of it; the cost of a missed finding in false alarms for ``cost``.
        prevalence: where the model is to be used, for ``cost`` and ``ppv``.
    """

    kind: ThresholdKind
    value: float = 0.0
    prevalence: float = 0.0

    @classmethod
    def parse(cls, text: str) -> ThresholdRule:
        """From ``sensitivity=0.95``, ``specificity=0.9``, ``youden``, ``cost=5@0.1`` or so.

        Raises:
            UsageError: another text.
        """
        kind, equals, rest = text.strip().partition("=")
        value, at, prevalence = rest.partition("@")
        if (
            kind in get_args(ThresholdKind)
            and bool(equals) == (kind != "youden")
            and bool(at) == (kind in _AT)
        ):
            numbers = [_parse_number(part) for part in (value, prevalence) if part]
            if None not in numbers and len(numbers) == bool(equals) + bool(at):
                return cls(kind, *numbers)  # type: ignore[arg-type]
        raise UsageError(
            "threshold: expected sensitivity=S, specificity=S, youden, cost=RATIO@PREVALENCE or "
            f"ppv=PPV@PREVALENCE, got {text!r:.80}"
        )

    def choose(self, y_true: Bool[np.ndarray, " n"], y_prob: Float[np.ndarray, " n"]) -> float:
        """The threshold on these images.

        Raises:
            UsageError: these images cannot carry it.
        """
        if self.kind == "sensitivity":
            return choose_threshold(y_true, y_prob, sensitivity=self.value)
        if self.kind == "specificity":
            return choose_threshold_for_specificity(y_true, y_prob, specificity=self.value)
        if self.kind == "youden":
            return choose_threshold_by_youden(y_true, y_prob)
        if self.kind == "cost":
            return choose_threshold_by_cost(
                y_true, y_prob, cost_ratio=self.value, prevalence=self.prevalence
            )
        return choose_threshold_for_ppv(y_true, y_prob, ppv=self.value, prevalence=self.prevalence)

    def __str__(self) -> str:
        if self.kind == "youden":
            return "Youden's index"
        if self.kind == "cost":
            return (
                f"least cost, a missed finding as {self.value:g} false alarms, "
                f"at a prevalence of {self.prevalence:g}"
            )
        if self.kind == "ppv":
            return f"PPV {self.value:g} at a prevalence of {self.prevalence:g}"
        return f"{self.kind} {self.value:g}"


@dataclass(frozen=True, slots=True)
class AbstentionRule:
    """How the band is chosen in which nothing is decided.

    Attributes:
        kind: what is asked for.
        value: how much of it: the error among the decided as a share of that without a band
            for ``error``; the error itself for ``risk``; the share decided for ``coverage``;
            the promised error of each class for ``conformal``.
        most: share of the images that may be left undecided, for ``error``.
    """

    kind: AbstentionKind
    value: float = 0.0
    most: float = 0.0

    @classmethod
    def parse(cls, text: str) -> AbstentionRule:
        """From ``error=0.5@0.1``, ``risk=0.05``, ``coverage=0.9``, ``conformal=0.05``, ``none``.

        Raises:
            UsageError: another text.
        """
        kind, equals, rest = text.strip().partition("=")
        value, at, most = rest.partition("@")
        if (
            kind in get_args(AbstentionKind)
            and bool(equals) == (kind != "none")
            and bool(at) == (kind == "error")
        ):
            numbers = [_parse_number(part) for part in (value, most) if part]
            if None not in numbers and len(numbers) == bool(equals) + bool(at):
                return cls(kind, *numbers)  # type: ignore[arg-type]
        raise UsageError(
            "abstention: expected error=RATIO@SHARE, risk=R, coverage=C, conformal=ALPHA or none, "
            f"got {text!r:.80}"
        )

    def choose(
        self,
        y_true: Bool[np.ndarray, " n"],
        y_prob: Float[np.ndarray, " n"],
        groups: Int[np.ndarray, " n"],
        *,
        threshold: float,
    ) -> tuple[float, float]:
        """The band on these images; equal ends where there is none.

        Raises:
            UsageError: these images cannot carry it.
        """
        if self.kind == "none":
            return threshold, threshold
        if self.kind == "error":
            return choose_abstention_band(
                y_true, y_prob, threshold=threshold, max_share=self.most, error_ratio=self.value
            )
        if self.kind == "risk":
            return choose_band_for_risk(y_true, y_prob, threshold=threshold, risk=self.value)
        if self.kind == "coverage":
            return choose_band_for_coverage(
                y_true, y_prob, threshold=threshold, coverage=self.value
            )
        return choose_conformal_band(
            y_true,
            y_prob,
            groups,
            threshold=threshold,
            max_missed=self.value,
            max_false_alarms=self.value,
        )

    def __str__(self) -> str:
        words = {
            "none": "no abstention",
            "error": f"at most {self.most:.0%} left undecided, so that the error among the "
            f"decided is {self.value:g} of that without",
            "risk": f"at most {self.value:.1%} of the decided wrong",
            "coverage": f"at least {self.value:.0%} decided",
            "conformal": f"conformal, at most {self.value:.1%} of each class called wrongly",
        }
        return words[self.kind]


def choose_operating_point(
    y_true: Bool[np.ndarray, " n"],
    y_prob: Float[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    threshold: ThresholdRule,
    abstention: AbstentionRule,
) -> OperatingPoint:
    """Threshold and band on these images.

    Raises:
        UsageError: these images cannot carry what is asked for.
    """
    chosen = threshold.choose(y_true, y_prob)
    low, high = abstention.choose(y_true, y_prob, groups, threshold=chosen)
    return OperatingPoint(chosen, min(low, chosen), max(high, chosen))


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
