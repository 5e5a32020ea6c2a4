"""Verdicts on heatmaps: do they show what the answer hangs on, and where readers saw it?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from chestx.domain import Figure
from chestx.evaluation.explained import (
    BASELINES,
    CAM,
    MEASURES,
    ExplainedImage,
)
from chestx.evaluation.localisation import Localisation
from chestx.evaluation.outcomes import Outcomes
from chestx.evaluation.probe_result import (
    ProbeResult,
    find_figure,
    join_words,
    make_figure,
    say_change,
    say_figure,
)
from chestx.evaluation.randomised_head import correlate_ranks
from chestx.evaluation.result import ALL
from chestx.metrics import compute_means, draw_table
from chestx.shapes import Float

SUBJECT = "the finding that is explained"

_FAITHFULNESS_WHAT = (
    "On true positives the image is taken away in the order of each heatmap, and the probability "
    "of the finding is followed: deletion (less is better) replaces the most relevant pixels first "
    "by the mean grey or by a blurred copy, insertion (more is better) brings them back into the "
    "blurred copy first, ROAD (more is better) imputes removed pixels from their neighbours and "
    "takes the probability without the least relevant minus that without the most relevant. "
    "A map must beat a random one and a spot in the middle on the same images."
)
_FAITHFULNESS_NOTE = (
    "These measures ask whether a map shows what this model uses, not whether the model is right. "
    "Altered images are unlike any that it has seen; mean grey favours maps with large connected "
    "areas, a blurred copy keeps large densities. Occlusion and RISE maps are made by hiding parts "
    "and judged by hiding parts, which favours them."
)
_LOCALISATION_WHAT = (
    "On true positives with boxes of a reader: does the peak of the map lie in a box (pointing "
    "game), how much of its positive evidence does (energy), and how do the places from half of "
    "the peak upwards overlap with the boxes (IoU)?"
)
_LOCALISATION_NOTE = (
    "Only findings that the model has found are looked at. Boxes are drawn generously; a map of "
    "7 x 7 cells cannot reach a high IoU on a small box."
)
_SANITY_WHAT = (
    "Does a heatmap follow the weights, the label and the image? Rank correlation of the class "
    "activation map with maps of ten shuffled last layers (absolute value, 0 is best), of maps of "
    "the explained label with those of the other labels of the same image, and with maps of "
    "the same label on other images (1 would be the same picture every time)."
)
_SANITY_NOTE = (
    "Only the last layer is shuffled, the first step of the cascade of Adebayo et al.; deeper "
    "layers are left as they are. Labels that exclude each other (softmax) have maps that sum to "
    "about 0, so a negative correlation between labels is by construction."
)
_NO_HEAD = (
    " The last layer of this model could not be taken out of its graph (no 1x1 convolution makes "
    "the maps), so its weights were not shuffled."
)
_LOCATION: dict[str, Callable[[Localisation], float]] = {
    "pointing game": lambda found: float(found.is_hit),
    "energy in the box": lambda found: found.energy,
    "IoU": lambda found: found.iou,
}


def judge_explanations(
    explained: Sequence[ExplainedImage], outcomes: Outcomes, *, seed: int
) -> tuple[ProbeResult, ...]:
    """Faithfulness, localisation where there are boxes, and sanity of the maps."""
    if not explained:
        nothing = "Not measured: no finding that is present was found on these images."
        return (
            ProbeResult(name="faithfulness", what=_FAITHFULNESS_WHAT, figures=(), verdict=nothing),
        )
    draws = _draw(explained, outcomes, seed=seed)
    results = [_judge_faithfulness(explained, draws)]
    boxed = [image for image in explained if image.localisations]
    if boxed:
        results.append(_judge_localisation(boxed, _draw(boxed, outcomes, seed=seed)))
    results.append(_judge_sanity(explained, draws))
    return tuple(results)


def _draw(
    explained: Sequence[ExplainedImage], outcomes: Outcomes, *, seed: int
) -> Float[np.ndarray, "repeats images"]:
    groups = outcomes.groups[[image.row for image in explained]]
    return draw_table(groups, generator=np.random.default_rng(seed))


def _make_mean(
    name: str, values: Sequence[float], draws: Float[np.ndarray, "repeats images"]
) -> Figure:
    array = np.array(values, dtype=np.float64)
    drawn = compute_means(array, draws)
    return make_figure(name, SUBJECT, ALL, float(array.mean()), len(array), drawn)


def _judge_faithfulness(
    explained: Sequence[ExplainedImage], draws: Float[np.ndarray, "repeats images"]
) -> ProbeResult:
    kinds = list(explained[0].maps)
    figures = []
    for kind in kinds:
        for measure, sign in MEASURES.items():
            values = np.array([image.measures[kind][measure] for image in explained])
            figures.append(_make_mean(f"{measure}, {kind}", values.tolist(), draws))
            for baseline in BASELINES:
                if kind in BASELINES:
                    continue
                others = np.array([image.measures[baseline][measure] for image in explained])
                gain = (sign * (values - others)).tolist()
                figures.append(_make_mean(f"{measure}: gain over {baseline}, {kind}", gain, draws))
        seconds = [image.seconds[kind] for image in explained]
        figures.append(_make_mean(f"seconds per image, {kind}", seconds, draws))
    verdict = " ".join(_say_kind(figures, kind) for kind in kinds if kind not in BASELINES)
    return ProbeResult(
        name="faithfulness",
        what=_FAITHFULNESS_WHAT,
        figures=tuple(figures),
        verdict=verdict,
        note=_FAITHFULNESS_NOTE,
    )


def _say_kind(figures: Sequence[Figure], kind: str) -> str:
    said = []
    for baseline in BASELINES:
        found = {
            measure: find_figure(figures, f"{measure}: gain over {baseline}, {kind}", SUBJECT)
            for measure in MEASURES
        }
        won = [
            f"{measure} {say_change(figure)}"
            for measure, figure in found.items()
            if figure is not None and figure.low is not None and figure.low > 0
        ]
        beaten = f"beats a {baseline} in {len(won)} of {len(found)} measures"
        said.append(f"{beaten} ({join_words(won)})" if won else beaten)
    return f"The {kind} {said[0]}; it {said[1]}."


def _judge_localisation(
    explained: Sequence[ExplainedImage], draws: Float[np.ndarray, "repeats images"]
) -> ProbeResult:
    kinds = list(explained[0].maps)
    figures = [
        _make_mean(
            f"{measure}, {kind}",
            [read(image.localisations[kind]) for image in explained],
            draws,
        )
        for kind in kinds
        for measure, read in _LOCATION.items()
    ]
    shares = [image.localisations[kinds[0]].box_share for image in explained]
    figures.append(_make_mean("share of the image in the box", shares, draws))
    hits = [
        f"{say_figure(figure)} for the {kind}"
        for kind in kinds
        if (figure := find_figure(figures, f"pointing game, {kind}", SUBJECT))
    ]
    return ProbeResult(
        name="localisation",
        what=_LOCALISATION_WHAT,
        figures=tuple(figures),
        verdict=f"The peak lies in a box in {join_words(hits)}; "
        f"boxes cover {say_figure(figures[-1])} of the image.",
        note=_LOCALISATION_NOTE,
    )


def _judge_sanity(
    explained: Sequence[ExplainedImage], draws: Float[np.ndarray, "repeats images"]
) -> ProbeResult:
    kinds = [kind for kind in explained[0].maps if kind not in BASELINES]
    figures = []
    shuffled = [image.shuffled_likeness for image in explained]
    likeness = [value for value in shuffled if value is not None]
    has_head = len(likeness) == len(explained)
    if has_head:
        figures.append(_make_mean(f"likeness to shuffled heads, {CAM}", likeness, draws))
    for kind in kinds:
        to_labels = [_compare_labels(image, kind) for image in explained]
        if not np.isnan(to_labels).any():
            figures.append(_make_mean(f"likeness to other labels, {kind}", to_labels, draws))
        to_images = [_compare_images(image, explained, kind) for image in explained]
        if not np.isnan(to_images).any():
            figures.append(_make_mean(f"likeness to other images, {kind}", to_images, draws))
    return ProbeResult(
        name="sanity",
        what=_SANITY_WHAT,
        figures=tuple(figures),
        verdict=_say_sanity(figures, has_head=has_head),
        note=_SANITY_NOTE + ("" if has_head else _NO_HEAD),
    )


def _compare_labels(image: ExplainedImage, kind: str) -> float:
    """Mean correlation with the maps of the other labels; NaN for a model of one label."""
    maps = image.maps[kind]
    others = [index for index in range(len(maps)) if index != image.label]
    found = [correlate_ranks(maps[image.label], maps[index]) for index in others]
    return float(np.mean(found)) if found else float("nan")


def _compare_images(image: ExplainedImage, explained: Sequence[ExplainedImage], kind: str) -> float:
    """Mean correlation with maps of the same label on the other images; NaN for one image."""
    found = [
        correlate_ranks(image.maps[kind][image.label], other.maps[kind][image.label])
        for other in explained
        if other is not image
    ]
    return float(np.mean(found)) if found else float("nan")


def _say_sanity(figures: Sequence[Figure], *, has_head: bool) -> str:
    said = [
        f"{figure.name.replace(', ', ' of the ', 1)} {say_figure(figure)}" for figure in figures
    ]
    if not said:
        return "Not measured: one image and one label only."
    sentence = "; ".join(said) + "."
    return f"{sentence[0].upper()}{sentence[1:]}"
