"""How good the weights are after a pass; the figures that choose the epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from chestx.datasets.example import Task
from chestx.domain import ChestxError
from chestx.learning.backbones import Network
from chestx.learning.config import Monitor
from chestx.learning.dataset import LabelledImages
from chestx.metrics import compute_auroc
from chestx.shapes import Bool, Float

LEAST = 5
"""Images of each kind that a source must have for its AUROC to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationFigures:
    """On the validation images, without any changes.

    Attributes:
        loss: mean.
        accuracy: of the largest label, or of each label at one half.
        macro_auroc: mean over the labels, all sources together: it flatters where the
            source tells the label.
        within_source_auroc: mean over sources of the mean over labels within each; NaN
            where no source has both kinds of any label.
        by_source: source -> mean AUROC within it.
    """

    loss: float
    accuracy: float
    macro_auroc: float
    within_source_auroc: float
    by_source: dict[str, float]

    def monitored(self, name: Monitor) -> float:
        """The figure that chooses, higher is better; pooled where no source has both kinds."""
        if name == "loss":
            return -self.loss
        if name == "within_source_auroc" and not math.isnan(self.within_source_auroc):
            return self.within_source_auroc
        return self.macro_auroc


@torch.no_grad()
def compute_logits(
    network: Network, images: LabelledImages, *, batch_size: int
) -> Float[np.ndarray, "images labels"]:
    """Logits of every image as it is, in single precision."""
    was_training = network.training
    network.eval()
    device = network.head.weight.device
    parts = []
    for start in range(0, len(images), batch_size):
        pixels = np.array(images.pixels[start : start + batch_size])[:, None]
        parts.append(network(torch.from_numpy(pixels).to(device)).logits.float().cpu().numpy())
    network.train(was_training)
    return np.concatenate(parts)


def validate(network: Network, images: LabelledImages, *, batch_size: int) -> ValidationFigures:
    """The figures of the weights as they are.

    Raises:
        ChestxError: the network gives logits that are no numbers.
    """
    logits = compute_logits(network, images, batch_size=batch_size)
    if broken := int((~np.isfinite(logits).all(axis=1)).sum()):
        raise ChestxError(
            f"the network gives no numbers for {broken} of {len(images)} validation images; make "
            'learning_rate smaller, set clip_norm, or set precision = "fp32"'
        )
    return compute_figures(logits, images)


def compute_figures(
    logits: Float[np.ndarray, "images labels"], images: LabelledImages
) -> ValidationFigures:
    """The figures of these logits."""
    present, known = images.targets == 1, images.targets >= 0
    tensor = torch.from_numpy(logits)
    if images.task is Task.SINGLE_LABEL:
        y_true = present.argmax(axis=1)
        loss = float(functional.cross_entropy(tensor, torch.from_numpy(y_true)))
        accuracy = float((logits.argmax(axis=1) == y_true).mean())
        scores = torch.softmax(tensor, dim=1).numpy()
    else:
        losses = functional.binary_cross_entropy_with_logits(
            tensor, torch.from_numpy(present.astype(np.float32)), reduction="none"
        ).numpy()
        loss = float(losses[known].mean())
        accuracy = float(((logits >= 0) == present)[known].mean())
        scores = logits
    everything = np.ones(len(images), dtype=bool)
    by_source = {
        name: value
        for index, name in enumerate(images.source_names)
        if not math.isnan(
            value := _average_auroc(scores, present, known, images.sources == index, least=LEAST)
        )
    }
    return ValidationFigures(
        loss=loss,
        accuracy=accuracy,
        macro_auroc=_average_auroc(scores, present, known, everything, least=1),
        within_source_auroc=float(np.mean(list(by_source.values()))) if by_source else math.nan,
        by_source=by_source,
    )


def _average_auroc(
    scores: Float[np.ndarray, "images labels"],
    present: Bool[np.ndarray, "images labels"],
    known: Bool[np.ndarray, "images labels"],
    taken: Bool[np.ndarray, " images"],
    *,
    least: int,
) -> float:
    """Mean over the labels that have enough images of both kinds; NaN where none has."""
    found = []
    for index in range(scores.shape[1]):
        used = taken & known[:, index]
        y_true = present[used, index]
        if least <= y_true.sum() <= len(y_true) - least:
            found.append(compute_auroc(y_true, scores[used, index].astype(np.float64)))
    return float(np.mean(found)) if found else math.nan
