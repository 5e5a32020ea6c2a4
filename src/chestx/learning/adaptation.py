"""A published network learns how the images of another place look, without their labels.

Batch normalisation brings every feature to a mean of 0 and a variance of 1, by statistics of
the training images. Where another machine makes brighter or softer images, the features
of all of them are shifted. The statistics are taken anew on images of that place, layer by
layer in the order of the network, and mixed with the old ones; no weight changes.

Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, ICLR 2017
workshop; the mixture: Schneider et al., Improving robustness against common corruptions by
covariate shift adaptation, NeurIPS 2020.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chestx.domain import Figure, Finding, Limits, ModelCard, Prediction, UsageError, check_prose
from chestx.images.pool import prepare_images
from chestx.images.preparation import Preparation, PreparationError
from chestx.learning.backbones import Network
from chestx.learning.export import export_network
from chestx.learning.half_weights import is_half
from chestx.learning.published import encode_weights, load_network
from chestx.learning.reference import make_known_answer, summarise_for_drift
from chestx.models.classifier import Classifier, apply_temperature, to_findings
from chestx.models.derive import derive_model_folder
from chestx.models.folder import MODEL, REFERENCE, WEIGHTS, ModelFolder
from chestx.models.runtime import load_runtime
from chestx.models.scope import assess_scope
from chestx.shapes import UInt8

LEAST_IMAGES = 64
"""Fewer say more of the few patients than of the place."""

MOST_IMAGES = 2000
"""More do not move the statistics; each takes size x size bytes of memory."""

SHARE = 0.25

_BATCH = 32


@dataclass(frozen=True, slots=True)
class ScoreMove:
    """How one score of the same images moved.

    Attributes:
        key: of the finding, or ``any_finding``.
        before, after: mean probability.
        moved: mean absolute change.
        decided_anew: share of the images whose decision on this finding changed.
    """

    key: str
    before: float
    after: float
    moved: float
    decided_anew: float


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What came of it.

    Attributes:
        folder: the new model, verified.
        images: how many it looked at.
        refused: reason -> images that were left out because the model does not answer for
            them by what their file or pixels say.
        unreadable: how many could not be read.
        moves: of every finding, on these images.
        too_far: share of these images that is further from the training images than the
            card accepts, before and after; None where it checks no distance.
    """

    folder: ModelFolder
    images: int
    refused: dict[str, int]
    unreadable: int
    moves: tuple[ScoreMove, ...]
    too_far: tuple[float, float] | None


@dataclass(frozen=True, slots=True, eq=False)
class SiteImages:
    """Unlabelled images of a place, as the model sees them.

    Attributes:
        pixels: model inputs.
        refused: reason -> left out.
        unreadable: how many could not be read.
    """

    pixels: UInt8[np.ndarray, "images size size"]
    refused: dict[str, int]
    unreadable: int


