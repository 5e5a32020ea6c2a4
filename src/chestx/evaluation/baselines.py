"""How far each answer can be guessed without lungs, beside the model, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from chestx.datasets.shortcuts import assign_folds, score_folds
from chestx.domain import Figure
from chestx.evaluation.figures import Resampling, find_auroc_ends, make_figure
from chestx.evaluation.outcomes import THUMBNAIL_SIDE, Outcomes, Question
from chestx.evaluation.result import ALL
from chestx.metrics import average_figures, bootstrap_figures, compute_aurocs
from chestx.metrics.numbers import Values, Weights
from chestx.shapes import Bool, Float, Float64, Int

MEAN_WITHIN = "mean within-source AUROC"
"""Name of the figure that knows no differences between sources."""

THE_SOURCE = "the source"

_MEAN = "\0mean"  # Attributes are printable, so no source is called this.

Masks = Mapping[str, Bool[np.ndarray, " n"]]


def measure_baselines(
    outcomes: Outcomes,
    question: Question,
    data: str,
    resampling: Resampling,
    *,
    min_class: int,
    told: Mapping[str, Figure],
) -> list[Figure]:
    """AUROCs of the model and of guesses without lungs: pooled, in each source, and their mean.

    A guess is the out-of-fold score of a linear model that learnt from these very images, without
    the patient that it scores. Within a source it learnt from that source alone.

    Args:
        outcomes: of all images; those that were assessed are taken.
        question: what is guessed.
        data: name of all the images.
        resampling: how intervals are drawn; model and guesses share the draws.
        min_class: images of a class that a source must have of both to count.
        told: the model's AUROCs as they were measured already, by the slice's key: a figure that
            is told twice has one interval.
    """
    taken = question.is_known & outcomes.is_assessed
    y_true = question.y_true[taken]
    if not _has_both(y_true, min_class):
        return []
    groups = outcomes.groups[taken]
    sources = np.array(outcomes.attributes.get("source", ("",) * len(outcomes)))[taken]
    masks = {
        str(source): sources == source
        for source in np.unique(sources)
        if source and _has_both(y_true[sources == source], min_class)
    }
    figures = _measure_scores(
        {"": question.y_prob[taken]}
        | {source: question.y_prob[taken][mask] for source, mask in masks.items()},
        f"{question.key} by the model, {question.score}",
        (y_true, groups, masks),
        data,
        resampling,
        place=question.key,
        told=told,
    )
    pooled = assign_folds(y_true, groups, seed=resampling.seed)
    within = {
        source: assign_folds(y_true[mask], groups[mask], seed=resampling.seed)
        for source, mask in masks.items()
    }
    for name, features in describe_images(outcomes).items():
        seen = features[taken]
        if not _varies(seen):
            continue
        scores = {"": score_folds(seen, y_true, pooled)}
        if name != THE_SOURCE:
            scores |= {
                source: _score_within(seen[mask], y_true[mask], within[source])
                for source, mask in masks.items()
            }
        figures += _measure_scores(
            scores,
            f"{question.key} guessed from {name}",
            (y_true, groups, masks),
            data,
            resampling,
            place=question.key,
        )
    return figures


def describe_images(outcomes: Outcomes) -> dict[str, Float64[np.ndarray, "images k"]]:
    """What a guess may look at, by name; rows of images that failed mean nothing."""
    thumbnails = outcomes.thumbnails.astype(np.float64) / 255
    step = THUMBNAIL_SIDE // 4
    small = thumbnails.reshape(len(outcomes), 4, step, 4, step).mean(axis=(2, 4))
    sizes = np.log(np.maximum(1, outcomes.image_sizes).astype(np.float64))
    shape = np.concatenate([sizes, sizes[:, 1:] - sizes[:, :1]], axis=1)
    return {
        "a 4 x 4 thumbnail": small.reshape(len(outcomes), -1),
        "a 16 x 16 thumbnail": thumbnails.reshape(len(outcomes), -1),
        "image size and aspect": shape,
        "the file's format": _mark_values(np.array(outcomes.formats)),
        THE_SOURCE: _mark_values(np.array(outcomes.attributes.get("source", outcomes.formats))),
    }


def _mark_values(values: np.ndarray) -> Float64[np.ndarray, "images k"]:
    """A column of 0 and 1 for each value."""
    is_value: Bool[np.ndarray, "images k"] = values[:, None] == np.unique(values)[None]
    return is_value.astype(np.float64)


def _score_within(
    features: Float64[np.ndarray, "n k"],
    y_true: Bool[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """Where all images of a source look the same, nothing can be guessed: all get one score."""
    return score_folds(features, y_true, folds) if _varies(features) else np.zeros(len(y_true))


def _varies(features: Float[np.ndarray, "n k"]) -> bool:
    return bool(np.ptp(features, axis=0).max() > 0)


def _has_both(y_true: Bool[np.ndarray, " n"], least: int) -> bool:
    return min(int(y_true.sum()), int((~y_true).sum())) >= least


def _measure_scores(
    scores: Mapping[str, Float64[np.ndarray, " m"]],
    subject: str,
    sample: tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"], Masks],
    data: str,
    resampling: Resampling,
    *,
    place: str,
    told: Mapping[str, Figure] | None = None,
) -> list[Figure]:
    """AUROC of pooled scores (under an empty name) and of each source's, and the sources' mean.

    A figure that was ``told`` of a slice is taken over with its interval.
    """
    y_true, groups, masks = sample
    usable = {name: score for name, score in scores.items() if np.isfinite(score).all()}
    sources = [name for name in usable if name]

    def compute(weights: Weights) -> dict[str, Values]:
        aurocs = {
            name: compute_aurocs(y_true[masks[name]], score, weights[:, masks[name]])
            if name
            else compute_aurocs(y_true, score, weights)
            for name, score in usable.items()
        }
        if sources:
            aurocs[_MEAN] = average_figures(np.stack([aurocs[name] for name in sources]))
        return aurocs

    # One stream for a question: every score meets the same draws.
    estimates = bootstrap_figures(
        compute,
        groups,
        generator=resampling.start_generator("baselines", place),
        repeats=resampling.repeats,
    )
    figures = []
    for name, estimate in estimates.items():
        if name == _MEAN:
            taken = np.logical_or.reduce([masks[source] for source in sources])
            note = f"mean of {', '.join(sources)}"
        else:
            taken = masks[name] if name else np.ones(len(y_true), dtype=bool)
            note = "" if name else _warn_of_pooling(len(masks))
        place_of = f"{data}; source={name}" if name in masks else data
        before = (told or {}).get(f"source={name}" if name else ALL)
        if before is not None:
            note = "; ".join(filter(None, (note, before.note)))
            figures.append(replace(before, subject=subject, data=place_of, note=note))
            continue
        ends, kind = find_auroc_ends(estimate, y_true[taken], groups[taken])
        figure = make_figure(
            MEAN_WITHIN if name == _MEAN else "AUROC",
            subject,
            place_of,
            estimate.value,
            ends,
            n=int(taken.sum()),
            interval=kind,
            note=note,
        )
        if figure is not None:
            figures.append(figure)
    return figures


def _warn_of_pooling(sources: int) -> str:
    if sources:
        return "over all sources, whose differences count too"
    return "no source has enough images of both kinds, so nothing within one"
