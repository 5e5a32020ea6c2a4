"""How far a label can be guessed from what has nothing to do with lungs."""

from __future__ import annotations

import numpy as np

from chestx.shapes import Bool, Float, Int

FOLDS = 5
"""Groups are cut into so many folds, fewer where a class has fewer groups."""

REGULARISATION = 0.1
"""Inverse strength of the penalty, on standardised features; not tuned on any label."""


def score_shortcut(
    features: Float[np.ndarray, "n k"],
    y_true: Bool[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    seed: int,
) -> Float[np.ndarray, " n"]:
    """Out-of-fold scores of a linear model, for showing what such a model could know.

    A standardised logistic regression with an L2 penalty; no group is in the folds that
    a model is fitted on and in the one that it scores.

    Args:
        features: one row an image. A row with a value that is not finite is left out.
        y_true: whether the label is present.
        groups: patient or duplicate group of each image.
        seed: of the folds.

    Returns:
        Log odds by the model that did not see the image's group; NaN where there is none: the row
        was left out, or a class has fewer than two groups.
    """
    usable = np.isfinite(features).all(axis=1) if features.shape[1] else np.zeros(len(y_true), bool)
    folds = np.full(len(y_true), -1)
    folds[usable] = assign_folds(y_true[usable], groups[usable], seed=seed)
    return score_folds(features, y_true, folds)


def assign_folds(
    y_true: Bool[np.ndarray, " n"], groups: Int[np.ndarray, " n"], *, seed: int
) -> Int[np.ndarray, " n"]:
    """Number of the fold of each image, with the classes spread evenly over the folds.

    Args:
        y_true: whether the label is present.
        groups: images that stay together.
        seed: of the order in which groups are dealt.

    Returns:
        0 and up; -1 for all where a class has fewer than two groups.
    """
    folds = np.full(len(y_true), -1)
    smaller = min(len(np.unique(groups[y_true])), len(np.unique(groups[~y_true])))
    if smaller < 2:
        return folds
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(min(FOLDS, smaller), shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(np.empty(len(y_true)), y_true, groups)):
        folds[held_out] = number
    return folds


def score_folds(
    features: Float[np.ndarray, "n k"],
    y_true: Bool[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Scores of each fold by a model that was fitted on the others.

    Args:
        features: one row an image.
        y_true: whether the label is present.
        folds: number of each image's fold, negative for one that takes no part.

    Returns:
        Log odds; NaN for what takes no part or whose other folds hold one class only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.full(len(y_true), np.nan)
    for number in np.unique(folds[folds >= 0]):
        fitted, held_out = (folds >= 0) & (folds != number), folds == number
        if len(np.unique(y_true[fitted])) < 2:
            continue
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=REGULARISATION, solver="newton-cholesky"),
        )
        model.fit(features[fitted], y_true[fitted])
        scores[held_out] = model.decision_function(features[held_out])
    return scores
