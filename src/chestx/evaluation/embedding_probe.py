"""What an embedding gives away beside the disease: where an image is from, and how old the patient.

Linear models on the embeddings, fitted on some patients and scored on others. What a linear
model can read, the model's own last layer can read too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chestx.datasets.example import Target
from chestx.datasets.shortcuts import score_shortcut
from chestx.domain import Figure
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_result import ProbeResult, join_words, make_figure, say_figure
from chestx.evaluation.probe_sample import MIN_IMAGES, list_sources
from chestx.evaluation.result import ALL
from chestx.metrics import compute_auroc, compute_aurocs, compute_means, draw_table
from chestx.shapes import Float, Int

ADULT_YEARS = 18.0
"""Ages below tell children from adults, which a skeleton does at a glance."""

MIN_AGES = 50
"""Images of known age under which age is not predicted."""

_FOLDS = 5
_PENALTIES = tuple(10.0**power for power in range(0, 7))
_NO_EMBEDDINGS = "Not measured: the embeddings of these outcomes were not kept."
_SOURCE_WHAT = (
    "A linear model is fitted to tell each source from the others by the embedding, among images "
    "of one label and on other patients than it is scored on. AUROC 0.5: the embedding does not "
    "know where an image is from; 1: it knows it for certain."
)
_SOURCE_NOTE = (
    "That a source can be read does not prove that an answer uses it; where a label comes "
    "from one source mostly, it could. Sources also differ in what is honestly seen: ages, "
    "severity, devices."
)
_AGE_WHAT = (
    "A linear model is fitted to predict the age of adults from the embedding and scored on "
    "other patients: correlation with the stated age, and mean error in years beside that of "
    "always saying the median."
)
_AGE_NOTE = (
    "Age shows in a chest honestly, and goes with disease; a high figure means that results "
    "must be read by age, not that the model is wrong."
)


def probe_source(outcomes: Outcomes, rows: Int[np.ndarray, " sample"], *, seed: int) -> ProbeResult:
    """Each source against the others within each label that several sources have."""
    figures: list[Figure] = []
    if not outcomes.embeddings.shape[1]:
        return ProbeResult(
            name="source_from_embedding", what=_SOURCE_WHAT, figures=(), verdict=_NO_EMBEDDINGS
        )
    sources = np.array(list_sources(outcomes), dtype=object)
    for index, label in enumerate(outcomes.card.labels):
        members = rows[(outcomes.targets[rows, index] == Target.PRESENT) & (sources[rows] != "")]
        names, counts = np.unique(sources[members].astype(str), return_counts=True)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            if min(count, len(members) - count) >= MIN_IMAGES:
                figures += _measure_source(
                    outcomes,
                    members,
                    name,
                    label=label.key,
                    is_source=sources[members] == name,
                    seed=seed,
                )
    return ProbeResult(
        name="source_from_embedding",
        what=_SOURCE_WHAT,
        figures=tuple(figures),
        verdict=_judge_source(figures),
        note=_SOURCE_NOTE,
    )


def _measure_source(
    outcomes: Outcomes,
    members: Int[np.ndarray, " members"],
    name: str,
    *,
    label: str,
    is_source: np.ndarray,
    seed: int,
) -> list[Figure]:
    groups = outcomes.groups[members]
    embeddings = outcomes.embeddings[members].astype(np.float64)
    is_source = is_source.astype(bool)
    scores = score_shortcut(embeddings, is_source, groups, seed=seed)
    scored = ~np.isnan(scores)
    value = compute_auroc(is_source[scored], scores[scored])
    if np.isnan(value):
        return []
    draws = draw_table(groups[scored], generator=np.random.default_rng(seed))
    drawn = compute_aurocs(is_source[scored], scores[scored], draws)
    subject = f"source={name} against the other sources"
    return [make_figure("AUROC", subject, f"{label} present", value, int(scored.sum()), drawn)]


def _judge_source(figures: Sequence[Figure]) -> str:
    if not figures:
        return (
            "Not measured: no label has images of several sources "
            f"with {MIN_IMAGES} images each at least."
        )
    known = [figure for figure in figures if figure.low is not None and figure.low > 0.5]
    least, most = (choose(figures, key=lambda x: x.value) for choose in (min, max))
    return (
        f"Among images of one label the source can be read beyond chance in {len(known)} of "
        f"{len(figures)} cases, AUROC {least.value:.2f} to {most.value:.2f}; best for "
        f"{most.subject} with {most.data}: {say_figure(most)}."
    )


def probe_age(
    outcomes: Outcomes,
    rows: Int[np.ndarray, " sample"],
    ages: Float[np.ndarray, " sample"],
    *,
    seed: int,
) -> ProbeResult:
    """Age of adults from the embedding, over all sources and within each.

    Args:
        outcomes: with the embeddings.
        rows: of the sample.
        ages: in years; NaN where not stated.
        seed: of folds and draws.
    """
    if not outcomes.embeddings.shape[1]:
        return ProbeResult(
            name="age_from_embedding", what=_AGE_WHAT, figures=(), verdict=_NO_EMBEDDINGS
        )
    is_adult = ages >= ADULT_YEARS  # False for NaN.
    sources = np.array(list_sources(outcomes), dtype=object)[rows]
    names = sorted(set(sources[is_adult].tolist()) - {""})
    parts = [(ALL, is_adult)]
    if len(names) > 1:
        parts += [(f"source={name}", is_adult & (sources == name)) for name in names]
    figures = []
    for key, members in parts:
        if members.sum() >= MIN_AGES:
            figures += _measure_age(outcomes, rows[members], ages[members], key, seed=seed)
    return ProbeResult(
        name="age_from_embedding",
        what=_AGE_WHAT,
        figures=tuple(figures),
        verdict=_judge_age(figures),
        note=_AGE_NOTE,
    )


def _measure_age(
    outcomes: Outcomes,
    rows: Int[np.ndarray, " adults"],
    ages: Float[np.ndarray, " adults"],
    key: str,
    *,
    seed: int,
) -> list[Figure]:
    groups = outcomes.groups[rows]
    if len(np.unique(groups)) < _FOLDS:
        return []
    predicted, medians = _predict_ages(outcomes.embeddings[rows], ages, groups)
    draws = draw_table(groups, generator=np.random.default_rng(seed))
    whole = np.ones((1, len(ages)))
    errors, baseline = np.abs(predicted - ages), np.abs(medians - ages)
    correlation = _correlate(predicted, ages, whole)[0]
    figures = []
    if not np.isnan(correlation):
        figures.append(
            make_figure(
                "correlation",
                "age from the embedding",
                key,
                float(correlation),
                len(ages),
                _correlate(predicted, ages, draws),
            )
        )
    for subject, values in (
        ("age from the embedding", errors),
        ("always the median age", baseline),
    ):
        drawn = compute_means(values, draws)
        name = "mean absolute error in years"
        figures.append(make_figure(name, subject, key, float(values.mean()), len(ages), drawn))
    return figures


def _predict_ages(
    embeddings: np.ndarray, ages: Float[np.ndarray, " adults"], groups: Int[np.ndarray, " adults"]
) -> tuple[Float[np.ndarray, " adults"], Float[np.ndarray, " adults"]]:
    """Ages by ridge regression on the other patients, and the median of those patients.

    The penalty is chosen by leaving out one image at a time among the patients fitted on.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = embeddings.astype(np.float64)
    predicted, medians = np.empty(len(ages)), np.empty(len(ages))
    for fitted, held_out in GroupKFold(_FOLDS).split(features, ages, groups):
        model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
        model.fit(features[fitted], ages[fitted])
        predicted[held_out] = model.predict(features[held_out])
        medians[held_out] = np.median(ages[fitted])
    return predicted, medians


def _correlate(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], weights: Float[np.ndarray, "draws n"]
) -> Float[np.ndarray, " draws"]:
    """Pearson correlation of each draw; NaN where one side does not vary."""
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    covariance = weights @ (x * y) / total - mean_x * mean_y
    variance = (weights @ x**2 / total - mean_x**2) * (weights @ y**2 / total - mean_y**2)
    scale = np.sqrt(np.maximum(variance, 0))
    found = np.full(len(total), np.nan)
    np.divide(covariance, scale, out=found, where=scale > 1e-9)
    return found


def _judge_age(figures: Sequence[Figure]) -> str:
    if not figures:
        return f"Not measured: fewer than {MIN_AGES} images of adults of known age."
    found = [
        f"{say_figure(figure)} on {figure.n} images ({figure.data})"
        for figure in figures
        if figure.name == "correlation"
    ]
    errors = [x for x in figures if x.data == ALL and x.name.startswith("mean absolute")]
    said = f"Correlation of predicted and stated age: {join_words(found)}. " if found else ""
    return (
        f"{said}Over all, the mean error is {errors[0].value:.1f} years, "
        f"{errors[1].value:.1f} for always saying the median."
    )
