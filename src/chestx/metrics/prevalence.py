"""What a call means where the finding is as common as it is in practice."""

from __future__ import annotations

from chestx.metrics.numbers import Number, divide


def compute_ppv_at(prevalence: float, *, sensitivity: Number, specificity: Number) -> Number:
    """Share of the called positive that are true, at a given share of positives.

    Source: Bayes' theorem; Altman and Bland, BMJ 1994;309:102.

    Raises:
        ValueError: a prevalence outside 0 to 1.
    """
    _check(prevalence)
    true = sensitivity * prevalence
    return divide(true, true + (1 - specificity) * (1 - prevalence))


def compute_npv_at(prevalence: float, *, sensitivity: Number, specificity: Number) -> Number:
    """Share of the called negative that are false, at a given share of positives.

    Raises:
        ValueError: a prevalence outside 0 to 1.
    """
    _check(prevalence)
    false = specificity * (1 - prevalence)
    return divide(false, false + (1 - sensitivity) * prevalence)


def _check(prevalence: float) -> None:
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence: expected a share of 0 to 1, got {prevalence}")