def adapt_model(
    model: ModelFolder,
    paths: Sequence[str],
    out: Path,
    *,
    site: str,
    share: float = SHARE,
    version: str | None = None,
    most: int = MOST_IMAGES,
    seed: int = 0,
    workers: int | None = None,
    on_image: Callable[[], None] | None = None,
) -> Adaptation:
    """Makes a model folder whose batch-norm statistics are those of a place, in part.

    Temperature, thresholds, map scales and the reference of the training images stay; what
    drift is measured against becomes the place's own images.

    Args:
        model: verified, with weights.
        paths: images of the place; no label is looked at.
        out: the new folder; nothing of that name may be there.
        site: what these images are, in words, for the card.
        share: of the new statistics in the mixture, above 0 up to 1.
        version: of the new model; by default the old one and ``+adapted``.
        most: a sample of so many is drawn from more paths.
        seed: of the sample and of the order.
        workers: child processes that decode.
        on_image: is called after each image that was read or refused.

    Raises:
        UsageError: a share out of range, too few images, or a model that cannot be adapted.
        ChestxError: the graph gives other numbers than torch, or the folder cannot be written.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share: expected above 0 up to 1, got {share:g}")
    if most < LEAST_IMAGES:
        raise UsageError(f"images: expected a sample of {LEAST_IMAGES} or more, got {most}")
    if out.exists():
        raise UsageError(f"{str(out)!r}: expected a name that is free, something is there already")
    card = _describe(model.card, site=site, share=share, version=version)
    network = load_network(model)
    images = read_site_images(
        card, _draw(paths, most, seed), workers=workers, on_image=on_image or (lambda: None)
    )
    if len(images.pixels) < LEAST_IMAGES:
        raise UsageError(
            f"images: expected {LEAST_IMAGES} or more that the model can look at, got "
            f"{len(images.pixels)} of {len(paths)} ({_say_left_out(images)})"
        )
    before = Classifier.load(model.path, threads=1)
    old = _predict(before, images.pixels)
    adapt_network(network, images.pixels, share=share, seed=seed)
    graph = export_network(
        network,
        size=card.input.size,
        activation=card.activation,
        half_weights=is_half(model.graph),
    )
    contents = {
        MODEL: graph,
        WEIGHTS: encode_weights(network.state_dict()),
        REFERENCE: _renew_reference(model, graph, images.pixels, card),
    }
    card = replace(card, limitations=(*card.limitations, _caution(model.card, images, site, share)))
    folder = derive_model_folder(model, out, card=card, contents=contents)
    after = Classifier.load(out, threads=1)
    new = _predict(after, images.pixels)
    return Adaptation(
        folder=folder,
        images=len(images.pixels),
        refused=images.refused,
        unreadable=images.unreadable,
        moves=_measure_moves(card, old, new),
        too_far=_measure_too_far(before, old, after, new),
    )


def read_site_images(
    card: ModelCard,
    paths: Sequence[str],
    *,
    workers: int | None = None,
    on_image: Callable[[], None],
) -> SiteImages:
    """Through the very road of ``chestx predict``, without those that it would refuse.

    The distance to the training images refuses none: to bring it down is what this is for.
    """
    preparation = Preparation(input=card.input, preview_size=0, limits=Limits())
    kept, refused, unreadable = [], Counter[str](), 0
    for image in prepare_images(paths, preparation, workers=workers):
        on_image()
        if isinstance(image, PreparationError):
            unreadable += 1
            continue
        reasons, _ = assess_scope(card, image.header, image.quality, distance=None)
        if reasons:
            refused[reasons[0].code] += 1
        else:
            kept.append(image.pixels)
    size = card.input.size
    pixels = np.stack(kept) if kept else np.zeros((0, size, size), dtype=np.uint8)
    return SiteImages(pixels, dict(sorted(refused.items())), unreadable)


def adapt_network(
    network: Network, pixels: UInt8[np.ndarray, "images size size"], *, share: float, seed: int
) -> None:
    """Mixes the statistics of every batch normalisation with those of the images, in place.

    The features of a layer are measured on what the layers before it give with statistics
    that are mixed already.

    Args:
        network: is left in evaluation mode.
        pixels: model inputs.
        share: of the new statistics.
        seed: of the order.

    Raises:
        UsageError: the network has no batch normalisation.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    if not norms:
        raise UsageError(
            "adapt: expected a network with batch normalisation, this one has none; train with "
            'alignment = "coral" instead'
        )
    network.eval()
    order = np.random.default_rng(seed).permutation(len(pixels))
    with torch.no_grad(), _mixing(norms, share):
        for start in range(0, len(order), _BATCH):
            batch = pixels[np.sort(order[start : start + _BATCH])]
            network(torch.from_numpy(batch[:, None]))


