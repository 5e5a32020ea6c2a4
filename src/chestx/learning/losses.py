"""What a step is punished for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from chestx.datasets.example import Task
from chestx.learning.dataset import Batch


def compute_losses(
    logits: Tensor,
    batch: Batch,
    *,
    task: Task,
    label_smoothing: float = 0.0,
    label_weights: Tensor | None = None,
) -> Tensor:
    """The loss of each image ``[batch]``.

    Cross-entropy where labels exclude each other. Else binary cross-entropy of each label,
    averaged over those whose answer is known: an image without any costs nothing.

    Args:
        logits: ``[batch, labels]``.
        batch: with targets of 0 to 1.
        task: of the manifest.
        label_smoothing: share of the target that is spread.
        label_weights: ``[labels]``: of each label (cross-entropy), or of its positives.
    """
    if task is Task.SINGLE_LABEL:
        return functional.cross_entropy(
            logits,
            batch.targets,
            weight=label_weights,
            label_smoothing=label_smoothing,
            reduction="none",
        )
    targets = batch.targets * (1 - label_smoothing) + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=label_weights, reduction="none"
    )
    return (losses * batch.known).sum(1) / batch.known.sum(1).clamp(min=1)


class RobustWeights(nn.Module):
    """Weights of groups that follow their loss: the group that does worst counts most.

    Source: Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020.
    """

    def __init__(self, groups: int, *, step: float) -> None:
        super().__init__()
        self.weights: Tensor
        self.register_buffer("weights", torch.full((groups,), 1 / groups))
        self._step = step

    def reduce(
        self,
        losses: Tensor,
        groups: Tensor,
        *,
        add_processes: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> Tensor:
        """One loss of the losses of a batch ``[batch]`` with their groups ``[batch]``.

        Args:
            losses: of the images of this process.
            groups: their groups.
            add_processes: the sum of a tensor over all processes, which so agree on weights.
        """
        own = functional.one_hot(groups, len(self.weights)).float()
        sums, counts = losses.float() @ own, own.sum(0)
        with torch.no_grad():
            # A copy each: several processes add into it in place.
            everywhere = add_processes(counts.clone())
            means = add_processes(sums.detach().clone()) / everywhere.clamp(min=1)
            self.weights *= torch.exp(self._step * means)
            self.weights /= self.weights.sum()
        shares = self.weights * (counts > 0)
        return (sums / counts.clamp(min=1) * (shares / shares.sum())).sum()


def compute_coral(embedding: Tensor, sources: Tensor, kinds: Tensor, *, least: int = 4) -> Tensor:
    """How far sources differ in mean and covariance of their features, kind by kind.

    Within one kind, because sources whose labels differ must differ in their features.

    Args:
        embedding: ``[batch, features]``.
        sources, kinds: ``[batch]``, numbers; the kind is that of a batch.
        least: images of a kind that a source must have in the batch to count.

    Source: Sun and Saenko, Deep CORAL, ECCV 2016 workshops.
    """
    # Of unit variance on average, so that the weight means the same in every network.
    scaled = embedding.float() / embedding.float().std().clamp(min=1e-6)
    terms = []
    for kind in torch.unique(kinds):
        moments = []
        for source in torch.unique(sources):
            members = scaled[(kinds == kind) & (sources == source)]
            if len(members) >= least:
                centred = members - members.mean(0)
                moments.append((members.mean(0), centred.T @ centred / (len(members) - 1)))
        for i, (mean, covariance) in enumerate(moments):
            for other_mean, other_covariance in moments[i + 1 :]:
                width = embedding.shape[1]
                terms.append(
                    (mean - other_mean).square().mean()
                    + (covariance - other_covariance).square().sum() / (4 * width)
                )
    return torch.stack(terms).mean() if terms else embedding.sum() * 0.0


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class SourceAdversary(nn.Module):
    """Tells the source from the features, which learn through it to hide the source.

    It is told the label: what a label tells of the source need not be hidden.

    Source: Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.
    """

    def __init__(self, *, features: int, labels: int, sources: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features + labels),
            nn.Linear(features + labels, 128),
            nn.ReLU(),
            nn.Linear(128, sources),
        )

    def forward(self, embedding: Tensor, targets: Tensor, sources: Tensor) -> Tensor:
        """The source classifier's loss; its gradient reaches the features reversed."""
        reversed_features: Tensor = _Reverse.apply(embedding)
        guess = self.layers(torch.cat([reversed_features, targets], dim=1))
        return functional.cross_entropy(guess, sources)
