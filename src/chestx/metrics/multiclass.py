"""Several labels: one of them true an image, or any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from chestx.metrics.decisions import (
    Counts,
    compute_f1,
    compute_ppv,
    compute_sensitivity,
    compute_specificity,
)
from chestx.metrics.numbers import Values, Weights, divide, weigh_once
from chestx.metrics.ranking import compute_aurocs
from chestx.shapes import Bool, Float, Float64, Int


class Average(StrEnum):
    """How the figures of several labels become one."""

    MACRO = "macro"
    """Every label counts the same."""
    MICRO = "micro"
    """Every image and label counts the same: common labels rule."""
    WEIGHTED = "weighted"
    """Every label counts by its positives."""


def average_figures(
    values: Float64[np.ndarray, "labels ..."],
    supports: Float64[np.ndarray, "labels ..."] | None = None,
) -> Values:
    """Mean over the labels that have a figure, each by its support where given.

    NaN where no label has one. Say how many were left out: a mean over the easy
    labels is no mean over all.
    """
    known = ~np.isnan(values)
    shares = np.where(known, 1.0 if supports is None else supports, 0.0)
    sums = (shares * np.where(known, values, 0)).sum(axis=0)
    return divide(np.asarray(sums), np.asarray(shares.sum(axis=0)))


def compute_multilabel_auroc(
    y_true: Bool[np.ndarray, "n labels"],
    y_score: Float[np.ndarray, "n labels"],
    *,
    is_known: Bool[np.ndarray, "n labels"],
    average: Average,
    weights: Weights | None = None,
) -> Float64[np.ndarray, " repeats"]:
    """AUROC over several labels, images left out for the labels not known of them.

    Args:
        y_true: whether each label is there; not looked at where not known.
        y_score: higher is likelier; not looked at where not known.
        is_known: whether there is a reference standard and a score.
        average: micro compares scores across labels, which means something only where
            they are probabilities.
        weights: draws; every image once where none are given.

    Returns:
        One figure a draw.
    """
    table = weigh_once(len(y_true)) if weights is None else weights
    if average is Average.MICRO:
        rows, columns = np.nonzero(is_known)
        return compute_aurocs(y_true[rows, columns], y_score[rows, columns], table[:, rows])
    values, supports = [], []
    for label in range(y_true.shape[1]):
        known = is_known[:, label]
        truth, drawn = y_true[known, label], table[:, known]
        values.append(compute_aurocs(truth, y_score[known, label], drawn))
        supports.append(drawn @ truth.astype(np.float64))
    return average_figures(
        np.stack(values), np.stack(supports) if average is Average.WEIGHTED else None
    )


def count_confusions(
    y_true: Int[np.ndarray, " n"], y_pred: Int[np.ndarray, " n"], *, classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Images by reference standard (rows) and answer (columns).

    Raises:
        ValueError: a class outside 0 to ``classes`` - 1.
    """
    for numbers in (y_true, y_pred):
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < classes):
            raise ValueError(
                f"confusion matrix: expected classes 0 to {classes - 1}, "
                f"got {numbers.min()} to {numbers.max()}"
            )
    return np.bincount(y_true * classes + y_pred, minlength=classes**2).reshape(classes, classes)


def count_classes(matrix: Int[np.ndarray, "classes classes"]) -> list[Counts[int | float]]:
    """Each class against the others."""
    hits, rows, columns = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    n = int(matrix.sum())
    return [
        Counts(int(hit), int(column - hit), n - int(row + column - hit), int(row - hit))
        for hit, row, column in zip(hits, rows, columns, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One line of a classification report.

    Attributes:
        name: label key, or a kind of average.
        ppv, sensitivity, specificity, f1: NaN where there is none.
        support: images of the class by the reference standard.
    """

    name: str
    ppv: float
    sensitivity: float
    specificity: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """Precision (ppv), recall (sensitivity) and F1 of every class, and their averages.

    Attributes:
        rows: one a class, in the order of the labels.
        averages: macro, micro and weighted.
        accuracy: share of images whose class is answered; equal to the micro figures
            but the specificity.
    """

    rows: tuple[ReportRow, ...]
    averages: tuple[ReportRow, ...]
    accuracy: float


def report_classes(
    matrix: Int[np.ndarray, "classes classes"], labels: Sequence[str]
) -> ClassificationReport:
    """The classification report of a confusion matrix, as values.

    Averages leave out classes without a figure; scikit-learn counts those as 0.

    Raises:
        ValueError: not one label a class.
    """
    if len(labels) != len(matrix):
        raise ValueError(
            f"report: expected one label for each of {len(matrix)} classes, got {len(labels)}"
        )
    counts = count_classes(matrix)
    rows = tuple(_make_row(label, one) for label, one in zip(labels, counts, strict=True))
    together = Counts(
        sum(one.tp for one in counts),
        sum(one.fp for one in counts),
        sum(one.tn for one in counts),
        sum(one.fn for one in counts),
    )
    averages = (
        _average_rows(Average.MACRO, rows),
        _make_row(Average.MICRO.value, together),
        _average_rows(Average.WEIGHTED, rows),
    )
    n = int(matrix.sum())
    accuracy = divide(int(np.trace(matrix)), n)
    return ClassificationReport(rows, averages, float(accuracy))


def _make_row(name: str, counts: Counts[int | float]) -> ReportRow:
    return ReportRow(
        name,
        float(compute_ppv(counts)),
        float(compute_sensitivity(counts)),
        float(compute_specificity(counts)),
        float(compute_f1(counts)),
        int(counts.positives),
    )


def _average_rows(average: Average, rows: Sequence[ReportRow]) -> ReportRow:
    values = np.array([[row.ppv, row.sensitivity, row.specificity, row.f1] for row in rows])
    supports = np.array([[float(row.support)] * 4 for row in rows])
    means = average_figures(values, supports if average is Average.WEIGHTED else None)
    ppv, sensitivity, specificity, f1 = (float(mean) for mean in means)
    support = sum(row.support for row in rows)
    return ReportRow(average.value, ppv, sensitivity, specificity, f1, support)