class _Statistics:
    """Mean and variance of what reaches a normalisation, over all batches so far."""

    def __init__(self, norm: Any, share: float) -> None:
        self.share = share
        self.mean, self.variance = norm.running_mean.clone(), norm.running_var.clone()
        self.count = 0
        self.sum: Tensor = torch.zeros_like(self.mean, dtype=torch.float64)
        self.squares: Tensor = torch.zeros_like(self.sum)

    def __call__(self, norm: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.sum += values.sum(dim=1)
        self.squares += values.square().sum(dim=1)
        mean = self.sum / self.count
        variance = (self.squares / self.count - mean.square()).clamp_min(0)
        norm.running_mean.copy_(self.mean + self.share * (mean - self.mean))
        norm.running_var.copy_(self.variance + self.share * (variance - self.variance))


@contextmanager
def _mixing(norms: list[Any], share: float) -> Iterator[None]:
    hooks = [norm.register_forward_pre_hook(_Statistics(norm, share)) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _draw(paths: Sequence[str], most: int, seed: int) -> list[str]:
    if len(paths) <= most:
        return list(paths)
    rows = np.random.default_rng(seed).choice(len(paths), size=most, replace=False)
    return [paths[row] for row in np.sort(rows)]


def _predict(
    classifier: Classifier, pixels: UInt8[np.ndarray, "images size size"]
) -> list[Prediction]:
    return [
        prediction
        for start in range(0, len(pixels), _BATCH)
        for prediction in classifier.predict(pixels[start : start + _BATCH])
    ]


def _renew_reference(
    model: ModelFolder,
    graph: bytes,
    pixels: UInt8[np.ndarray, "images size size"],
    card: ModelCard,
) -> bytes:
    runtime = load_runtime(graph)
    outputs = runtime.run(pixels[:, None])
    arrays = {
        **model.reference,
        **make_known_answer(runtime, card.input.size),
        **summarise_for_drift(
            apply_temperature(outputs.logits, card),
            outputs.embedding,
            pixels.mean(axis=(1, 2), dtype=np.float64),
        ),
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(sorted(arrays.items())))
    return buffer.getvalue()


def _measure_moves(
    card: ModelCard, old: list[Prediction], new: list[Prediction]
) -> tuple[ScoreMove, ...]:
    pairs = [
        (_list_findings(card, before), _list_findings(card, after))
        for before, after in zip(old, new, strict=True)
    ]
    moves = []
    for index, first in enumerate(pairs[0][0]):
        found = [(before[index], after[index]) for before, after in pairs]
        p = np.array([[before.probability, after.probability] for before, after in found])
        moves.append(
            ScoreMove(
                key=first.key,
                before=float(p[:, 0].mean()),
                after=float(p[:, 1].mean()),
                moved=float(np.abs(p[:, 1] - p[:, 0]).mean()),
                decided_anew=float(np.mean([a.decision is not b.decision for a, b in found])),
            )
        )
    return tuple(moves)


def _list_findings(card: ModelCard, prediction: Prediction) -> list[Finding]:
    findings, any_finding = to_findings(card, prediction.probabilities)
    return [*([any_finding] if any_finding else []), *findings]


def _measure_too_far(
    before: Classifier, old: list[Prediction], after: Classifier, new: list[Prediction]
) -> tuple[float, float] | None:
    limit = before.card.scope.max_distance
    if limit is None:
        return None
    sides = []
    for classifier, predictions in ((before, old), (after, new)):
        distances = [classifier.measure_distance(item.embedding) for item in predictions]
        sides.append(float(np.mean([far is not None and far > limit for far in distances])))
    return sides[0], sides[1]


def _describe(card: ModelCard, *, site: str, share: float, version: str | None) -> ModelCard:
    """The new card but for what is known only when the images were read."""
    mark = f"of version {card.version}, before it was adapted to {site}"
    try:
        check_prose("site", site)
        if not site.strip() or len(site) > 200:
            raise ValueError("site: expected 1 to 200 characters")
        return replace(
            card,
            version=version or f"{card.version}+adapted",
            performance=tuple(_mark_older(figure, mark) for figure in card.performance),
            training={
                **card.training,
                "adapted": {"from": card.version, "to": site, "share": share},
            },
        )
    except ValueError as error:
        raise UsageError(f"adapt: {error}") from error


def _mark_older(figure: Figure, mark: str) -> Figure:
    return replace(figure, note=f"{figure.note}; {mark}" if figure.note else mark)


def _caution(card: ModelCard, images: SiteImages, site: str, share: float) -> str:
    return (
        f"Batch-norm statistics are a mixture of those of version {card.version} and of "
        f"{len(images.pixels)} unlabelled images of {site} (share {share:g}; "
        f"{_say_left_out(images)}). Nothing was validated there: temperature, thresholds and map "
        f"scales are those of version {card.version}, and every figure here is of that version. "
        "There and elsewhere it may be worse than that version."
    )


def _say_left_out(images: SiteImages) -> str:
    parts = [f"{number} refused as {reason}" for reason, number in images.refused.items()]
    return ", ".join([*parts, f"{images.unreadable} unreadable"])
