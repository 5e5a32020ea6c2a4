"""Out-of-fold scores of a linear model, with no group on both sides."""

from __future__ import annotations

import numpy as np

from chestx.datasets.shortcuts import assign_folds, score_folds, score_shortcut
from chestx.metrics import compute_auroc


def make_data(n: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two images a group, one class a group, one feature that tells and one that does not."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(n // 2), 2)
    y_true = groups % 2 == 0
    features = np.column_stack([y_true + generator.normal(0, 0.5, n), generator.normal(0, 1, n)])
    return features, y_true, groups


def test_a_feature_that_tells_the_label_scores_high() -> None:
    features, y_true, groups = make_data()
    assert compute_auroc(y_true, score_shortcut(features, y_true, groups, seed=0)) > 0.85


def test_a_feature_that_tells_the_patient_alone_scores_like_chance() -> None:
    _, y_true, groups = make_data()
    identity = (groups[:, None] == np.unique(groups)[None, :]).astype(float)
    # Fitted and scored on the same patients it would be 1.
    assert compute_auroc(y_true, score_shortcut(identity, y_true, groups, seed=0)) < 0.6


def test_no_group_is_in_two_folds() -> None:
    _, y_true, groups = make_data()
    folds = assign_folds(y_true, groups, seed=1)
    assert set(folds) == {0, 1, 2, 3, 4}
    assert all(len(set(folds[groups == group])) == 1 for group in np.unique(groups))


def test_the_seed_alone_decides() -> None:
    features, y_true, groups = make_data()
    first, again, other = (
        score_shortcut(features, y_true, groups, seed=seed) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_few_groups_make_fewer_folds() -> None:
    _, y_true, groups = make_data(12)
    assert len(set(assign_folds(y_true, groups, seed=0))) == 3


def test_one_class_gives_no_score() -> None:
    features, y_true, groups = make_data()
    assert np.isnan(score_shortcut(features, np.ones_like(y_true), groups, seed=0)).all()


def test_a_class_of_one_patient_gives_no_score() -> None:
    features, _, groups = make_data()
    assert np.isnan(score_shortcut(features, groups == 0, groups, seed=0)).all()


def test_no_feature_gives_no_score() -> None:
    _, y_true, groups = make_data()
    assert np.isnan(score_shortcut(np.empty((200, 0)), y_true, groups, seed=0)).all()


def test_a_row_without_a_value_is_left_out() -> None:
    features, y_true, groups = make_data()
    features[5, 0] = np.nan
    scores = score_shortcut(features, y_true, groups, seed=0)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [5]


def test_a_fold_whose_others_hold_one_class_is_left_out() -> None:
    features, y_true, _ = make_data()
    scores = score_folds(features, y_true, np.where(y_true, 0, 1))
    assert np.isnan(scores).all()
