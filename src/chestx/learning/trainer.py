"""What moves in a run: the network, its averaged copy, the optimizer and the extra losses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from chestx.datasets.example import Task
from chestx.domain import UsageError
from chestx.learning.backbones import Network
from chestx.learning.config import TrainConfig
from chestx.learning.dataset import Batch, LabelledImages, count_steps
from chestx.learning.losses import (
    RobustWeights,
    SourceAdversary,
    compute_coral,
    compute_losses,
)
from chestx.learning.progress import Progress
from chestx.learning.schedules import compute_rate_factor


class Trainer:
    """Takes steps.

    A step is one forward and backward pass over ``batch_size`` images in every process; the
    weights move after every ``accumulation`` steps. What a step draws at random follows from
    the seed, the pass and the place of its images in the pass. So a run that was
    killed draws what it would have drawn, and two processes draw what one process draws in
    two accumulated steps.

    Attributes:
        plain: the network that learns.
        steps: of one pass.
    """

    def __init__(
        self, network: Network, images: LabelledImages, config: TrainConfig, fabric: Fabric
    ) -> None:
        _check_alignment(images, config)
        self._config, self._images, self._fabric = config, images, fabric
        self.steps = count_steps(images, config, processes=fabric.world_size)
        if config.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.plain = network
        # The adversary's first weights must be alike in every process.
        torch.manual_seed(config.seed)
        self._adversary = _make_adversary(network, images, config)
        whole = _Whole(network, self._adversary)
        self._model, optimizer = fabric.setup(whole, _make_optimizer(whole, config))
        self._optimizer = cast(torch.optim.Optimizer, optimizer)
        self._ema = _make_average(network, config)
        self._robust = RobustWeights(
            images.kind_count * len(images.source_names), step=config.group_robust
        ).to(fabric.device)
        self._label_weights = weigh_labels(images).to(fabric.device)

    @property
    def averaged(self) -> Network:
        """The weights that are validated and published."""
        return self.plain if self._ema is None else cast(Network, self._ema.module)

    @property
    def learning_rate(self) -> float:
        """Of the head, at the last step."""
        return float(self._optimizer.param_groups[1]["lr"])

    def begin_epoch(self, progress: Progress) -> None:
        """Chooses what learns in this pass, and which statistics it leaves alone."""
        is_frozen = self._is_frozen(progress)
        self._model.train()
        if is_frozen:
            self.plain.backbone.eval()
        elif self._config.freeze_norm:
            for module in self.plain.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        if self._fabric.world_size == 1:
            # Saves the backward pass; several processes agreed before on what has gradients.
            self.plain.backbone.requires_grad_(not is_frozen)

    def take_step(self, batch: Batch, progress: Progress) -> float:
        """Adds this batch's gradients, and moves the weights where enough were added.

        Gives the loss, a mean over all processes.
        """
        config, fabric = self._config, self._fabric
        self._set_rates(progress)
        self._seed_step(progress)
        batch = batch.to(fabric.device)
        moves = (progress.step + 1) % config.accumulation == 0
        with fabric.no_backward_sync(self._model, enabled=not moves):
            loss = self._compute_loss(batch)
            fabric.backward(loss / config.accumulation)
        if moves:
            self._move_weights(progress)
        return float(cast(Tensor, fabric.all_reduce(loss.detach(), reduce_op="mean")))

    def _move_weights(self, progress: Progress) -> None:
        if self._is_frozen(progress):
            for parameter in self.plain.backbone.parameters():
                parameter.grad = None
        if self._config.clip_norm:
            # A loss that is no number stops the run with words of its own.
            self._fabric.clip_gradients(
                self._model,
                self._optimizer,
                max_norm=self._config.clip_norm,
                error_if_nonfinite=False,
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update_parameters(self.plain)

    def _compute_loss(self, batch: Batch) -> Tensor:
        """The loss of one step of one process."""
        config = self._config
        logits, embedding, adversarial = self._model(
            batch.pixels, batch.targets, batch.sources, batch.unlabelled
        )
        losses = compute_losses(
            logits,
            batch,
            task=self._images.task,
            label_smoothing=config.label_smoothing,
            label_weights=self._label_weights if config.class_weights else None,
        )
        if config.group_robust:
            groups = batch.kinds * len(self._images.source_names) + batch.sources
            loss = self._robust.reduce(losses, groups, add_processes=self._add_processes)
        else:
            loss = losses.mean()
        if config.alignment == "coral":
            loss = loss + config.alignment_weight * _align(embedding, batch)
        elif config.alignment == "adversary":
            loss = loss + config.alignment_weight * cast(Tensor, adversarial)
        return loss

    def _add_processes(self, values: Tensor) -> Tensor:
        return cast(Tensor, self._fabric.all_reduce(values, reduce_op="sum"))

    def _set_rates(self, progress: Progress) -> None:
        """Learning rates of the step that comes; the course counts moves of the weights."""
        config = self._config
        moves_a_pass = self.steps // config.accumulation
        done = progress.epoch * moves_a_pass + progress.step // config.accumulation
        factor = compute_rate_factor(done, config.epochs * moves_a_pass, config)
        rate = config.learning_rate * factor * progress.rate_factor
        backbone, *others = self._optimizer.param_groups
        backbone["lr"] = rate * config.backbone_rate
        for group in others:
            group["lr"] = rate

    def _seed_step(self, progress: Progress) -> None:
        place = progress.step * self._fabric.world_size + self._fabric.global_rank
        words = np.random.SeedSequence([self._config.seed, progress.epoch, place])
        torch.manual_seed(int(words.generate_state(1)[0]))

    def _is_frozen(self, progress: Progress) -> bool:
        return progress.epoch < self._config.frozen_epochs

    def state(self) -> dict[str, Any]:
        """All that moves, as tensors and numbers."""
        return {
            "network": self.plain.state_dict(),
            "adversary": self._adversary.state_dict(),
            "ema": None if self._ema is None else self._ema.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "robust": self._robust.state_dict(),
            # The scale of half precision's gradients; empty in any other.
            "precision": self._fabric.strategy.precision.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Puts back what :meth:`state` gave."""
        self.plain.load_state_dict(state["network"])
        self._adversary.load_state_dict(state["adversary"])
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._robust.load_state_dict(state["robust"])
        self._fabric.strategy.precision.load_state_dict(state["precision"])


class _Whole(nn.Module):
    """One forward pass of everything that has parameters, as several processes need it."""

    def __init__(self, network: Network, adversary: nn.Module) -> None:
        super().__init__()
        self.network, self.adversary = network, adversary

    def forward(
        self, pixels: Tensor, targets: Tensor, sources: Tensor, unlabelled: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits of the labelled images; features of these, then of the unlabelled ones."""
        output = self.network(torch.cat([pixels, unlabelled]) if unlabelled.numel() else pixels)
        adversarial = None
        if isinstance(self.adversary, SourceAdversary):
            adversarial = self.adversary(output.embedding, targets, sources)
        return output.logits[: len(pixels)], output.embedding, adversarial


def _align(embedding: Tensor, batch: Batch) -> Tensor:
    """Sources with each other, within each label; or the labelled images with another place."""
    if len(embedding) == len(batch.sources):
        return compute_coral(embedding, batch.sources, batch.kinds)
    is_labelled = torch.arange(len(embedding), device=embedding.device) < len(batch.sources)
    return compute_coral(embedding, is_labelled.long(), torch.zeros_like(is_labelled).long())


def _check_alignment(images: LabelledImages, config: TrainConfig) -> None:
    if config.unlabelled or config.alignment == "none":
        return
    if len(np.unique(images.sources)) < 2:
        raise UsageError(
            f"alignment {config.alignment}: expected training images of two sources at least, "
            "got one; name the manifest's column of sources, or leave alignment out"
        )


def _make_adversary(network: Network, images: LabelledImages, config: TrainConfig) -> nn.Module:
    if config.alignment != "adversary":
        return nn.Identity()
    return SourceAdversary(
        features=network.head.in_features,
        labels=network.head.out_features,
        sources=len(images.source_names),
    )


_Weights = tuple[Tensor, ...] | list[Tensor]


def _make_average(network: Network, config: TrainConfig) -> AveragedModel | None:
    if not config.ema_decay:
        return None

    def average(averaged: _Weights, current: _Weights, moves: Tensor | int) -> None:
        # The first weights know nothing: a short run must not be averaged with them.
        decay = min(config.ema_decay, (1 + float(moves)) / (10 + float(moves)))
        get_ema_multi_avg_fn(decay)(averaged, current, moves)  # type: ignore[no-untyped-call]

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def _make_optimizer(whole: _Whole, config: TrainConfig) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": list(whole.network.backbone.parameters())},
        {"params": whole.network.list_head_parameters()},
    ]
    if adversary := list(whole.adversary.parameters()):
        groups.append({"params": adversary})
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        has_momentum = config.momentum > 0
        return torch.optim.SGD(
            groups, lr=rate, momentum=config.momentum, weight_decay=decay, nesterov=has_momentum
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)


def weigh_labels(images: LabelledImages) -> Tensor:
    """Weight of each label ``[labels]`` by its rarity.

    Where labels exclude each other, such that the mean over the images is one. Else
    the weight of a label's positives: negatives a positive, at most 100.
    """
    present = torch.from_numpy((images.targets == 1).sum(0)).float()
    absent = torch.from_numpy((images.targets == 0).sum(0)).float()
    if images.task is Task.MULTI_LABEL:
        return (absent / present).clamp(max=100)
    return present.sum() / (len(present) * present)
